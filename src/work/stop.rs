//! Stopping a gateway.

use crate::ground::error::{Error, Result};
use crate::ground::process;
use crate::ground::profile::Profile;
use crate::s6::changes::Changes;
use crate::s6::orders::{Told, give, taken};
use crate::s6::programs;
use crate::volume::intent::{self, Intent};
use crate::volume::planned_stop;
use crate::work::context::Context;
use crate::work::gateway::take_lock;

/// Record the intent, and order the gateway down. Returns whether anything had to change. `keep_intent` is for the
/// container's own stop: it drains the gateway, but changes no intent and writes no planned-stop marker, because with
/// the marker Hermes Agent would record that it was stopped (A1).
///
/// # Errors
/// 100 if there is neither a profile nor a slot. 102 if the profile is not registered or not supervised, 111 if the intent cannot be recorded or s6 does not obey, 99
/// if the order does not show in time.
pub fn order(site: &Context, profile: &Profile, keep_intent: bool) -> Result<bool> {
    let slot = site.require_slot(profile)?;
    site.require_usable(profile, &slot)?;
    // A slot may outlive its profile, and must be stoppable even then.
    let keep_intent = keep_intent || !site.home.has(profile)?;
    let _guard = match site.guard(profile) {
        // The container's own stop drains the gateway even if the volume fails.
        Err(error) if keep_intent => {
            site.log.warning(&error.text);
            None
        }
        guard => guard?,
    };
    let before = site.svstat(&slot)?;
    let is_down = !before.up && !before.wanted_up && (keep_intent || !before.normally_up);
    let changed = !is_down || !keep_intent && intent::read(site.home, profile)? != Some(Intent::Stopped);
    if site.dry_run {
        return Ok(changed);
    }
    if !keep_intent {
        let hint = |e: Error| Error::new(e.kind, format!("{}; -k stops it without recording that", e.text));
        site.record(profile, Intent::Stopped).map_err(hint)?;
        // The marker comes last, so that it is not left behind if the order fails earlier.
        if changed && let Some(pid) = before.pid {
            warn_of_lost_marker(site, planned_stop::write(site.home, profile, pid));
        }
    }
    if keep_intent && before.up && before.wanted_up {
        keep_what_nobody_recorded(site, profile);
    }
    if changed {
        give(if keep_intent { "-d" } else { "-D" }, &slot, site.deadline)?;
        taken(&slot, "want it down", site.deadline, |s| !s.wanted_up && (keep_intent || !s.normally_up))?;
        if !keep_intent {
            site.repair(profile, Intent::Stopped)?;
        }
    }
    Ok(changed)
}

/// Record `running` for a gateway of this home that is up and has no intent, so that the next boot brings it back. Hermes
/// Agent 0.15 and 0.16 start a gateway without recording an intent, and write `stopped` at every end. An error is only a
/// warning, because the container's own stop drains the gateway in any case.
fn keep_what_nobody_recorded(site: &Context, profile: &Profile) {
    let recorded = || -> Result<bool> {
        Ok(site.require_own(profile).is_ok() && intent::record_if_none(site.home, profile, site.log)?)
    };
    if let Err(error) = recorded() {
        site.log.warning(&format!("{}: the next boot does not start {profile}", error.text));
    }
}

/// Warn if the planned-stop marker could not be written. Without it Hermes Agent only takes the stop for an unexpected
/// one, so a warning is enough.
pub fn warn_of_lost_marker(site: &Context, written: Result<()>) {
    if let Err(error) = written {
        site.log.warning(&format!("{}: the gateway will take this for an unexpected stop", error.text));
    }
}

/// Wait until the gateway's process and its `finish` have ended, and its gateway lock is free. `told` is when the
/// gateway was told to end.
///
/// # Errors
/// 99 if the deadline passes, 111 if s6 or the lock cannot be asked, or the intent cannot be recorded again.
pub fn wait(site: &Context, profile: &Profile, keep_intent: bool, told: Told) -> Result<()> {
    if site.dry_run {
        return Ok(());
    }
    let slot = site.scandir.slot(profile);
    let what = format!("the gateway of {profile} to end: it is still draining");
    let down = || {
        let stat = programs::svstat(&slot)?;
        if stat.is_some_and(|s| s.up && !s.wanted_up) {
            told.insist(&slot);
        }
        Ok(stat.is_none_or(|s| s.is_down()).then_some(()))
    };
    Changes::watch([slot.as_path()]).until(site.deadline, what, down)?;
    take_lock::wait_until_free_here(site.home, profile, site.deadline)?;
    if keep_intent || !site.home.has(profile)? {
        return Ok(());
    }
    // When the gateway ended it wrote its last state, and may have overwritten the intent (A14). But if the slot has no
    // `down` file any more, a start has come since then, and the intent is right.
    let _guard = site.guard(profile)?;
    if programs::svstat(&slot)?.is_none_or(|s| !s.normally_up) {
        site.repair(profile, Intent::Stopped)?;
    }
    Ok(())
}

/// Is the caller a descendant of the gateway's process? Then it ends with the gateway, and must not wait for its end
/// (F12).
///
/// # Errors
/// 111 if the caller's ancestors cannot be looked at.
pub fn is_inside(gateway: Option<i32>) -> Result<bool> {
    let Some(gateway) = gateway else { return Ok(false) };
    let mut pid = process::own_pid();
    for _ in 0..64 {
        if pid == gateway {
            return Ok(true);
        }
        match process::stat(pid)?.filter(|stat| stat.parent > 1) {
            Some(stat) => pid = stat.parent,
            None => break,
        }
    }
    Ok(false)
}
