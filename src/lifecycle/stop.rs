//! Stop.

use super::{Site, marker};
use crate::exit::{Error, Result};
use crate::gateway;
use crate::intent::{self, Intent};
use crate::profile::Profile;
use crate::s6;
use crate::supervise::Changes;

/// Record the intent and give the order. Says whether anything had to change. `keep_intent` is the container's own stop:
/// drain without forgetting, and without the marker, with which Hermes Agent would write that it was stopped (A1).
///
/// # Errors
/// 102 not registered or not supervised, 111 the intent cannot be recorded or s6 does not obey.
pub fn order(site: &Site, profile: &Profile, keep_intent: bool) -> Result<bool> {
    let slot = site.scandir.require_slot(profile)?;
    site.require_usable(profile, &slot)?;
    let has_profile = site.has_profile(profile);
    let _guard = site.guard(profile);
    let before = site.svstat(&slot)?;
    let keep_intent = keep_intent || !has_profile;
    let marked = keep_intent || !before.normally_up && intent::read(site.home, profile)? == Some(Intent::Stopped);
    if !before.up && !before.wanted_up && marked {
        return Ok(false);
    }
    if site.dry_run {
        return Ok(true);
    }
    if !keep_intent {
        let hint = |e: Error| Error::new(e.exit, format!("{}; -k stops it without recording that", e.text));
        site.write(profile, Intent::Stopped).map_err(hint)?;
        // Last, so that none is left behind where nothing is stopped.
        if let Some(pid) = before.pid {
            warn_of_lost_marker(site, marker::write(site.home, profile, pid));
        }
    }
    s6::svc(if keep_intent { "-d" } else { "-D" }, &slot)?;
    site.taken(&slot, "want it down", |s| !s.wanted_up && (keep_intent || !s.normally_up))?;
    if !keep_intent {
        site.repair(profile, Intent::Stopped)?;
    }
    Ok(true)
}

pub(super) fn warn_of_lost_marker(site: &Site, written: Result<()>) {
    if let Err(error) = written {
        site.log.warning(&format!("{}: the gateway will take this for an unexpected stop", error.text));
    }
}

/// Wait until it is gone: the process, `finish`, and the profile's gateway lock.
///
/// # Errors
/// 99 when the deadline passes.
pub fn wait(site: &Site, profile: &Profile, keep_intent: bool) -> Result<()> {
    if site.dry_run {
        return Ok(());
    }
    let slot = site.scandir.slot(profile);
    let changes = Changes::watch([slot.as_path()])?;
    let what = format!("the gateway of {profile} to end: it is still draining");
    changes.until(site.deadline, what, || Ok(s6::svstat(&slot)?.is_none_or(|s| s.is_down()).then_some(())))?;
    if site.has_profile(profile) {
        gateway::lock::wait_until_free_here(site.home, profile, site.deadline)?;
        if !keep_intent {
            // It wrote its last state when it ended, perhaps over the intent (A14); but a start may have come since then,
            // and then the slot is not marked down any more.
            let _guard = site.guard(profile);
            if s6::svstat(&slot)?.is_none_or(|s| !s.normally_up) {
                site.repair(profile, Intent::Stopped)?;
            }
        }
    }
    Ok(())
}

/// Is this process one that the gateway started? Then it ends with it, and must not wait for that (F12).
pub fn is_inside(gateway: Option<i32>) -> bool {
    let Some(gateway) = gateway else { return false };
    let parent = |pid: &i32| crate::process::stat(*pid).map(|s| s.parent).filter(|p| *p > 1);
    let ancestors = std::iter::successors(Some(crate::process::own_pid()), parent);
    ancestors.take(64).any(|pid| pid == gateway)
}

/// Errors that mean "not there any more" where that is what was wanted.
pub fn gone_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(Error { exit: crate::exit::Exit::WrongState, .. }) => Ok(()),
        other => other,
    }
}
