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

/// Hermes Agent may write the file between our reading and our rename: then what it wrote is read and changed instead (A14).
/// So often, and then over it.
const TRIES: u32 = 5;

/// How long it is waited for: the account can hold it for ever, so after that the work goes on with a warning.
pub const PATIENCE_MS: u64 = 1000;

/// The held lock of one profile; dropped, it is free.
pub struct Guard(Option<OwnedFd>);

impl Guard {
    /// Take the lock, or go on without it after a second.
    pub fn take(home: &Home, profile: &Profile, patience: Deadline, log: &dyn Log) -> Guard {
        let shown = home.shown(profile, "");
        let taken = home.act(|home| {
            let dir = profile_dir(home, profile).map_err(|e| Error::system("open", &shown, e))?;
            dir.map_or(Ok(Guard(None)), |dir| Guard::within(&dir, &shown, patience.or_after_ms(PATIENCE_MS)))
        });
        taken.unwrap_or_else(|error| Guard::without(&error, log))
    }

    /// Take the lock in the open directory of a profile, whose path is for messages. Call it with the account's rights.
    ///
    /// # Errors
    /// 99 when the patience ends first, 111 where there is no locking.
    pub fn within(dir: &OwnedFd, shown: &str, patience: Deadline) -> Result<Guard> {
        let shown = format!("{shown}{LOCK}");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        match beneath::open(dir, LOCK, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => lock::take(&fd, &shown, patience).map(|()| Guard(Some(fd))),
            // Nobody can write an intent there either.
            Err(rustix::io::Errno::ROFS) => Ok(Guard(None)),
            Err(errno) => Err(Error::system("open", &shown, errno)),
        }
    }

    /// Go on without it, with a warning.
    pub fn without(why: &Error, log: &dyn Log) -> Guard {
        log.warning(&format!("{}; going on without it", why.text));
        Guard(None)
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
        for tries_left in (0..TRIES).rev() {
            let version = beneath::version(&dir, state::FILE);
            let (fields, broken) = match State::read(&dir) {
                State::Absent => (Fields::new(), None),
                State::Object(fields) => (fields, None),
                State::Broken(why) => (Fields::new(), Some(why)),
            };
            let bytes = with_intent(fields, intent).map_err(unable)?;
            let still = || {
                let unchanged = tries_left == 0 || beneath::version(&dir, state::FILE) == version;
                if unchanged && broken.is_some() {
                    beneath::set_aside(&dir, state::FILE)?;
                }
                Ok(unchanged)
            };
            if beneath::replace_if(&dir, state::FILE, &bytes, Mode::from_raw_mode(0o644), still).map_err(unable)? {
                return Ok(broken);
            }
        }
        Ok(None)
    })?;
    if let Some(why) = broken {
        log.warning(&format!("{shown} was {why}: set aside as {}.bad", state::FILE));
    }
    Ok(())
}

fn with_intent(mut fields: Fields, intent: Intent) -> std::io::Result<Vec<u8>> {
    let now = jiff::Timestamp::now().as_second();
    for (key, value) in [("desired_state", to_raw_value(intent.as_str())), ("updated_at", to_raw_value(&now))] {
        fields.insert(key.to_string(), value?);
    }
    let mut bytes = serde_json::to_vec(&fields)?;
    bytes.push(b'\n');
    Ok(bytes)
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
