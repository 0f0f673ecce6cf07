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

use crate::exit::Result;
use crate::home::Home;
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
