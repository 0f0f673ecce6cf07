//! The gateway lock: one gateway a profile, whoever started it, in whatever container (G1, G6, F7).
//!
//! `flock` on a file in the profile's directory, through a descriptor that the gateway inherits over exec and holds for
//! its life: the kernel lets go of it exactly when the gateway is gone, however it went. What is written in the file only
//! says who holds it; the lock itself is what counts (F9).

use crate::beneath;
use crate::cli::Deadline;
use crate::exit::{Error, Exit, Result};
use crate::gateway::orphan::{self, Standing};
use crate::home::Home;
use crate::message::Log;
use crate::process;
use crate::profile::Profile;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use serde_json::{Value, json};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The lock file's name in the profile's directory.
pub const FILE: &str = ".hermes-s6.gateway.lock";

/// Who holds it fits into this. Bytes.
const LIMIT: usize = 4096;

/// The state of a profile's gateway lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lock {
    /// No gateway of this profile runs, here or anywhere on this volume.
    Free,
    /// One does, and who, where that can be said.
    Held(Option<Holder>),
}

/// Who holds a gateway lock, as the holder wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its pid, in its own pid namespace.
    pub pid: i32,
    /// Field 22 of its `/proc/PID/stat`.
    pub start_time: u64,
    /// Is it in our pid namespace, so that `pid` means something here?
    pub here: bool,
    /// Its host name: a container's, as a rule.
    pub host: String,
    /// Its parent when it started.
    pub parent: i32,
}

/// Whether somebody holds the lock of this profile, and who.
///
/// # Errors
/// 111 if that cannot be found out.
pub fn holder(home: &Home, profile: &Profile) -> Result<Lock> {
    let failed = |e| Error::system("read", home.shown(profile, FILE), e);
    home.act(|root| {
        let dir = match beneath::open_dir(root, &profile.path()) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Lock::Free),
            Err(errno) => return Err(failed(errno)),
        };
        let file = match beneath::open(&dir, FILE, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
            Ok(file) => file,
            // Nobody runs a gateway on what `take` refuses.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(Lock::Free),
            Err(errno) => return Err(failed(errno)),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Lock::Free),
            Err(Errno::WOULDBLOCK) => Ok(Lock::Held(read(&dir).filter(Holder::is_plausible))),
            Err(errno) => Err(failed(errno)),
        }
    })
}

/// Is the lock in this profile's directory free? Call it with the account's rights. What cannot be looked at is not free.
pub fn is_free(dir: impl AsFd) -> bool {
    match beneath::open(&dir, FILE, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
        Ok(file) => rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_ok(),
        Err(errno) => matches!(errno, Errno::NOENT | Errno::LOOP | Errno::NXIO),
    }
}

/// Wait until no gateway of this profile runs in this pid namespace. An orphan, which s6 cannot tell to end any more, is told
/// here. One in another container is not ours to wait for.
///
/// # Errors
/// 99 when the deadline passes first, 111 if it cannot be found out.
pub fn wait_until_free_here(home: &Home, profile: &Profile, deadline: Deadline) -> Result<()> {
    let mut told = None;
    loop {
        let lock = holder(home, profile)?;
        let Lock::Held(Some(holder)) = &lock else { return Ok(()) };
        if !holder.here {
            return Ok(());
        }
        if told != Some(holder.pid) && home.act(|_| orphan::tell(holder))? {
            told = Some(holder.pid);
        }
        match deadline.left(Duration::from_millis(20)) {
            Some(left) => std::thread::sleep(left),
            None => return Err(deadline.timed_out(format!("the gateway lock of {profile}: it is held by {lock}"))),
        }
    }
}

impl Lock {
    /// Is it held by a process of our pid namespace? Then that process is there, whatever s6 knows of it.
    pub fn is_held_here(&self) -> bool {
        matches!(self, Lock::Held(Some(holder)) if holder.here)
    }
}

impl std::fmt::Display for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lock::Free => f.write_str("nobody"),
            Lock::Held(None) => f.write_str("somebody unknown"),
            Lock::Held(Some(Holder { pid, here: true, .. })) => write!(f, "pid {pid}"),
            Lock::Held(Some(Holder { pid, host, .. })) => write!(f, "pid {pid} in another container ({host})"),
        }
    }
}

/// Take the lock, with the account's rights: at once where it is free; from an orphan of ours after ending it, which it is
/// given `grace_ms` milliseconds for (0 = for ever); else when whoever holds it goes. The descriptor is inherited over exec.
///
/// # Errors
/// 78 if what has the file's name cannot be a lock; 111 where the kernel refuses. Where the file system has no locks, or
/// cannot be written, a warning is all: a gateway without a lock is better than none.
pub fn take(dir: &OwnedFd, profile: &Profile, shown: &str, grace_ms: u64, log: &dyn Log) -> Result<Option<OwnedFd>> {
    let mut waiting = false;
    let mut refusals = 0;
    loop {
        let Some(file) = open(dir, shown, log)? else { return Ok(None) };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_in_place(dir, &file) => return keep(file, profile, shown).map(Some),
            Ok(()) => continue,
            Err(Errno::WOULDBLOCK) => refusals += 1,
            Err(Errno::INTR) => continue,
            Err(errno @ (Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS)) => {
                let why = crate::exit::cause_text(&errno.into());
                log.warning(&format!(
                    "unable to lock {shown}: {why}: nothing keeps a second container off this profile"
                ));
                return Ok(None);
            }
            Err(errno) => return Err(Error::system("lock", shown, errno)),
        }
        if refusals < 4 {
            // A status command that looks, or a gateway that is about to say who it is.
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        match read(dir).map(|holder| (orphan::standing(&holder), holder)) {
            Some((Standing::Orphan(pidfd), holder)) => {
                let pid = holder.pid;
                log.warning(&format!("pid {pid} is a gateway of this profile whose supervisor was killed: ending it"));
                orphan::end(&pidfd, pid, grace_ms, log)?;
            }
            Some((Standing::Minded(pidfd, parent), holder)) => {
                say_once(&mut waiting, log, &Lock::Held(Some(holder)));
                orphan::wait_for_change(&pidfd, parent.as_ref())?;
            }
            other => {
                // One that should be here and is not has left the lock to a child of its own, whom nobody knows.
                let holder = other.map(|(_, holder)| holder).filter(|holder| !holder.here);
                say_once(&mut waiting, log, &Lock::Held(holder));
                match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                    Ok(()) if is_in_place(dir, &file) => return keep(file, profile, shown).map(Some),
                    Ok(()) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(Error::system("lock", shown, errno)),
                }
            }
        }
    }
}

