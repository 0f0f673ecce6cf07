//! Restarting a gateway: bring it down, wait until it and its `finish` have ended, bring it up. `s6-svc -r` and `-t`
//! are not used: Hermes Agent exits 0 on a planned stop, and that exit counts towards a hold. Also, they do not bring
//! up a slot that is down (A10).

use crate::ground::error::{Error, Kind, Result};
use crate::ground::interrupt;
use crate::ground::profile::Profile;
use crate::s6::changes::Changes;
use crate::s6::orders::{Told, give, taken};
use crate::s6::programs;
use crate::volume::client::Client;
use crate::volume::intent::{self, Intent};
use crate::volume::mode::Mode;
use crate::volume::planned_stop;
use crate::work::container;
use crate::work::context::Context;
use crate::work::start::{self, Lasts, Turn};
use crate::work::stop;
use std::path::{Path, PathBuf};

/// How a restart has begun.
pub enum Begun {
    /// The gateway was told to end. The pid is that of its process.
    Stopping(Option<i32>),
    /// The gateway was down, and was brought up.
    Started,
    /// The caller is one of the gateway's own processes. The gateway restarts by itself; the caller cannot wait for its
    /// own end (F12).
    ByItself,
}

/// Record the intent, and tell the gateway to end.
///
/// # Errors
/// 100 if there is no such profile. 102 if it is not registered or not supervised, or if the gateway of `default` serves
/// it by its release (`Mode::Others`), or serves it and it is down. 111 if the intent cannot be
/// recorded, or s6 does not obey. 99 if the order does not show in time.
pub fn order(site: &Context, profile: &Profile, turn: Turn) -> Result<Begun> {
    let slot = site.require_slot(profile)?;
    site.require_own(profile)?;
    site.home.require(profile)?;
    container::refuse_foreground(profile)?;
    let mode = Mode::by_release(&site.home.account().act(Client::here)?);
    if mode == Mode::Others && mode.settle(site.home, profile, site.dry_run, site.log)? {
        return Err(mode.refusal(site.home, profile));
    }
    start::warn_of_files(site, profile);
    site.require_usable(profile, &slot)?;
    let guard = site.guard(profile)?;
    let before = site.svstat(&slot)?;
    if before.is_down() {
        start::refuse_served(site, profile)?;
    }
    site.record(profile, Intent::Running)?;
    if site.dry_run {
        return Ok(Begun::Stopping(before.pid));
    }
    if turn == Turn::Now {
        start::ask_for_now(site, profile);
    }
    if stop::is_inside(before.pid)? {
        // SIGUSR1 makes Hermes Agent drain and exit 75, and then s6-supervise starts it again.
        programs::svc("-1", &slot)?;
        return Ok(Begun::ByItself);
    }
    if before.is_down() {
        start::up(site, profile, &slot, Lasts::Always)?;
        site.repair(profile, Intent::Running)?;
        return Ok(Begun::Started);
    }
    interrupt::defer()?;
    if let Some(pid) = before.pid {
        stop::warn_of_lost_marker(site, planned_stop::write(site.home, profile, pid));
    }
    // `-U` removes the `down` file, and only a stop creates it again. So if the file is there later, the gateway was
    // stopped in the meantime. If only the intent says stopped, the dying gateway has overwritten it with an old one
    // (A14).
    give("-Ud", &slot, site.deadline)?;
    // Wait until s6-svstat shows the order. Before that, a gateway that s6 has just started after a crash looks like
    // one that another command has restarted. And a gateway that still drains looks like one that was stopped again.
    let taken = taken(&slot, "want it down", site.deadline, |s| !s.wanted_up && s.normally_up);
    drop(guard);
    taken.map(|_| Begun::Stopping(before.pid)).map_err(|error| leave(site, profile, &error))
}

/// Wait until the gateways are down, and bring each up as soon as it is. So a gateway that drains for long does not
/// keep the others down. If the wait is cut short, by the deadline or a signal, s6-supervise is told to start the rest
/// when they have ended, so that a restart never ends in a stop.
///
/// # Errors
/// One result for each profile: 99 if the deadline passes; 102 if the gateway was stopped in the meantime, since the
/// operator's last order counts; 111 if a signal came, or s6 or the volume fails.
pub fn finish(site: &Context, begun: &[(Profile, Begun)]) -> Vec<Result<()>> {
    let mut results: Vec<Option<Result<()>>> = begun.iter().map(|_| None).collect();
    let slots: Vec<PathBuf> = begun.iter().map(|(profile, _)| site.scandir.slot(profile)).collect();
    let changes = Changes::watch(slots.iter().map(PathBuf::as_path));
    let told = Told::now();
    let waited = changes.until(site.deadline, "the gateway to end", || {
        for ((profile, begun), result) in begun.iter().zip(&mut results).filter(|(_, result)| result.is_none()) {
            *result = step(site, profile, begun, told).transpose();
        }
        Ok(results.iter().all(Option::is_some).then_some(()))
    });
    let ended = |(result, (profile, _)): (Option<Result<()>>, &(Profile, Begun))| match (result, &waited) {
        (Some(result), _) => result,
        (None, Err(error)) => Err(leave(site, profile, error)),
        (None, Ok(())) => Ok(()),
    };
    results.into_iter().zip(begun).map(ended).collect()
}

/// Leave the start to s6-supervise. The gateway's end then counts towards a hold, which it does not after a finished
/// restart. Returns the error to report.
fn leave(site: &Context, profile: &Profile, cause: &Error) -> Error {
    let slot = site.scandir.slot(profile);
    let _guard = site.guard(profile);
    let stopped = was_stopped(site, profile, &slot);
    let and = if stopped.is_ok_and(|stopped| !stopped) && programs::svc("-U", &slot).is_ok() {
        ", and starts again when it has ended"
    } else {
        ""
    };
    Error::new(cause.kind, format!("{}: {profile} is still draining{and}", cause.text))
}

/// Was the gateway stopped after it was told to end?
fn was_stopped(site: &Context, profile: &Profile, slot: &Path) -> Result<bool> {
    Ok(intent::read(site.home, profile)? == Some(Intent::Stopped) && !site.svstat(slot)?.normally_up)
}

/// Bring the gateway up if it is down; `None` if it is not down yet.
fn step(site: &Context, profile: &Profile, begun: &Begun, told: Told) -> Result<Option<()>> {
    let Begun::Stopping(old) = begun else { return Ok(Some(())) };
    if site.dry_run {
        return Ok(Some(()));
    }
    let slot = site.scandir.slot(profile);
    let stat = site.svstat(&slot)?;
    // A different process that is wanted up: another command has restarted the gateway, which is what we want too (F4).
    // A different process that is not wanted up: s6 restarted a crashed gateway just before our order, which is about
    // to end it.
    let other = |stat: &programs::Svstat| stat.wanted_up && stat.pid.is_some() && stat.pid != *old;
    if !stat.is_down() && !other(&stat) {
        if stat.up {
            told.insist(&slot);
        }
        return Ok(None);
    }
    let _guard = site.guard(profile)?;
    if was_stopped(site, profile, &slot)? {
        return Err(Error::new(Kind::WrongState, format!("{profile} was stopped while it restarted: it stays down")));
    }
    if !other(&site.svstat(&slot)?) {
        start::up(site, profile, &slot, Lasts::Always)?;
    }
    site.repair(profile, Intent::Running).map(Some)
}
