//! The gateway lock, which allows one gateway for each profile, whoever started it and in whatever container (G1, G6,
//! F7).
//!
//! It is a `flock` lock on a file in the profile's directory. The gateway inherits the descriptor over exec and keeps
//! it open, so the kernel releases the lock exactly when the gateway ends, in whatever way. The text in the file only
//! says who holds the lock. Whether it is held, only the lock itself tells (F9).

use crate::ground::beneath::{self, Content};
use crate::ground::error::{Error, Result};
use crate::ground::lock;
use crate::ground::process;
use crate::ground::profile::Profile;
use crate::ground::roots_links;
use crate::volume::home::Home;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde_json::Value;
use std::os::fd::AsFd;

/// The name of the lock file in the profile's directory.
pub const FILE: &str = ".hermes-s6.gateway.lock";

/// The most bytes of the lock file that are read. A holder's text is shorter.
const LIMIT: usize = 4096;

/// The state of a profile's gateway lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holding {
    /// No gateway of this profile runs, here or in another container on this volume.
    Free,
    /// A gateway holds the lock. The holder is `None` if it cannot be told.
    Held(Option<Holder>),
}

/// The holder of a gateway lock, according to the text in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The holder's pid, in its own pid namespace.
    pub pid: i32,
    /// The holder's start time: field 22 of its `/proc/PID/stat`.
    pub start_time: u64,
    /// Is the holder in our pid namespace, so that `pid` is valid here?
    pub here: bool,
    /// The holder's host name, which is usually its container's.
    pub host: String,
    /// The pid of the holder's parent when the holder started.
    pub parent: i32,
    /// When the holder took the lock, in seconds since the epoch, if it says so. A gateway takes the lock just before
    /// it becomes Hermes Agent, and may have waited for the lock.
    pub taken: Option<u64>,
}

/// The state of this profile's gateway lock; `Free` if there is no such profile.
///
/// # Errors
/// 111 if the lock cannot be looked at.
pub fn holder(home: &Home, profile: &Profile) -> Result<Holding> {
    let failed = |e| Error::system("read", home.shown(profile, FILE), e);
    // A profile that has lost its SOUL.md may still have a gateway, so only the directory counts.
    home.act_for(profile, |root| match roots_links::open_dir(root, &profile.path()) {
        Ok(dir) => look(&dir, &home.shown(profile, FILE)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(Holding::Free),
        Err(errno) => Err(failed(errno)),
    })
}

/// The state of the lock in this profile's directory. The caller has the account's rights. `shown` is the path of the file
/// for messages.
///
/// # Errors
/// 111 if the lock or its holder cannot be looked at.
pub fn look(dir: impl AsFd, shown: &str) -> Result<Holding> {
    let failed = |e| Error::system("read", shown, e);
    let file = match beneath::open(&dir, FILE, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
        Ok(file) => file,
        // These are files that `take_lock` refuses, so no gateway holds a lock on them.
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(Holding::Free),
        Err(errno) => return Err(failed(errno)),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Holding::Free),
        Err(Errno::WOULDBLOCK) => Holding::held_by(read(&dir).map_err(failed)?),
        // A file system without locks: the gateway has gone on without one.
        Err(errno) if lock::is_refused(errno) => Ok(Holding::Free),
        Err(errno) => Err(failed(errno)),
    }
}

impl Holding {
    /// The lock is held, and this is the holder according to the file. If that process should be in our pid namespace
    /// and is not the one that now has its pid, it has ended, and a child of it has inherited the descriptor. Then we
    /// cannot tell which process holds the lock.
    ///
    /// # Errors
    /// 111 if the process cannot be looked at.
    pub fn held_by(holder: Option<Holder>) -> Result<Holding> {
        let Some(holder) = holder else { return Ok(Holding::Held(None)) };
        let is_plausible = holder.is_plausible()?;
        Ok(Holding::Held(Some(holder).filter(|_| is_plausible)))
    }

    /// Does another process hold the lock than this one of our pid namespace? In another container its pid may be the
    /// same number (G6).
    pub fn is_held_beside(&self, pid: Option<i32>) -> bool {
        match self {
            Holding::Free => false,
            Holding::Held(holder) => holder.as_ref().is_none_or(|holder| !holder.here || Some(holder.pid) != pid),
        }
    }

