//! The intent: what the operator wants, `desired_state` in the profile's `gateway_state.json`.
//!
//! Only start, stop and restart write it, before they act (A13), and every other field of the file survives (A14).

use crate::beneath;
use crate::cli::Deadline;
use crate::exit::{Error, Result};
use crate::home::{Home, profile_dir};
use crate::lock;
use crate::message::Log;
use crate::profile::Profile;
use crate::state::{self, Fields, State};
use rustix::fs::{Mode, OFlags};
use serde_json::value::to_raw_value;
use std::os::fd::OwnedFd;

/// What the operator wants of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Up, now and after every boot.
    Running,
    /// Down until somebody starts it.
    Stopped,
}

impl Intent {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Intent::Running => "running",
            Intent::Stopped => "stopped",
        }
    }
}

/// The lock that keeps intent and action together: start, stop, restart and reconcile read, write and act inside it.
const LOCK: &str = ".hermes-s6.intent.lock";

/// How long it is waited for: the account can hold it for ever, so after that the work goes on with a warning.
pub const PATIENCE_MS: u64 = 1000;

/// The held lock of one profile; dropped, it is free.
pub struct Guard(Option<OwnedFd>);

impl Guard {
    /// Take the lock, or go on without it after a second.
    pub fn take(home: &Home, profile: &Profile, patience: Deadline, log: &dyn Log) -> Guard {
        let shown = home.shown(profile, LOCK);
        let opened = home.act(|home| {
            let unable = |e| Error::system("open", &shown, e);
            let Some(dir) = profile_dir(home, profile).map_err(unable)? else { return Ok(None) };
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOFOLLOW;
            match beneath::open(&dir, LOCK, flags, Mode::RUSR | Mode::WUSR) {
                Ok(fd) => Ok(Some(fd)),
                // Nobody can write an intent there either.
                Err(rustix::io::Errno::ROFS) => Ok(None),
                Err(errno) => Err(unable(errno)),
            }
        });
        let held = opened.and_then(|fd| {
            let Some(fd) = fd else { return Ok(None) };
            lock::take(&fd, &shown, patience.or_after_ms(PATIENCE_MS)).map(|()| Some(fd))
        });
        match held {
            Ok(fd) => Guard(fd),
            Err(error) => {
                log.warning(&format!("{}; going on without it", error.text));
                Guard(None)
            }
        }
    }

    /// Is the lock really held?
    pub fn is_held(&self) -> bool {
        self.0.is_some()
    }
}

/// Write the intent, synced and renamed, and keep every field that we do not know. A state file that cannot be
/// understood is set aside as `gateway_state.json.bad`, so that nothing is lost.
///
/// # Errors
/// 100 if there is no such profile, 111 if the volume does not take it (full, read-only): then nothing has changed.
pub fn write(home: &Home, profile: &Profile, intent: Intent, log: &dyn Log) -> Result<()> {
    let shown = home.shown(profile, state::FILE);
    let broken = home.act(|home_dir| {
        let unable = |e: std::io::Error| Error::system("write", &shown, e);
        let Some(dir) = profile_dir(home_dir, profile).map_err(|e| unable(e.into()))? else {
            return Err(Error::new(crate::exit::Exit::Usage, format!("no such profile: {profile}")));
        };
        let (mut fields, broken) = match State::read(&dir) {
            State::Absent => (Fields::new(), None),
            State::Object(fields) => (fields, None),
            State::Broken(why) => (Fields::new(), Some(why)),
        };
        let now = jiff::Timestamp::now().as_second();
        for (key, value) in [("desired_state", to_raw_value(intent.as_str())), ("updated_at", to_raw_value(&now))] {
            fields.insert(key.to_string(), value.map_err(|e| unable(e.into()))?);
        }
        let mut bytes = serde_json::to_vec(&fields).map_err(|e| unable(e.into()))?;
        bytes.push(b'\n');
        if broken.is_some() {
            beneath::set_aside(&dir, state::FILE).map_err(|e| unable(e.into()))?;
        }
        beneath::replace(&dir, state::FILE, &bytes, Mode::from_raw_mode(0o644)).map_err(unable)?;
        Ok(broken)
    })?;
    if let Some(why) = broken {
        log.warning(&format!("{shown} was {why}: set aside as {}.bad", state::FILE));
    }
    Ok(())
}

/// The intent as it is on disk: `None` where there is none or it cannot be understood.
pub fn read(home: &Home, profile: &Profile) -> Result<Option<Intent>> {
    home.act(|home_dir| {
        let dir = profile_dir(home_dir, profile).map_err(|e| Error::system("open", home.shown(profile, ""), e))?;
        let state = dir.map(|dir| State::read(&dir));
        Ok(match state.as_ref().and_then(|s| s.string("desired_state")).as_deref() {
            Some("running") => Some(Intent::Running),
            Some("stopped") => Some(Intent::Stopped),
            _ => None,
        })
    })
}
