//! TCP ports: every profile's gateway keeps one of its own for life (DESIGN, section 6; failures.md, E1 to E9).

mod book;
mod pins;
mod preferred;
mod range;
mod record;

pub use book::{Assignment, Book, Entry};
pub use pins::pin_of;
pub use preferred::preferred;
pub use range::{Range, reserved};

use crate::cli::Deadline;
use crate::exit::Result;
use crate::home::Home;
use crate::message::Log;
use crate::profile::Profile;
use crate::settings::{Inherited, Settings};
use record::Record;

/// The port that this profile's gateway listens on: the pinned one, else the recorded one; `None` if there is neither.
/// Takes no lock, writes nothing.
///
/// # Errors
/// 111 if the record is there and cannot be read.
pub fn lookup(home: &Home, profile: &Profile) -> Result<Option<u16>> {
    home.act(|dir| match Settings::read(dir, profile, &Inherited::here()).pin {
        Some(pin) => Ok(Some(pin.port)),
        None => Ok(Record::read(dir)?.ports.get(profile).copied()),
    })
}

/// Give this profile its port for good. `None` where the range is full.
///
/// # Errors
/// 99 when the lock is held for too long, 100 if another profile pins the same port, 111 if it cannot be recorded.
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

/// Forget this profile's port (E9).
///
/// # Errors
/// 99 when the lock is held for too long, 111 if it cannot be recorded.
pub fn free(home: &Home, profile: &Profile, dry_run: bool, deadline: Deadline, log: &dyn Log) -> Result<()> {
    let range = Range::from_option(None)?;
    let mut book = if dry_run { Book::peek(home, range, log)? } else { Book::open(home, range, deadline, log)? };
    book.free(profile);
    book.save()
}
