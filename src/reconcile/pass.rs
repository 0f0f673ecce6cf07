//! One pass over the profiles. It is safe at any time: a supervised slot is never started or stopped by it.

use crate::beneath;
use crate::cli::Deadline;
use crate::exit::{Error, Exit, Result};
use crate::gateway;
use crate::home::{Home, Scan, odd_name, profile_dir};
use crate::intent::Guard;
use crate::message::Log;
use crate::port::{self, Assignment};
use crate::profile::Profile;
use crate::reconcile::line::{Action, Line};
use crate::reconcile::{first_boot, stale};
use crate::register;
use crate::retire;
use crate::s6::{self, Svstat};
use crate::scandir::{Listening, Scandir, ScandirLock};
use crate::slot::{self, Plan, Slot};
use crate::state::{self, Prior, State};
use crate::supervise;
use crate::template::Template;
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// What a pass works with.
pub struct Pass<'a> {
    /// The volume.
    pub home: &'a Home,
    /// Where the slots go.
    pub scandir: &'a Scandir,
    /// What they are made of.
    pub template: &'a Template,
    /// Change nothing?
    pub dry_run: bool,
    /// Of the whole command.
    pub deadline: Deadline,
    /// Where to say what is wrong.
    pub log: &'a dyn Log,
    listening: Listening,
    multiplexed: bool,
    seeded: bool,
    ports: BTreeMap<Profile, Assignment>,
    count: Option<Count>,
    /// Intent locks that somebody holds delay the whole pass by a second, not each profile by one: what is left of it.
    patience: Cell<Duration>,
    published: bool,
}

/// The services of the scandir, counted once and then kept up, as long as nobody else makes entries.
struct Count {
    services: usize,
    /// The scandir itself: who makes an entry changes its time, and nearly always its links.
    scandir: rustix::fs::Stat,
}

/// How many profiles are looked at together. Their intent locks are held until their turn: for a millisecond or two.
const AT_ONCE: usize = 16;

/// How long s6-svscan has for a slot, a fresh copy of it included; a thousand take it four seconds.
const HELD_MS: u64 = 15_000;

/// What is known of a profile when its turn comes.
struct Facts {
    /// Has it a slot?
    exists: bool,
    dir: OwnedFd,
    state: State,
    prior_exit: &'static str,
    /// Are there files of a gateway that may be gone?
    stale: bool,
    /// Whoever changes the intent waits until we have acted on it: a stop in between would otherwise be undone.
    _guard: Option<Guard>,
}

