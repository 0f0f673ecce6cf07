//! The port of a gateway's API server: the port on which the gateway's process listens, or the one on which it would
//! listen after a start.

use crate::ground::environment::Environment;
use crate::ground::error::{Error, Result};
use crate::ground::process;
use crate::ground::profile::Profile;
use crate::volume::home::Home;
use crate::volume::ports::Known;
use crate::volume::settings::{FALLBACK_PORT, Inherited, Settings};
use crate::work::gateway::listener;
use rustix::io::Errno;
use std::io::ErrorKind;
use std::path::Path;

/// The port of one gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The API server listens on this port, or will listen on it after a start.
    Number(u16),
    /// The API server is off.
    Off,
    /// No port is known. The gateway does not listen yet, or no port was ever given to the profile.
    None,
    /// The port cannot be told. A file was not understood, the process could not be looked at, or the process listens
    /// on other ports only.
    Unclear,
}

/// The port of a gateway that runs as this process.
///
/// The process may also listen for webhooks. So the port of the API server is that one of its ports which the profile
/// may have been given. Without CAP_SYS_PTRACE the kernel shows the process to its own account only, and not even to
/// root. So the account's rights are used.
///
/// # Errors
/// 111 if the profile's files or the process cannot be looked at just now.
pub fn of_process(home: &Home, profile: &Profile, known: &Known, pid: i32) -> Result<Port> {
    home.act_for(profile, |dir| {
        let looked = process::environment(pid).and_then(|variables| Ok((variables, listener::ports(pid)?)));
        let (variables, listening) = match looked {
            Ok(looked) => looked,
            // The process has ended, belongs to another account, or has too many descriptors.
            Err(e) if is_for_good(&e) => return Ok(Port::Unclear),
            Err(e) => return Err(Error::system("look at", format_args!("the process {pid} of {profile}"), e)),
        };
        let started_with = Environment::of(variables);
        let exported = started_with.get("API_SERVER_PORT").and_then(|value| value.to_str()?.parse().ok());
        let settings = Settings::read(dir, profile, &Inherited::given(started_with))?;
        let given = [exported, settings.pin.map(|pin| pin.port), known.recorded(profile), Some(FALLBACK_PORT)];
        Ok(match given.into_iter().flatten().find(|port| listening.contains(port)) {
            Some(port) => Port::Number(port),
            None if !settings.api_server && settings.is_understood() => Port::Off,
            None if settings.is_understood() && listening.is_empty() => Port::None,
            None => Port::Unclear,
        })
    })
}

/// The port of a gateway that does not run: the pinned port, else the recorded one.
///
/// # Errors
/// 111 if the profile's files cannot be read.
pub fn of_settings(home: &Home, profile: &Profile, known: &Known, slot: &Path) -> Result<Port> {
    let settings = known.settings(home, profile)?;
    Ok(if !settings.is_understood() || may_set(slot)? {
        Port::Unclear
    } else if !settings.api_server {
        Port::Off
    } else {
        settings.pin.map(|pin| pin.port).or_else(|| known.recorded(profile)).map_or(Port::None, Port::Number)
    })
}

/// May the slot's own `env/` set a variable of the API server? Only the names of the files are looked at, because in an
/// open scandir the files belong to the account.
///
/// # Errors
/// 111 if `env/` cannot be looked at just now.
fn may_set(slot: &Path) -> Result<bool> {
    for name in ["API_SERVER_ENABLED", "API_SERVER_KEY", "API_SERVER_PORT"] {
        let path = slot.join("env").join(name);
        match path.symlink_metadata() {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(e) if e.kind() != ErrorKind::PermissionDenied => return Err(Error::system("stat", path.display(), e)),
            _ => return Ok(true),
        }
    }
    Ok(false)
}

/// Does this error mean that another look at the process would fail as well?
fn is_for_good(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
        || matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::FileTooLarge)
}
