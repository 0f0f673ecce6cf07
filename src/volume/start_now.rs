//! The sign that an operator has asked for a start, which then waits for no turn.

use crate::ground::beneath;
use crate::ground::error::{Error, Result};
use crate::ground::profile::Profile;
use crate::volume::home::Home;
use rustix::fs::{AtFlags, Mode, OFlags};

/// The name of the sign in the profile's directory. The account can make it as well: it may start its gateways at any
/// time.
pub const FILE: &str = ".hermes-s6.start-now";

/// Make the sign.
///
/// # Errors
/// 111 if it cannot be made. Then the start takes its turn.
pub fn ask(home: &Home, profile: &Profile) -> Result<()> {
    let unable = |e| Error::system("write", home.shown(profile, FILE), e);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK;
    let made = home.within(profile, |dir| beneath::open(dir, FILE, flags, Mode::RUSR | Mode::WUSR).map_err(unable));
    made.map(drop)
}

/// Take the sign away, and return whether there was one. Where that cannot be told, there was none.
pub fn take(home: &Home, profile: &Profile) -> bool {
    let taken = home.within(profile, |dir| Ok(rustix::fs::unlinkat(dir, FILE, AtFlags::empty()).is_ok()));
    taken == Ok(Some(true))
}
