//! The health check (`-c`). It looks at slots and intents only: the account can make more profiles than can be looked at
//! whole in the time that a container's health check has.

use super::{Status, View, intent, look};
use crate::ground::error::Result;
use crate::ground::profile::Profile;
use crate::s6::slot::Slot;

/// The status of this profile, without its port, if its gateway is not as its intent says.
///
/// # Errors
/// 111 if s6 or the volume cannot be asked.
pub fn unhealthy(view: &View, profile: &Profile) -> Result<Option<Status>> {
    if Slot::find(view.scandir, profile)?.is_none() && !intent(view.home, profile)?.0.starts() {
        return Ok(None);
    }
    let status = look(view, profile)?;
    Ok(Some(status).filter(|status| !status.is_healthy()))
}
