//! Publishing one profile's slot, and making sure that s6-supervise holds it.

mod one;

pub use one::{Registered, Registration};

use crate::cli::Deadline;
use crate::exit::{Error, Exit, Result};
use crate::message::Log;
use crate::nudge::nudge;
use crate::profile::Profile;
use crate::retire::{self, Retired};
use crate::s6;
use crate::scandir::{Scandir, ScandirLock};
use crate::slot::{self, Plan};
use crate::supervise::{self, Changes};
use std::time::Duration;

/// How long the first copy of a slot gets before a fresh one takes its place: an entry first seen in a scan that was
/// aborted stays unsupervised until it has a new inode (s6-facts, 1.2). Normally it takes 5 ms.
const FIRST_COPY_MS: u64 = 1500;

/// How long the fresh copy gets where there is no deadline.
const FRESH_COPY_MS: u64 = 10_000;

/// See that one more slot fits behind so many services, and say how many there are with it.
///
/// # Errors
/// 111: past its limit s6-svscan supervises nothing new at all (s6-facts, 4: tried).
pub fn require_room(scandir: &Scandir, services: usize, with_logger: bool) -> Result<usize> {
    let most = Scandir::max_services()?;
    let after = services + 1 + usize::from(with_logger);
    // Those that are gone from here count until s6-svscan has noticed.
    let (all, ended) = scandir.supervisors(most.saturating_sub(after));
    let counted = (after + ended).max(all + after - services);
    if counted > most {
        let where_ = scandir.path.display();
        let hint = "raise s6-svscan's -C and $HERMES_MAX_SERVICES together";
        return Err(Error::new(
            Exit::System,
            format!(
                "unable to publish in {where_}: {counted} services, loggers included, and its s6-svscan takes {most}: {hint}"
            ),
        ));
    }
    Ok(after)
}

/// Clear away an entry of ours whose `stat` fails; name another's.
///
/// # Errors
/// 111 if there is one that is not ours: with it s6-svscan aborts every scan (s6-facts, 1.2).
pub fn heal(scandir: &Scandir, log: &dyn Log) -> Result<()> {
    while let Some((name, why)) = scandir.sick_entry()? {
        let path = scandir.path.join(&name);
        let stops = "as long as it is there s6-svscan finishes no scan";
        if Profile::of_slot(name.as_bytes()).is_none() {
            return Err(Error::new(
                Exit::System,
                format!(
                    "unable to publish in {}: {}: {why}: {stops}: remove it",
                    scandir.path.display(),
                    path.display()
                ),
            ));
        }
        rustix::fs::unlinkat(&scandir.dir, &name, rustix::fs::AtFlags::empty())
            .map_err(|e| Error::system("remove", path.display(), e))?;
        log.warning(&format!("removed {}: {why}: {stops}", path.display()));
    }
    Ok(())
}

/// Publish, under the lock, a slot that is not there yet. Returns false where another run was faster.
///
/// # Errors
/// 111 if there is no room or the system refuses.
pub fn publish(scandir: &Scandir, lock: &ScandirLock, plan: &Plan, log: &dyn Log) -> Result<bool> {
    retire::sweep(scandir, lock, log)?;
    heal(scandir, log)?;
    require_room(scandir, scandir.services()?, plan.template.has_logger())?;
    slot::publish(scandir, lock, plan)
}

/// Put a fresh slot in the place of one that nobody runs, with the old one's variables unless there are new ones.
///
/// # Errors
/// 111.
pub fn replace(scandir: &Scandir, lock: &ScandirLock, plan: &Plan) -> Result<Retired> {
    let old = retire::hide(scandir, lock, plan.profile)?;
    slot::publish(scandir, lock, plan)?;
    if plan.env.is_empty() {
        // Most slots have none.
        let _ = std::fs::rename(old.path().join("env"), scandir.slot(plan.profile).join("env"));
    }
    Ok(old)
}

/// Rescan, and wait until the slot is supervised and usable, its logger too. One that stays unseen is replaced by a fresh
/// copy once.
///
/// # Errors
/// 99 when the deadline passes, 111 where there is none and the fresh copy is not seen either.
pub fn confirm(scandir: &Scandir, plan: &Plan, deadline: Deadline, log: &dyn Log) -> Result<()> {
    s6::svscanctl("-a", &scandir.path)?;
    await_held(scandir, plan, deadline, log)
}

/// The same where the rescan was asked for already.
///
/// # Errors
/// As `confirm`.
pub fn await_held(scandir: &Scandir, plan: &Plan, deadline: Deadline, log: &dyn Log) -> Result<()> {
    let half = deadline.left(Duration::from_millis(2 * FIRST_COPY_MS)).map_or(1, |left| left.as_millis() as u64 / 2);
    if wait(scandir, plan, deadline.or_after_ms(half)).is_ok() {
        return Ok(());
    }
    if !supervise::any_held(&scandir.slot(plan.profile)) {
        log.info(&format!("{} is not supervised yet: trying a fresh copy", scandir.slot(plan.profile).display()));
        let lock = scandir.lock(deadline)?;
        heal(scandir, log)?;
        let stale = replace(scandir, &lock, plan)?;
        drop(lock);
        // Nobody holds it; the sweep of a later run deletes what could not be deleted now.
        let _ = stale.finish(Deadline::after_ms(1), log);
        s6::svscanctl("-a", &scandir.path)?;
    } else {
        nudge(scandir, plan.profile, deadline, log)?;
    }
    if deadline.is_endless() {
        let done = wait(scandir, plan, Deadline::after_ms(FRESH_COPY_MS));
        return done.map_err(|error| Error::new(Exit::System, error.text));
    }
    wait(scandir, plan, deadline)
}

fn wait(scandir: &Scandir, plan: &Plan, deadline: Deadline) -> Result<()> {
    let slot = scandir.slot(plan.profile);
    let changes = Changes::watch([slot.as_path()])?;
    changes.until(deadline, format!("s6-supervise to hold {}", slot.display()), || {
        Ok(supervise::is_usable(&slot).then_some(()))
    })
}

/// Undo a publication that nobody took up, so that nothing is left behind.
pub fn take_back(scandir: &Scandir, profile: &Profile, log: &dyn Log) {
    let undone = scandir.lock(Deadline::after_ms(1000)).and_then(|lock| {
        let hidden = retire::hide(scandir, &lock, profile)?;
        drop(lock);
        retire::let_go(scandir)?;
        hidden.finish(Deadline::after_ms(1000), log)
    });
    if let Err(error) = undone {
        log.warning(&error.text);
    }
}
