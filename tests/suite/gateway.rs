//! The programs of a slot on real s6 trees: the environment, the identity, the lock, the takeover, the template.
//!
//! The tests run as root, like s6-supervise in a container. The account is the owner of the home, a uid that no user
//! database has.
/// The home, the scandir and the programs of these tests.
mod ground;
/// hermes-run-hook, by hand and in a slot.
mod hook;
/// hermes-run-logger.
mod logger;
/// hermes-run-gateway without a slot.
mod run_gateway;
/// The environment that named profiles share with `default`.
mod shared;
/// The template under a real s6-svscan.
mod slot;
