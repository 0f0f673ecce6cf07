//! Making a profile's slot match a plan. If there is no slot, or one that nobody supervises, it is made or replaced; a
//! live slot is brought up to date in place. Every publication of a slot goes through this module.

use crate::ground::deadline::Deadline;
use crate::ground::error::{Error, Kind, Result};
use crate::ground::message::Log;
use crate::ground::profile::Profile;
use crate::s6::changes::Changes;
use crate::s6::programs;
use crate::s6::remind::remind;
use crate::s6::retire::{self, Retired};
use crate::s6::room::Room;
use crate::s6::scandir::{Scandir, ScandirLock};
use crate::s6::slot::Slot;
use crate::s6::staging::{self, Mark, Plan};
use crate::s6::supervise;
use crate::s6::tidy::{self, heal, sweep};
use std::time::Duration;

/// How long s6-svscan has to take up a new slot before it is reminded, in milliseconds. It usually takes 5.
const SCAN_MS: u64 = 1500;

/// How long s6-svscan has to take up a slot within a command that has more time, a reminder included. In milliseconds; a
/// thousand slots take four seconds.
pub const HELD_MS: u64 = 15_000;

/// How long s6-svscan has after the reminder if there is no deadline, in milliseconds.
const REMINDED_MS: u64 = 10_000;

/// How long the supervisors of a replaced slot have to end, in milliseconds.
pub const OLD_MS: u64 = 5000;

/// The change that `ensure` made to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There was no slot.
    Published,
    /// There was a slot, and some part of it did not match the plan.
    Updated,
    /// The slot matched the plan.
    Unchanged,
}

/// What `ensure` has done, or would do in a dry run.
pub struct Ensured {
    pub change: Change,
    /// The template's shape has changed, and the slot has to be down before it can be replaced.
    pub stale: bool,
    /// No s6-supervise holds the slot yet, so s6-svscan has to scan.
    pub unseen: bool,
    /// The old slot, if it was replaced.
    pub old: Option<Retired>,
}

/// Make the slot match the plan. Without the lock, nothing is changed: that is a dry run.
///
/// A live slot is never started or replaced. Its links, its variables and its `down` file are brought up to date one
/// rename at a time. If the template's shape has changed, a slot that is down for good, or that nobody supervises, is
/// replaced by a fresh one.
///
/// # Errors
/// 111 if s6-svscan has no room for one more slot, or a system call fails: then nothing is left half-made. 100 if
/// `$HERMES_MAX_SERVICES` is not a number.
pub fn ensure(scandir: &Scandir, lock: Option<&ScandirLock>, plan: &Plan, room: &mut Room) -> Result<Ensured> {
    let with_logger = plan.template.has_logger();
    let Some(slot) = Slot::find(scandir, plan.profile)? else {
        room.require(scandir, with_logger)?;
        if let Some(lock) = lock {
            staging::publish(scandir, lock, plan)?;
        }
        room.took(scandir, with_logger)?;
        return Ok(Ensured { change: Change::Published, stale: false, unseen: true, old: None });
    };
    let path = scandir.slot(plan.profile);
    let unseen = !supervise::any_held(&path)?;
    let dry_run = lock.is_none();
    let mut changed = slot.update(plan.template, dry_run)?;
    changed |= slot.set_home(plan.home, dry_run)?;
    changed |= slot.set_env(plan.env, dry_run)?;
    changed |= slot.mark(plan.mark, dry_run)? && unseen;
    let stale = slot.is_stale(plan.template)?;
    // A gateway that is wanted and held is not replaced either, because only a start clears a hold.
    let may_replace = unseen
        || stale
            && plan.mark != Mark::Up
            && slot.is_marked_down()?
            && programs::svstat(&path)?.is_some_and(|stat| stat.is_down());
    let mut old = None;
    if stale && may_replace {
        let env = if plan.env.is_empty() { slot.env()? } else { plan.env.to_vec() };
        let mark = if slot.is_marked_down()? { Mark::Down } else { Mark::Up };
        if let Some(lock) = lock {
            let hidden = staging::exchange(scandir, lock, &Plan { env: &env, mark, ..*plan })?;
            old = Some(Retired::at(hidden, plan.profile));
        }
        changed = true;
    }
    let change = if changed { Change::Updated } else { Change::Unchanged };
    Ok(Ensured { change, stale: stale && !may_replace, unseen: unseen || old.is_some(), old })
}

