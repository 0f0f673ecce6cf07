//! Restart: down, wait until it is down and finished, up. Never `s6-svc -r` or `-t`: Hermes Agent exits 0 on a planned
//! stop, which counts towards a hold, and a slot that is down would stay so (A10).

use super::{Site, marker, start, stop};
use crate::exit::{Error, Exit, Result};
use crate::intent::{self, Intent};
use crate::interrupt;
use crate::profile::Profile;
use crate::s6;
use crate::supervise::Changes;
use std::path::{Path, PathBuf};

/// What a restart has begun.
pub enum Begun {
    /// The gateway was told to end; this is the process.
    Stopping(Option<i32>),
    /// There was nothing to end: it is up.
    Started,
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
    site.require_usable(profile, &slot)?;
    let guard = site.guard(profile);
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
    if before.is_down() {
        start::up(site, profile, &slot)?;
        site.repair(profile, Intent::Running)?;
        return Ok(Begun::Started);
    }
    interrupt::defer()?;
    if let Some(pid) = before.pid {
        stop::warn_of_lost_marker(site, marker::write(site.home, profile, pid));
    }
    // U takes `down` away, which only a stop brings back: that tells a stop meanwhile from an old intent that the gateway
    // writes at its end (A14).
    s6::svc("-Ud", &slot)?;
    // Until it shows, a gateway that came of a crash just now looks like one that somebody else has restarted, and one that
    // still drains like one that was stopped once more.
    let taken = site.taken(&slot, "want it down", |s| !s.wanted_up && s.normally_up);
    drop(guard);
    taken.map(|_| Begun::Stopping(before.pid)).map_err(|error| leave(site, profile, &error))
}

/// Wait until they are down, and bring each up as soon as it is: one that drains for long does not keep the others down.
/// Cut short, by the deadline or a signal, it leaves the rest to s6-supervise, so that a restart never ends in a stop.
///
/// # Errors
/// Of each: 99 when the deadline passes, 102 if it was stopped meanwhile: what the operator asked for last is what counts.
pub fn finish(site: &Site, begun: &[(&Profile, Begun)]) -> Vec<Result<()>> {
    let mut results: Vec<Option<Result<()>>> = begun.iter().map(|_| None).collect();
    let slots: Vec<PathBuf> = begun.iter().map(|(profile, _)| site.scandir.slot(profile)).collect();
    let waited = Changes::watch(slots.iter().map(PathBuf::as_path)).and_then(|changes| {
        changes.until(site.deadline, "the gateway to end", || {
            for ((profile, begun), result) in begun.iter().zip(&mut results).filter(|(_, result)| result.is_none()) {
                *result = step(site, profile, begun).transpose();
            }
            Ok(results.iter().all(Option::is_some).then_some(()))
        })
    });
    let ended = |(result, (profile, _)): (Option<Result<()>>, &(&Profile, Begun))| match (result, &waited) {
        (Some(result), _) => result,
        (None, Err(error)) => Err(leave(site, profile, error)),
        (None, Ok(())) => Ok(()),
    };
    results.into_iter().zip(begun).map(ended).collect()
}

/// Leave the start to s6-supervise: the death that it waits for then counts towards a hold, which a finished restart
/// avoids. Returns what to say.
fn leave(site: &Site, profile: &Profile, cause: &Error) -> Error {
    let slot = site.scandir.slot(profile);
    let _guard = site.guard(profile);
    let stopped = was_stopped(site, profile, &slot);
    let and = if stopped.is_ok_and(|stopped| !stopped) && s6::svc("-U", &slot).is_ok() {
        ", and starts again when it has ended"
    } else {
        ""
    };
    Error::new(cause.exit, format!("{}: {profile} is still draining{and}", cause.text))
}

/// Has somebody stopped it since it was told to end?
fn was_stopped(site: &Site, profile: &Profile, slot: &Path) -> Result<bool> {
    Ok(intent::read(site.home, profile)? == Some(Intent::Stopped) && !site.svstat(slot)?.normally_up)
}

/// Bring it up if it is down; `None` if it is not yet.
fn step(site: &Site, profile: &Profile, begun: &Begun) -> Result<Option<()>> {
    let Begun::Stopping(old) = begun else { return Ok(Some(())) };
    if site.dry_run {
        return Ok(Some(()));
    }
    let slot = site.scandir.slot(profile);
    let stat = site.svstat(&slot)?;
    // Another process already: somebody else restarted it meanwhile, and both have what they want (F4). One that is not
    // wanted came of a crash just before the order, which ends that one.
    let other = |stat: &s6::Svstat| stat.wanted_up && stat.pid.is_some() && stat.pid != *old;
    if !stat.is_down() && !other(&stat) {
        return Ok(None);
    }
    let _guard = site.guard(profile);
    if was_stopped(site, profile, &slot)? {
        return Err(Error::new(Exit::WrongState, format!("{profile} was stopped while it restarted: it stays down")));
    }
    if !other(&site.svstat(&slot)?) {
        start::up(site, profile, &slot)?;
    }
    site.repair(profile, Intent::Running).map(Some)
}
