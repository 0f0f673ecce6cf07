//! Unregistering one profile: drain its gateway, retire its slot, free its port, and delete what is left.

use crate::ground::error::{Error, Result};
use crate::ground::profile::Profile;
use crate::s6::retire;
use crate::s6::tidy::sweep;
use crate::volume::ports;
use crate::work::action::Action;
use crate::work::await_watcher;
use crate::work::context::Context;
use crate::work::gateway::take_lock;

/// Unregister the profile, and return `Unregistered` or, if there was no slot, `Absent`. With `keep_port` the port
/// stays on record. In a sealed tree the runtime account waits for the watcher to retire the slot of a profile that is
/// gone.
///
/// # Errors
/// 99 if the gateway or a supervisor outlives the deadline: the slot is hidden and still being drained. 102 if the
/// caller may not publish here. 111 if a system call or an s6 program fails; the text says whether the port is still
/// recorded.
pub fn unregister(context: &Context, profile: &Profile, keep_port: bool) -> Result<Action> {
    let &Context { home, scandir, dry_run, deadline, log, .. } = context;
    context.require_own(profile)?;
    let there = scandir.has_slot(profile)?;
    let action = if there { Action::Unregistered } else { Action::Absent };
    let free_port = || {
        let but = |e: Error| e.context(format!("{profile}: {}, but its port is still recorded", action.as_str()));
        if keep_port { Ok(()) } else { ports::free(home, profile, dry_run, deadline, log).map_err(but) }
    };
    if scandir.is_sealed()? && !home.has(profile)? {
        // The watcher retires the slot and frees the port.
        if there && !dry_run {
            await_watcher::await_no_slot(scandir, profile, deadline)?;
        }
        return free_port().map(|()| action);
    }
    scandir.require_writable()?;
    if dry_run {
        return free_port().map(|()| action);
    }
    if there {
        retire::retire(scandir, profile, deadline, None)?;
    }
    // An earlier run may have ended before the gateway that it hid (B5).
    retire::drain_leftovers(scandir, profile, deadline)?;
    // The supervisor of the gateway may have been killed: s6 then no longer knows the gateway, which still runs.
    take_lock::wait_until_free_here(home, profile, deadline)?;
    let freed = free_port();
    let lock = scandir.lock(deadline)?;
    sweep(scandir, &lock, |_| true, log)?;
    freed.map(|()| action)
}