/// Publish or update one slot: call `ensure` under the lock, have s6-svscan scan, and wait until the slot and its
/// logger are supervised and usable. Hidden directories that killed runs left are cleared away if their profile
/// `exists`. If it does not, the removal of that profile does this.
///
/// # Errors
/// 99 if the deadline passes. 102 if the caller may not publish. 111 if a system call or an s6 program fails. After an
/// error, a slot that this call has published is taken away again.
pub fn register(
    scandir: &Scandir,
    plan: &Plan,
    exists: impl Fn(&Profile) -> bool,
    dry_run: bool,
    deadline: Deadline,
    log: &dyn Log,
) -> Result<Ensured> {
    let mut room = Room::default();
    if dry_run {
        return ensure(scandir, None, plan, &mut room);
    }
    let lock = scandir.lock(deadline)?;
    let draining = sweep(scandir, &lock, exists, log)?;
    heal(scandir, &lock, log)?;
    let mut ensured = ensure(scandir, Some(&lock), plan, &mut room)?;
    drop(lock);
    let old = ensured.old.take();
    let settled = rescan(scandir, ensured.unseen, draining || old.is_some())
        .and_then(|()| old.map_or(Ok(()), |old| old.finish(deadline, log)))
        .and_then(|()| match draining {
            true => tidy::finish(scandir, |owner| owner == plan.profile, deadline.or_after_ms(OLD_MS), log),
            false => Ok(()),
        })
        .and_then(|()| await_usable(scandir, plan.profile, deadline, log));
    settled.inspect_err(|_| {
        if ensured.change == Change::Published {
            take_back(scandir, plan.profile, log);
        }
    })?;
    Ok(ensured)
}

/// Have s6-svscan look for `new` slots, and let go of those that are `gone`. Nothing happens if both are false.
///
/// # Errors
/// 102 if no s6-svscan runs on the scandir, 111 if s6-svscanctl fails.
pub fn rescan(scandir: &Scandir, new: bool, gone: bool) -> Result<()> {
    match (new, gone) {
        (false, false) => Ok(()),
        (_, true) => programs::svscanctl("-an", &scandir.path),
        (true, false) => programs::svscanctl("-a", &scandir.path),
    }
}

/// Wait until the slot and its logger are supervised and usable. If s6-svscan does not take up the slot, it is
/// reminded.
///
/// # Errors
/// 99 if the deadline passes. 111 if there is no deadline and the reminder did not help, or the slot cannot be looked
/// at.
pub fn await_usable(scandir: &Scandir, profile: &Profile, deadline: Deadline, log: &dyn Log) -> Result<()> {
    let half = deadline.left(Duration::from_millis(2 * SCAN_MS)).map_or(1, |left| left.as_millis() as u64 / 2);
    match wait(scandir, profile, deadline.or_after_ms(half)) {
        Err(error) if error.kind == Kind::TimedOut => {}
        waited => return waited,
    }
    // An error of the reminder is not an error of the wait: s6-svscan may still take up the slot without it.
    if let Err(error) = remind(scandir, profile, deadline, log) {
        log.info(&error.text);
    }
    if deadline.is_endless() {
        let done = wait(scandir, profile, Deadline::after_ms(REMINDED_MS));
        return done.map_err(|error| Error::new(Kind::System, error.text));
    }
    wait(scandir, profile, deadline)
}

fn wait(scandir: &Scandir, profile: &Profile, deadline: Deadline) -> Result<()> {
    let slot = scandir.slot(profile);
    let usable = || Ok(supervise::is_usable(&slot)?.then_some(()));
    let what = format!("s6-supervise to hold {}", slot.display());
    Changes::watch([slot.as_path()]).and_locks().by_looks().until(deadline, what, usable)
}

/// Take away a slot that s6-svscan did not take up, so that nothing is left behind. An error is only a warning.
pub fn take_back(scandir: &Scandir, profile: &Profile, log: &dyn Log) {
    let soon = Deadline::after_ms(1000);
    let undone = scandir.lock(soon).and_then(|lock| {
        let hidden = retire::hide(scandir, &lock, &profile.slot(), profile)?;
        drop(lock);
        retire::let_go(scandir)?;
        hidden.map_or(Ok(()), |hidden| hidden.finish(soon, log))
    });
    if let Err(error) = undone {
        log.warning(&error.text);
    }
}
