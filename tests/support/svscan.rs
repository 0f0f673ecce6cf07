//! A real s6-svscan.

use super::wait_until;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running s6-svscan.
pub struct Svscan {
    child: Child,
    scandir: PathBuf,
}

impl Svscan {
    /// Run s6-svscan on this scandir, and wait until it listens. The command is `s6-svscan` or a program that executes
    /// it. The caller sets its options, its environment and its output.
    #[track_caller]
    pub fn start(mut command: Command, scandir: &Path) -> Svscan {
        command.arg(scandir).current_dir("/").stdin(Stdio::null());
        let child = command.spawn().unwrap_or_else(|e| panic!("unable to run s6-svscan: {e}"));
        let svscan = Svscan { child, scandir: scandir.to_path_buf() };
        wait_until("s6-svscan to listen", || has_reader(&scandir.join(".s6-svscan/control")));
        svscan
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kill s6-svscan. The processes that it supervises stay.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// End s6-svscan in order: it brings its services and their loggers down, and waits for them.
    pub fn end(mut self) {
        let _ = Command::new("s6-svscanctl").arg("-t").arg(&self.scandir).status();
        let _ = self.child.wait();
    }
}

/// Does a process read this FIFO? If not, opening the FIFO fails with ENXIO.
fn has_reader(fifo: &Path) -> bool {
    openat(CWD, fifo, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).is_ok()
}
