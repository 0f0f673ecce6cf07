//! Taking a slot away. A directory is never deleted while a supervisor runs in it (docs/DESIGN.md, A slot; B14).

use crate::ground::deadline::Deadline;
use crate::ground::error::{Error, Kind, Result};
use crate::ground::message::Log;
use crate::ground::profile::Profile;
use crate::s6::changes::Changes;
use crate::s6::orders::{Told, give};
use crate::s6::programs;
use crate::s6::scandir::{Listening, Scandir, ScandirLock};
use crate::s6::staging::hidden_name;
use crate::s6::supervise;
use rustix::io::Errno;
use rustix::process::geteuid;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// How long the supervisors of a retired slot have to end by themselves before they are told to, in milliseconds. A
/// logger that was being started when it was retired does not end by itself.
const ALONE_MS: u64 = 1000;

/// How long to wait for s6-svscan to start supervising a new slot before retiring it, in milliseconds: a thousand slots
/// take seconds. A slot that is retired earlier keeps its place in s6-svscan's table until the next complete scan.
const UNSEEN_MS: u64 = 30_000;

/// How long the supervisors have after they were told, in milliseconds. Then a logger that ignores the end of its input
/// is killed.
const STUBBORN_MS: u64 = 5000;

/// A slot that was renamed to a hidden name.
pub struct Retired {
    path: PathBuf,
    profile: Profile,
}

impl Retired {
    /// The hidden directory at this path, which was the slot of this profile.
    pub fn at(path: PathBuf, profile: &Profile) -> Retired {
        Retired { path, profile: profile.clone() }
    }

    /// Wait until both supervisors have ended, pushing them if they do not, then delete the directory.
    ///
    /// # Errors
    /// 99 if a supervisor outlives the deadline: the directory keeps its hidden name, and the next run continues. 111
    /// if the supervisors cannot be looked at.
    pub fn finish(self, deadline: Deadline, log: &dyn Log) -> Result<()> {
        self.drain(deadline)?;
        delete(&self.path, log);
        Ok(())
    }

    /// As `finish`, without the deletion.
    ///
    /// # Errors
    /// As `finish`.
    pub fn drain(&self, deadline: Deadline) -> Result<()> {
        if self.is_free_within(deadline.or_after_ms(ALONE_MS))? {
            return Ok(());
        }
        let told = Told::now();
        self.push()?;
        if self.is_free_within(deadline.or_after_ms(STUBBORN_MS))? {
            return Ok(());
        }
        // If the service is gone and only its logger is left, the logger has no more input to write.
        let logger = self.path.join("log");
        if !deadline.passed() && !supervise::is_held(&self.path)? && supervise::is_held(&logger)? {
            let _ = programs::svc("-k", &logger);
        }
        self.wait(deadline, Some(told)).map_err(|error| {
            let still = "its slot is out of sight and still being drained";
            Error::new(error.kind, format!("{} of {}: {still}", error.text, self.profile))
        })
    }

    fn is_free_within(&self, deadline: Deadline) -> Result<bool> {
        match self.wait(deadline, None) {
            Err(error) if error.kind == Kind::TimedOut => Ok(false),
            waited => waited.map(|()| true),
        }
    }

    fn wait(&self, deadline: Deadline, told: Option<Told>) -> Result<()> {
        let free = || {
            let held = supervise::any_held(&self.path)?;
            if held && let Some(told) = told {
                told.insist(&self.path);
            }
            Ok((!held).then_some(()))
        };
        Changes::watch([self.path.as_path()]).and_locks().by_looks().until(deadline, "the supervisors", free)
    }

    /// Tell the supervisors to end when their service ends. A gateway that was not told to end before is told now. It
    /// is not told twice, because each `-d` starts its `timeout-kill` anew.
    ///
    /// # Errors
    /// 111 if the supervisors cannot be looked at.
    pub fn push(&self) -> Result<()> {
        for dir in supervise::held(&self.path)? {
            let order = if programs::svstat(&dir)?.is_some_and(|s| !s.wanted_up) { "-x" } else { "-xd" };
            // This fails if the supervisor has ended in the meantime, which is as good.
            let _ = programs::svc(order, &dir);
        }
        Ok(())
    }
}

