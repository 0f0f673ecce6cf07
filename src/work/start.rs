//! Starting a gateway.

use crate::ground::error::{Error, Kind, Result};
use crate::ground::process;
use crate::ground::profile::Profile;
use crate::s6::changes::{Changes, wait_for};
use crate::s6::orders::{give, taken};
use crate::s6::programs::{self, Svstat};
use crate::s6::publish;
use crate::s6::slot::Slot;
use crate::s6::staging::Mark;
use crate::s6::template::Template;
use crate::volume::gateway_lock;
use crate::volume::intent::{self, Intent};
use crate::volume::last_words;
use crate::volume::mode::Mode;
use crate::volume::ports::{self, Known};
use crate::volume::start_now;
use crate::volume::state::State;
use crate::work::await_watcher;
use crate::work::container;
use crate::work::context::Context;
use crate::work::gateway::turn;
use std::path::Path;
use std::time::{Duration, Instant};

/// With `-w`, how long the gateway has to stay up.
const STEADY: Duration = Duration::from_secs(1);

/// How long to wait for a running `finish`, in milliseconds: s6-supervise's own timeout-finish, and some more.
const FINISH_MS: u64 = 6000;

/// What a start waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// s6-supervise has taken the order.
    Ordered,
    /// The gateway is up, and still up a second later.
    Up,
    /// The gateway is ready.
    Ready,
}

/// For how long a start counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// After every boot as well: the intent is recorded, and `down` is removed.
    Always,
    /// Until the next boot. Without an intent, that boot would go by the gateway's own last state, so where none is
    /// recorded it becomes `stopped`.
    Once,
}

/// The result of a start's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Did anything have to change?
    pub changed: bool,
    /// The pid of a gateway that was told to end before and still drains. Its readiness does not count.
    pub draining: Option<i32>,
}

/// How an operator's order is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The gateway starts at once.
    Now,
    /// The gateway starts when its turn comes.
    InTurn,
}

/// Order the gateway up. If that lasts, record the intent before.
///
/// # Errors
/// 100 if there is no such profile, or if another profile pins the same port and runs or is wanted. 102 if the slot
/// belongs to another home, if the gateway of `default` serves the profile, or if there is no slot and the caller may
/// not make one. 111 if the intent cannot be recorded, or s6 does not obey. 99 if the order does not show in time.
pub fn order(site: &Context, profile: &Profile, turn: Turn, lasts: Lasts) -> Result<Ordered> {
    site.home.require(profile)?;
    site.require_own(profile)?;
    container::refuse_foreground(profile)?;
    refuse_served(site, profile)?;
    warn_of_files(site, profile);
    let slot = site.scandir.slot(profile);
    if !site.scandir.has_slot(profile)? && site.scandir.is_sealed()? {
        await_watcher::await_slot(site.scandir, profile, site.deadline)?;
        // The watcher may work for another home.
        site.require_own(profile)?;
    }
    if !site.scandir.has_slot(profile)? {
        if turn == Turn::Now {
            ask_for_now(site, profile);
        }
        mint(site, profile, lasts)?;
        return Ok(Ordered { changed: true, draining: None });
    }
    site.require_usable(profile, &slot)?;
    let _guard = site.guard(profile)?;
    let before = site.svstat(&slot)?;
    let draining = if before.wanted_up { None } else { before.pid };
    let always = lasts == Lasts::Always;
    let is_up = before.up && before.wanted_up && (before.normally_up || !always);
    let changed = !is_up || always && intent::read(site.home, profile)? != Some(Intent::Running);
    // If the start of a profile is refused, the profile must not be left wanted. Otherwise both profiles would claim
    // the port at the next boot.
    if !is_up {
        ports::require_no_conflict(site.home, profile, site.log)?;
    }
    let intent = intent_to_record(site, profile, lasts)?;
    if always || changed {
        site.record(profile, intent)?;
    }
    if turn == Turn::Now && (changed || turn::is_waiting(site.scandir, profile)) {
        ask_for_now(site, profile);
    }
    if changed && !site.dry_run {
        up(site, profile, &slot, lasts)?;
        site.repair(profile, intent)?;
    }
    Ok(Ordered { changed, draining })
}

