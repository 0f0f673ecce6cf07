//! The attacker. Every test plays the runtime account, which owns the volume and may run any program, against the tools as
//! root on a bare tree: a scandir of root's with a real s6-svscan. It must fail to make root execute, create, truncate,
//! chown, chmod, delete or reveal anything, or wait for ever; and the tools must end as their pages say (SECURITY.md).
//!
//! A test that cannot be run is no proof: these fail where they are not run by root.
#![forbid(unsafe_code)]

#[allow(dead_code, unused_imports)] // shared with the suite
#[path = "../suite/support/mod.rs"]
mod support;

/// The tree, the canary, and the account's own threads.
mod ground;

/// What the account keeps others waiting with.
mod delays;
/// The home's own path, and whose it is.
mod homes;
/// Programs and variables that root must not take from the account.
mod programs;
/// Processes of root's while they have the account's rights.
mod rights;
/// Nothing of the account's in the scandir, and no scandir of the account's.
mod scandir;
/// Things in the place of files and directories on the volume.
mod volume;
/// Bytes on their way to a record or a terminal.
mod words;
