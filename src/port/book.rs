//! The book of ports: what is recorded and what is pinned, read under one lock, and who gets what.

use super::pins::Pins;
use super::record::{FILE, Record};
use super::{Range, preferred, reserved};
use crate::beneath;
use crate::cli::Deadline;
use crate::exit::{Error, Exit, Result};
use crate::home::Home;
use crate::lock;
use crate::message::Log;
use crate::profile::Profile;
use crate::settings::{Inherited, Pin};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, statat};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};

/// The lock that every writer of the record holds from reading to writing (E4).
const LOCK: &str = ".hermes-s6.ports.lock";

/// How long it is waited for at most, whatever the command's own deadline: the account can hold it for ever.
const PATIENCE_MS: u64 = 10_000;

/// What a profile gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// This port.
    Port {
        /// The port.
        port: u16,
        /// Did the user pin it?
        pinned: bool,
    },
    /// Nothing: every port of the range is taken.
    Full,
    /// Nothing: another profile pins the same port (E8).
    Conflict {
        /// The port.
        port: u16,
        /// Who else pins it; the first one by name.
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

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose port it is.
    pub profile: Profile,
    /// The port.
    pub port: u16,
    /// Did the user pin it?
    pub pinned: bool,
}

/// The ports of a home. Dropped, it lets go of the lock.
pub struct Book<'a> {
    home: &'a Home,
    log: &'a dyn Log,
    range: Range,
    reserved: BTreeSet<u16>,
    inherited: Inherited,
    pins: Pins,
    record: Record,
    /// Who has a port by the record; where two have one, the first by name.
    owners: BTreeMap<u16, Profile>,
    access: Access,
    /// Who got a port in memory only, without having been asked for yet.
    unasked: BTreeSet<Profile>,
    changed: bool,
    /// Held for as long as the book is open.
    _lock: Option<OwnedFd>,
}

enum Access {
    /// What changes can be saved.
    Locked,
    /// A dry run: nothing is saved.
    Peek,
    /// What changes should be saved, and cannot be.
    Unwritable(Error),
}

