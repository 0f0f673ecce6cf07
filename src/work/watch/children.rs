//! The runs of `prog... NAME` that the watcher starts.

use crate::ground::profile::Profile;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

/// The running children, and the command that starts another.
pub struct Children {
    prog: Vec<OsString>,
    running: Vec<Run>,
}

/// A run.
struct Run {
    profile: Profile,
    child: Child,
    /// Is its output dropped?
    quiet: bool,
}

/// How a run ended.
pub struct Ended {
    pub profile: Profile,
    pub status: ExitStatus,
    pub quiet: bool,
}

impl Children {
    pub fn of(prog: Vec<OsString>) -> Children {
        Children { prog, running: Vec::new() }
    }

    /// Run `prog... NAME`, with nothing on its standard input. `quiet` drops its output.
    pub fn start(&mut self, profile: &Profile, quiet: bool) -> std::io::Result<()> {
        let mut words = self.prog.iter();
        let program = words.next().ok_or(std::io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(words).arg(profile.as_str()).stdin(Stdio::null());
        if quiet {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        self.running.push(Run { profile: profile.clone(), child: command.spawn()?, quiet });
        Ok(())
    }

    /// Collect the children that have ended.
    pub fn reap(&mut self) -> Vec<Ended> {
        let mut ended = Vec::new();
        self.running.retain_mut(|Run { profile, child, quiet }| {
            let status = match child.try_wait() {
                Ok(None) => return true,
                Ok(Some(status)) => status,
                // If SIGCHLD is ignored, nobody can say how the child ended. It then counts as successful.
                Err(_) => ExitStatus::from_raw(0),
            };
            ended.push(Ended { profile: profile.clone(), status, quiet: *quiet });
            false
        });
        ended
    }

    /// Send SIGTERM to all children.
    pub fn terminate(&self) {
        for run in &self.running {
            let _ = kill_process(Pid::from_child(&run.child), Signal::TERM);
        }
    }

    /// Is no child running?
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The command for this profile, for messages.
    pub fn shown(&self, profile: &Profile) -> String {
        format!("{} {profile}", self.prog.first().map(|p| p.to_string_lossy()).unwrap_or_default())
    }
}
