//! Which ports there are to allocate, and which never are.

use crate::exit::{Error, Exit, Result};
use std::ffi::OsStr;
use std::fmt;

/// The ports of Hermes Agent's own listeners, api_server, webhook and dashboard, which no allocation may take (E1, E2).
const OWN: [u16; 3] = [8642, 8644, 9119];

/// The ports that may be allocated, both ends included; `low` is not above `high`, and not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The lowest.
    pub low: u16,
    /// The highest.
    pub high: u16,
}

impl Range {
    /// 9200-9799, where Hermes Agent's retired allocator had its ports (E5).
    pub const DEFAULT: Range = Range { low: 9200, high: 9799 };

    /// The range of `-r`, else `$HERMES_PORT_RANGE`, else 9200-9799.
    ///
    /// # Errors
    /// 100 for what is not `low-high` within 1 and 65535, in that order.
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
            Error::new(Exit::Usage, format!("invalid {name} \"{shown}\": it must be low-high, within 1-65535"))
        })
    }

    /// How many ports there are in it.
    pub fn width(self) -> u32 {
        u32::from(self.high) - u32::from(self.low) + 1
    }

    /// The port `offset` above the lowest, wrapping around behind the highest.
    pub fn nth(self, offset: u32) -> u16 {
        // Below the width, so the sum is at most `high`.
        self.low + (offset % self.width()) as u16
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.low, self.high)
    }
}

/// The ports that are never allocated: Hermes Agent's own, and `$HERMES_RESERVED_PORTS`, separated by commas or blanks (E7).
///
/// # Errors
/// 100 for what is not a port.
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
            Error::new(Exit::Usage, text)
        })
    });
    OWN.into_iter().map(Ok).chain(more).collect()
}

/// A plain decimal, 1 to 65535.
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
            let error = Range::from_option(Some(OsStr::new(text))).unwrap_err();
            let shown = format!("invalid port range \"{text}\": it must be low-high, within 1-65535");
            assert_eq!((error.exit, error.text), (Exit::Usage, shown));
        }
    }

    #[test]
    fn the_port_after_the_highest_is_the_lowest() {
        let range = Range { low: 65000, high: 65535 };
        assert_eq!((range.nth(535), range.nth(536)), (65535, 65000));
    }

    #[test]
    fn reserved_ports_are_added_to_the_fixed_ones() {
        for (text, more) in [("", &[][..]), ("9201", &[9201]), ("9201,9202 9203,\t1", &[9201, 9202, 9203, 1])] {
            assert_eq!(parse_reserved(OsStr::new(text)), Ok([&OWN[..], more].concat()));
        }
        for text in ["9201;9202", "0", "65536", "9300-9310", "none"] {
            assert_eq!(parse_reserved(OsStr::new(text)).map_err(|e| e.exit), Err(Exit::Usage), "{text}");
        }
    }
}