fn say_once(said: &mut bool, log: &dyn Log, lock: &Lock) {
    if !std::mem::replace(said, true) {
        log.warning(&format!("waiting for {lock} to end, which runs the gateway of this profile already"));
    }
}

fn open(dir: &OwnedFd, shown: &str, log: &dyn Log) -> Result<Option<OwnedFd>> {
    let refused = |what: &str| {
        let text = format!("unable to use {shown} as the gateway lock: it is {what}: move it away");
        Err(Error::new(Exit::Config, text))
    };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK;
    let file = match beneath::open(dir, FILE, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => file,
        Err(Errno::LOOP) => return refused("a symbolic link"),
        Err(Errno::ISDIR) => return refused("a directory"),
        Err(Errno::ACCESS | Errno::PERM) => return refused("not ours (hermes-fix-attrs gives it back)"),
        Err(Errno::ROFS) => {
            log.warning(&format!("unable to write {shown}: the volume is read-only: going on without a lock"));
            return Ok(None);
        }
        Err(errno @ (Errno::NOSPC | Errno::DQUOT)) => {
            let why = crate::exit::cause_text(&errno.into());
            log.warning(&format!("unable to write {shown}: {why}: going on without a lock"));
            return Ok(None);
        }
        Err(errno) => return Err(Error::system("open", shown, errno)),
    };
    let stat = rustix::fs::fstat(&file).map_err(|e| Error::system("read", shown, e))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Some(file)),
        _ => refused("not a regular file"),
    }
}

/// Is the locked file still the one of that name? Somebody may have removed it while we waited.
fn is_in_place(dir: &OwnedFd, file: &OwnedFd) -> bool {
    let (named, held) = (rustix::fs::statat(dir, FILE, AtFlags::SYMLINK_NOFOLLOW), rustix::fs::fstat(file));
    matches!((named, held), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

/// Write down who we are, and let exec keep the descriptor.
fn keep(file: OwnedFd, profile: &Profile, shown: &str) -> Result<OwnedFd> {
    let failed = |e: Errno| Error::system("write", shown, e);
    let stat = process::own_stat();
    let text = json!({
        "pid": process::own_pid(),
        "start_time": stat.map(|s| s.start_time),
        "parent": stat.map(|s| s.parent),
        "pid_namespace": process::pid_namespace(),
        "boot_id": process::boot_id(),
        "host": host(),
        "profile": profile.as_str(),
    });
    let line = format!("{text}\n");
    // First the new line over the old one, then the end of the old one: a reader takes the first line only. A full disk
    // costs the words, not the lock.
    match rustix::io::pwrite(&file, line.as_bytes(), 0) {
        Ok(_) | Err(Errno::NOSPC | Errno::DQUOT) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let _ = rustix::fs::ftruncate(&file, line.len() as u64);
    rustix::io::fcntl_setfd(&file, FdFlags::empty()).map_err(failed)?;
    Ok(file)
}

fn read(dir: impl AsFd) -> Option<Holder> {
    match beneath::read(dir, FILE, LIMIT) {
        beneath::Content::Bytes(bytes) => {
            parse(&bytes, process::pid_namespace()?.as_str(), process::boot_id()?.as_str())
        }
        _ => None,
    }
}

/// Which profile this directory was when a gateway last ran in it: after a rename, its former name. Call it with the
/// account's rights; what it says is the account's word.
pub fn last_profile(dir: impl AsFd) -> Option<Profile> {
    let beneath::Content::Bytes(bytes) = beneath::read(dir, FILE, LIMIT) else { return None };
    let value: Value = serde_json::from_slice(bytes.split(|b| *b == b'\n').next()?).ok()?;
    Profile::from_bytes(value.get("profile")?.as_str()?.as_bytes())
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
    })
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Holder {
    /// Of a process that should be here: is it? What was written may be older than the lock.
    fn is_plausible(&self) -> bool {
        !self.here || process::stat(self.pid).is_none_or(|stat| stat.start_time == self.start_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_here_only_in_the_same_namespace_of_the_same_boot() {
        let text = br#"{"pid":7,"start_time":99,"parent":5,"pid_namespace":"pid:[1]","boot_id":"b","host":"h"}
rest of an older, longer line"#;
        for (namespace, boot, here) in [("pid:[1]", "b", true), ("pid:[2]", "b", false), ("pid:[1]", "c", false)] {
            let expected = Holder { pid: 7, start_time: 99, here, host: "h".to_string(), parent: 5 };
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
