//! Reminding an s6-svscan of a slot that it has lost sight of.
//!
//! s6-svscan can lose a slot in two ways. It waits a second between two starts of a supervisor, and in 2.12 and later
//! `start_iter` (s6-svscan.c) skips a service whose second is not over without setting its deadline again. So if a
//! supervisor dies just before another one is started, it is forgotten. And if a new entry is first seen in a scan that
//! is then aborted, it stays without a supervisor, because `check` already knows it at the next scan.
//!
//! A rescan mends neither. But any new entry does, because it sets `start_deadline` to now, and then `start` walks over
//! all services. So the reminder is a new entry, which runs nothing and is taken away again. It must not come before
//! the lost supervisor's second is over: `start_iter` would skip that service once more.

use crate::ground::deadline::Deadline;
use crate::ground::error::{Error, Result};
use crate::ground::message::Log;
use crate::ground::profile::Profile;
use crate::s6::changes::Changes;
use crate::s6::programs;
use crate::s6::retire;
use crate::s6::room::Room;
use crate::s6::scandir::Scandir;
use crate::s6::staging;
use crate::s6::supervise;
use crate::s6::tidy::heal;

/// The name of the entry. It is not the name of a slot, so no tool takes it for a profile's.
const ENTRY: &str = "hermes-s6-nudge";

/// How long a dead supervisor has to come back by itself, in milliseconds: s6-svscan's one second, and some more.
pub const ALONE_MS: u64 = 1500;

/// How long s6-svscan has to see the entry, in milliseconds.
const SEEN_MS: u64 = 1000;

/// Remind the s6-svscan of this scandir, on behalf of this profile's slot.
///
/// # Errors
/// 99 if s6-svscan did not see the entry in time, or the lock was not free in time. 102 if the caller may not publish,
/// or no s6-svscan runs. 111 if there is no room for the entry, or a system call or an s6 program fails.
pub fn remind(scandir: &Scandir, profile: &Profile, deadline: Deadline, log: &dyn Log) -> Result<()> {
    scandir.require_publishable()?;
    let lock = scandir.lock(deadline)?;
    heal(scandir, &lock, log)?;
    Room::default().require(scandir, false)?;
    let path = scandir.path.join(ENTRY);
    // A killed run may have left the entry, and s6-svscan would not see an old one as new.
    retire::hide(scandir, &lock, ENTRY, profile)?;
    staging::publish_idle(scandir, &lock, ENTRY, profile).map_err(|e| Error::system("publish", path.display(), e))?;
    drop(lock);
    log.info(&format!("s6-svscan has lost sight of {profile}: reminding it"));
    let seen = programs::svscanctl("-a", &scandir.path).and_then(|()| {
        let what = format!("s6-svscan to see {}", path.display());
        let held = || Ok(supervise::is_held(&path)?.then_some(()));
        let changes = Changes::watch([path.as_path()]).and_locks().by_looks();
        changes.until(deadline.or_after_ms(SEEN_MS), what, held)
    });
    // Take the entry away whether s6-svscan saw it or not, even if the deadline has passed.
    let lock = scandir.lock(Deadline::after_ms(SEEN_MS))?;
    let hidden = retire::hide(scandir, &lock, ENTRY, profile);
    drop(lock);
    let gone = retire::let_go(scandir);
    // If the entry is not there any more, another run has taken it away, and finishes the removal.
    if let Some(hidden) = hidden? {
        hidden.finish(deadline.or_after_ms(SEEN_MS), log)?;
    }
    seen.and(gone)
}
