//! Start.

use super::Site;
use crate::exit::{Error, Exit, Result};
use crate::gateway::{self, lock::Lock};
use crate::home::profile_dir;
use crate::intent::{self, Intent};
use crate::port;
use crate::profile::Profile;
use crate::register;
use crate::s6::{self, Svstat};
use crate::sealed;
use crate::settings;
use crate::slot::{Plan, Slot};
use crate::state::State;
use crate::supervise::Changes;
use crate::template::Template;
use std::path::Path;
use std::time::{Duration, Instant};

/// `-w`: still up this much later.
const STEADY: Duration = Duration::from_secs(1);

/// Until when a start waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// s6-supervise has taken the order.
    Ordered,
    /// Up, and still up a second later.
    Up,
    /// Ready.
    Ready,
}

/// What a start has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Did anything have to change?
    pub changed: bool,
    /// A gateway that was told to end before, and still drains: its readiness means nothing any more.
    pub draining: Option<i32>,
}

/// Record the intent and give the order.
///
/// # Errors
/// 100 no such profile, 102 no slot and no right to make one, 111 the intent cannot be recorded or s6 does not obey.
pub fn order(site: &Site, profile: &Profile) -> Result<Ordered> {
    site.home.require(profile)?;
    if !profile.is_default() && settings::multiplex(site.home) {
        // Two gateways would serve one profile (I2).
        let text = format!("{profile} is served by the gateway of default (multiplex_profiles): start that one");
        return Err(Error::new(Exit::WrongState, text));
    }
    let slot = site.scandir.slot(profile);
    if !site.scandir.has_slot(profile) && sealed::is_sealed(site.scandir) {
        sealed::await_slot(site.scandir, profile, site.deadline)?;
    }
    if !site.scandir.has_slot(profile) {
        site.scandir.require_publishable()?;
        let template = Template::load(None)?;
        let _guard = site.guard(profile);
        site.write(profile, Intent::Running)?;
        mint(site, profile, &template)?;
        site.repair(profile, Intent::Running)?;
        return Ok(Ordered { changed: true, draining: None });
    }
    site.require_usable(profile, &slot)?;
    let _guard = site.guard(profile);
    let before = site.svstat(&slot)?;
    let draining = if before.wanted_up { None } else { before.pid };
    let intended = intent::read(site.home, profile)? == Some(Intent::Running);
    if before.up && before.wanted_up && before.normally_up && intended {
        return Ok(Ordered { changed: false, draining });
    }
    site.write(profile, Intent::Running)?;
    if !site.dry_run {
        up(site, profile, &slot)?;
        site.repair(profile, Intent::Running)?;
    }
    Ok(Ordered { changed: true, draining })
}

/// `s6-svc -U`, a hold cleared first, and see that s6-supervise wants it up. The caller holds the intent lock.
pub(super) fn up(site: &Site, profile: &Profile, slot: &Path) -> Result<()> {
    let opened = Slot::open(site.scandir, profile)?;
    let held = opened.held();
    // All its tries again. Where the caller has no right to that, the template's `run` does it, which finds data/held.
    s6::svdt_clear(slot);
    s6::svc("-U", slot)?;
    // A gateway that dies at once may be held again before we look: that is an answer too.
    let again = |s: &Svstat| !s.up && !s.wanted_up && s.finished && opened.held().is_some() && opened.held() != held;
    let stat = site.taken(slot, "want it up", |s| s.wanted_up && s.normally_up || again(s))?;
    if again(&stat) { Err(dead(site, profile, "was held at once")) } else { Ok(()) }
}

