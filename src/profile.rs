//! Profile names, and where a profile lives.

use crate::exit::{Error, Exit, Result};
use std::ffi::OsStr;
use std::fmt;
use std::rc::Rc;

/// The longest name, in bytes.
pub const NAME_MAX: usize = 64;

/// The marker of a real profile: Hermes Agent writes it early (hermes-facts, Paths).
pub const MARKER: &str = "SOUL.md";

/// A valid profile name: `default`, or `^[a-z0-9][a-z0-9_-]*$` of at most 64 bytes. A pass has it in five places at once, so
/// they share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Profile(Rc<str>);

impl Profile {
    /// The profile that is the home itself. It always exists (B9).
    pub fn default_profile() -> Profile {
        Profile("default".into())
    }

    /// A name from a command line.
    ///
    /// # Errors
    /// 100, naming it, if it is not valid.
    pub fn parse(name: &OsStr) -> Result<Profile> {
        Profile::from_bytes(name.as_encoded_bytes()).ok_or_else(|| {
            let shown = name.to_string_lossy();
            let text =
                format!("invalid profile name \"{shown}\": it must be [a-z0-9][a-z0-9_-]* of at most {NAME_MAX} bytes");
            Error::new(Exit::Usage, text)
        })
    }

    /// A name from anywhere, if it is valid.
    pub fn from_bytes(name: &[u8]) -> Option<Profile> {
        let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = name.len() <= NAME_MAX
            && name.first().is_some_and(alphanumeric)
            && name.iter().all(|b| alphanumeric(b) || *b == b'_' || *b == b'-');
        valid.then(|| Profile(String::from_utf8_lossy(name).into()))
    }

    /// Is it the home itself?
    pub fn is_default(&self) -> bool {
        &*self.0 == "default"
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its slot in the scandir.
    pub fn slot(&self) -> String {
        format!("gateway-{}", self.0)
    }

    /// The profile whose slot has this name, if it is the name of a slot.
    pub fn of_slot(name: &[u8]) -> Option<Profile> {
        name.strip_prefix(b"gateway-").and_then(Profile::from_bytes)
    }

    /// Its directory relative to the home.
    pub fn path(&self) -> String {
        if self.is_default() { ".".to_string() } else { format!("profiles/{}", self.0) }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn names_are_what_the_design_says() {
        let longest = "a".repeat(64);
        for good in ["default", "coder", "0", "a-b_c", "9x", longest.as_str()] {
            assert_eq!(Profile::parse(OsStr::new(good)).map(|p| p.to_string()), Ok(good.to_string()));
        }
        let long = "a".repeat(65);
        let bad: [&[u8]; 12] = [
            b"",
            b"Coder",
            b"a/b",
            b"..",
            b"-x",
            b"_x",
            b"a b",
            b"a.b",
            b"a\nb",
            b"\xff",
            "é".as_bytes(),
            long.as_bytes(),
        ];
        for name in bad {
            let error = Profile::parse(OsStr::from_bytes(name)).unwrap_err();
            assert_eq!(error.exit, Exit::Usage);
            assert!(error.text.starts_with("invalid profile name \""), "{}", error.text);
        }
    }

    #[test]
    fn a_slot_name_is_a_profile_and_back() {
        assert_eq!(Profile::of_slot(b"gateway-coder").map(|p| p.slot()), Some("gateway-coder".to_string()));
        for other in [&b"gateway-"[..], b"gateway-A", b"dashboard", b".gateway-coder.x1y2z3"] {
            assert_eq!(Profile::of_slot(other), None);
        }
    }
}
