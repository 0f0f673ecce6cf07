//! A logger without its directory: lines pass through to our own output until the directory is free.

use crate::exit::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};

/// How the passage ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Nobody holds the lock any more, and the last line is complete.
    Free,
    /// There will be no more lines.
    EndOfFile,
}

/// Copy lines until nobody holds the `fcntl` lock on `file`. The lock sends no event that could be waited for together
/// with the next line, so a thread waits for it.
///
/// # Errors
/// 111 if the lines cannot be read or written.
pub fn until_free(file: OwnedFd) -> Result<End> {
    let failed = |verb: &'static str, object: &'static str| move |e: Errno| Error::system(verb, object, e);
    let (free, thread_is_over) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed("create", "a pipe"))?;
    let thread = std::thread::Builder::new().spawn(move || {
        while let Err(Errno::INTR) = rustix::fs::fcntl_lock(&file, FlockOperation::LockExclusive) {}
        // The lock goes with the descriptor: whom we execute takes it for itself.
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
        // In the middle of a line only its end is waited for.
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
