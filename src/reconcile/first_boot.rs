//! The first boot of the root profile: two ways in which its intent is given from outside. Never for a named one (A5).

use crate::exit::Result;
use crate::home::{Home, profile_dir};
use crate::intent::{self, Intent};
use crate::message::Log;
use crate::profile::Profile;
use crate::reconcile::role;
use crate::state::State;

/// Seed `running` for `default` where it has no state file and `HERMES_GATEWAY_BOOTSTRAP_STATE` is that very word (A6),
/// or the container was started as `gateway run` (A4). An existing file, whatever is in it, is left alone.
/// Says whether the intent is, or would be, seeded.
///
/// # Errors
/// 111 if the volume does not take it.
pub fn seed(home: &Home, dry_run: bool, log: &dyn Log) -> Result<bool> {
    let default = Profile::default_profile();
    let blank = home.act(|dir| {
        Ok(profile_dir(dir, &default).ok().flatten().is_some_and(|dir| matches!(State::read(dir), State::Absent)))
    })?;
    let asked = || std::env::var("HERMES_GATEWAY_BOOTSTRAP_STATE").as_deref() == Ok("running");
    if !blank || !(asked() || role::is_legacy_gateway_run()) {
        return Ok(false);
    }
    if !dry_run {
        intent::write(home, &default, Intent::Running, log)?;
    }
    Ok(true)
}
