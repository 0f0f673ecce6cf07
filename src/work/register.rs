//! Registering one profile. It may have no slot, a slot that nobody supervises, or a live one.

use crate::ground::error::{Error, Result};
use crate::ground::profile::Profile;
use crate::s6::orders;
use crate::s6::programs;
use crate::s6::publish::{self, Change};
use crate::s6::scandir::Listening;
use crate::s6::staging::{Mark, Plan};
use crate::s6::supervise;
use crate::s6::template::Template;
use crate::volume::ports;
use crate::work::await_watcher;
use crate::work::context::Context;
use crate::work::gateway::turn;
use crate::work::start;
use std::ffi::OsString;

/// The result of a registration.
#[derive(Debug)]
pub struct Registered {
    pub change: Change,
    /// The profile's TCP port; `None` if the range is full.
    pub port: Option<u16>,
    /// The template's shape has changed, and the slot has to be down before it can be replaced.
    pub stale: bool,
}

/// Register an existing profile, and wait until its slot and its logger are supervised and usable. `up` starts the
/// gateway, and `env` goes into the slot's `env/`. In a sealed tree the runtime account waits for the watcher to
/// register the profile.
///
/// # Errors
/// 99 if the deadline passes. 100 if there is no such profile, or another profile pins the same port. 102 if the caller
/// may not publish, or no s6-svscan runs. 111 if a system call or an s6 program fails. After an error nothing is left
/// behind.
pub fn register(
    context: &Context,
    profile: &Profile,
    template: &Template,
    up: bool,
    env: &[(String, OsString)],
) -> Result<Registered> {
    let &Context { home, scandir, dry_run, deadline, log, .. } = context;
    context.require_own(profile)?;
    if !up && env.is_empty() && scandir.is_sealed()? && scandir.listening()? != Listening::No {
        return by_watcher(context, profile);
    }
    scandir.require_publishable()?;
    let port = ports::allocate(home, profile, dry_run, deadline, log)?;
    let slot = scandir.slot(profile);
    let live = supervise::any_held(&slot)?;
    // Without the lock, a start could give its order to a supervisor that is about to be replaced.
    let guard = if live { context.guard(profile)? } else { None };
    let mark = if up && !live { Mark::Up } else { Mark::Keep };
    // An operator's start waits for nobody.
    let is_up = || Ok::<_, Error>(live && programs::svstat(&slot)?.is_some_and(|stat| stat.up));
    if up && (!is_up()? || turn::is_waiting(scandir, profile)) {
        start::ask_for_now(context, profile);
    }
    let plan = Plan { env, ..context.plan(profile, template, mark) };
    let done = publish::register(scandir, &plan, |owner| home.has(owner) == Ok(true), dry_run, deadline, log)?;
    drop(guard);
    let started = up && live && orders::bring_up(&slot, deadline, dry_run)?;
    let change = if started && done.change == Change::Unchanged { Change::Updated } else { done.change };
    if port.is_none() {
        log.warning(&format!("{profile}: no port is free in the range: registered without one"));
    }
    Ok(Registered { change, port, stale: done.stale })
}

fn by_watcher(context: &Context, profile: &Profile) -> Result<Registered> {
    let &Context { home, scandir, dry_run, deadline, .. } = context;
    let change = if scandir.has_slot(profile)? { Change::Unchanged } else { Change::Published };
    if !dry_run {
        await_watcher::await_slot(scandir, profile, deadline).map_err(|error| match scandir.require_publishable() {
            Err(why) => Error::new(error.kind, format!("{}; {}", why.text, error.text)),
            Ok(()) => error,
        })?;
        // The watcher may work for another home.
        context.require_own(profile)?;
    }
    Ok(Registered { change, port: ports::lookup(home, profile)?, stale: false })
}
