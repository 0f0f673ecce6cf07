//! Reminding an s6-svscan of a supervisor that it has forgotten.
//!
//! s6-svscan lets a second pass between two starts of a supervisor. When another one is to be started in that second, 2.12
//! and later do that and forget the first: no rescan reminds them, only the death of another supervisor or a new entry. So
//! here is a new entry, which does nothing and goes again. Until its second is over a supervisor must be left in peace: the
//! reminder would come too early, and be such another start itself.

use crate::cli::Deadline;
use crate::exit::{Error, Result};
use crate::message::Log;
use crate::profile::Profile;
use crate::register::require_room;
use crate::retire;
use crate::s6;
use crate::scandir::Scandir;
use crate::slot;
use crate::supervise::{self, Changes};

/// The entry: no slot's name, so that nobody takes it for a profile's.
const ENTRY: &str = "hermes-s6-nudge";

/// How long a supervisor that died has to come back by itself: its second, and some.
pub const ALONE_MS: u64 = 1500;

/// How long s6-svscan gets to see the entry.
const SEEN_MS: u64 = 1000;

/// Do it, on behalf of this profile's slot.
///
/// # Errors
/// 99 when a lock or s6-svscan takes too long, 102 where the caller may not publish, 111 where there is no room.
pub fn nudge(scandir: &Scandir, profile: &Profile, deadline: Deadline, log: &dyn Log) -> Result<()> {
    scandir.require_publishable()?;
    let lock = scandir.lock(deadline)?;
    retire::sweep(scandir, &lock, log)?;
    require_room(scandir, scandir.services()?, false)?;
    let path = scandir.path.join(ENTRY);
    // A killed run may have left one, which is nothing new to s6-svscan.
    let _ = retire::hide_entry(scandir, &lock, ENTRY, profile);
    slot::publish_idle(scandir, &lock, ENTRY, profile).map_err(|e| Error::system("publish", path.display(), e))?;
    drop(lock);
    log.info(&format!("s6-svscan has forgotten a supervisor of {profile}: reminding it"));
    let seen = s6::svscanctl("-a", &scandir.path).and_then(|()| Changes::watch([path.as_path()])).and_then(|changes| {
        let what = format!("s6-svscan to see {}", path.display());
        let held = || Ok(supervise::is_held(&path).then_some(()));
        changes.and_locks().until(deadline.or_after_ms(SEEN_MS), what, held)
    });
    // It goes again whatever came of it, also when the time is up.
    let lock = scandir.lock(Deadline::after_ms(SEEN_MS))?;
    let hidden = retire::hide_entry(scandir, &lock, ENTRY, profile);
    drop(lock);
    let gone = retire::let_go(scandir);
    // One that another run has taken away meanwhile is that run's.
    hidden.map_or(Ok(()), |hidden| hidden.finish(deadline.or_after_ms(SEEN_MS), log))?;
    seen.and(gone)
}
