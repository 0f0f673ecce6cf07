//! The planned-stop marker: with it Hermes Agent takes the SIGTERM that follows for the operator's (A11).

use crate::beneath;
use crate::exit::{Error, Result};
use crate::home::{Home, profile_dir};
use crate::process;
use crate::profile::Profile;
use rustix::fs::Mode;
use serde_json::json;

/// Its name in the *target's* home: one marker never overwrites another profile's.
pub const FILE: &str = ".gateway-planned-stop.json";

/// Write it for the process that is about to be stopped.
///
/// # Errors
/// 111 if the volume does not take it: the stop is then taken for an unexpected one, nothing worse.
pub fn write(home: &Home, profile: &Profile, pid: i32) -> Result<()> {
    let marker = json!({
        "target_pid": pid,
        "target_start_time": process::stat(pid).map(|s| s.start_time),
        "stopper_pid": std::process::id(),
        "written_at": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string(),
    });
    home.act(|home_dir| {
        let unable = |e: std::io::Error| Error::system("write", home.shown(profile, FILE), e);
        match profile_dir(home_dir, profile).map_err(|e| unable(e.into()))? {
            Some(dir) => {
                beneath::replace(&dir, FILE, marker.to_string().as_bytes(), Mode::from_raw_mode(0o600)).map_err(unable)
            }
            None => Ok(()),
        }
    })
}
