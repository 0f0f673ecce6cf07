//! The preferred port of a profile, which depends only on its name and the range.

use super::Range;
use crate::ground::profile::Profile;
use sha2::{Digest as _, Sha256};

/// The port `low` + (digest mod the number of ports in the range). The digest is the SHA-256 of the name, read as one
/// big-endian integer.
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

    #[test]
    fn the_whole_digest_counts_in_a_range_of_any_width() {
        // int(hashlib.sha256(b"coder").hexdigest(), 16) % width, by Python.
        let coder = Profile::parse(OsStr::new("coder")).unwrap();
        for (low, high, port) in
            [(1, 65535, 23206), (9200, 9201, 9200), (9200, 9202, 9200), (1024, 65535, 5194), (80, 80, 80)]
        {
            assert_eq!(preferred(&coder, Range { low, high }), port, "{low}-{high}");
        }
    }
}
