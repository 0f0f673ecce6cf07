//! The first boot of the profile `default`. There are two ways to give its intent from outside; named profiles have
//! none (A5).

use crate::ground::error::Result;
use crate::ground::message::Log;
use crate::ground::profile::Profile;
use crate::volume::home::Home;
use crate::volume::intent::{self, Intent};
use crate::volume::state::State;
use crate::work::container;

/// Record the intent `running` for `default` if it has no state file, and either `HERMES_GATEWAY_BOOTSTRAP_STATE` is
/// exactly `running` (A6) or the container was started as `gateway run` (A4). An existing state file is left alone,
/// whatever is in it. Returns whether the intent was recorded, or would be in a dry run.
///
/// # Errors
/// 111 if the state file cannot be looked at or written.
pub fn seed(home: &Home, dry_run: bool, log: &dyn Log) -> Result<bool> {
    let default = Profile::default_profile();
    let blank = matches!(State::of_profile(home, &default)?, State::Absent);
    let asked = || std::env::var("HERMES_GATEWAY_BOOTSTRAP_STATE").as_deref() == Ok("running");
    if !blank || !(asked() || container::is_legacy_gateway_run()?) {
        return Ok(false);
    }
    if !dry_run {
        intent::record(home, &default, Intent::Running, log)?;
    }
    Ok(true)
}
