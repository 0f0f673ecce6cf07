//! Taking a profile's gateway lock, and waiting until no process here holds it.

use crate::ground::beneath;
use crate::ground::deadline::Deadline;
use crate::ground::error::{Error, Kind, Result, cause_text};
use crate::ground::lock;
use crate::ground::message::Log;
use crate::ground::process;
use crate::ground::profile::Profile;
use crate::volume::gateway_lock::{FILE, Holding, holder, read};
use crate::volume::home::Home;
use crate::work::gateway::orphan;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use serde_json::json;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How many looks find the lock held before it counts as held. A status command holds the lock for a moment when it
/// looks. And a gateway that has just taken the lock has not written its identity yet.
const LOOKS: u32 = 4;

/// Take the lock, with the account's rights. If the lock is free, it is taken at once. If an orphan holds it, the
/// orphan is ended, and has `grace_ms` milliseconds for that (0 = no limit). If another process holds it, we wait for
/// as long as that takes. The descriptor of the lock is inherited over exec.
///
/// # Errors
/// 78 if the lock file is something that cannot be a lock, 111 if a system call fails. If the file system has no locks,
/// or cannot be written, a warning is logged and `None` is returned: a gateway without a lock is better than none.
pub fn take(dir: &OwnedFd, profile: &Profile, shown: &str, grace_ms: u64, log: &dyn Log) -> Result<Option<OwnedFd>> {
    let failed = |e: Errno| Error::system("lock", shown, e);
    let mut looks = 0;
    loop {
        let Some(file) = open(dir, shown, log)? else { return Ok(None) };
        // The last look blocks until the lock is free.
        let how = if looks > LOOKS { FlockOperation::LockExclusive } else { FlockOperation::NonBlockingLockExclusive };
        match rustix::fs::flock(&file, how) {
            Ok(()) if lock::is_in_place(dir, FILE, &file).map_err(failed)? => {
                return keep(file, profile, shown).map(Some);
            }
            Ok(()) | Err(Errno::INTR) => continue,
            Err(Errno::WOULDBLOCK) => looks += 1,
            Err(errno) if lock::is_refused(errno) => {
                let why = cause_text(&errno.into());
                log.warning(&format!(
                    "unable to lock {shown}: {why}: nothing keeps a second container off this profile"
                ));
                return Ok(None);
            }
            Err(errno) => return Err(failed(errno)),
        }
        if looks < LOOKS {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        let holder = read(dir).map_err(|e| Error::system("read", shown, e))?;
        if let Some(holder) = &holder
            && let Some(pidfd) = orphan::find(holder)?
        {
            let pid = holder.pid;
            log.warning(&format!("pid {pid} is a gateway of this profile whose supervisor was killed: ending it"));
            orphan::end(&pidfd, pid, grace_ms, log)?;
            looks = 0;
        } else if looks == LOOKS {
            let lock = Holding::held_by(holder)?;
            log.warning(&format!("waiting for {lock} to end, which runs the gateway of this profile already"));
            looks += 1;
        }
    }
}

fn open(dir: &OwnedFd, shown: &str, log: &dyn Log) -> Result<Option<OwnedFd>> {
    let refused = |what: &str| {
        let text = format!("unable to use {shown} as the gateway lock: it is {what}: move it away");
        Err(Error::new(Kind::Config, text))
    };
    let without = |why: &str| {
        log.warning(&format!("unable to write {shown}: {why}: going on without a lock"));
        Ok(None)
    };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK;
    let file = match beneath::open(dir, FILE, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => file,
        Err(Errno::LOOP) => return refused("a symbolic link"),
        Err(Errno::ISDIR) => return refused("a directory"),
        Err(Errno::ACCESS | Errno::PERM) => return refused("not ours (hermes-fix-attrs gives it back)"),
        Err(Errno::ROFS) => return without("the volume is read-only"),
        Err(errno @ (Errno::NOSPC | Errno::DQUOT)) => return without(&cause_text(&errno.into())),
        Err(errno) => return Err(Error::system("open", shown, errno)),
    };
    let stat = rustix::fs::fstat(&file).map_err(|e| Error::system("read", shown, e))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Some(file)),
        _ => refused("not a regular file"),
    }
}

/// Write our identity into the lock file, and let exec keep the descriptor.
fn keep(file: OwnedFd, profile: &Profile, shown: &str) -> Result<OwnedFd> {
    let failed = |e: Errno| Error::system("write", shown, e);
    let stat = process::own_stat()?;
    let text = json!({
        "pid": process::own_pid(),
        "start_time": stat.map(|s| s.start_time),
        "parent": stat.map(|s| s.parent),
        "pid_namespace": process::pid_namespace(),
        "boot_id": process::boot_id(),
        "host": rustix::system::uname().nodename().to_string_lossy(),
        "profile": profile.as_str(),
        "taken": jiff::Timestamp::now().as_second(),
    });
    let line = format!("{text}\n");
    // Write the new line over the old one, then cut off the rest of the old one. Readers only take the first line. On a
    // full disk we keep the lock without a readable line.
    match rustix::io::pwrite(&file, line.as_bytes(), 0) {
        Ok(_) | Err(Errno::NOSPC | Errno::DQUOT) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let _ = rustix::fs::ftruncate(&file, line.len() as u64);
    rustix::io::fcntl_setfd(&file, FdFlags::empty()).map_err(failed)?;
    Ok(file)
}

/// Wait until no gateway of this profile runs in this pid namespace. s6 cannot tell an orphan to end, so this function
/// does. A gateway in another container is not waited for.
///
/// # Errors
/// 99 if the deadline passes first, 111 if the holder of the lock cannot be looked at or signalled.
pub fn wait_until_free_here(home: &Home, profile: &Profile, deadline: Deadline) -> Result<()> {
    let mut told = None;
    loop {
        let lock = holder(home, profile)?;
        let Holding::Held(Some(holder)) = &lock else { return Ok(()) };
        if !holder.here {
            return Ok(());
        }
        if told != Some(holder.pid) && home.act_for(profile, |_| orphan::tell(holder))? {
            told = Some(holder.pid);
        }
        let what = format_args!("the gateway lock of {profile}: it is held by {lock}");
        std::thread::sleep(deadline.patience(Duration::from_millis(20), what)?);
    }
}
