//! One pass over the profiles. A pass is safe at any time: it never starts or stops a supervised slot.

use crate::ground::deadline::Deadline;
use crate::ground::error::{Error, Kind, Result};
use crate::ground::message::Silent;
use crate::ground::profile::Profile;
use crate::s6::programs;
use crate::s6::publish::{self, Change, Ensured};
use crate::s6::retire;
use crate::s6::room::Room;
use crate::s6::scandir::Listening;
use crate::s6::slot::Slot;
use crate::s6::staging::Mark;
use crate::s6::supervise;
use crate::s6::template::Template;
use crate::s6::tidy::{self, heal, sweep};
use crate::volume::autostart::Autostart;
use crate::volume::intent::Intent;
use crate::volume::mode::Mode;
use crate::volume::ports::Assignment;
use crate::volume::state::Prior;
use crate::work::action::Action;
use crate::work::container;
use crate::work::context::Context;
use crate::work::note::Note;
use crate::work::reconcile::crowd::Crowd;
use crate::work::reconcile::facts::{self, Facts};
use crate::work::reconcile::first_boot;
use crate::work::reconcile::give_ports::{Given, give_ports};
use crate::work::reconcile::line::{Line, Unlisted};
use crate::work::reconcile::served::Served;

/// How long a pass leaves s6-svscan alone between two scans, in milliseconds. Each scan looks at every slot.
const SCAN_MS: u64 = 1000;

/// How long the supervisors in all hidden directories whose gateways have ended have to end, in milliseconds.
const LEFTOVER_MS: u64 = 1000;

/// The result of a pass.
pub struct Passed {
    /// One line for each profile that has a slot, for the first ten that have no room, and for each slot whose profile
    /// is gone.
    pub lines: Vec<Line>,
    /// What has no line.
    pub unlisted: Unlisted,
    /// The first error that concerns the pass as a whole and not one profile.
    pub whole: Result<()>,
}

/// The state of a pass.
pub struct Pass<'a> {
    context: &'a Context<'a>,
    crowd: &'a Crowd<'a>,
    template: &'a Template,
    listens: bool,
    /// Which profiles the gateway of `default` serves.
    pub mode: Result<Mode>,
    pub served: Served,
    /// The profile whose gateway is the container's own command.
    foreground: Option<Profile>,
    pub autostart: Autostart,
    /// Was the intent of `default` recorded by `first_boot::seed`?
    seeded: bool,
    given: Given,
    /// Is it a pass for one profile, which may have appeared just now?
    pub single: bool,
    pub room: Room,
    /// Does s6-svscan have to look for new slots (`new`), or to let go of hidden ones (`gone`)?
    new: bool,
    gone: bool,
    /// When s6-svscan may be asked to look for new slots again; `None` if it was not asked yet.
    next_scan: Option<Deadline>,
    pub whole: Result<()>,
}