impl<'a> Book<'a> {
    /// Lock and read the ports of this home and the pins of all its profiles.
    ///
    /// A volume that cannot be written is no error here but in `save`, if there is something to save: until then ports are
    /// given in memory, to all profiles in order, so that every process comes to the same result.
    ///
    /// # Errors
    /// 99 when the lock is held for too long, 100 for rubbish in `$HERMES_RESERVED_PORTS`, 111 if the home cannot be read.
    pub fn open(home: &'a Home, range: Range, deadline: Deadline, log: &'a dyn Log) -> Result<Book<'a>> {
        Book::open_for(home, &home.listed(), range, deadline, log)
    }

    /// The same for a caller that knows the profiles of the home already.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_for(
        home: &'a Home,
        profiles: &[Profile],
        range: Range,
        deadline: Deadline,
        log: &'a dyn Log,
    ) -> Result<Book<'a>> {
        match lock(home, deadline.or_after_ms(PATIENCE_MS)) {
            Ok(fd) => Ok(Book { _lock: Some(fd), ..Book::read(home, profiles, range, Access::Locked, log)? }),
            Err(error) if error.exit == Exit::System => {
                Book::read(home, profiles, range, Access::Unwritable(error), log)
            }
            Err(error) => Err(error),
        }
    }

    /// Read without a lock, to show what would be done: `save` then does nothing.
    ///
    /// # Errors
    /// As `open`, except for the lock.
    pub fn peek(home: &'a Home, range: Range, log: &'a dyn Log) -> Result<Book<'a>> {
        Book::read(home, &home.listed(), range, Access::Peek, log)
    }

    fn read(home: &'a Home, profiles: &[Profile], range: Range, access: Access, log: &'a dyn Log) -> Result<Book<'a>> {
        let mut book = Book {
            home,
            log,
            range,
            reserved: reserved()?.into_iter().collect(),
            inherited: Inherited::here(),
            pins: Pins::default(),
            record: Record::default(),
            owners: BTreeMap::new(),
            access,
            unasked: BTreeSet::new(),
            changed: false,
            _lock: None,
        };
        home.act(|dir| {
            match Record::read(dir) {
                Ok(record) => book.record = record,
                Err(error) => book.access = Access::Unwritable(error),
            }
            profiles.iter().for_each(|profile| book.pins.read(dir, profile, &book.inherited));
            Ok(())
        })?;
        for (profile, port) in &book.record.ports {
            book.owners.entry(*port).or_insert_with(|| profile.clone());
        }
        let shown = home.path.join(FILE);
        if let Some(why) = &book.record.broken {
            log.warning(&format!("{} is of no use: {why}", shown.display()));
        }
        if let Some(name) = book.record.foreign.keys().next() {
            let count = book.record.foreign.len();
            let text = format!("{}: ignored {count} that are not a profile and its port, first", shown.display());
            log.warning(&format!("{text} \"{}\"", name.chars().take(64).collect::<String>()));
        }
        if let Access::Unwritable(_) = book.access {
            profiles.iter().for_each(|profile| drop(book.settle(profile)));
            book.changed = false;
        }
        Ok(book)
    }

    /// The port of this profile: its pin, else what is recorded, else its preferred port or the next free one upwards.
    /// Says what is wrong with the profile's files, and when a recorded port had to be given up.
    ///
    /// # Errors
    /// 111 if the kernel refuses the account's rights.
    pub fn assign(&mut self, profile: &Profile) -> Result<Assignment> {
        if !self.pins.knows(profile) {
            self.home.act(|dir| {
                self.pins.read(dir, profile, &self.inherited);
                Ok(())
            })?;
        }
        for fault in self.pins.take_faults(profile) {
            self.log.warning(&format!("{}: {}", self.home.shown(profile, fault.file), fault.text));
        }
        let (assignment, moved) = self.settle(profile);
        self.changed |= self.unasked.remove(profile);
        if let Some(why) = moved {
            self.log.warning(&why);
        }
        Ok(assignment)
    }

    /// The assignment, and why a recorded port was not kept or should not be.
    fn settle(&mut self, profile: &Profile) -> (Assignment, Option<String>) {
        if let Some(Pin { port, .. }) = self.pins.of(profile) {
            let assignment = match self.pins.other_at(port, profile) {
                Some(other) => Assignment::Conflict { port, other: other.clone() },
                None => Assignment::Port { port, pinned: true },
            };
            return (assignment, None);
        }
        let old = self.record.ports.get(profile).copied();
        let lost = old.and_then(|port| self.holder(port, profile));
        if let (Some(port), None) = (old, &lost) {
            let free_it = format!("hermes-port-alloc -d {profile} gives it up");
            let warning = (self.reserved.contains(&port))
                .then(|| format!("port {port} of {profile} is recorded and by now reserved; {free_it}"));
            return (Assignment::Port { port, pinned: false }, warning);
        }
        let Some(port) = self.first_free(profile) else { return (Assignment::Full, lost) };
        self.remove(profile);
        self.record.ports.insert(profile.clone(), port);
        self.owners.insert(port, profile.clone());
        self.changed = true;
        self.unasked.insert(profile.clone());
        let moved =
            lost.map(|why| format!("port {} of {profile} is {why}: {profile} moves to {port}", old.unwrap_or(0)));
        (Assignment::Port { port, pinned: false }, moved)
    }

    /// How somebody else has this port, in words. A pin is stronger than the record: the user's word is final (E8).
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

    /// Has this profile a port on record?
    pub fn has(&self, profile: &Profile) -> bool {
        self.record.ports.contains_key(profile)
    }

    /// Is this profile's port on record, or pinned?
    pub fn knows(&self, profile: &Profile) -> bool {
        self.has(profile) || self.pins.of(profile).is_some()
    }

    /// Why this profile has no port, for an error or a warning; `None` if it has one.
    pub fn why_not(&self, profile: &Profile, assignment: &Assignment) -> Option<Error> {
        match assignment {
            Assignment::Port { .. } => None,
            Assignment::Full => {
                let range = self.range;
                Some(Error::new(Exit::System, format!("no port for {profile}: every port of {range} is taken")))
            }
            Assignment::Conflict { port, other } => {
                let (mine, theirs) = (self.pin_source(profile), self.pin_source(other));
                let text = format!("port {port} is pinned twice: by {profile} ({mine}) and by {other} ({theirs})");
                Some(Error::new(Exit::Usage, text))
            }
        }
    }

    /// Where a profile pins its port.
    fn pin_source(&self, profile: &Profile) -> String {
        match self.pins.of(profile).and_then(|pin| pin.file) {
            Some(file) => self.home.shown(profile, file),
            None => "the container's environment".to_string(),
        }
    }

    /// Every port that is recorded or pinned, by profile. A profile that pins one shows that.
    pub fn list(&self) -> Vec<Entry> {
        let mut ports: BTreeMap<&Profile, (u16, bool)> = BTreeMap::new();
        ports.extend(self.record.ports.iter().map(|(profile, port)| (profile, (*port, false))));
        ports.extend(self.pins.iter().map(|(profile, pin)| (profile, (pin.port, true))));
        let entry =
            |(profile, (port, pinned)): (&Profile, (u16, bool))| Entry { profile: profile.clone(), port, pinned };
        ports.into_iter().map(entry).collect()
    }

    /// Forget the recorded port of this profile (E9). Was there one?
    pub fn free(&mut self, profile: &Profile) -> bool {
        let freed = self.remove(profile).is_some() && !self.unasked.remove(profile);
        self.changed |= freed;
        freed
    }

    /// Hand the recorded port on to the profile's new name (E9).
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

    /// Write the record, if anything has changed (E6): a unique temporary file, renamed into place.
    ///
    /// # Errors
    /// 111 if the volume does not take it: the file is then what it was.
    pub fn save(&mut self) -> Result<()> {
        let shown = self.home.path.join(FILE);
        match &self.access {
            _ if !self.changed => return Ok(()),
            Access::Peek => return Ok(()),
            Access::Unwritable(error) => {
                return Err(error.clone().context(format!("ports not recorded in {}", shown.display())));
            }
            Access::Locked => {}
        }
        let write = |dir: &OwnedFd| self.record.write(dir).map_err(|e| Error::system("write", shown.display(), e));
        self.home.act(write)?;
        if let Some(why) = self.record.broken.take() {
            self.log.warning(&format!("{} was {why}: set aside as {FILE}.bad", shown.display()));
        }
        self.changed = false;
        Ok(())
    }
}

