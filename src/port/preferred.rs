//! The preferred port: a function of the name alone.

use super::Range;
use crate::profile::Profile;
use sha2::{Digest as _, Sha256};

/// `low` + (SHA-256 of the name, the whole digest read as one big-endian integer) mod the number of ports in the range.
pub fn preferred(profile: &Profile, range: Range) -> u16 {
    let width = range.width();
    let rest = Sha256::digest(profile.as_str()).iter().fold(0, |rest, byte| ((rest << 8) + u32::from(*byte)) % width);
    range.nth(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn the_designs_six_examples() {
        for (name, port) in
            [("default", 9495), ("coder", 9530), ("writer", 9685), ("a", 9699), ("assistant", 9762), ("0", 9305)]
        {
            let profile = Profile::parse(OsStr::new(name)).unwrap();
            assert_eq!(preferred(&profile, Range::DEFAULT), port, "{name}");
        }
    }

    #[test]
    fn every_range_holds_the_preferred_port() {
        let coder = Profile::parse(OsStr::new("coder")).unwrap();
        for (low, high) in [(1, 65535), (9530, 9530), (65535, 65535), (1, 1), (9200, 9201)] {
            let port = preferred(&coder, Range { low, high });
            assert!((low..=high).contains(&port), "{low}-{high}: {port}");
        }
    }
}
