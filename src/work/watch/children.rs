//! The runs of `prog... NAME` that the watcher starts.

use crate::ground::profile::Profile;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

/// The running children, and the command that starts another.
pub struct Children {
    prog: Vec<OsString>,
    running: Vec<(Profile, Child)>,
}

impl Children {
    pub fn of(prog: Vec<OsString>) -> Children {
        Children { prog, running: Vec::new() }
    }

    /// Run `prog... NAME`, with nothing on its standard input.
    pub fn start(&mut self, profile: &Profile) -> std::io::Result<()> {
        let mut words = self.prog.iter();
        let program = words.next().ok_or(std::io::ErrorKind::InvalidInput)?;
        let child = Command::new(program).args(words).arg(profile.as_str()).stdin(Stdio::null()).spawn()?;
        self.running.push((profile.clone(), child));
        Ok(())
    }

    /// Collect the children that have ended.
    pub fn reap(&mut self) -> Vec<(Profile, ExitStatus)> {
        let mut ended = Vec::new();
        self.running.retain_mut(|(profile, child)| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                ended.push((profile.clone(), status));
                false
            }
            // If SIGCHLD is ignored, nobody can say how the child ended. It then counts as successful.
            Err(_) => {
                ended.push((profile.clone(), ExitStatus::from_raw(0)));
                false
            }
        });
        ended
    }

    /// Send SIGTERM to all children.
    pub fn terminate(&self) {
        for (_, child) in &self.running {
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
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
