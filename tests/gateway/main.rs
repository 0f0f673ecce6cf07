//! What a slot runs, on real s6 trees: the environment, the identity, the lock, the takeover, the template.
//!
//! As root, because that is what s6-supervise is in a container: the account is a numeric owner of the home that no user
//! database knows.
#![forbid(unsafe_code)]

/// A home, a scandir and the programs in them.
mod ground;
/// The logger.
mod logger;
/// hermes-run-gateway by itself.
mod run_gateway;
/// The template under a real s6-svscan.
mod slot;
