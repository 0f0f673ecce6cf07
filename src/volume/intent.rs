//! The intent: the operator's wish for a gateway, `desired_state` in the profile's `gateway_state.json`.
//!
//! Start, stop and restart write it, before they act (A13), and the boot pass where it seeds one. They keep all other
//! fields of the file (A14).

use crate::ground::beneath;
use crate::ground::deadline::Deadline;
use crate::ground::error::{Error, Kind, Result};
use crate::ground::lock;
use crate::ground::message::Log;
use crate::ground::profile::Profile;
use crate::volume::home::{DENIED, Home};
use crate::volume::state::{self, Fields, State};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde_json::value::to_raw_value;
use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The operator's wish for a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// The gateway is to be up, now and after every boot.
    Running,
    /// The gateway is to be down until an operator starts it.
    Stopped,
}

impl Intent {
    pub fn as_str(self) -> &'static str {
        match self {
            Intent::Running => "running",
            Intent::Stopped => "stopped",
        }
    }
}

/// The lock file of the intent lock. Start, stop, restart and reconcile hold the lock while they read or write the
/// intent and act on it.
const LOCK: &str = ".hermes-s6.intent.lock";

/// Hermes Agent writes the state file without our lock. If the file changed between our read and our rename, we start
/// over. The last of this many attempts overwrites it (A14).
const TRIES: u32 = 5;

/// How long one command waits for intent locks altogether.
const PATIENCE: Duration = Duration::from_secs(1);

/// The intent lock of one profile. Dropping it releases the lock.
pub struct Guard {
    _lock: Option<OwnedFd>,
}

impl Guard {
    /// Take the lock in a profile's open directory; `shown` is its path, for messages. If the lock is not free in time,
    /// or its file cannot be made, a warning is logged and the caller goes on without the lock. The caller has the
    /// account's rights.
    ///
    /// # Errors
    /// 111 if a deferred signal came, or the lock file could not be opened just now.
    pub fn take(dir: &OwnedFd, shown: &str, patience: &Patience, deadline: Deadline, log: &dyn Log) -> Result<Guard> {
        let shown = format!("{shown}{LOCK}");
        let without = |why: &str| {
            log.warning(&format!("{why}; going on without it"));
            Ok(Guard { _lock: None })
        };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let fd = match beneath::open(dir, LOCK, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => fd,
            // On a read-only volume no other process can write an intent either.
            Err(Errno::ROFS) => return Ok(Guard { _lock: None }),
            Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::IO | Errno::STALE)) => {
                return Err(Error::system("open", &shown, errno));
            }
            Err(errno) => return without(&Error::system("open", &shown, errno).text),
        };
        match patience.spend(deadline, |deadline| lock::take(&fd, &shown, deadline)) {
            Ok(None) => Ok(Guard { _lock: Some(fd) }),
            Ok(Some(errno)) => without(&Error::system("lock", &shown, errno).text),
            Err(error) if error.kind == Kind::TimedOut => without(&error.text),
            Err(error) => Err(error),
        }
    }
}

/// How long one command still waits for intent locks, for all its profiles together. The account can hold each of these
/// locks for ever.
pub struct Patience(Cell<Duration>);

impl Default for Patience {
    fn default() -> Patience {
        Patience(Cell::new(PATIENCE))
    }
}

impl Patience {
    /// Call `wait` with a deadline within the time that is left, and subtract the time that the call took.
    fn spend<T>(&self, deadline: Deadline, wait: impl FnOnce(Deadline) -> Result<T>) -> Result<T> {
        let begun = Instant::now();
        let left = u64::try_from(self.0.get().as_millis()).unwrap_or(u64::MAX);
        let done = wait(deadline.or_after_ms(left.max(1)));
        self.0.set(self.0.get().saturating_sub(begun.elapsed()));
        done
    }
}

/// The intent of this profile; `None` if the file has none, is another profile's, or cannot be parsed.
///
/// # Errors
/// 111 if the state file could not be read just now.
pub fn read(home: &Home, profile: &Profile) -> Result<Option<Intent>> {
    let unable = |e| Error::system("read", home.shown(profile, state::FILE), e);
    let intent = home
        .within(profile, |dir| State::read_for_order(dir).and_then(|state| of(&state, dir, profile)).map_err(unable))?;
    Ok(intent.flatten())
}

fn of(state: &State, dir: &OwnedFd, profile: &Profile) -> rustix::io::Result<Option<Intent>> {
    Ok(match state.string("desired_state").as_deref() {
        _ if state.owner(dir)?.is_some_and(|owner| owner != profile.as_str()) => None,
        Some("running") => Some(Intent::Running),
        Some("stopped") => Some(Intent::Stopped),
        _ => None,
    })
}