/// Check that the gateway of `default` does not serve this profile.
///
/// # Errors
/// 102 if it does, 111 if that cannot be told.
pub fn refuse_served(site: &Context, profile: &Profile) -> Result<()> {
    if profile.is_default() {
        return Ok(());
    }
    let mode = Mode::of(site.home)?;
    match mode.settle(site.home, profile, site.dry_run, site.log)? {
        true => Err(mode.refusal(site.home, profile)),
        false => Ok(()),
    }
}

/// Warn of what Hermes Agent will complain of in the profile's files. It starts all the same. What cannot be looked at
/// is no fault.
pub fn warn_of_files(site: &Context, profile: &Profile) {
    let complaints = Known::read(site.home).and_then(|known| known.complaints(site.home, profile));
    let complaints = complaints.unwrap_or_default();
    complaints.words(site.home, profile).iter().for_each(|text| site.log.warning(text));
}

/// Let the next start of this gateway wait for no turn. It also frees one that waits already.
pub fn ask_for_now(site: &Context, profile: &Profile) {
    if !site.dry_run
        && let Err(error) = start_now::ask(site.home, profile)
    {
        site.log.info(&format!("{}: {profile} starts in turn", error.text));
    }
}

fn intent_to_record(site: &Context, profile: &Profile, lasts: Lasts) -> Result<Intent> {
    match lasts {
        Lasts::Always => Ok(Intent::Running),
        Lasts::Once => Ok(intent::read(site.home, profile)?.unwrap_or(Intent::Stopped)),
    }
}

/// Publish a slot for an existing profile that has none, and bring its gateway up (B3).
fn mint(site: &Context, profile: &Profile, lasts: Lasts) -> Result<()> {
    site.scandir.require_publishable()?;
    let template = Template::load(None)?;
    let _guard = site.guard(profile)?;
    ports::require_no_conflict(site.home, profile, site.log)?;
    let intent = intent_to_record(site, profile, lasts)?;
    site.record(profile, intent)?;
    ports::allocate(site.home, profile, site.dry_run, site.deadline, site.log)?;
    let mark = if lasts == Lasts::Always { Mark::Up } else { Mark::Down };
    let plan = site.plan(profile, &template, mark);
    let deadline = site.deadline.or_after_ms(publish::HELD_MS);
    publish::register(site.scandir, &plan, |owner| site.home.has(owner) == Ok(true), site.dry_run, deadline, site.log)?;
    if mark == Mark::Down && !site.dry_run {
        up(site, profile, &site.scandir.slot(profile), lasts)?;
    }
    site.repair(profile, intent)
}

/// Clear a hold, call `s6-svc -U`, or `-u` for once, and check that s6-supervise wants the gateway up. The caller holds the intent lock.
///
/// # Errors
/// 99 if the order does not show in time, 111 if s6 does not obey, or the gateway is held again at once.
pub fn up(site: &Context, profile: &Profile, slot: &Path, lasts: Lasts) -> Result<()> {
    let opened = Slot::open(site.scandir, profile)?;
    // s6-supervise forgets an order that comes while `finish` runs, if that `finish` exits 125.
    wait_for(slot, site.deadline.or_after_ms(FINISH_MS), "finish to end", |s| s.up || s.finished)?;
    let held = opened.held()?;
    programs::svdt_clear(slot);
    let once = lasts == Lasts::Once;
    give(if once { "-u" } else { "-U" }, slot, site.deadline)?;
    // A gateway that dies at once may be held again before we look. This answers the order as well.
    let again = |s: &Svstat| {
        let is_down = !s.up && !s.wanted_up && s.finished;
        is_down && opened.held().is_ok_and(|now| now.is_some() && now != held)
    };
    let stat = taken(slot, "want it up", site.deadline, |s| s.wanted_up && (s.normally_up || once) || again(s))?;
    if again(&stat) { Err(dead(site, profile, "was held at once")) } else { Ok(()) }
}

