//! Scalars as PyYAML reads them. PyYAML follows YAML 1.1, in which `yes` is true and `8_642` is a number.

use super::python::{self, Unclear};
use crate::ground::environment::is_truthy;

/// The value at a path of a document.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// The document has no such path.
    #[default]
    Absent,
    /// The value is `null`, `~` or empty.
    Null,
    /// The value is a boolean word such as `yes` or `off`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A string.
    Text(String),
    /// PyYAML may understand the value, and it is not understood here.
    Unclear,
}

impl Value {
    /// This value, or `other` if this one is absent.
    pub fn or(self, other: Value) -> Value {
        if self == Value::Absent { other } else { self }
    }

    /// The value as a switch, as in Hermes Agent's `_coerce_bool`: an unknown word is false.
    pub fn is_true(&self) -> Result<bool, Unclear> {
        match self {
            Value::Absent | Value::Null => Ok(false),
            Value::Bool(flag) => Ok(*flag),
            Value::Int(number) => Ok(*number != 0),
            Value::Text(text) => Ok(is_truthy(text)),
            Value::Unclear => Err(Unclear),
        }
    }

    /// The value as a variable. Hermes Agent takes a scalar at the top of `config.yaml` for a variable that is not set
    /// (`gateway/run.py`), and puts other variables into it.
    pub fn variable(&self) -> Result<Option<String>, Unclear> {
        match self {
            Value::Absent | Value::Null => Ok(None),
            Value::Bool(flag) => Ok(Some(if *flag { "True" } else { "False" }.to_string())),
            Value::Int(number) => Ok(Some(number.to_string())),
            Value::Text(text) if !text.contains("${") => Ok(Some(text.clone())),
            Value::Text(_) | Value::Unclear => Err(Unclear),
        }
    }

    /// The value as a number. The number need not be a valid port.
    pub fn number(&self) -> Result<Option<i64>, Unclear> {
        match self {
            Value::Absent | Value::Null => Ok(None),
            Value::Int(number) => Ok(Some(*number)),
            Value::Text(text) => python::int(text).map(Some).ok_or(Unclear),
            Value::Bool(_) | Value::Unclear => Err(Unclear),
        }
    }
}

/// The value of a scalar that has neither quotes nor a tag. Text that begins like a number and is no integer is
/// unclear: it may be a float, a time, or a number to the base of 60.
pub fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => {
            integer(text).map_or(Value::Unclear, Value::Int)
        }
        _ => Value::Text(text.to_string()),
    }
}

/// A YAML 1.1 integer: decimal, `0b`, `0x`, or octal with a leading 0. Underscores may be anywhere but in front.
fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'b', ..] => (2, &digits[2..]),
        [b'0', b'x', ..] => (16, &digits[2..]),
        [b'0', ..] => (8, digits),
        _ => (10, digits),
    };
    let size = i64::from_str_radix(&digits.replace('_', ""), radix).ok();
    let size = size.filter(|_| digits.starts_with(|c: char| c.is_digit(radix)));
    if text.starts_with('-') { size.map(|size| -size) } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that PyYAML 6.0.3 reads for these texts.
    #[test]
    fn scalars_are_what_pyyaml_makes_of_them() {
        for (value, texts) in [
            (Value::Null, &["", "~"][..]),
            (Value::Bool(true), &["yes", "On"]),
            (Value::Bool(false), &["off"]),
            (Value::Int(8642), &["8642", "+8642", "8_642", "8642_", "0x21C2", "0b10000111000010", "020702"]),
            (Value::Int(0), &["0", "-0", "0_"]),
            (Value::Int(-1), &["-1"]),
            (Value::Unclear, &["2:24:02", "8642.0", "8.6e+3", ".5", "-.inf", "2026-11-27", "08642", "-", "0x", "0x+1"]),
        ] {
            texts.iter().for_each(|text| assert_eq!(plain(text), value, "{text:?}"));
        }
        for text in ["y", "yEs", "_1", "x.y"] {
            assert_eq!(plain(text), Value::Text(text.to_string()));
        }
    }
}
