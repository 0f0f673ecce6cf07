//! The home to which a slot belongs. A slot has a link `home`, which is made when the slot is published. A tool acts on
//! a slot only for the home to which the link leads. Otherwise a wrong `-H` or `HERMES_HOME` would stop the gateway of
//! one home and record that in another home.
//!
//! If the account can write to the scandir, the link may be the account's. So its target is only compared, and is
//! looked at with the account's rights.

use crate::ground::error::{Error, Kind, Result};
use crate::ground::profile::Profile;
use crate::s6::scandir::Scandir;
use crate::s6::slot;
use crate::volume::home::Home;
use std::path::PathBuf;

/// The home of an entry of the scandir.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// There is no such entry in the scandir.
    Nobodys,
    /// The entry does not have the link, because an earlier version published it.
    Unsaid,
    /// The entry belongs to this home.
    Ours,
    /// The entry belongs to another home, at this path.
    Other(PathBuf),
}

/// The home of this entry of the scandir, which is a slot or a hidden directory.
///
/// # Errors
/// 111 if the link, or the home to which it leads, cannot be looked at.
pub fn of(home: &Home, scandir: &Scandir, entry: &str) -> Result<Whose> {
    Ok(match slot::home_of(scandir, entry)? {
        None => Whose::Nobodys,
        Some(None) => Whose::Unsaid,
        Some(Some(path)) if home.is_at(&path)? => Whose::Ours,
        Some(Some(path)) => Whose::Other(path),
    })
}

/// Check that the slot of this profile, if there is one, does not belong to another home.
///
/// # Errors
/// 102 if it belongs to another home; the text names both homes. 111 as for `of`.
pub fn require(home: &Home, scandir: &Scandir, profile: &Profile) -> Result<()> {
    match of(home, scandir, &profile.slot())? {
        Whose::Other(other) => {
            let (slot, own) = (scandir.slot(profile), home.path.display());
            let text = format!("{} belongs to home {}, not to {own}", slot.display(), other.display());
            Err(Error::new(Kind::WrongState, text))
        }
        _ => Ok(()),
    }
}
