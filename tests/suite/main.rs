//! The black-box suite: the tools as users run them, on real s6-svscan trees.
//!
//! Every test has a tree of its own (`support::Tree`), so all of them run in parallel, as root or as a plain user.
#![forbid(unsafe_code)]

/// What the tests stand on: trees, tools, profiles, the stand-in gateway.
#[allow(dead_code)] // other test binaries stand on it too, each on a part
mod support;

/// The tests' own ground: a tree starts, and dies as hard as a container does.
mod harness;

/// The boot pass: the same gateways up after every boot, however the container died.
mod boot_pass;

/// The shared face, and what the man pages say of it.
mod cli;

/// Every invalid name against every tool.
mod names;

/// Slots: published, updated, retired, healed, and closed to the runtime account.
mod slots;

/// start, stop, restart, list; the intent; holds.
mod lifecycle;

/// What s6 says beside what was intended; who supervises.
mod status;

/// One profile, at any time.
mod reconcile_one;

/// The tools in scripts, as users write them.
mod chaining;

/// Bad input, each with its code and its one line.
mod bad_input;

/// Our decision at boot beside that of the Python reconciler.
mod differential;

/// What people do who cannot wait.
mod impatient;

/// The real Hermes Agent under our slots.
mod hermes_agent;
