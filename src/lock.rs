//! Locks with a deadline. They are the one thing that is waited for by asking again: a lock sends no event.

use crate::cli::Deadline;
use crate::exit::{Error, Result};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fmt::Display;
use std::os::fd::AsFd;
use std::time::Duration;

/// Take the `fcntl` write lock on the whole of an open file: the kind that `s6-setlock` takes, and only that kind
/// excludes it (s6-facts, 4). It ends when any descriptor of that file is closed.
///
/// # Errors
/// 99 when the deadline passes first, 111 where the kernel refuses.
pub fn take(fd: impl AsFd, name: impl Display, deadline: Deadline) -> Result<()> {
    let mut pause = Duration::from_millis(1);
    loop {
        match rustix::fs::fcntl_lock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::AGAIN | Errno::ACCESS) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(Error::system("lock", name, errno)),
        }
        let Some(left) = deadline.left(pause) else {
            return Err(deadline.timed_out(format!("the lock {name}")));
        };
        std::thread::sleep(left);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Release what `take` took.
pub fn release(fd: impl AsFd) {
    let _ = rustix::fs::fcntl_lock(fd, FlockOperation::Unlock);
}
