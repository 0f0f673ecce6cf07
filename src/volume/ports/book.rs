//! The recorded and the pinned ports of a home, read under one lock, and the assignment of ports to profiles.

use super::file::{FILE, PortsFile};
use super::pins::Pins;
use super::{Range, preferred, reserved};
use crate::ground::beneath;
use crate::ground::deadline::Deadline;
use crate::ground::error::{Error, Kind, Result};
use crate::ground::lock;
use crate::ground::message::Log;
use crate::ground::profile::Profile;
use crate::volume::autostart::Autostart;
use crate::volume::gateway_lock::{self, Holding};
use crate::volume::home::Home;
use crate::volume::settings::{Inherited, Pin};
use crate::volume::state::{self, State};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

/// The lock file. Every writer of the record holds the lock from its reading to its writing (E4).
const LOCK: &str = ".hermes-s6.ports.lock";

/// The longest wait for the lock, in milliseconds, even if the command's deadline is later. The account can hold the
/// lock for ever.
const PATIENCE_MS: u64 = 10_000;

/// How long the files of all profiles may be read, in milliseconds. The account can make files that are slow to read,
/// and link them into thousands of profiles.
const BUDGET_MS: u64 = 5000;

/// The port that a profile gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// The profile gets a port.
    Port {
        /// The port.
        port: u16,
        /// Did the user pin it?
        pinned: bool,
    },
    /// The profile gets no port, because every port of the range is taken.
    Full,
    /// The profile gets no port, because another profile pins the same one (E8).
    Conflict {
        /// The port that both pin.
        port: u16,
        /// The other profile that pins the port; the first one by name whose claim is not smaller.
        other: Profile,
    },
}

impl Assignment {
    /// The port, if there is one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Assignment::Port { port, .. } => Some(*port),
            Assignment::Full | Assignment::Conflict { .. } => None,
        }
    }
}

/// An entry of the list of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The profile.
    pub profile: Profile,
    /// The profile's port.
    pub port: u16,
    /// Did the user pin it?
    pub pinned: bool,
}

/// The ports of a home. Dropping it releases the lock.
pub struct Book<'a> {
    home: &'a Home,
    log: &'a dyn Log,
    range: Range,
    reserved: BTreeSet<u16>,
    inherited: Inherited,
    autostart: Autostart,
    pins: Pins,
    /// When to stop reading the files of profiles.
    budget: Deadline,
    /// Was a port already asked for? The files of the first profile that is asked for are read even after the budget.
    asked: bool,
    claims: BTreeMap<Profile, Claim>,
    record: PortsFile,
    /// The owner of each recorded port. If two profiles have the same port on record, the owner is the first one by
    /// name.
    owners: BTreeMap<u16, Profile>,
    access: Access,
    /// The error if the profiles could not be listed. Then not all pins are known, so no new port can be given.
    unlisted: Option<Error>,
    changed: bool,
    /// The lock, which is held as long as the book is open.
    _lock: Option<OwnedFd>,
}

/// How much of a claim a profile has to the port that it pins, the smallest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    None,
    Wanted,
    Runs,
}

enum Access {
    /// The lock is held, and changes can be saved.
    Locked,
    /// The lock is not held, and nothing is saved.
    Peek,
    /// Changes cannot be saved, because the volume is read-only or full.
    Unwritable(Error),
}