    /// When this process of our pid namespace took the lock, if it holds the lock and says so.
    pub fn taken_by(&self, pid: i32) -> Option<u64> {
        match self {
            Holding::Held(Some(holder)) if holder.here && holder.pid == pid => holder.taken,
            _ => None,
        }
    }

    /// Does a process in our pid namespace hold the lock? That process runs, whatever s6 knows about it.
    pub fn is_held_here(&self) -> bool {
        matches!(self, Holding::Held(Some(holder)) if holder.here)
    }
}

impl std::fmt::Display for Holding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Holding::Free => f.write_str("nobody"),
            Holding::Held(None) => f.write_str("somebody unknown"),
            Holding::Held(Some(Holder { pid, here: true, .. })) => write!(f, "pid {pid}"),
            Holding::Held(Some(Holder { pid, host, .. })) => write!(f, "pid {pid} in another container ({host})"),
        }
    }
}

/// The last holder according to the file; `None` if the text cannot be parsed. The caller has the account's rights.
///
/// # Errors
/// The system's error if the file could not be read just now.
pub fn read(dir: impl AsFd) -> rustix::io::Result<Option<Holder>> {
    let Content::Bytes(bytes) = beneath::read(dir, FILE, LIMIT)? else { return Ok(None) };
    let (namespace, boot) = (process::pid_namespace(), process::boot_id());
    Ok(namespace.zip(boot).and_then(|(namespace, boot)| parse(&bytes, &namespace, &boot)))
}

/// The name that this profile had when a gateway last ran in its directory. After a rename this is its former name. The
/// caller has the account's rights, and the account can write anything into the file.
///
/// # Errors
/// The system's error if the file could not be read just now.
pub fn last_profile(dir: impl AsFd) -> rustix::io::Result<Option<Profile>> {
    let Content::Bytes(bytes) = beneath::read(dir, FILE, LIMIT)? else { return Ok(None) };
    let line: Option<Value> = bytes.split(|b| *b == b'\n').next().and_then(|line| serde_json::from_slice(line).ok());
    Ok(line.and_then(|line| Profile::from_bytes(line.get("profile")?.as_str()?.as_bytes())))
}

fn parse(bytes: &[u8], namespace: &str, boot: &str) -> Option<Holder> {
    let line = bytes.split(|b| *b == b'\n').next()?;
    let value: Value = serde_json::from_slice(line).ok()?;
    let number = |key: &str| value.get(key).and_then(Value::as_u64);
    let is = |key: &str, ours: &str| value.get(key).and_then(Value::as_str) == Some(ours);
    Some(Holder {
        pid: number("pid").and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0)?,
        start_time: number("start_time")?,
        here: is("pid_namespace", namespace) && is("boot_id", boot),
        host: value.get("host").and_then(Value::as_str).unwrap_or("unknown").chars().take(64).collect(),
        parent: number("parent").and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0),
        taken: number("taken"),
    })
}

impl Holder {
    /// If the holder should be in our pid namespace: does its pid not belong to another process now? The text in the
    /// file may be older than the lock.
    fn is_plausible(&self) -> Result<bool> {
        Ok(!self.here || process::stat(self.pid)?.is_none_or(|stat| stat.start_time == self.start_time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row G6 of docs/failures.md.
    #[test]
    fn a_holder_is_here_only_in_the_same_namespace_of_the_same_boot() {
        let text = br#"{"pid":7,"start_time":99,"parent":5,"pid_namespace":"pid:[1]","boot_id":"b","host":"h"}
rest of an older, longer line"#;
        for (namespace, boot, here) in [("pid:[1]", "b", true), ("pid:[2]", "b", false), ("pid:[1]", "c", false)] {
            let expected = Holder { pid: 7, start_time: 99, here, host: "h".to_string(), parent: 5, taken: None };
            assert_eq!(parse(text, namespace, boot), Some(expected));
        }
    }

    #[test]
    fn what_is_no_holder_is_nobody() {
        for text in [&b""[..], b"7", b"{}", b"{\"pid\":-1,\"start_time\":1}", b"{\"pid\":7}", b"\xff"] {
            assert_eq!(parse(text, "pid:[1]", "b"), None);
        }
    }
}
