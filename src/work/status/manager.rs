//! Who supervises the gateways here.

use crate::ground::error::Result;
use crate::ground::process;
use crate::s6::scandir::{Listening, Scandir};
use crate::s6::supervise;
use crate::work::container::{self, s6_is_pid_1};
use std::os::unix::ffi::OsStrExt as _;

/// The supervisor of the gateways here.
pub struct Manager {
    /// The text of the first line, without "Manager: ".
    pub label: String,
    /// Is there an s6-svscan?
    pub is_s6: bool,
    /// How many supervisors of gateways live on although their s6-svscan is gone.
    pub left: usize,
    /// Is s6 about to start, as in the first second of a container?
    pub starting: bool,
}

impl Manager {
    /// Find the supervisor of this scandir.
    ///
    /// # Errors
    /// 111 if the scandir cannot be looked at.
    pub fn of(scandir: &Scandir) -> Result<Manager> {
        let listening = scandir.listening()?;
        let held = || -> Result<usize> {
            Ok(scandir.slots()?.iter().filter(|p| supervise::is_held(&scandir.slot(p)) != Ok(false)).count())
        };
        let is_s6 = match listening {
            Listening::Yes => true,
            Listening::No => false,
            // In a sealed tree we can see the supervisors, but not the s6-svscan.
            Listening::Unknown => s6_is_pid_1()? || held()? > 0,
        };
        let left = if is_s6 { 0 } else { held()? };
        let starting = !is_s6 && left == 0 && container::is_starting()?;
        let label = match is_s6 {
            true if s6_is_pid_1()? && is_of_pid_1(scandir)? => "s6 (container supervisor)".to_string(),
            true => format!("s6 (scandir {})", scandir.path.display()),
            false if left > 0 => {
                format!("none (the s6-svscan of {} is gone; {left} supervisors live on)", scandir.path.display())
            }
            false if starting => "none (s6 is starting)".to_string(),
            false => "none (no s6 supervisor)".to_string(),
        };
        Ok(Manager { label, is_s6, left, starting })
    }
}

/// Is PID 1 the s6-svscan of this scandir? The path of an s6-svscan's scandir is its last argument.
///
/// # Errors
/// 111 if PID 1 cannot be looked at.
fn is_of_pid_1(scandir: &Scandir) -> Result<bool> {
    Ok(process::arguments(1)?.iter().any(|argument| argument == scandir.path.as_os_str().as_bytes()))
}