/// Open and take the lock. 111 where there can be none: a volume that is read-only or full, an odd thing of that name.
fn lock(home: &Home, deadline: Deadline) -> Result<OwnedFd> {
    let shown = home.path.join(LOCK);
    loop {
        let fd = home.act(|dir| {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK;
            let fd = beneath::open(dir, LOCK, flags, Mode::RUSR | Mode::WUSR)
                .map_err(|e| Error::system("open", shown.display(), e))?;
            match fstat(&fd).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
                Ok(FileType::RegularFile) => Ok(fd),
                _ => Err(Error::new(Exit::System, format!("unable to lock {}: not a regular file", shown.display()))),
            }
        })?;
        lock::take(&fd, shown.display(), deadline)?;
        // A lock on a file that was removed meanwhile keeps nobody out.
        if home.act(|dir| Ok(is_still(dir, &fd)))? {
            return Ok(fd);
        }
        if deadline.passed() {
            return Err(deadline.timed_out(format!("the lock {}", shown.display())));
        }
    }
}

fn is_still(dir: impl AsFd, fd: &OwnedFd) -> bool {
    match (fstat(fd), statat(dir, LOCK, AtFlags::SYMLINK_NOFOLLOW)) {
        (Ok(held), Ok(named)) => (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino),
        _ => false,
    }
}
