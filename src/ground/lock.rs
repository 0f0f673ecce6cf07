//! Locks with a deadline. A lock that becomes free sends no event, so waiting for a lock means trying again.

use crate::ground::deadline::Deadline;
use crate::ground::error::{Error, Result};
use rustix::fs::{AtFlags, FlockOperation};
use rustix::io::Errno;
use std::fmt::Display;
use std::os::fd::AsFd;
use std::time::Duration;

/// Take the `fcntl` write lock on the whole of an open file. `s6-setlock` uses the same kind of lock; a `flock` lock
/// would not exclude it. The process loses the lock when it closes any descriptor of that file. If the file system has
/// no locks, no process can have the lock, and the error is returned as `Some`.
///
/// # Errors
/// 99 if the deadline passes first. 111 if the kernel refuses for want of something else, or a deferred signal came.
pub fn take(fd: impl AsFd, name: impl Display, deadline: Deadline) -> Result<Option<Errno>> {
    let mut pause = Duration::from_millis(1);
    loop {
        match rustix::fs::fcntl_lock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(None),
            Err(Errno::AGAIN | Errno::ACCESS) => {}
            Err(Errno::INTR) => continue,
            Err(errno) if is_refused(errno) => return Ok(Some(errno)),
            Err(errno) => return Err(Error::system("lock", name, errno)),
        }
        std::thread::sleep(deadline.patience(pause, format_args!("the lock {name}"))?);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Does this error mean that the file system has no locks? Network and FUSE file systems also return errors that
/// flock(2) and fcntl(2) do not document.
pub fn is_refused(errno: Errno) -> bool {
    matches!(errno, Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::BADF | Errno::IO)
}

pub fn release(fd: impl AsFd) {
    let _ = rustix::fs::fcntl_lock(fd, FlockOperation::Unlock);
}

/// Does `name` still lead to the locked file? A lock on a file that was removed or replaced excludes nobody who opens
/// the name now.
///
/// # Errors
/// The system's error if one of the two could not be looked at.
pub fn is_in_place(dir: impl AsFd, name: &str, file: impl AsFd) -> rustix::io::Result<bool> {
    let held = rustix::fs::fstat(file)?;
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((held.st_dev, held.st_ino) == (named.st_dev, named.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}
