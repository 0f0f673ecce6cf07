//! What a slot runs: the gateway's environment, its lock, and the takeover of one whose supervisor was killed.

pub mod chain;
pub mod listener;
pub mod lock;
pub mod orphan;
pub mod passage;
pub mod place;
pub mod port;
pub mod scrub;
