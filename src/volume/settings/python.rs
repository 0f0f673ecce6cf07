//! Python's reading of values, because Hermes Agent acts on these values.

use crate::ground::environment::is_space;

/// Hermes Agent may understand a value that is not understood here, so the value is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclear;

/// Python's `int(str)`: a decimal number that may have a sign, underscores between digits, and white space around it.
/// `None` for text that Python refuses. A number that is too large for the type becomes the largest number of the type.
pub fn int(text: &str) -> Option<i64> {
    let text = text.trim_matches(is_space);
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_group = |group: &str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit());
    digits.split('_').all(is_group).then(|| text.replace('_', "").parse().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_text_is_what_pythons_int_makes_of_it() {
        for text in ["8642", " 8642\t", "+8_642", "08642"] {
            assert_eq!(int(text), Some(8642), "{text:?}");
        }
        assert_eq!((int("-1"), int("99999999999999999999")), (Some(-1), Some(i64::MAX)));
        for text in ["", "+", "8_", "_8", "8__6", "8642.0", "0x21c2", "86 42", "- 1"] {
            assert_eq!(int(text), None, "{text:?}");
        }
    }
}
