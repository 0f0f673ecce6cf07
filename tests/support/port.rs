//! The preferred port of a name, computed independently of the tools (docs/DESIGN.md, "Ports").

use sha2::{Digest as _, Sha256};
use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};

/// A port below those that the kernel assigns by itself. Tests run side by side, and every `default` would get the same
/// port.
pub fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (0..).map(|n: u64| 20_000 + (RandomState::new().hash_one(n) % 12_000) as u16).find(free).expect("a free port")
}

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
