//! Values as Python reads them, because Hermes Agent is the one that acts on them.

use super::yaml::Value;

/// `str.isspace()`: Unicode's white space and the four separators of ASCII.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// `str.strip()`
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Hermes Agent's `is_truthy_value` of a string.
pub fn truthy(text: &str) -> bool {
    boolean(text) == Some(true)
}

/// A word for true or for false in Hermes Agent's settings; `None` for any other, which it ignores.
pub fn boolean(text: &str) -> Option<bool> {
    match strip(text).to_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Hermes Agent's `_coerce_bool` of a YAML value, false by default.
pub fn coerce_bool(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Int(number) => *number != 0,
        Value::Float(number) => *number != 0.0,
        Value::Text(text) => truthy(text),
        Value::List(items) => !items.is_empty(),
        Value::Map(entries) => !entries.is_empty(),
    }
}

/// `int(str)`: a decimal with a sign, underscores between digits and white space around it. Saturates.
pub fn int(text: &str) -> Option<i64> {
    let text = strip(text);
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if !digits.split('_').all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let size = number(digits, 10);
    Some(if negative { -size } else { size })
}

/// `int(value)` of a YAML value, where Python has one.
pub fn int_of(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(flag) => Some(i64::from(*flag)),
        Value::Int(number) => Some(*number),
        Value::Float(number) if number.is_finite() => Some(*number as i64),
        Value::Text(text) => int(text),
        Value::Null | Value::Float(_) | Value::List(_) | Value::Map(_) => None,
    }
}

/// Digits of this radix, underscores passed over. Saturates.
pub fn number(digits: &str, radix: u32) -> i64 {
    (digits.chars().filter_map(|c| c.to_digit(radix)))
        .fold(0, |sum: i64, digit| sum.saturating_mul(radix.into()).saturating_add(digit.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_text_is_what_pythons_int_makes_of_it() {
        for (text, value) in [
            ("8642", Some(8642)),
            (" 8642\t", Some(8642)),
            ("+8_642", Some(8642)),
            ("08642", Some(8642)),
            ("-1", Some(-1)),
            ("99999999999999999999", Some(i64::MAX)),
            ("", None),
            ("+", None),
            ("8_", None),
            ("_8", None),
            ("8__6", None),
            ("8642.0", None),
            ("0x21c2", None),
            ("86 42", None),
            ("- 1", None),
        ] {
            assert_eq!(int(text), value, "{text:?}");
        }
    }

    #[test]
    fn only_hermes_agents_own_words_are_true() {
        for text in ["1", "true", "TRUE", " yes ", "On"] {
            assert!(truthy(text), "{text:?}");
        }
        for text in ["", "0", "false", "off", "y", "enabled", "2", "t"] {
            assert!(!truthy(text), "{text:?}");
        }
    }
}