impl<'a> Pass<'a> {
    /// Look at the whole: who listens, which mode, the first boot.
    ///
    /// # Errors
    /// 102 where the caller may not publish.
    pub fn new(
        home: &'a Home,
        scandir: &'a Scandir,
        template: &'a Template,
        dry_run: bool,
        deadline: Deadline,
        log: &'a dyn Log,
    ) -> Result<Pass<'a>> {
        scandir.require_writable()?;
        let listening = scandir.listening();
        if listening != Listening::Yes {
            log.warning(&format!("no s6-svscan is running on {}: the slots wait for one", scandir.path.display()));
        }
        let seeded = first_boot::seed(home, dry_run, log).unwrap_or_else(|error| {
            log.warning(&error.text);
            false
        });
        let multiplexed = crate::settings::multiplex(home);
        let patience = Cell::new(Duration::from_secs(1));
        let (ports, count, published) = (BTreeMap::new(), None, false);
        Ok(Pass {
            home,
            scandir,
            template,
            dry_run,
            deadline,
            log,
            listening,
            multiplexed,
            seeded,
            ports,
            count,
            patience,
            published,
        })
    }

    /// Every profile, `default` first, each isolated from the others' failures (B7); then the slots whose profile is gone.
    /// Where `profiles` cannot be listed that is the second half of the answer: `default` comes up all the same (B9), and
    /// nobody is taken to be gone.
    ///
    /// # Errors
    /// 111 if the slots cannot be listed: then nothing was changed.
    pub fn all(&mut self) -> Result<(Vec<Line>, Result<()>)> {
        let slots = self.scandir.slots()?;
        let (Scan { profiles, odd }, listed) = match self.home.scan() {
            Ok(scan) => (scan, Ok(())),
            Err(error) => (Scan::unlisted(), Err(error)),
        };
        let known: HashSet<&Profile> = profiles.iter().collect();
        let gone: Vec<Profile> = slots.into_iter().filter(|p| listed.is_ok() && !known.contains(p)).collect();
        self.allocate(&profiles, &profiles, &gone);
        let mut lines = self.each(&profiles);
        for name in odd {
            let note = if odd_name(&name) == "reserved" { "reserved-name" } else { "invalid-name" };
            lines.push(Line { note: Some(note), ..Line::bare(name, Action::Skipped) });
        }
        self.rescan();
        lines.extend(self.remove(&gone));
        Ok((lines, listed))
    }

    /// One profile only: its slot is made, brought up to date, or retired.
    ///
    /// # Errors
    /// 100 if there is neither a profile nor a slot.
    pub fn single(&mut self, profile: &Profile) -> Result<Line> {
        match self.home.require(profile) {
            Ok(()) => {
                self.allocate(&self.home.listed(), std::slice::from_ref(profile), &[]);
                let lines = self.each(std::slice::from_ref(profile));
                self.rescan();
                only(lines, profile)
            }
            Err(error) if error.exit != Exit::Usage || !self.scandir.has_slot(profile) => Err(error),
            Err(_) => {
                self.allocate(&self.home.listed(), &[], std::slice::from_ref(profile));
                only(self.remove(std::slice::from_ref(profile)), profile)
            }
        }
    }

    /// Give these profiles, of `all` there are, their ports, in one reading and one writing of the file.
    fn allocate(&mut self, all: &[Profile], profiles: &[Profile], gone: &[Profile]) {
        let patience = self.deadline.or_after_ms(1000);
        let book = port::Range::from_option(None)
            .and_then(|range| port::Book::open_for(self.home, all, range, patience, self.log));
        let (mut book, locked) = match book {
            Ok(book) => (book, true),
            Err(error) => {
                self.log.warning(&error.text);
                // While somebody holds the lock, what is on record can be told, and nothing given.
                let range = port::Range::from_option(None);
                match range.and_then(|range| port::Book::peek(self.home, range, self.log)) {
                    Ok(book) if error.exit == Exit::TimedOut => (book, false),
                    _ => return,
                }
            }
        };
        // The new name of one that is gone may not be among those that we were asked about.
        self.follow_renames(&mut book, if gone.is_empty() { profiles } else { all });
        for profile in profiles {
            if !locked && !book.knows(profile) {
                continue;
            }
            match book.assign(profile) {
                Ok(assignment) => drop(self.ports.insert(profile.clone(), assignment)),
                Err(error) => self.log.warning(&error.text),
            }
        }
        for profile in gone {
            book.free(profile);
        }
        if !self.dry_run
            && let Err(error) = book.save()
        {
            self.log.warning(&error.text);
        }
    }

    /// A renamed profile keeps its port (B4, E9): its directory still says under which name its gateway last ran.
    fn follow_renames(&self, book: &mut port::Book, profiles: &[Profile]) {
        let fresh: Vec<&Profile> = profiles.iter().filter(|p| !p.is_default() && !book.has(p)).collect();
        let former_of = |home: &OwnedFd, p| profile_dir(home, p).ok().flatten().and_then(gateway::lock::last_profile);
        let former = self.home.act(|home| Ok(fresh.iter().map(|p| former_of(home, p)).collect::<Vec<_>>()));
        for (new, old) in fresh.into_iter().zip(former.unwrap_or_default()) {
            if let Some(old) = old
                && old != *new
                && book.has(&old)
                && self.home.require(&old).is_err()
            {
                self.log.info(&format!("{new} was {old}: it keeps its port"));
                book.rename(&old, new);
            }
        }
    }

    /// Bring the slots of existing profiles in line.
    fn each(&mut self, mut profiles: &[Profile]) -> Vec<Line> {
        let mut lines = Vec::with_capacity(profiles.len());
        while !profiles.is_empty() {
            let facts = self.facts(profiles);
            let (now, later) = profiles.split_at(facts.len());
            lines.extend(now.iter().zip(facts).map(|(profile, facts)| self.one(profile, facts)));
            profiles = later;
        }
        lines
    }

    fn one(&mut self, profile: &Profile, facts: Result<Facts>) -> Line {
        let mut line = Line::bare(profile.as_str(), Action::Failed);
        match facts.and_then(|facts| self.act(profile, &facts, &mut line)) {
            Ok(()) => {}
            Err(error) => {
                self.log.warning(&error.context(profile).text);
                line.action = Action::Failed;
            }
        }
        line
    }

    fn act(&mut self, profile: &Profile, facts: &Facts, line: &mut Line) -> Result<()> {
        let seeded = self.seeded && profile.is_default();
        line.prior = if seeded { Prior::Running } else { facts.state.prior() };
        line.prior_exit = facts.prior_exit;
        if let State::Broken(why) = &facts.state {
            self.log.warning(&format!("{} is {why}: registered down", self.home.shown(profile, state::FILE)));
        }
        let slot = self.scandir.slot(profile);
        let stat = if facts.exists && supervise::is_held(&slot) { s6::svstat(&slot)? } else { None };
        if facts.stale && !self.dry_run && !stat.is_some_and(|s| s.up) {
            self.remove_stale(profile, &facts.dir)?;
        }
        let conflict = match self.ports.get(profile) {
            Some(Assignment::Port { port, .. }) => {
                line.port = Some(*port);
                None
            }
            Some(Assignment::Conflict { port, other }) => Some(format!("it pins port {port}, and so does {other}")),
            Some(Assignment::Full) => {
                self.log.warning(&format!("{profile}: no port is free in the range: registered without one"));
                None
            }
            None => None,
        };
        let served_by_default = self.multiplexed && !profile.is_default();
        let up = line.prior.starts() && !served_by_default && conflict.is_none();
        if served_by_default && line.prior.starts() {
            line.note = Some("multiplexed");
        }
        let published = if facts.exists { None } else { self.publish(profile, up)? };
        line.action = match published {
            Some(action) => action,
            None => self.update(profile, up, stat, line)?,
        };
        match conflict {
            None => Ok(()),
            Some(why) => Err(Error::new(Exit::System, why)),
        }
    }

    /// Look at the first of these profiles, and at those behind it that need no waiting: they have no slot yet, and nobody
    /// holds their intent lock. Borrowing the account's rights for each of them would be a tenth of a pass's time.
    fn facts(&self, profiles: &[Profile]) -> Vec<Result<Facts>> {
        let fresh = profiles.iter().take(AT_ONCE).take_while(|p| !self.scandir.has_slot(p)).count();
        let looked = self.home.act(|home| {
            let mut facts = Vec::with_capacity(AT_ONCE);
            for profile in &profiles[..fresh.max(1)] {
                let first = facts.is_empty();
                match self.look(home, profile, fresh == 0, first) {
                    Err(error) if error.exit == Exit::TimedOut && !first => break,
                    looked => facts.push(looked),
                }
            }
            Ok(facts)
        });
        looked.unwrap_or_else(|error| vec![Err(error)])
    }

    fn look(&self, home: &OwnedFd, profile: &Profile, exists: bool, wait: bool) -> Result<Facts> {
        let shown = self.home.shown(profile, "");
        let dir = beneath::open_dir(home, &profile.path()).map_err(|e| Error::system("open", &shown, e))?;
        let guard = if self.dry_run { None } else { Some(self.guard(&dir, &shown, wait)?) };
        let (state, prior_exit, stale) = (State::read(&dir), state::prior_exit(&dir), stale::any(&dir));
        Ok(Facts { exists, dir, state, prior_exit, stale, _guard: guard })
    }

    /// The intent lock, or, after what is left of the patience, none. 99 where it is held and not to be waited for.
    fn guard(&self, dir: &OwnedFd, shown: &str, wait: bool) -> Result<Guard> {
        let begun = Instant::now();
        let left = self.patience.get();
        let deadline = if wait { Deadline::after_ms(left.as_millis().max(1) as u64) } else { Deadline::now() };
        let taken = Guard::within(dir, shown, deadline);
        self.patience.set(left.saturating_sub(begun.elapsed()));
        match taken {
            Err(error) if wait || error.exit != Exit::TimedOut => Ok(Guard::without(&error, self.log)),
            taken => taken,
        }
    }

    fn remove_stale(&self, profile: &Profile, dir: &OwnedFd) -> Result<()> {
        self.home.act(|_| {
            if gateway::lock::is_free(dir) {
                stale::remove(dir, &self.home.shown(profile, ""), self.log);
            }
            Ok(())
        })
    }

    /// Publish the slot; `None` where somebody else was faster, who may have wanted it otherwise (register).
    fn publish(&mut self, profile: &Profile, up: bool) -> Result<Option<Action>> {
        let lock = if self.dry_run { None } else { Some(self.scandir.lock(self.deadline)?) };
        let services = self.room(lock.as_ref())?;
        if let Some(lock) = &lock {
            let group = self.home.account.gid;
            let plan = Plan { profile, template: self.template, up, env: &[], group };
            if !slot::publish(self.scandir, lock, &plan)? {
                return Ok(None);
            }
            self.published = true;
        }
        self.remember(services);
        Ok(Some(if up { Action::Started } else { Action::Registered }))
    }

    /// See that one more fits. Counting is a look at every entry, so it is done again only when somebody else made one.
    fn room(&mut self, lock: Option<&ScandirLock>) -> Result<usize> {
        let logger = self.template.has_logger();
        let stat =
            rustix::fs::fstat(&self.scandir.dir).map_err(|e| Error::system("stat", self.scandir.path.display(), e))?;
        let services = match &self.count {
            Some(count) if self.dry_run || is_same(&count.scandir, &stat) => count.services,
            _ => {
                if let Some(lock) = lock {
                    retire::sweep(self.scandir, lock, self.log)?;
                    register::heal(self.scandir, self.log)?;
                }
                self.scandir.services()?
            }
        };
        register::require_room(self.scandir, services, logger)
    }

    fn remember(&mut self, services: usize) {
        self.count = rustix::fs::fstat(&self.scandir.dir).ok().map(|scandir| Count { services, scandir });
    }

    fn update(&mut self, profile: &Profile, up: bool, stat: Option<Svstat>, line: &mut Line) -> Result<Action> {
        let slot = Slot::open(self.scandir, profile)?;
        let lock = if self.dry_run { None } else { Some(self.scandir.lock(self.deadline)?) };
        let update = slot.update(self.template, self.dry_run)?;
        let remarked = slot.mark(!up, self.dry_run)?;
        if let Some(stat) = stat
            && up != stat.wanted_up
        {
            line.note = Some(if up && slot.held().is_some() { "held" } else { "drifting" });
        }
        if update.stale {
            // Not one that is wanted and held either: only start clears a hold.
            if stat.is_some_and(|s| !s.is_down() || up) || self.dry_run {
                line.note = Some("stale-template");
            } else {
                let group = self.home.account.gid;
                let plan = Plan { profile, template: self.template, up, env: &[], group };
                let old = lock.as_ref().map(|lock| register::replace(self.scandir, lock, &plan)).transpose()?;
                self.published = true;
                drop(lock);
                retire::let_go(self.scandir)?;
                if let Some(old) = old {
                    old.finish(self.deadline.or_after_ms(5000), self.log)?;
                }
                return Ok(Action::Updated);
            }
        }
        // Nobody supervises it: a scan has yet to find it.
        self.published |= stat.is_none();
        Ok(if update.changed || remarked && stat.is_none() { Action::Updated } else { Action::Unchanged })
    }

    /// The one rescan of a pass.
    fn rescan(&mut self) {
        if self.published
            && !self.dry_run
            && self.listening == Listening::Yes
            && let Err(error) = s6::svscanctl("-a", &self.scandir.path)
        {
            self.log.warning(&error.text);
        }
    }

    /// Retire the slots whose profile is gone: all told first, then each waited for, then deleted.
    fn remove(&self, gone: &[Profile]) -> Vec<Line> {
        if !self.dry_run {
            for profile in gone {
                let slot = self.scandir.slot(profile);
                if supervise::is_held(&slot) {
                    // Told again, and waited for, below.
                    let _ = s6::svc("-d", &slot);
                }
            }
        }
        gone.iter()
            .map(|profile| {
                let mut line = Line::bare(profile.as_str(), Action::Removed);
                if !self.dry_run
                    && let Err(error) = retire::retire(self.scandir, profile, self.deadline, self.log)
                {
                    match error.exit {
                        Exit::TimedOut => line.note = Some("draining"),
                        _ => line.action = Action::Failed,
                    }
                    self.log.warning(&error.context(profile).text);
                }
                line
            })
            .collect()
    }

    /// Wait until every slot of these lines is supervised and usable (`-w`).
    ///
    /// # Errors
    /// 102 if nobody listens, 99 when the deadline has passed.
    pub fn wait(&self, lines: &[Line]) -> Result<()> {
        if self.dry_run {
            return Ok(());
        }
        if self.listening != Listening::Yes {
            return Err(Error::new(
                Exit::WrongState,
                format!("no s6-svscan is running on {}", self.scandir.path.display()),
            ));
        }
        for line in lines.iter().filter(|l| !matches!(l.action, Action::Removed | Action::Skipped)) {
            let Some(profile) = Profile::from_bytes(line.profile.as_bytes()) else { continue };
            if !self.scandir.has_slot(&profile) {
                continue;
            }
            let up = matches!(line.action, Action::Started);
            let plan = Plan { profile: &profile, template: self.template, up, env: &[], group: self.home.account.gid };
            register::await_held(self.scandir, &plan, self.deadline.or_after_ms(HELD_MS), self.log)?;
        }
        Ok(())
    }
}

fn only(mut lines: Vec<Line>, profile: &Profile) -> Result<Line> {
    lines.pop().ok_or_else(|| Error::new(Exit::System, format!("unable to reconcile {profile}")))
}

fn is_same(a: &rustix::fs::Stat, b: &rustix::fs::Stat) -> bool {
    (a.st_mtime, a.st_mtime_nsec, a.st_nlink) == (b.st_mtime, b.st_mtime_nsec, b.st_nlink)
}