/// Write the intent to disk, and keep all other fields of the file. Returns whether the file had to be written.
///
/// If the file has the intent already, only its directory is synced: a killed run may have renamed the file and not
/// synced it. This works also on a full volume. A state file that cannot be parsed is kept as
/// `gateway_state.json.bad`.
///
/// # Errors
/// 100 if there is no such profile. 111 if the volume cannot be read or written, for example because it is full or
/// read-only. Then the old intent is in force, unless only the last sync failed.
pub fn record(home: &Home, profile: &Profile, intent: Intent, log: &dyn Log) -> Result<bool> {
    let shown = home.shown(profile, state::FILE);
    let written = home.within(profile, |dir| {
        let unread = |e| Error::system("read", &shown, e);
        let state = State::read_for_order(dir).map_err(unread)?;
        if of(&state, dir, profile).map_err(unread)? == Some(intent) {
            beneath::sync(dir).map_err(|e| Error::system("write", &shown, e))?;
            return Ok(None);
        }
        rewrite(dir, &shown, |state| {
            let its_own = state.owner(dir)?.as_deref() == Some(profile.as_str());
            let mut fields = match state {
                State::Object(fields) => fields,
                State::Absent | State::Broken(_) => Fields::new(),
            };
            name(&mut fields, profile, its_own)?;
            fields.insert("desired_state".to_string(), to_raw_value(intent.as_str())?);
            fields.insert("updated_at".to_string(), to_raw_value(&jiff::Timestamp::now().as_second())?);
            Ok(Some(fields))
        })
        .map(Some)
    })?;
    match written {
        None => Err(home.no_such(profile)),
        Some(None) => Ok(false),
        Some(Some(broken)) => {
            if let Some(why) = broken {
                log.warning(&format!("{shown} is set aside as {}.bad: {why}", state::FILE));
            }
            Ok(true)
        }
    }
}

/// Record `running` if the profile's state file has no `desired_state`, or is not there. A file that cannot be parsed,
/// and one of another profile, are left alone. Returns whether the intent was recorded.
///
/// # Errors
/// As `record`.
pub fn record_if_none(home: &Home, profile: &Profile, log: &dyn Log) -> Result<bool> {
    let shown = home.shown(profile, state::FILE);
    let unset = home.within(profile, |dir| {
        let state = State::read_for_order(dir).map_err(|e| Error::system("read", &shown, e))?;
        let owner = state.owner(dir).map_err(|e| Error::system("read", &shown, e))?;
        let foreign = owner.is_some_and(|owner| owner != profile.as_str());
        Ok(!foreign && state.lacks_intent())
    })?;
    if unset == Some(true) { record(home, profile, Intent::Running, log) } else { Ok(false) }
}

/// Write this profile's name into the state file in its directory, unless the file has the name already. A file that
/// cannot be parsed is left alone. The pid and the start time of the last gateway are kept if `its_own` says that this
/// gateway ran in this directory. Otherwise they may be those of a live gateway of the profile that was copied, and
/// `--replace` would end that gateway (A8). The caller has the account's rights.
///
/// # Errors
/// 111 if the file cannot be read or written.
pub fn claim(dir: &OwnedFd, profile: &Profile, shown: &str, its_own: bool) -> Result<()> {
    let state = State::read_for_order(dir).map_err(|e| Error::system("read", shown, e))?;
    if !matches!(state, State::Object(_)) || state.names().as_deref() == Some(profile.as_str()) {
        return Ok(());
    }
    let named = rewrite(dir, shown, |state| match state {
        State::Object(mut fields) => name(&mut fields, profile, its_own).map(|()| Some(fields)),
        State::Absent | State::Broken(_) => Ok(None),
    });
    named.map(drop)
}

fn name(fields: &mut Fields, profile: &Profile, its_own: bool) -> std::io::Result<()> {
    fields.insert(state::OWNER.to_string(), to_raw_value(profile.as_str())?);
    if !its_own {
        for last in ["pid", "start_time"] {
            fields.remove(last);
        }
    }
    Ok(())
}

/// Replace the state file by the result of `change`. If that is `None`, the file stays as it is. If the old file could
/// not be parsed, it is set aside, and the reason is returned.
fn rewrite(
    dir: &OwnedFd,
    shown: &str,
    change: impl Fn(State) -> std::io::Result<Option<Fields>>,
) -> Result<Option<String>> {
    let unable = |e: std::io::Error| {
        let denied = e.kind() == std::io::ErrorKind::PermissionDenied;
        let error = Error::system("write", shown, e);
        Error::new(error.kind, error.text + if denied { DENIED } else { "" })
    };
    let mut tries_left = TRIES;
    loop {
        tries_left -= 1;
        let version = beneath::version(dir, state::FILE).map_err(|e| unable(e.into()))?;
        let state = State::read_for_order(dir).map_err(|e| Error::system("read", shown, e))?;
        let broken = if let State::Broken(why) = &state { Some(why.clone()) } else { None };
        let Some(fields) = change(state).map_err(unable)? else { return Ok(None) };
        let mut bytes = serde_json::to_vec(&fields).map_err(|e| unable(e.into()))?;
        bytes.push(b'\n');
        let still = || {
            let unchanged = tries_left == 0 || beneath::version(dir, state::FILE)? == version;
            if unchanged && broken.is_some() {
                beneath::set_aside(dir, state::FILE)?;
            }
            Ok(unchanged)
        };
        if beneath::replace_if(dir, state::FILE, &bytes, Mode::from_raw_mode(0o644), still).map_err(unable)? {
            return Ok(broken);
        }
    }
}
