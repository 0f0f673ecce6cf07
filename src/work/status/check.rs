//! The health checks (`-c` and `-r`). They look at slots and intents only: the account can make more profiles than can
//! be looked at whole in the time that a container's health check has.

use super::{Said, Status, View, look};
use crate::ground::error::Result;
use crate::ground::profile::Profile;
use crate::work::whose::{self, Whose};

/// The status of this profile, without its port, if its gateway is not well, as `is_well` has it.
///
/// # Errors
/// 111 if s6 or the volume cannot be asked.
pub fn unwell(view: &View, profile: &Profile, is_well: &dyn Fn(&Status) -> bool) -> Result<Option<Status>> {
    // A slot of another home is no answer, also where this home does not want the profile.
    let is_wanted = Said::read(view.home, profile)?.is_some_and(|said| said.intent.starts());
    if !is_wanted && !matches!(whose::of(view.home, view.scandir, &profile.slot())?, Whose::Other(_)) {
        return Ok(None);
    }
    let status = look(view, profile)?;
    Ok(Some(status).filter(|status| !is_well(status)))
}
