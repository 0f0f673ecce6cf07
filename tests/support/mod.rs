//! The support code of the tests and the benches. The suite uses all of it, every other program a part of it.
#![allow(dead_code, unused_imports)]

pub mod agent;
mod glob;
mod mount;
mod port;
pub mod printed;
mod process;
mod profile;
mod program;
mod scratch;
mod snapshot;
mod supervision;
mod svscan;
mod template;
mod tool;
mod tree;
mod wait;

pub use glob::glob;
pub use port::{free_port, preferred_port};
pub use process::{Process, instances, kill, processes, processes_of, start_time};
pub use profile::Profile;
pub use program::executable;
pub use snapshot::snapshot;
pub use svscan::Svscan;
pub use template::copy_template;
pub use tool::{Ran, Running, Tool};
pub use tree::Tree;
pub use wait::{wait_for, wait_until};

/// The runtime account's uid if the tests run as root. No user database has it, so the tools take the uid of the home's
/// owner.
pub const UID: u32 = 54_321;
/// The account's gid. It differs from the uid, so that a tool which mixes them up fails.
pub const GID: u32 = 54_322;

/// Do the tests run as root?
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Fail unless root runs the test. A skipped test would look like a success.
#[track_caller]
pub fn needs_root() {
    assert!(is_root(), "this test plays root and an account: run it as root");
}

/// Make a symbolic link. If root runs the tests, the link belongs to this uid. It is made under another name and
/// renamed, so that it never belongs to root under its own name.
#[track_caller]
pub fn link_of(uid: u32, target: impl AsRef<std::path::Path>, link: &std::path::Path) {
    let name = link.file_name().expect("a name").to_string_lossy();
    let new = link.with_file_name(format!(".{name}.new"));
    std::os::unix::fs::symlink(target, &new).unwrap_or_else(|e| panic!("unable to link {}: {e}", link.display()));
    if is_root() {
        std::os::unix::fs::lchown(&new, Some(uid), Some(uid)).expect("owner");
    }
    std::fs::rename(&new, link).unwrap_or_else(|e| panic!("unable to link {}: {e}", link.display()));
}
