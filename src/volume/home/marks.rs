//! The marks of the profiles that Hermes Agent has deleted.

use crate::ground::roots_links;
use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;
use std::os::fd::OwnedFd;

/// The directory, beside the profiles, in which newer releases of Hermes Agent mark those that they have deleted. A late
/// write can make the directory of such a profile again, and an older release does not know the mark.
pub const DELETED: &str = ".deleted";

/// The directory of the marks, at this path beneath `dir`, if there is one.
///
/// # Errors
/// The system's error if it cannot be opened.
pub fn open(dir: &OwnedFd, path: &str) -> rustix::io::Result<Option<OwnedFd>> {
    match roots_links::open(dir, path, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(marks) => Ok(Some(marks)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Is there a mark for this name?
///
/// # Errors
/// The system's error if that cannot be looked at.
pub fn is_marked(marks: &OwnedFd, name: impl Arg) -> rustix::io::Result<bool> {
    match rustix::fs::statat(marks, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}
