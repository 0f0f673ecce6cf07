//! The planned-stop marker. If it is there, Hermes Agent takes the next SIGTERM for an order of the operator (A11).

use crate::ground::beneath;
use crate::ground::error::{Error, Result};
use crate::ground::process;
use crate::ground::profile::Profile;
use crate::volume::home::Home;
use rustix::fs::Mode;
use serde_json::json;

/// The name of the marker in the directory of the profile that is stopped. So one profile's marker never overwrites
/// another's.
pub const FILE: &str = ".gateway-planned-stop.json";

/// Write the marker for the process that is about to be stopped.
///
/// # Errors
/// 111 if the process cannot be looked at, or the marker cannot be written. Hermes Agent then takes the stop for an unexpected one, and nothing worse
/// happens.
pub fn write(home: &Home, profile: &Profile, pid: i32) -> Result<()> {
    let marker = json!({
        "target_pid": pid,
        "target_start_time": process::stat(pid)?.map(|s| s.start_time),
        "stopper_pid": std::process::id(),
        "written_at": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string(),
    });
    let unable = |e: std::io::Error| Error::system("write", home.shown(profile, FILE), e);
    let bytes = marker.to_string().into_bytes();
    let written =
        home.within(profile, |dir| beneath::replace(dir, FILE, &bytes, Mode::from_raw_mode(0o600)).map_err(unable));
    written.map(|_| ())
}
