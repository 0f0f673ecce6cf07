//! Parsing the values of options and variables.

use crate::ground::error::{Error, Kind, Result};
use std::ffi::OsStr;
use std::path::PathBuf;

/// The path from the option, else from the variable. An empty value counts as absent.
pub fn given(option: Option<&OsStr>, variable: &str) -> Option<PathBuf> {
    let given = option.map(OsStr::to_os_string).filter(|v| !v.is_empty());
    let path = PathBuf::from(given.or_else(|| std::env::var_os(variable).filter(|v| !v.is_empty()))?);
    Some(std::path::absolute(&path).unwrap_or(path))
}

/// As `given`, else the default, which is absolute.
pub fn choose(option: Option<&OsStr>, variable: &str, default: &str) -> PathBuf {
    given(option, variable).unwrap_or_else(|| default.into())
}

/// The value of `-t`, a whole number of milliseconds.
///
/// # Errors
/// 100 if the value is not such a number, or is above 4294967295.
pub fn milliseconds(value: &OsStr) -> Result<u64> {
    number(value, "timeout", "a whole number of milliseconds", 0, i64::from(u32::MAX) as u64)
}

/// A plain decimal number in `low..=high`. `what` describes it in the message.
///
/// # Errors
/// 100, naming the value, if it is anything else.
pub fn number(value: &OsStr, name: &str, what: &str, low: u64, high: u64) -> Result<u64> {
    let digits = value.to_str().filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()));
    (digits.and_then(|t| t.parse().ok()).filter(|n| (low..=high).contains(n))).ok_or_else(|| {
        let shown = value.to_string_lossy();
        Error::new(Kind::Usage, format!("invalid {name} \"{shown}\": it must be {what}, {low} to {high}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_plain_decimal() {
        for (text, ms) in [("0", Some(0)), ("5000", Some(5000)), ("4294967295", Some(4_294_967_295))] {
            assert_eq!(milliseconds(OsStr::new(text)).ok(), ms);
        }
        for text in ["", "-1", "+1", "1.5", "soon", "4294967296", "99999999999999999999", " 1", "0x10"] {
            let error = milliseconds(OsStr::new(text)).unwrap_err();
            assert_eq!(error.kind, Kind::Usage);
            assert!(error.text.starts_with(&format!("invalid timeout \"{text}\": ")), "{}", error.text);
        }
    }

    #[test]
    fn a_number_is_within_both_bounds() {
        for (text, number) in [("1", Some(1)), ("5", Some(5)), ("05", Some(5)), ("0", None), ("6", None), ("", None)] {
            let wanted = number.ok_or(format!("invalid x \"{text}\": it must be a few, 1 to 5"));
            assert_eq!(super::number(OsStr::new(text), "x", "a few", 1, 5).map_err(|e| e.text), wanted);
        }
    }

    #[test]
    fn a_path_is_the_options_else_the_variables_else_the_default_and_absolute() {
        let here = std::env::current_dir().unwrap();
        // PATH is the one variable that every test process has.
        let path = PathBuf::from(std::env::var_os("PATH").unwrap());
        let option = |text| choose(Some(OsStr::new(text)), "PATH", "/default");
        assert_eq!(option("/a/b"), PathBuf::from("/a/b"));
        assert_eq!(option("a"), here.join("a"));
        assert_eq!(option(""), path);
        assert_eq!(choose(None, "PATH", "/default"), path);
        for none in [None, Some(OsStr::new(""))] {
            assert_eq!(choose(none, "HERMES_S6_NO_SUCH_VARIABLE", "/default"), PathBuf::from("/default"));
        }
    }
}
