//! The runs of `prog... NAME`.

use crate::profile::Profile;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

/// Those under way, and how to start another.
pub struct Children {
    prog: Vec<OsString>,
    running: Vec<(Profile, Child)>,
}

impl Children {
    /// None yet.
    pub fn of(prog: Vec<OsString>) -> Children {
        Children { prog, running: Vec::new() }
    }

    /// Run `prog... NAME`: the name is an argument and nothing else, and there is nothing on its standard input.
    pub fn start(&mut self, profile: &Profile) -> std::io::Result<()> {
        let mut words = self.prog.iter();
        let program = words.next().ok_or(std::io::ErrorKind::InvalidInput)?;
        let child = Command::new(program).args(words).arg(profile.as_str()).stdin(Stdio::null()).spawn()?;
        self.running.push((profile.clone(), child));
        Ok(())
    }

    /// Those that have ended.
    pub fn reap(&mut self) -> Vec<(Profile, ExitStatus)> {
        let mut ended = Vec::new();
        self.running.retain_mut(|(profile, child)| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                ended.push((profile.clone(), status));
                false
            }
            // Nobody can say how it ended, where SIGCHLD is ignored; then it did not fail.
            Err(_) => {
                ended.push((profile.clone(), ExitStatus::from_raw(0)));
                false
            }
        });
        ended
    }

    /// Pass SIGTERM on.
    pub fn terminate(&self) {
        for (_, child) in &self.running {
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
        }
    }

    /// Is none under way?
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The run for this profile, in words.
    pub fn shown(&self, profile: &Profile) -> String {
        format!("{} {profile}", self.prog.first().map(|p| p.to_string_lossy()).unwrap_or_default())
    }
}
