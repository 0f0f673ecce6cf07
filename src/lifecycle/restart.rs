//! Restart: down, wait until it is down and finished, up. Never `s6-svc -r` or `-t`: Hermes Agent exits 0 on a planned
//! stop, which counts towards a hold, and a slot that is down would stay so (A10).

use super::{Site, marker, start, stop};
use crate::exit::{Error, Exit, Result};
use crate::intent::{self, Intent};
use crate::profile::Profile;
use crate::s6;
use crate::supervise::Changes;

/// What a restart has begun.
pub enum Begun {
    /// The gateway was told to end; this is the process.
    Stopping(Option<i32>),
    /// We are one of the gateway's own processes: it restarts itself, and we do not wait for our own end (F12).
    ByItself,
}

/// Record the intent and tell the gateway to end.
///
/// # Errors
/// 100 no such profile, 102 not registered or not supervised, 111 the intent cannot be recorded or s6 does not obey.
pub fn order(site: &Site, profile: &Profile) -> Result<Begun> {
    let slot = site.scandir.require_slot(profile)?;
    site.home.require(profile)?;
    site.require_usable(&slot)?;
    let _guard = site.guard(profile);
    let before = site.svstat(&slot)?;
    site.write(profile, Intent::Running)?;
    if site.dry_run {
        return Ok(Begun::Stopping(before.pid));
    }
    if stop::is_inside(before.pid) {
        // SIGUSR1: Hermes Agent drains and exits 75, and s6-supervise starts it again.
        s6::svc("-1", &slot)?;
        return Ok(Begun::ByItself);
    }
    if let Some(pid) = before.pid {
        stop::warn_of_lost_marker(site, marker::write(site.home, profile, pid));
    }
    s6::svc("-d", &slot)?;
    Ok(Begun::Stopping(before.pid))
}

/// Wait until it is down, then bring it up.
///
/// # Errors
/// 99 when the deadline passes, 102 if it was stopped meanwhile: what the operator asked for last is what counts.
pub fn finish(site: &Site, profile: &Profile, begun: &Begun) -> Result<()> {
    let Begun::Stopping(old) = begun else { return Ok(()) };
    if site.dry_run {
        return Ok(());
    }
    let slot = site.scandir.slot(profile);
    let what = format!("the gateway of {profile} to end: it is still draining");
    Changes::watch([slot.as_path()])?.until(site.deadline, what, || {
        let stat = site.svstat(&slot)?;
        // Another process already: somebody else restarted it meanwhile, and both have what they want (F4).
        Ok((stat.is_down() || stat.pid.is_some() && stat.pid != *old).then_some(()))
    })?;
    let _guard = site.guard(profile);
    if intent::read(site.home, profile)? == Some(Intent::Stopped) && !site.svstat(&slot)?.normally_up {
        return Err(Error::new(Exit::WrongState, format!("{profile} was stopped while it restarted: it stays down")));
    }
    if !site.svstat(&slot)?.up {
        start::up(site, profile, &slot)?;
    }
    site.repair(profile, Intent::Running)
}
