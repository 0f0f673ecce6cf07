//! Readiness, as s6 wants it: a newline on the descriptor that the service's `notification-fd` names.

use crate::exit::{Error, Result};
use rustix::fs::{FileType, Mode, OFlags};
use std::os::fd::OwnedFd;

/// The descriptor; `-d` of s6's own programs is not among the options of ours.
const NUMBER: i32 = 3;

/// A pipe to say it on, if somebody listens.
pub struct Ready(Option<OwnedFd>);

impl Ready {
    /// Descriptor 3, if it is open for writing and is a pipe. It is taken over under another number and is closed, so that
    /// no child inherits it. Call it before anything is opened.
    ///
    /// # Errors
    /// 111 if it is there and cannot be taken over.
    pub fn inherited() -> Result<Ready> {
        let path = format!("/proc/self/fd/{NUMBER}");
        let fifo = rustix::fs::stat(&path).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Fifo);
        // The link itself has the permissions that the descriptor was opened with.
        let writable = rustix::fs::lstat(&path).is_ok_and(|s| Mode::from_raw_mode(s.st_mode).contains(Mode::WUSR));
        if !fifo || !writable {
            return Ok(Ready(None));
        }
        let unable = |e| Error::system("take over", "descriptor 3 for readiness", e);
        let own = rustix::fs::open(&path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
        let own = own.map_err(unable)?;
        nix::unistd::close(NUMBER).map_err(|e| Error::system("close", "descriptor 3", std::io::Error::from(e)))?;
        Ok(Ready(Some(own)))
    }

    /// Say it. That nobody listens any more is not our concern.
    pub fn notify(self) {
        if let Some(pipe) = self.0 {
            let _ = rustix::io::write(pipe, b"\n");
        }
    }
}
