//! Logging without a log directory: lines are copied to our own output until the directory is free.

use crate::ground::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};

/// How the copying ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The lock is free, and the last line is complete.
    Free,
    /// The input has ended.
    EndOfFile,
}

/// Copy lines until no process holds the `fcntl` lock on `file`. A lock sends no event that could be polled together
/// with the input, so a thread waits for the lock.
///
/// # Errors
/// 111 if the thread cannot be started, or the lines cannot be read or written.
pub fn until_free(file: OwnedFd) -> Result<End> {
    let failed = |verb: &'static str, object: &'static str| move |e: Errno| Error::system(verb, object, e);
    let (free, thread_is_over) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed("create", "a pipe"))?;
    let thread = std::thread::Builder::new().spawn(move || {
        while let Err(Errno::INTR) = rustix::fs::fcntl_lock(&file, FlockOperation::LockExclusive) {}
        // Closing the file releases the lock. The program that we execute next takes the lock for itself.
        drop(file);
        drop(thread_is_over);
    });
    thread.map_err(|e| Error::system("start", "a thread", e))?;
    let (stdin, mut stdout) = (std::io::stdin(), std::io::stdout());
    let mut buffer = vec![0; 64 * 1024];
    let mut complete = true;
    loop {
        let mut events = [
            PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(free.as_fd(), PollFlags::IN),
        ];
        // In the middle of a line, only wait for the rest of the line.
        let watched = if complete { &mut events[..] } else { &mut events[..1] };
        match poll(watched, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed("wait for", "standard input")(errno)),
        }
        if complete && !events[1].revents().is_empty() {
            return Ok(End::Free);
        }
        if events[0].revents().is_empty() {
            continue;
        }
        let read = match rustix::io::read(&stdin, &mut buffer[..]) {
            Ok(0) => return Ok(End::EndOfFile),
            Ok(read) => &buffer[..read],
            Err(Errno::INTR | Errno::AGAIN) => continue,
            Err(errno) => return Err(failed("read", "standard input")(errno)),
        };
        let written = stdout.write_all(read).and_then(|()| stdout.flush());
        written.map_err(|e| Error::system("write to", "standard output", e))?;
        complete = read.last() == Some(&b'\n');
    }
}
