//! Waiting for hermes-profile-watch. In a sealed tree the runtime account may not make or remove slots. The watcher
//! runs as root and does it, publishing only what the volume says; the tools wait for it for a limited time.

use crate::ground::deadline::Deadline;
use crate::ground::error::{Error, Kind, Result};
use crate::ground::profile::Profile;
use crate::s6::changes::Changes;
use crate::s6::programs;
use crate::s6::scandir::Scandir;
use crate::s6::supervise;

/// How long the watcher has to begin, in milliseconds. On an idle machine it takes less than 50.
const WATCHER_MS: u64 = 5000;

/// Wait until the watcher has made the slot of a profile, and the slot is usable.
///
/// # Errors
/// 102 if the watcher does not make the slot in time, 111 if the slot cannot be looked at.
pub fn await_slot(scandir: &Scandir, profile: &Profile, deadline: Deadline) -> Result<()> {
    let slot = scandir.slot(profile);
    let changes = Changes::watch([slot.as_path()]).and_scandir(&scandir.path).and_locks();
    let made = || Ok((scandir.has_slot(profile)? && supervise::is_usable(&slot)?).then_some(()));
    changes
        .until(deadline.or_after_ms(WATCHER_MS), "its slot", made)
        .map_err(|error| in_vain(error, format!("{profile}: no slot yet: is hermes-profile-watch up?")))
}

/// Wait until the watcher has drained the gateway of a profile that is gone, and taken its slot away.
///
/// # Errors
/// 102 if the watcher does not begin in time, 99 if the gateway outlives the deadline, 111 if the slot cannot be looked
/// at.
pub fn await_no_slot(scandir: &Scandir, profile: &Profile, deadline: Deadline) -> Result<()> {
    let slot = scandir.slot(profile);
    let changes = Changes::watch([slot.as_path()]).and_scandir(&scandir.path);
    let begun = || {
        let draining = programs::svstat(&slot)?.is_some_and(|s| s.up && !s.wanted_up);
        Ok((draining || !scandir.has_slot(profile)?).then_some(()))
    };
    changes.until(deadline.or_after_ms(WATCHER_MS), "its slot to go", begun).map_err(|error| {
        let sealed = format!("{} is not ours to write", scandir.path.display());
        in_vain(error, format!("{profile}: its slot is still there: is hermes-profile-watch up? ({sealed})"))
    })?;
    let what = format!("the gateway of {profile} to end: it is still draining");
    changes.until(deadline, what, || Ok((!scandir.has_slot(profile)?).then_some(())))
}

/// If the wait timed out, the watcher is not running: 102 with this text. Other errors stay as they are.
fn in_vain(error: Error, text: String) -> Error {
    if error.kind == Kind::TimedOut { Error::new(Kind::WrongState, text) } else { error }
}