/// Wait for what was asked for, of another process than the one that drains.
///
/// # Errors
/// 99 when the deadline passes, 111 when it dies for good or a deferred signal came; each names the log and quotes its
/// last line.
pub fn wait(site: &Site, profile: &Profile, until: Until, draining: Option<i32>) -> Result<()> {
    let slot = site.scandir.slot(profile);
    if until == Until::Ordered || site.dry_run {
        return Ok(());
    }
    let opened = Slot::open(site.scandir, profile)?;
    let changes = Changes::watch([slot.as_path()])?;
    let mut steady: Option<(i32, Instant)> = None;
    let what = if until == Until::Ready { "readiness" } else { "it to stay up" };
    loop {
        let stat = site.svstat(&slot)?;
        let drains = stat.pid.is_some() && (stat.pid == draining || says_draining(site, profile, stat.pid));
        if !stat.up && stat.finished && !stat.wanted_up {
            let why = if opened.held().is_some() { "is held" } else { "was stopped meanwhile" };
            return Err(dead(site, profile, why));
        }
        steady = match (stat.up, stat.pid, steady) {
            (true, Some(pid), Some((old, since))) if pid == old => Some((old, since)),
            (true, Some(pid), _) if !drains => Some((pid, Instant::now())),
            _ => None,
        };
        let up_for = steady.map_or(Duration::ZERO, |(_, since)| since.elapsed());
        match until {
            Until::Ready if stat.is_ready() && !drains => break,
            Until::Up if up_for >= STEADY => break,
            _ => {}
        }
        let nap = if until == Until::Up && steady.is_some() { STEADY.saturating_sub(up_for) } else { STEADY };
        let patience = site.deadline.patience(nap.max(Duration::from_millis(1)), format_args!("{profile}: {what}"));
        changes.sleep(patience.map_err(|error| {
            let why = obstacle(site, profile, &stat, drains).unwrap_or_default();
            Error::new(error.exit, format!("{}{why}; {}", error.text, super::tail::hint(site.home, profile)))
        })?);
    }
    let _guard = site.guard(profile);
    // The order may have been countermanded while we waited: then the slot is marked down as well. An intent alone that
    // says so was lost to a write of Hermes Agent's that crossed ours (A14).
    if site.svstat(&slot)?.normally_up { site.repair(profile, Intent::Running) } else { Ok(()) }
}

/// Does this process say of itself that it drains? Then it ends, whatever s6 wants by now.
fn says_draining(site: &Site, profile: &Profile, pid: Option<i32>) -> bool {
    let state = site.home.act(|home| Ok(profile_dir(home, profile).ok().flatten().map(State::read)));
    let Ok(Some(state)) = state else { return false };
    state.number("pid") == pid.and_then(|pid| u64::try_from(pid).ok())
        && state.string("gateway_state").as_deref() == Some("draining")
}

/// What a start waits for that is not the gateway's own doing.
fn obstacle(site: &Site, profile: &Profile, stat: &Svstat, drains: bool) -> Option<String> {
    if drains {
        return Some("; its last gateway still drains".to_string());
    }
    let lock = gateway::lock::holder(site.home, profile).ok()?;
    let other = matches!(&lock, Lock::Held(holder) if holder.as_ref().map(|holder| holder.pid) != stat.pid);
    other.then(|| format!("; it waits for {lock}"))
}

fn dead(site: &Site, profile: &Profile, why: &str) -> Error {
    Error::new(Exit::System, format!("unable to start {profile}: it {why}; {}", super::tail::hint(site.home, profile)))
}

/// Make the slot of a real profile that has none (B3), up.
fn mint(site: &Site, profile: &Profile, template: &Template) -> Result<()> {
    if site.dry_run {
        return register::require_room(site.scandir, site.scandir.services()?, template.has_logger()).map(drop);
    }
    port::allocate(site.home, profile, false, site.deadline, site.log)?;
    let plan = Plan { profile, template, up: true, env: &[], group: site.home.account.gid };
    let lock = site.scandir.lock(site.deadline)?;
    register::publish(site.scandir, &lock, &plan, site.log)?;
    drop(lock);
    register::confirm(site.scandir, &plan, site.deadline.or_after_ms(super::PROMPT_MS), site.log)
        .inspect_err(|_| register::take_back(site.scandir, profile, site.log))
}