impl<'a> Book<'a> {
    /// Lock and read the ports of this home, and the pins of all its profiles.
    ///
    /// If the volume cannot be written, this succeeds, and `save` fails if there is something to save.
    ///
    /// # Errors
    /// 99 if the lock is not free in time. 100 if `$HERMES_RESERVED_PORTS` is not a list of ports. 111 if the record
    /// exists and cannot be read just now.
    pub fn open(home: &'a Home, range: Range, deadline: Deadline, log: &'a dyn Log) -> Result<Book<'a>> {
        Book::open_for(home, home.scan().map(|scan| scan.profiles), range, deadline, log)
    }

    /// As `open`, for a caller that has already listed the profiles of the home.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_for(
        home: &'a Home,
        profiles: Result<Vec<Profile>>,
        range: Range,
        deadline: Deadline,
        log: &'a dyn Log,
    ) -> Result<Book<'a>> {
        match Book::open_or_peek(home, profiles, range, deadline, log)? {
            (_, Some(error)) => Err(error),
            (book, None) => Ok(book),
        }
    }

    /// As `open_for`, but if the lock is not free in time, the result is a book that was read without it, and the error.
    ///
    /// # Errors
    /// As `open`, except the one for the lock.
    pub fn open_or_peek(
        home: &'a Home,
        profiles: Result<Vec<Profile>>,
        range: Range,
        deadline: Deadline,
        log: &'a dyn Log,
    ) -> Result<(Book<'a>, Option<Error>)> {
        // The lock is for the record. The files of the profiles are read before it is taken: others must not have to wait
        // for the lock because a file is slow to read.
        let mut book = Book::of_pins(home, profiles, range, log)?;
        let mut late = None;
        match lock(home, deadline.or_after_ms(PATIENCE_MS), log) {
            Ok(fd) => (book.access, book._lock) = (Access::Locked, Some(fd)),
            Err((error, true)) => book.access = Access::Unwritable(error),
            Err((error, false)) if error.kind == Kind::TimedOut => late = Some(error),
            Err((error, false)) => return Err(error),
        }
        book.read_record()?;
        Ok((book, late))
    }

    /// Read without the lock. Assignments can be shown, and `save` does nothing.
    ///
    /// # Errors
    /// As `open`, except the one for the lock.
    pub fn peek(home: &'a Home, range: Range, log: &'a dyn Log) -> Result<Book<'a>> {
        let mut book = Book::of_pins(home, home.scan().map(|scan| scan.profiles), range, log)?;
        book.read_record()?;
        Ok(book)
    }

    /// A book with the pins of these profiles, and without the lock and the record.
    fn of_pins(home: &'a Home, profiles: Result<Vec<Profile>>, range: Range, log: &'a dyn Log) -> Result<Book<'a>> {
        let (profiles, unlisted) = match profiles {
            Ok(profiles) => (profiles, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let inherited = Inherited::here()?;
        let mut book = Book {
            home,
            log,
            range,
            reserved: reserved()?.into_iter().collect(),
            autostart: Autostart::of(inherited.environment()),
            inherited,
            pins: Pins::default(),
            budget: Deadline::after_ms(BUDGET_MS),
            asked: false,
            claims: BTreeMap::new(),
            record: PortsFile::default(),
            owners: BTreeMap::new(),
            access: Access::Peek,
            unlisted,
            changed: false,
            _lock: None,
        };
        let late = home.act(|dir| {
            let in_time = |profile: &&Profile| {
                let passed = book.budget.passed();
                if !passed {
                    book.pins.read(dir, profile, &book.inherited);
                }
                !passed
            };
            Ok(profiles.len() - profiles.iter().take_while(in_time).count())
        })?;
        if late > 0 {
            // A pin wins over a record. So if one of these profiles pins the port, the port is given up later.
            let why = book.late();
            log.warning(&format!("{}: {late} profiles may pin a port that is given to another", why.text));
        }
        Ok(book)
    }

    fn read_record(&mut self) -> Result<()> {
        let shown = self.home.path.join(FILE);
        self.record = self.home.act(|dir| PortsFile::read(dir, &shown))?;
        for (profile, port) in &self.record.ports {
            self.owners.entry(*port).or_insert_with(|| profile.clone());
        }
        if let Some(why) = &self.record.broken {
            self.log.warning(&format!("{} is of no use: {why}", shown.display()));
        }
        if let Some(name) = self.record.foreign.keys().next() {
            let count = self.record.foreign.len();
            let text = format!("{}: ignored {count} that are not a profile and its port, first", shown.display());
            self.log.warning(&format!("{text} \"{}\"", name.chars().take(64).collect::<String>()));
        }
        Ok(())
    }

    /// The port of this profile: its pin, else its recorded port, else its preferred port or the next free one above
    /// it. Logs the faults in the profile's files, and logs if a recorded port had to be given up.
    ///
    /// # Errors
    /// 111 if the account's rights cannot be taken; if the profile's files, which may pin a port, cannot be read just
    /// now; or if the profiles could not be listed and this profile has no port yet. 99 if the files of all profiles
    /// take too long to read, and this profile is not the first one that is asked for.
    pub fn assign(&mut self, profile: &Profile) -> Result<Assignment> {
        let asked = std::mem::replace(&mut self.asked, true);
        if !self.pins.knows(profile) {
            if asked && self.budget.passed() {
                return Err(self.late());
            }
            self.home.act(|dir| {
                self.pins.read(dir, profile, &self.inherited);
                Ok(())
            })?;
        }
        if let Some(error) = self.pins.unread(profile) {
            return Err(error.clone());
        }
        for fault in self.pins.take_faults(profile) {
            self.log.warning(&format!("{}: {}", self.source(profile, fault.file), fault.text));
        }
        let (assignment, moved) = self.settle(profile)?;
        if let Some(why) = moved {
            self.log.warning(&why);
        }
        Ok(assignment)
    }

    fn late(&self) -> Error {
        self.budget.timed_out("the files of all profiles to be read")
    }

    /// As `assign`, with the claim of a profile that is wanted.
    ///
    /// # Errors
    /// As `assign`.
    pub fn assign_if_wanted(&mut self, profile: &Profile) -> Result<Assignment> {
        self.claims.insert(profile.clone(), Claim::Wanted);
        self.assign(profile)
    }

    /// The assignment, and a warning if a recorded port was not kept or should not be kept.
    fn settle(&mut self, profile: &Profile) -> Result<(Assignment, Option<String>)> {
        if let Some(Pin { port, .. }) = self.pins.of(profile) {
            let assignment = match self.rival(port, profile)? {
                Some(other) => Assignment::Conflict { port, other },
                None => Assignment::Port { port, pinned: true },
            };
            return Ok((assignment, None));
        }
        let old = self.record.ports.get(profile).copied();
        let lost = old.and_then(|port| self.holder(port, profile));
        if let (Some(port), None) = (old, &lost) {
            let free_it = format!("hermes-port-alloc -d {profile} gives it up");
            let warning = (self.reserved.contains(&port))
                .then(|| format!("port {port} of {profile} is recorded and by now reserved; {free_it}"));
            return Ok((Assignment::Port { port, pinned: false }, warning));
        }
        if let Some(error) = &self.unlisted {
            return Err(error.clone().context(format!("no new port for {profile}")));
        }
        if let Access::Unwritable(_) = &self.access {
            // Until the volume can be written, two profiles may get the same port. `save` reports that nothing is
            // recorded.
            self.changed = true;
            return Ok((Assignment::Port { port: preferred(profile, self.range), pinned: false }, None));
        }
        let Some(port) = self.first_free(profile) else { return Ok((Assignment::Full, lost)) };
        self.remove(profile);
        self.record.ports.insert(profile.clone(), port);
        self.owners.insert(port, profile.clone());
        self.changed = true;
        let moved =
            lost.map(|why| format!("port {} of {profile} is {why}: {profile} moves to {port}", old.unwrap_or(0)));
        Ok((Assignment::Port { port, pinned: false }, moved))
    }

    /// Another profile that pins this port and has no smaller claim to it. A gateway that runs has the greatest claim,
    /// and one that a boot starts has the next. So a clone that nobody has started takes the port from neither of these
    /// (E8), whatever the state says that was copied with it, and neither does one that the operator's list leaves out.
    fn rival(&mut self, port: u16, profile: &Profile) -> Result<Option<Profile>> {
        let others: Vec<Profile> = self.pins.others_at(port, profile).cloned().collect();
        if others.is_empty() {
            return Ok(None);
        }
        let own = self.claim(profile)?;
        for other in others {
            if own == Claim::None || self.claim(&other)? >= own {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    /// The claim of this profile, which is looked at once.
    fn claim(&mut self, profile: &Profile) -> Result<Claim> {
        if let Some(claim) = self.claims.get(profile) {
            return Ok(*claim);
        }
        let home = self.home;
        let unable = |e| Error::system("read", home.shown(profile, state::FILE), e);
        let is_wanted = home.within(profile, |dir| {
            let state = State::read(dir).map_err(unable)?;
            let owner = state.owner(dir).map_err(unable)?;
            Ok(state.prior_of(profile, owner.as_deref()).starts() && self.autostart.allows(profile))
        })?;
        let claim = match (gateway_lock::holder(home, profile)?, is_wanted) {
            (Holding::Held(_), _) => Claim::Runs,
            (Holding::Free, Some(true)) => Claim::Wanted,
            (Holding::Free, _) => Claim::None,
        };
        self.claims.insert(profile.clone(), claim);
        Ok(claim)
    }

    /// Why this port is another profile's, in words. A pin wins over the record, because the user has set it (E8).
    fn holder(&self, port: u16, profile: &Profile) -> Option<String> {
        if let Some(other) = self.pins.other_at(port, profile) {
            return Some(format!("pinned by {other} ({})", self.pin_source(other)));
        }
        let owner = self.owners.get(&port).filter(|owner| *owner != profile)?;
        Some(format!("recorded for {owner} as well"))
    }

    fn is_taken(&self, port: u16, profile: &Profile) -> bool {
        let recorded = self.owners.get(&port).is_some_and(|owner| owner != profile);
        recorded || self.pins.other_at(port, profile).is_some()
    }

    fn first_free(&self, profile: &Profile) -> Option<u16> {
        let start = u32::from(preferred(profile, self.range) - self.range.low);
        (0..self.range.width())
            .map(|step| self.range.nth(start + step))
            .find(|port| !self.reserved.contains(port) && !self.is_taken(*port, profile))
    }

    /// Can the volume not be written, because it is read-only or full?
    pub fn is_unwritable(&self) -> bool {
        matches!(self.access, Access::Unwritable(_))
    }

    /// May new ports be given? They may if `save` can record them, or in a dry run, which records nothing.
    pub fn is_locked(&self, dry_run: bool) -> bool {
        dry_run || !matches!(self.access, Access::Peek)
    }

    /// Does this profile have a port on record?
    pub fn has(&self, profile: &Profile) -> bool {
        self.record.ports.contains_key(profile)
    }

    /// The profiles that have a port on record.
    pub fn recorded(&self) -> impl Iterator<Item = &Profile> {
        self.record.ports.keys()
    }

    /// Does this profile have a port on record or a pin?
    pub fn knows(&self, profile: &Profile) -> bool {
        self.has(profile) || self.pins.of(profile).is_some()
    }

    /// Why this profile has no port, as an error; `None` if it has one.
    pub fn why_not(&self, profile: &Profile, assignment: &Assignment) -> Option<Error> {
        match assignment {
            Assignment::Port { .. } => None,
            Assignment::Full => {
                let range = self.range;
                Some(Error::new(Kind::System, format!("no port for {profile}: every port of {range} is taken")))
            }
            Assignment::Conflict { port, other } => {
                let (mine, theirs) = (self.pin_source(profile), self.pin_source(other));
                let text = format!("port {port} is pinned twice: by {profile} ({mine}) and by {other} ({theirs})");
                Some(Error::new(Kind::Usage, text))
            }
        }
    }

    /// The file in which a profile pins its port.
    fn pin_source(&self, profile: &Profile) -> String {
        self.source(profile, self.pins.of(profile).and_then(|pin| pin.file))
    }

    fn source(&self, profile: &Profile, file: Option<&str>) -> String {
        match file {
            Some(file) => self.home.shown(profile, file),
            None => "the container's environment".to_string(),
        }
    }

    /// Every port that is recorded or pinned, by profile. For a profile that has both, the pin is listed.
    pub fn list(&self) -> Vec<Entry> {
        let mut ports: BTreeMap<&Profile, (u16, bool)> = BTreeMap::new();
        ports.extend(self.record.ports.iter().map(|(profile, port)| (profile, (*port, false))));
        ports.extend(self.pins.iter().map(|(profile, pin)| (profile, (pin.port, true))));
        let entry =
            |(profile, (port, pinned)): (&Profile, (u16, bool))| Entry { profile: profile.clone(), port, pinned };
        ports.into_iter().map(entry).collect()
    }

    /// Remove this profile's port from the record (E9). Returns whether there was one.
    pub fn free(&mut self, profile: &Profile) -> bool {
        let freed = self.remove(profile).is_some();
        self.changed |= freed;
        freed
    }

    /// Move the recorded port of a renamed profile to its new name (E9).
    pub fn rename(&mut self, old: &Profile, new: &Profile) {
        if old != new
            && let Some(port) = self.remove(old)
        {
            self.remove(new);
            self.record.ports.insert(new.clone(), port);
            self.owners.entry(port).or_insert_with(|| new.clone());
            self.changed = true;
        }
    }

    fn remove(&mut self, profile: &Profile) -> Option<u16> {
        let port = self.record.ports.remove(profile)?;
        self.owners.remove(&port);
        if let Some((other, _)) = self.record.ports.iter().find(|(_, theirs)| **theirs == port) {
            self.owners.insert(port, other.clone());
        }
        Some(port)
    }

    /// Write the record if it has changed (E6). If it has not, only sync the directory: a killed run may have renamed
    /// the file and not synced it.
    ///
    /// # Errors
    /// 111 if the volume cannot be written: the old file is then in place.
    pub fn save(&mut self) -> Result<()> {
        let shown = self.home.path.join(FILE);
        let unable = |e: std::io::Error| Error::system("write", shown.display(), e);
        match &self.access {
            Access::Peek => return Ok(()),
            Access::Unwritable(error) if self.changed => {
                return Err(error.clone().context(format!("ports not recorded in {}", shown.display())));
            }
            Access::Unwritable(_) => return Ok(()),
            Access::Locked if !self.changed => {
                return self.home.act(|dir| beneath::sync(dir).map_err(|e| unable(e.into())));
            }
            Access::Locked => {
                let written = self.home.act(|dir| Ok(self.record.write(dir)))?;
                if let Err(e) = written {
                    let full = [Errno::NOSPC, Errno::DQUOT, Errno::ROFS].map(|errno| Some(errno.raw_os_error()));
                    let is_full = full.contains(&e.raw_os_error());
                    let error = unable(e);
                    if is_full {
                        self.access = Access::Unwritable(error.clone());
                    }
                    return Err(error);
                }
            }
        }
        if let Some(why) = self.record.broken.take() {
            self.log.warning(&format!("{} is set aside as {FILE}.bad: {why}", shown.display()));
        }
        self.changed = false;
        Ok(())
    }
}

/// Open the lock file and take the lock. If the file system has no locks, that is only a warning. The `bool` of an
/// error is true if the volume cannot have a lock, because it is read-only or full, or because something other than a
/// regular file has the lock's name.
fn lock(home: &Home, deadline: Deadline, log: &dyn Log) -> std::result::Result<OwnedFd, (Error, bool)> {
    let shown = home.path.join(LOCK);
    let unable = |e| Error::system("open", shown.display(), e);
    loop {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK;
        let opened = home.act(|dir| Ok(beneath::open(dir, LOCK, flags, Mode::RUSR | Mode::WUSR)));
        let fd = match opened.map_err(|error| (error, false))? {
            Ok(fd) => fd,
            Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::IO | Errno::STALE)) => {
                return Err((unable(errno), false));
            }
            Err(errno) => return Err((unable(errno), true)),
        };
        let stat = fstat(&fd).map_err(|e| (unable(e), false))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            let text = format!("unable to lock {}: not a regular file", shown.display());
            return Err((Error::new(Kind::System, text), true));
        }
        if let Some(errno) = lock::take(&fd, shown.display(), deadline).map_err(|error| (error, false))? {
            let error = Error::system("lock", shown.display(), errno);
            log.warning(&format!("{}; going on without it", error.text));
        }
        let still = home.act(|dir| lock::is_in_place(dir, LOCK, &fd).map_err(unable));
        if still.map_err(|error| (error, false))? {
            return Ok(fd);
        }
        if deadline.passed() {
            return Err((deadline.timed_out(format!("the lock {}", shown.display())), false));
        }
    }
}