/// Tell the gateway of a slot to end, and wait until it is down. Before that, wait for a limited time until the slot is
/// supervised: a supervisor that is just starting would start the gateway after we had looked.
///
/// # Errors
/// 99 if the gateway outlives the deadline, 111 if the slot cannot be looked at or given orders.
fn bring_down(scandir: &Scandir, slot: &Path, deadline: Deadline, told: Option<Told>) -> Result<()> {
    let unseen = !is_there(&slot.join("supervise/lock"))? && scandir.listening()? == Listening::Yes;
    let settle = if unseen { UNSEEN_MS } else { ALONE_MS };
    let usable = || Ok((supervise::is_usable(slot)? || !is_there(slot)?).then_some(()));
    let waited =
        Changes::watch([slot]).and_locks().by_looks().until(deadline.or_after_ms(settle), "s6-supervise", usable);
    match waited {
        Err(error) if error.kind != Kind::TimedOut => return Err(error),
        _ if !supervise::is_held(slot)? => return Ok(()),
        _ => {}
    }
    match give("-d", slot, deadline.or_after_ms(ALONE_MS)) {
        // The supervisor has ended since the look above, and no other one has come.
        Err(_) if !supervise::is_held(slot)? => return Ok(()),
        given => given?,
    }
    let told = told.unwrap_or_else(Told::now);
    let what = format!("the gateway in {} to go down", slot.display());
    let down = || {
        let down = programs::svstat(slot)?.is_none_or(|s| !s.up && s.finished);
        if !down {
            told.insist(slot);
        }
        Ok(down.then_some(()))
    };
    Changes::watch([slot]).by_looks().until(deadline, what, down)
}

fn is_there(path: &Path) -> Result<bool> {
    match rustix::fs::lstat(path) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(Error::system("stat", path.display(), errno)),
    }
}

/// Rename an entry of this profile's to a hidden name; `None` if the entry is not there any more. The caller tells
/// s6-svscan.
///
/// # Errors
/// 111 if the rename fails.
pub fn hide(scandir: &Scandir, _lock: &ScandirLock, entry: &str, profile: &Profile) -> Result<Option<Retired>> {
    let unable = |e: std::io::Error| Error::system("retire", scandir.path.join(entry).display(), e);
    let hidden = hidden_name(profile).map_err(unable)?;
    match rustix::fs::renameat(&scandir.dir, entry, &scandir.dir, hidden.as_str()) {
        Ok(()) => Ok(Some(Retired::at(scandir.path.join(hidden), profile))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(unable(errno.into())),
    }
}

/// Make s6-svscan let go of hidden directories, if one is running.
///
/// # Errors
/// 111 if it cannot be told whether an s6-svscan runs, or s6-svscanctl fails. 102 if the s6-svscan has just ended.
pub fn let_go(scandir: &Scandir) -> Result<()> {
    match scandir.listening()? {
        Listening::No => Ok(()),
        _ => programs::svscanctl("-an", &scandir.path),
    }
}

/// Bring the gateway down, hide its slot, have s6-svscan let go of it, and wait until both supervisors have ended. If
/// another run is doing the same, the slot is hidden already, and `drain_leftovers` waits for what that run has hidden.
/// The hidden directory is not deleted here: if this run is killed, the directory tells the next run that this profile
/// is not finished. `told` is the time of an earlier order to end.
///
/// # Errors
/// 99 if the gateway or a supervisor outlives the deadline, or the lock is not free; after a late gateway the slot is
/// hidden all the same. 111 if the slot cannot be looked at or given orders: then it is where it was.
pub fn retire(scandir: &Scandir, profile: &Profile, deadline: Deadline, told: Option<Told>) -> Result<()> {
    let down = match bring_down(scandir, &scandir.slot(profile), deadline, told) {
        // The slot is hidden all the same, so that its name is free.
        Err(error) if error.kind == Kind::TimedOut => Some(error),
        done => done.map(|()| None)?,
    };
    let lock = scandir.lock(Deadline::after_ms(STUBBORN_MS))?;
    hide(scandir, &lock, &profile.slot(), profile)?;
    drop(lock);
    let_go(scandir)?;
    drain_leftovers(scandir, profile, deadline).map_err(|error| match down {
        // Report the first time-out, which is the gateway's.
        Some(first) if error.kind == Kind::TimedOut => {
            Error::new(error.kind, format!("{}; its slot is out of sight and still being drained", first.text))
        }
        _ => error,
    })
}

/// Wait until the supervisors in all hidden directories of this profile have ended.
///
/// # Errors
/// 99 if a gateway or a supervisor outlives the deadline, 111 if they cannot be looked at.
pub fn drain_leftovers(scandir: &Scandir, profile: &Profile, deadline: Deadline) -> Result<()> {
    for (path, owner) in scandir.leftovers()? {
        if owner == *profile {
            Retired::at(path, profile).drain(deadline)?;
        }
    }
    Ok(())
}

/// Delete a directory that nobody supervises. Another run may be deleting it as well. A directory that cannot be
/// deleted has a hidden name and does no harm, so that is only a warning (B11).
pub fn delete(path: &Path, log: &dyn Log) {
    let Err(e) = std::fs::remove_dir_all(path) else { return };
    match e.kind() {
        ErrorKind::NotFound => {}
        // The owner of an open scandir may retire a slot that root has made, and cannot delete it. Root's next run
        // deletes it.
        ErrorKind::PermissionDenied if !geteuid().is_root() && rustix::fs::lstat(path).is_ok_and(|s| s.st_uid == 0) => {
            log.info(&format!("{} is left for root to remove", path.display()));
        }
        _ => log.warning(&Error::system("remove", path.display(), e).text),
    }
}
