//! Signals as descriptors to poll. A signalfd is not used: the signals would have to be blocked for it, and children
//! inherit the mask and would never get SIGTERM.

use crate::ground::error::{Error, Result};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io::Read as _;
use std::os::unix::net::UnixStream;

/// SIGCHLD on one pipe, SIGTERM and SIGINT on another.
pub struct Signals {
    /// Readable when a child has ended.
    pub child: UnixStream,
    /// Readable when the watcher is told to end.
    pub end: UnixStream,
}

impl Signals {
    /// Catch the signals from now on. An exec restores their default actions.
    ///
    /// # Errors
    /// 111 if the pipes or the handlers cannot be made.
    pub fn catch() -> Result<Signals> {
        let caught = |signals: &[i32]| {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            for signal in signals {
                pipe::register(*signal, write.try_clone()?)?;
            }
            Ok(read)
        };
        let unable = |e: std::io::Error| Error::system("catch", "signals", e);
        Ok(Signals { child: caught(&[SIGCHLD]).map_err(unable)?, end: caught(&[SIGTERM, SIGINT]).map_err(unable)? })
    }
}

/// Empty the pipe, and return whether there was anything in it.
pub fn came(mut pipe: &UnixStream) -> bool {
    let mut bytes = [0; 64];
    let mut any = false;
    while pipe.read(&mut bytes).is_ok_and(|read| read > 0) {
        any = true;
    }
    any
}
