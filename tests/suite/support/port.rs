//! The ports that names prefer, worked out apart from the tools: DESIGN, section 6.

use sha2::{Digest as _, Sha256};

/// 9200 + (the whole SHA-256 of the name, big-endian) mod 600.
pub fn preferred_port(name: &str) -> u32 {
    9200 + Sha256::digest(name.as_bytes()).iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % 600)
}

#[test]
fn the_preferred_ports_are_those_of_the_contract() {
    for (name, port) in
        [("default", 9495), ("coder", 9530), ("writer", 9685), ("a", 9699), ("assistant", 9762), ("0", 9305)]
    {
        assert_eq!(preferred_port(name), port, "{name}");
    }
}
