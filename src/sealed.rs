//! What the runtime account may not do in a sealed tree, hermes-profile-watch does for it: it is root, and publishes only
//! what the volume says. The tools wait for that, a little.

use crate::cli::Deadline;
use crate::exit::{Error, Exit, Result};
use crate::profile::Profile;
use crate::s6;
use crate::scandir::{Listening, Scandir};
use crate::supervise::{self, Changes};

/// How long the watcher gets to begin, milliseconds. It takes less than 50 on an idle machine.
const WATCHER_MS: u64 = 5000;

/// Is this scandir closed to the caller?
pub fn is_sealed(scandir: &Scandir) -> bool {
    scandir.require_writable().is_err() || scandir.listening() == Listening::Unknown
}

/// Wait until the watcher has made the slot of a profile.
///
/// # Errors
/// 102 if it does not.
pub fn await_slot(scandir: &Scandir, profile: &Profile, deadline: Deadline) -> Result<()> {
    let slot = scandir.slot(profile);
    let changes = Changes::watch([slot.as_path()])?.and_scandir(&scandir.path).and_locks();
    let made = || Ok((scandir.has_slot(profile) && supervise::is_usable(&slot)).then_some(()));
    changes
        .until(deadline.or_after_ms(WATCHER_MS), "its slot", made)
        .map_err(|error| in_vain(error, format!("{profile}: no slot yet: is hermes-profile-watch up?")))
}

/// Wait until the watcher has taken away the slot of a profile that is gone, its gateway drained first.
///
/// # Errors
/// 102 if it does not begin to, 99 if the gateway outlives the deadline.
pub fn await_no_slot(scandir: &Scandir, profile: &Profile, deadline: Deadline) -> Result<()> {
    let slot = scandir.slot(profile);
    let changes = Changes::watch([slot.as_path()])?.and_scandir(&scandir.path);
    let begun = || {
        let draining = s6::svstat(&slot)?.is_some_and(|s| s.up && !s.wanted_up);
        Ok((draining || !scandir.has_slot(profile)).then_some(()))
    };
    changes.until(deadline.or_after_ms(WATCHER_MS), "its slot to go", begun).map_err(|error| {
        let sealed = format!("{} is not ours to write", scandir.path.display());
        in_vain(error, format!("{profile}: its slot is still there: is hermes-profile-watch up? ({sealed})"))
    })?;
    let what = format!("the gateway of {profile} to end: it is still draining");
    changes.until(deadline, what, || Ok((!scandir.has_slot(profile)).then_some(())))
}

/// A wait that ended in vain is the watcher's doing; another error is what it is.
fn in_vain(error: Error, text: String) -> Error {
    if error.exit == Exit::TimedOut { Error::new(Exit::WrongState, text) } else { error }
}
