//! Attacks. Every test plays the runtime account against the tools, which run as root on a tree with a scandir of
//! root's and a real s6-svscan. The account owns the volume and may run any program. It must not be able to make root
//! execute, create, truncate, chown, chmod, delete or reveal anything, or wait for ever. The tools must end as their
//! manual pages say (SECURITY.md).
//!
//! If root does not run these tests, they fail, because a skipped test proves nothing.

/// The tree, the canary, and the account's own threads.
mod ground;

/// The memory, time and log lines that root spends.
mod costs;
/// Files and locks with which the account makes others wait.
mod delays;
/// The path of the home, and its owner.
mod homes;
/// Programs and variables that root must not take from the account.
mod programs;
/// Processes of root while they have the account's rights.
mod rights;
/// The scandir: no entry of the account's in root's, and no scandir of the account's.
mod scandir;
/// The line in which gateways wait for their turns.
mod turns;
/// Other things in place of files and directories on the volume.
mod volume;
/// The watcher under attack.
mod watcher;
/// Hostile bytes on their way to a record or a terminal.
mod words;