/// Wait for `until`, in a process other than `draining`.
///
/// # Errors
/// 99 if the deadline passes, 111 if the gateway dies for good or a deferred signal came. Each error names the
/// gateway's log and quotes its last line.
pub fn wait(site: &Context, profile: &Profile, until: Until, draining: Option<i32>, lasts: Lasts) -> Result<()> {
    let slot = site.scandir.slot(profile);
    if until == Until::Ordered || site.dry_run {
        return Ok(());
    }
    let opened = Slot::open(site.scandir, profile)?;
    let changes = Changes::watch([slot.as_path()]);
    let mut steady: Option<(i32, Instant)> = None;
    let what = if until == Until::Ready { "readiness" } else { "it to stay up" };
    loop {
        let stat = site.svstat(&slot)?;
        let drains = stat.pid.is_some() && stat.pid == draining || says_it_ends(site, profile, stat.pid)?;
        if !stat.up && stat.finished && !stat.wanted_up {
            let why = if opened.held()?.is_some() { "is held" } else { "was stopped meanwhile" };
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
            Error::new(error.kind, format!("{}{why}; {}", error.text, last_words(site, profile)))
        })?)?;
    }
    if lasts == Lasts::Once {
        return Ok(());
    }
    let _guard = site.guard(profile)?;
    // Another command may have stopped the gateway while we waited: then the slot has a `down` file. If only the intent
    // says stopped, Hermes Agent has overwritten ours with an old one (A14).
    if site.svstat(&slot)?.normally_up { site.repair(profile, Intent::Running) } else { Ok(()) }
}

/// Wait until the gateway is ready, has died, or has had its time. Whatever comes of it, the next one may start then.
pub fn give_time(site: &Context, profile: &Profile, time: Duration) {
    let slot = site.scandir.slot(profile);
    let deadline = site.deadline.or_after_ms(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let mut seen = None;
    let _ = Changes::watch([slot.as_path()]).until(deadline, "readiness", || {
        let stat = site.svstat(&slot)?;
        let has_died = stat.is_down() || seen.is_some() && stat.pid != seen;
        seen = stat.pid;
        Ok((stat.is_ready() || has_died).then_some(()))
    });
}

/// Does the state file say that this process drains, or that it is stopped, which Hermes Agent says some time before its
/// end? Then the process will end, whatever s6 wants.
fn says_it_ends(site: &Context, profile: &Profile, pid: Option<i32>) -> Result<bool> {
    let Some(pid) = pid else { return Ok(false) };
    let state = State::of_profile(site.home, profile)?;
    if !matches!(state.string("gateway_state").as_deref(), Some("draining" | "stopped")) {
        return Ok(false);
    }
    // A container that starts again often gives a gateway the pid that it had before.
    let started = process::stat(pid)?.map(|stat| stat.start_time);
    let its_own = state.number("start_time").is_none_or(|time| Some(time) == started);
    Ok(its_own && state.number("pid") == u64::try_from(pid).ok())
}

/// Why the start waits, if the cause is not the gateway itself.
fn obstacle(site: &Context, profile: &Profile, stat: &Svstat, drains: bool) -> Option<String> {
    if drains {
        return Some("; its last gateway still drains".to_string());
    }
    let lock = gateway_lock::holder(site.home, profile).ok()?;
    lock.is_held_beside(stat.pid).then(|| format!("; it waits for {lock}"))
}

fn dead(site: &Context, profile: &Profile, why: &str) -> Error {
    Error::new(Kind::System, format!("unable to start {profile}: it {why}; {}", last_words(site, profile)))
}

/// Where to look, and what the gateway has said since it was started.
fn last_words(site: &Context, profile: &Profile) -> String {
    let started = Slot::find(site.scandir, profile).ok().flatten().and_then(|slot| slot.started());
    last_words::hint(site.home, profile, started)
}