impl<'a> Pass<'a> {
    /// Begin a pass: see whether an s6-svscan runs, whether the gateway of `default` serves all profiles, and whether
    /// it is the first boot.
    ///
    /// # Errors
    /// 102 if the caller may not publish, 111 if the scandir cannot be looked at.
    pub fn begin(context: &'a Context<'a>, crowd: &'a Crowd<'a>, template: &'a Template) -> Result<Pass<'a>> {
        let scandir = context.scandir;
        scandir.require_writable()?;
        let listens = scandir.listening()? == Listening::Yes;
        if !listens {
            let text = format!("no s6-svscan is running on {}: the slots wait for one", scandir.path.display());
            context.log.warning(&text);
        }
        let seeded = first_boot::seed(context.home, context.dry_run, context.log);
        let mut pass = Pass {
            context,
            crowd,
            template,
            listens,
            mode: Mode::of(context.home),
            served: Served::default(),
            foreground: container::in_foreground()?,
            autostart: Autostart::inherited(),
            seeded: seeded.clone().unwrap_or(false),
            given: Given::default(),
            single: false,
            room: Room::default(),
            new: false,
            gone: false,
            next_scan: None,
            whole: Ok(()),
        };
        pass.keep(&seeded);
        Ok(pass)
    }

    /// Clear away what killed runs have left of the profiles that `mine` picks, and entries that keep s6-svscan from
    /// finishing a scan.
    pub fn sweep(&mut self, mine: impl Fn(&Profile) -> bool) -> Result<()> {
        let &Context { scandir, dry_run, deadline, log, .. } = self.context;
        if !dry_run {
            let lock = scandir.lock(deadline)?;
            self.gone = sweep(scandir, &lock, mine, log)?;
            heal(scandir, &lock, log)?;
        }
        Ok(())
    }

    /// Log an error that concerns the whole pass, and keep the first one for the result.
    pub fn keep<T>(&mut self, done: &Result<T>) {
        if let Err(error) = done {
            self.context.log.warning(&error.text);
            if self.whole.is_ok() {
                self.whole = Err(error.clone());
            }
        }
    }

    pub fn give_ports(&mut self, all: &[Profile], profiles: &[Profile], listed: Result<()>) {
        let (given, saved) = give_ports(self.context, self.crowd, all, profiles, listed);
        self.given = given;
        self.keep(&saved);
    }

    pub fn one(&mut self, profile: &Profile) -> Line {
        let mut line = Line::bare(profile.as_str(), Action::Failed);
        let done =
            self.context.require_own(profile).and_then(|()| Facts::of(self.context, profile)).and_then(|facts| {
                line.prior =
                    if self.seeded && profile.is_default() { Prior::Running } else { self.prior(profile, &facts)? };
                line.prior_exit = facts.prior_exit;
                let conflict = self.take_port(profile, &mut line);
                if conflict.is_ok() && self.is_extra(profile, &facts, line.prior) {
                    let recorded =
                        self.context.record(profile, Intent::Running).map_err(|error| error.context(profile));
                    self.keep(&recorded);
                    line.prior = if recorded.is_ok() { Prior::Running } else { line.prior };
                }
                let wanted_by = self.served.wants_default(profile, &facts.state, line.prior);
                let wanted = line.prior.starts() || wanted_by.is_some();
                (line.action, line.note) = self.act(profile, &facts, wanted, conflict.is_ok())?;
                line.note = line.note.take().or(wanted_by);
                conflict
            });
        if let Err(error) = done {
            self.context.log.warning(&error.context(profile).text);
            line.action = Action::Failed;
        }
        line
    }

    /// Does the operator's list want this profile, of which nobody has recorded an intent? That counts at a boot only: a
    /// profile that is made while the container runs may not be configured yet (A7).
    fn is_extra(&self, profile: &Profile, facts: &Facts, prior: Prior) -> bool {
        !self.single && prior != Prior::Foreign && facts.state.lacks_intent() && self.autostart.is_extra(profile)
    }

    /// Put the port into the line of a profile whose slot was made before any port was looked at. If another profile pins
    /// the same port, the slot is marked down. A gateway that starts meanwhile sees the same and refuses.
    pub fn settle_port(&mut self, profile: &Profile, line: &mut Line) {
        if let Err(error) = self.take_port(profile, line) {
            let marked = Facts::of(self.context, profile).and_then(|facts| self.act(profile, &facts, false, false));
            for error in [Some(error), marked.err()].into_iter().flatten() {
                self.context.log.warning(&error.context(profile).text);
            }
            line.action = Action::Failed;
        }
    }

    /// The state of this profile before the pass. The state file of another profile is a copy and says nothing, unless
    /// this profile is that other one under a new name. A state that names nobody counts in the pass over all profiles.
    /// In a pass for one profile it leaves the slot as it is, because it may be a copy that is still being made.
    fn prior(&self, profile: &Profile, facts: &Facts) -> Result<Prior> {
        let prior = facts.state.prior_of(profile, facts.owner.as_deref());
        let renamed = match &self.given.renamed {
            Some(renamed) => renamed.get(profile).cloned().transpose()?.is_some(),
            None if prior != Prior::Foreign || profile.is_default() => false,
            None => return Err(Error::new(Kind::System, "unable to tell whether it was renamed".to_string())),
        };
        if renamed && prior == Prior::Foreign {
            return Ok(facts.state.prior());
        }
        let unnamed = self.single && facts.owner.is_none() && !profile.is_default() && prior.starts();
        if unnamed && !self.is_marked_up(profile)? { Ok(Prior::Foreign) } else { Ok(prior) }
    }

    /// Is there a slot that starts its gateway by itself?
    fn is_marked_up(&self, profile: &Profile) -> Result<bool> {
        let scandir = self.context.scandir;
        Ok(scandir.has_slot(profile)? && !Slot::open(scandir, profile)?.is_marked_down()?)
    }

    /// Make the slot match. `wanted` says whether the intent is to run, `has_port` whether the profile's port allows
    /// it.
    fn act(
        &mut self,
        profile: &Profile,
        facts: &Facts,
        wanted: bool,
        has_port: bool,
    ) -> Result<(Action, Option<Note>)> {
        let &Context { scandir, dry_run, deadline, log, .. } = self.context;
        let slot = scandir.slot(profile);
        let stat = if supervise::is_held(&slot)? { programs::svstat(&slot)? } else { None };
        let foreground = self.foreground.as_ref() == Some(profile);
        if facts.stale && !foreground && !dry_run && !stat.is_some_and(|s| s.up) {
            facts::remove_stale(self.context, profile)?;
        }
        let multiplexed =
            !profile.is_default() && self.mode.clone()?.settle(self.context.home, profile, dry_run, &Silent)?;
        let startable = wanted && !multiplexed && has_port && !foreground;
        let up = startable && self.autostart.allows(profile);
        // The list is about what a boot starts. A gateway that an operator has started since goes on.
        let mark = match (startable, up) {
            (_, true) => Mark::Up,
            (true, false) => Mark::Keep,
            (false, false) => Mark::Down,
        };
        let lock = if dry_run { None } else { Some(scandir.lock(deadline)?) };
        let plan = self.context.plan(profile, self.template, mark);
        let Ensured { change, stale, unseen, old } = publish::ensure(scandir, lock.as_ref(), &plan, &mut self.room)?;
        drop(lock);
        self.new |= unseen;
        if let Some(old) = old {
            retire::let_go(scandir)?;
            old.finish(deadline.or_after_ms(publish::OLD_MS), log)?;
        }
        let note = if stale {
            Some(Note::StaleTemplate)
        } else if foreground {
            Some(Note::Foreground)
        } else if mark == Mark::Keep {
            Some(Note::NoAutostart)
        } else if stat.is_some_and(|stat| stat.wanted_up != up) {
            let held = up && Slot::open(scandir, profile)?.held()?.is_some();
            Some(if held { Note::Held } else { Note::Drifting })
        } else {
            self.served.note(profile, multiplexed, wanted)
        };
        let action = match change {
            Change::Published if up => Action::Started,
            Change::Published => Action::Registered,
            Change::Updated => Action::Updated,
            Change::Unchanged => Action::Unchanged,
        };
        Ok((action, note))
    }

    /// Put the profile's port into its line.
    ///
    /// # Errors
    /// 111 if another profile pins the same port (E8). Any other error about ports concerns the whole pass: the gateway
    /// asks for its port again when it starts.
    fn take_port(&mut self, profile: &Profile, line: &mut Line) -> Result<()> {
        match self.given.ports.remove(profile) {
            None => {}
            Some(Ok(Assignment::Port { port, .. })) => line.port = Some(port),
            Some(Ok(Assignment::Conflict { port, other })) => {
                return Err(Error::new(Kind::System, format!("it pins port {port}, and so does {other}")));
            }
            Some(Ok(Assignment::Full)) => {
                let text = format!("{profile}: no port is free in the range: registered without one");
                self.context.log.warning(&text);
            }
            Some(error) => self.keep(&error),
        }
        Ok(())
    }

    /// Have s6-svscan scan for new slots now, unless it did so within the last second. So `default`, which is published
    /// first, does not wait until thousands of other profiles have been looked at.
    pub fn scan_in_between(&mut self) {
        if self.new && self.listens && !self.context.dry_run && self.next_scan.is_none_or(Deadline::passed) {
            let asked = publish::rescan(self.context.scandir, true, false);
            self.keep(&asked);
            self.new = asked.is_err();
            self.next_scan = Some(Deadline::after_ms(SCAN_MS));
        }
    }

    /// Have s6-svscan scan for what it was not asked to look for in between. Then finish the removal of the hidden directories that `mine`
    /// picks and whose gateways have ended.
    pub fn rescan(&mut self, mine: impl Fn(&Profile) -> bool) {
        let &Context { scandir, dry_run, deadline, log, .. } = self.context;
        if dry_run || !self.listens {
            return;
        }
        let left =
            || if self.gone { tidy::finish(scandir, mine, deadline.or_after_ms(LEFTOVER_MS), log) } else { Ok(()) };
        let done = publish::rescan(scandir, self.new, self.gone).and_then(|()| left());
        self.keep(&done);
    }
}
