//! TCP ports. Every profile's gateway has a port of its own and keeps it (docs/DESIGN.md, "Ports"; docs/failures.md, E1
//! to E9).

mod book;
mod file;
mod pins;
mod preferred;
mod range;

pub use book::{Assignment, Book};
pub use file::FILE;
pub use preferred::preferred;
pub use range::{Range, reserved};

use crate::ground::deadline::Deadline;
use crate::ground::error::Result;
use crate::ground::message::Log;
use crate::ground::profile::Profile;
use crate::volume::home::Home;
use crate::volume::settings::{Complaints, Inherited, Settings};
use file::PortsFile;

/// The recorded ports, read once for all profiles. Reading takes no lock and writes nothing.
pub struct Known {
    record: PortsFile,
    inherited: Inherited,
}

impl Known {
    /// Read the record.
    ///
    /// # Errors
    /// 111 if the record exists and cannot be read.
    pub fn read(home: &Home) -> Result<Known> {
        Ok(Known {
            record: home.act(|dir| PortsFile::read(dir, &home.path.join(FILE)))?,
            inherited: Inherited::here()?,
        })
    }

    /// The port on which this profile's gateway listens: the pinned one, else the recorded one; `None` if there is
    /// neither.
    ///
    /// # Errors
    /// 111 if the profile's files cannot be read.
    pub fn of(&self, home: &Home, profile: &Profile) -> Result<Option<u16>> {
        let pin = self.settings(home, profile)?.pin;
        Ok(pin.map(|pin| pin.port).or_else(|| self.recorded(profile)))
    }

    /// What the profile's own files say.
    ///
    /// # Errors
    /// As `of`.
    pub fn settings(&self, home: &Home, profile: &Profile) -> Result<Settings> {
        home.act_for(profile, |dir| Settings::read(dir, profile, &self.inherited))
    }

    /// What Hermes Agent complains of in the profile's own files.
    ///
    /// # Errors
    /// As `of`.
    pub fn complaints(&self, home: &Home, profile: &Profile) -> Result<Complaints> {
        home.act_for(profile, |dir| Complaints::read(dir, profile, &self.inherited))
    }

    /// The recorded port of this profile.
    pub fn recorded(&self, profile: &Profile) -> Option<u16> {
        self.record.ports.get(profile).copied()
    }
}

/// The port on which this profile's gateway listens, as `Known::of`.
///
/// # Errors
/// As `Known::read` and `Known::of`.
pub fn lookup(home: &Home, profile: &Profile) -> Result<Option<u16>> {
    Known::read(home)?.of(home, profile)
}

/// Assign a port to this profile and record it. `None` if the range is full.
///
/// # Errors
/// 99 if the lock is not free in time. 100 if another profile pins the same port, or `$HERMES_PORT_RANGE` or
/// `$HERMES_RESERVED_PORTS` is not valid. 111 if a file cannot be read or the port cannot be recorded.
pub fn allocate(
    home: &Home,
    profile: &Profile,
    dry_run: bool,
    deadline: Deadline,
    log: &dyn Log,
) -> Result<Option<u16>> {
    let range = Range::from_option(None)?;
    let mut book = if dry_run { Book::peek(home, range, log)? } else { Book::open(home, range, deadline, log)? };
    let assignment = book.assign(profile)?;
    if let (Assignment::Conflict { .. }, Some(error)) = (&assignment, book.why_not(profile, &assignment)) {
        return Err(error);
    }
    book.save()?;
    Ok(assignment.port())
}

/// Check that no other profile that runs or is wanted pins the same port (E8). The caller is about to want this
/// profile. Other errors about ports are ignored here, because the gateway asks for its port again.
///
/// # Errors
/// 100 if another profile has the port. The text names both profiles.
pub fn require_no_conflict(home: &Home, profile: &Profile, log: &dyn Log) -> Result<()> {
    let Ok(mut book) = Range::from_option(None).and_then(|range| Book::peek(home, range, log)) else { return Ok(()) };
    match book.assign_if_wanted(profile) {
        Ok(assignment @ Assignment::Conflict { .. }) => book.why_not(profile, &assignment).map_or(Ok(()), Err),
        _ => Ok(()),
    }
}

/// Remove this profile's port from the record (E9).
///
/// # Errors
/// 99 if the lock is not free in time. 111 if the record cannot be read just now, or cannot be written.
pub fn free(home: &Home, profile: &Profile, dry_run: bool, deadline: Deadline, log: &dyn Log) -> Result<()> {
    let range = Range::from_option(None)?;
    let mut book = if dry_run { Book::peek(home, range, log)? } else { Book::open(home, range, deadline, log)? };
    book.free(profile);
    book.save()
}
