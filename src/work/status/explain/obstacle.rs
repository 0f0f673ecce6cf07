//! What is in the way of every gateway of a profile, whatever its state is: a volume that cannot be written, something
//! that root left, an s6-svscan that does not answer.

use crate::ground::error::Result;
use crate::ground::process;
use crate::s6::scandir::Scandir;
use crate::volume::home::Home;
use crate::volume::{root_left, writable};
use crate::work::status::{Manager, Status};

/// An obstacle.
pub(super) struct Obstacle {
    /// What is in the way.
    pub why: String,
    /// How to remove it.
    pub remedy: String,
    /// Is the log of an earlier run, because nothing can be written?
    pub hides_log: bool,
}

/// The first obstacle.
///
/// # Errors
/// 111 if one of the places cannot be looked at.
pub(super) fn find(home: &Home, scandir: &Scandir, manager: &Manager, status: &Status) -> Result<Option<Obstacle>> {
    let profile = &status.profile;
    if let Some(hindrance) = writable::hindrance(home, profile)? {
        let (why, remedy) = (hindrance.why.to_string(), hindrance.remedy.to_string());
        return Ok(Some(Obstacle { why, remedy, hides_log: true }));
    }
    if let Some(path) = root_left::find(home, profile)? {
        let why = format!("{path} belongs to root, and uid {} may not use it", home.account_of(profile).uid);
        return Ok(Some(Obstacle { why, remedy: "hermes-fix-attrs".to_string(), hides_log: false }));
    }
    if !manager.is_s6 && manager.left > 0 {
        let why = format!("the s6-svscan of {} is gone: what ends is not supervised again", scandir.path.display());
        let remedy = format!("s6-svscan {} (as before)", scandir.path.display());
        return Ok(Some(Obstacle { why, remedy, hides_log: false }));
    }
    if let Some(pid) = scandir.svscan_pid()?
        && process::stat(pid)?.is_some_and(|stat| stat.stopped)
    {
        let why = format!("s6-svscan, pid {pid}, is stopped by a signal: it takes up no slot");
        return Ok(Some(Obstacle { why, remedy: format!("kill -CONT {pid}"), hides_log: false }));
    }
    Ok(None)
}
