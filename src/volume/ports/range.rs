//! The range of ports that can be allocated, and the ports in it that are never allocated.

use crate::ground::error::{Error, Kind, Result};
use std::ffi::OsStr;
use std::fmt;

/// The ports of Hermes Agent's own listeners (api_server, webhook and dashboard), which are never allocated (E1, E2).
const OWN: [u16; 3] = [8642, 8644, 9119];

/// The ports that may be allocated, both ends included. `low` is at least 1 and at most `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The lowest port.
    pub low: u16,
    /// The highest port.
    pub high: u16,
}

impl Range {
    /// 9200-9799, the range of Hermes Agent's former allocator (E5).
    pub const DEFAULT: Range = Range { low: 9200, high: 9799 };

    /// The range of `-r`, else `$HERMES_PORT_RANGE`, else 9200-9799.
    ///
    /// # Errors
    /// 100 if the text is not `low-high` with 1 <= low <= high <= 65535.
    pub fn from_option(option: Option<&OsStr>) -> Result<Range> {
        let variable = std::env::var_os("HERMES_PORT_RANGE").filter(|v| !v.is_empty());
        match (option, variable) {
            (Some(text), _) => Range::parse(text, "port range"),
            (None, Some(text)) => Range::parse(&text, "$HERMES_PORT_RANGE"),
            (None, None) => Ok(Range::DEFAULT),
        }
    }

    fn parse(text: &OsStr, name: &str) -> Result<Range> {
        let ends = text.to_str().and_then(|t| t.split_once('-'));
        let parsed = ends.and_then(|(low, high)| Some(Range { low: port(low)?, high: port(high)? }));
        parsed.filter(|range| range.low <= range.high).ok_or_else(|| {
            let shown = text.to_string_lossy();
            Error::new(Kind::Usage, format!("invalid {name} \"{shown}\": it must be low-high, within 1-65535"))
        })
    }

    /// The number of ports in the range.
    pub fn width(self) -> u32 {
        u32::from(self.high) - u32::from(self.low) + 1
    }

    /// The port that is `offset` above the lowest, counted modulo the width.
    pub fn nth(self, offset: u32) -> u16 {
        // The remainder is below the width, so the sum is at most `high`.
        self.low + (offset % self.width()) as u16
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.low, self.high)
    }
}

/// The ports that are never allocated: Hermes Agent's own, and those in `$HERMES_RESERVED_PORTS`, separated by commas
/// or blanks (E7).
///
/// # Errors
/// 100 if a word in the variable is not a port.
pub fn reserved() -> Result<Vec<u16>> {
    let more = std::env::var_os("HERMES_RESERVED_PORTS").unwrap_or_default();
    parse_reserved(&more)
}

fn parse_reserved(more: &OsStr) -> Result<Vec<u16>> {
    let text = more.to_string_lossy();
    let words = text.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let more = words.map(|word| {
        port(word).ok_or_else(|| {
            let text = format!("invalid $HERMES_RESERVED_PORTS \"{text}\": \"{word}\" is not a port, 1 to 65535");
            Error::new(Kind::Usage, text)
        })
    });
    OWN.into_iter().map(Ok).chain(more).collect()
}

/// A port: a plain decimal number from 1 to 65535.
fn port(text: &str) -> Option<u16> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok().filter(|port| *port != 0) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_ports_in_order() {
        for (text, low, high) in [("9200-9799", 9200, 9799), ("1-65535", 1, 65535), ("80-80", 80, 80)] {
            assert_eq!(Range::from_option(Some(OsStr::new(text))), Ok(Range { low, high }));
        }
        for text in ["", "-", "9200", "9200-", "-9799", "9799-9200", "0-10", "1-65536", "a-b", "+1-2", "1-2-3", " 1-2"]
        {
            let error = Range::parse(OsStr::new(text), "port range").unwrap_err();
            let shown = format!("invalid port range \"{text}\": it must be low-high, within 1-65535");
            assert_eq!((error.kind, error.text), (Kind::Usage, shown));
        }
    }

    #[test]
    fn the_port_after_the_highest_is_the_lowest() {
        for (low, high, width) in [(65000, 65535, 536), (1, 65535, 65535), (80, 80, 1), (9200, 9201, 2)] {
            let range = Range { low, high };
            assert_eq!((range.width(), range.to_string()), (width, format!("{low}-{high}")));
            for (offset, port) in [(0, low), (width - 1, high), (width, low), (2 * width - 1, high), (2 * width, low)] {
                assert_eq!(range.nth(offset), port, "{range} {offset}");
            }
        }
    }

    /// Rows E2, E7 of docs/failures.md.
    #[test]
    fn reserved_ports_are_added_to_the_fixed_ones() {
        for (text, more) in [("", &[][..]), ("9201", &[9201]), ("9201,9202 9203,\t1", &[9201, 9202, 9203, 1])] {
            assert_eq!(parse_reserved(OsStr::new(text)), Ok([&OWN[..], more].concat()));
        }
        for (text, of) in [("9201;9202", "9201;9202"), ("1, 0", "0"), ("65536", "65536"), ("+1", "+1"), ("1 x", "x")] {
            let shown = format!("invalid $HERMES_RESERVED_PORTS \"{text}\": \"{of}\" is not a port, 1 to 65535");
            assert_eq!(parse_reserved(OsStr::new(text)).map_err(|e| e.text), Err(shown));
        }
        for text in ["9201;9202", "0", "65536", "9300-9310", "none"] {
            assert_eq!(parse_reserved(OsStr::new(text)).map_err(|e| e.kind), Err(Kind::Usage), "{text}");
        }
    }
}
