//! Taking a slot away without ever deleting under a supervisor (DESIGN, section 4, Removal; B14).

use crate::cli::Deadline;
use crate::exit::{Error, Exit, Result};
use crate::message::Log;
use crate::profile::Profile;
use crate::s6;
use crate::scandir::{Listening, Scandir, ScandirLock};
use crate::slot::hidden_name;
use crate::supervise::{self, Changes};
use rustix::process::geteuid;
use std::path::{Path, PathBuf};

/// A supervisor that has not let go of a retired directory by itself after this long gets told again, harder: a logger
/// retired while it was being started stays behind otherwise (s6-facts, 4: tried).
const ALONE_MS: u64 = 1000;

/// A slot that s6-svscan has not begun to supervise has this long until it does: a thousand of them take it seconds. Taken
/// away before, it would stay in s6-svscan's own list, and count there, until a scan gets as far as its end.
const UNSEEN_MS: u64 = 30_000;

/// After this long a logger that still ignores the end of its input is killed.
const STUBBORN_MS: u64 = 5000;

/// A slot that is out of sight.
pub struct Retired {
    path: PathBuf,
    profile: Profile,
}

/// Tell the gateway of a slot to end, and wait until it is down. First wait, a little, until it is supervised: a
/// supervisor that is just starting would start the gateway after we looked.
///
/// # Errors
/// 99 if it outlived the deadline.
fn bring_down(scandir: &Scandir, slot: &Path, deadline: Deadline) -> Result<()> {
    let unseen = !slot.join("supervise/lock").exists() && scandir.listening() == Listening::Yes;
    let settle = deadline.or_after_ms(if unseen { UNSEEN_MS } else { ALONE_MS });
    let changes = Changes::watch([slot])?.and_locks();
    let usable = changes.until(settle, "s6-supervise", || Ok(supervise::is_usable(slot).then_some(())));
    if usable.is_err() && !supervise::is_held(slot) {
        return Ok(());
    }
    s6::svc("-d", slot)?;
    let what = format!("the gateway in {} to go down", slot.display());
    Changes::watch([slot])?
        .until(deadline, what, || Ok(s6::svstat(slot)?.is_none_or(|s| !s.up && s.finished).then_some(())))
}

/// Move a slot out of sight by one rename. The caller rescans with `-an`.
///
/// # Errors
/// 111.
pub fn hide(scandir: &Scandir, lock: &ScandirLock, profile: &Profile) -> Result<Retired> {
    hide_entry(scandir, lock, &profile.slot(), profile)
}

/// The same of any entry that was made for this profile.
///
/// # Errors
/// 111.
pub fn hide_entry(scandir: &Scandir, _lock: &ScandirLock, entry: &str, profile: &Profile) -> Result<Retired> {
    let hidden = hidden_name(profile)?;
    rustix::fs::renameat(&scandir.dir, entry, &scandir.dir, hidden.as_str())
        .map_err(|e| Error::system("retire", scandir.path.join(entry).display(), e))?;
    Ok(Retired { path: scandir.path.join(hidden), profile: profile.clone() })
}

/// Make s6-svscan let go of what is hidden.
///
/// # Errors
/// 111 if it listens and cannot be told.
pub fn let_go(scandir: &Scandir) -> Result<()> {
    match scandir.listening() {
        Listening::No => Ok(()),
        _ => s6::svscanctl("-an", &scandir.path),
    }
}

impl Retired {
    /// Where it is now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Wait until both supervisors have let go, push those that do not, then delete.
    ///
    /// # Errors
    /// 99 if one outlived the deadline: the directory stays, out of sight, and the next run goes on.
    pub fn finish(&self, deadline: Deadline, log: &dyn Log) -> Result<()> {
        let alone = deadline.or_after_ms(ALONE_MS);
        if self.wait(alone).is_err() {
            self.push("-xd");
            if self.wait(deadline.or_after_ms(STUBBORN_MS)).is_err() {
                let logger = self.path.join("log");
                // Its service is gone, so nothing can come any more that it would still have to write.
                if !deadline.passed() && !supervise::is_held(&self.path) && supervise::is_held(&logger) {
                    let _ = s6::svc("-k", &logger);
                }
                self.wait(deadline).map_err(|e| {
                    let still = "its slot is out of sight and still being drained";
                    Error::new(Exit::TimedOut, format!("{} of {}: {still}", e.text, self.profile))
                })?;
            }
        }
        delete(&self.path, log);
        Ok(())
    }

    fn wait(&self, deadline: Deadline) -> Result<()> {
        let changes = Changes::watch([self.path.as_path()])?.and_locks();
        changes.until(deadline, "the supervisors", || Ok((!supervise::any_held(&self.path)).then_some(())))
    }

    fn push(&self, order: &str) {
        for dir in supervise::with_logger(&self.path) {
            if supervise::is_held(&dir) {
                // It may be gone by now, which is what is wanted.
                let _ = s6::svc(order, &dir);
            }
        }
    }
}

/// The whole way: bring down, hide, let go, wait, delete.
///
/// # Errors
/// 99 if the gateway or a supervisor outlived the deadline; the slot is out of sight all the same.
pub fn retire(scandir: &Scandir, profile: &Profile, deadline: Deadline, log: &dyn Log) -> Result<()> {
    let down = bring_down(scandir, &scandir.slot(profile), deadline);
    // Out of sight in any case, so that the name is free: the lock is never held for long.
    let lock = scandir.lock(Deadline::after_ms(STUBBORN_MS))?;
    let retired = hide(scandir, &lock, profile)?;
    drop(lock);
    let_go(scandir)?;
    retired.finish(deadline, log).map_err(|error| match down {
        // The first thing that was waited for says more.
        Err(first) => {
            Error::new(error.exit, format!("{}; its slot is out of sight and still being drained", first.text))
        }
        Ok(()) => error,
    })
}

/// Wait until what earlier runs retired of this profile is gone as well.
///
/// # Errors
/// 99 if a gateway or a supervisor outlived the deadline.
pub fn drained(scandir: &Scandir, profile: &Profile, deadline: Deadline, log: &dyn Log) -> Result<()> {
    for name in scandir.leftovers()? {
        let path = scandir.path.join(&name);
        if Scandir::leftover_of(&name).as_ref() == Some(profile) && supervise::any_held(&path) {
            Retired { path, profile: profile.clone() }.finish(deadline, log)?;
        }
    }
    Ok(())
}

/// Finish what killed runs left: hidden directories nobody supervises are deleted, the others told to drain, without
/// waiting for them.
///
/// # Errors
/// 111 if the scandir cannot be read.
pub fn sweep(scandir: &Scandir, _lock: &ScandirLock, log: &dyn Log) -> Result<()> {
    for name in scandir.leftovers()? {
        let path = scandir.path.join(&name);
        if supervise::any_held(&path) {
            log.info(&format!("{} is still being drained", path.display()));
            Retired { path, profile: Profile::default_profile() }.push("-xd");
        } else {
            delete(&path, log);
        }
    }
    Ok(())
}

/// Delete a directory that nobody supervises. Another run may be deleting it as well; what cannot be deleted is out of
/// sight, and a warning (B11).
fn delete(path: &Path, log: &dyn Log) {
    let Err(e) = std::fs::remove_dir_all(path) else { return };
    match e.kind() {
        std::io::ErrorKind::NotFound => {}
        // An open scandir's owner may retire what root has made; root's next run, the watcher's, deletes it.
        std::io::ErrorKind::PermissionDenied if !geteuid().is_root() => {
            log.info(&format!("{} is left for root to remove", path.display()));
        }
        _ => log.warning(&Error::system("remove", path.display(), e).text),
    }
}
