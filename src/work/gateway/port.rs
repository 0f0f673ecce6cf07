//! The port of the gateway's API server. An allocated port must reach the gateway's process (E5).

use crate::ground::deadline::Deadline;
use crate::ground::environment::Environment;
use crate::ground::error::{Error, Kind, Result};
use crate::ground::message::Log;
use crate::ground::profile::Profile;
use crate::volume::home::Home;
use crate::volume::ports::{Assignment, Book, Known, Range, preferred};
use crate::volume::settings::Settings;

/// The variable from which Hermes Agent reads the port.
const VARIABLE: &str = "API_SERVER_PORT";

/// How long to wait for another process that is allocating ports, in milliseconds.
const PATIENCE_MS: u64 = 10_000;

/// Put the profile's port, pinned or allocated, into `API_SERVER_PORT`, unless the slot's `env/` has that variable. If
/// a variable enables the API server, `API_SERVER_PORT` overrides `config.yaml`. So if a file of the profile was not
/// understood, no port is put there, and Hermes Agent's own reading of that file holds.
///
/// # Errors
/// 78 if another profile pins the same port (E8), or `HERMES_PORT_RANGE` is not a range. 111 if the ports cannot be
/// read.
pub fn export(home: &Home, profile: &Profile, environment: &mut Environment, log: &dyn Log) -> Result<()> {
    if environment.is_explicit(VARIABLE) {
        return Ok(());
    }
    let permanent = |error: Error| match error.kind {
        Kind::Usage => Error::new(Kind::Config, format!("{}: correct it", error.text)),
        _ => error,
    };
    let range = Range::from_option(environment.get("HERMES_PORT_RANGE")).map_err(permanent)?;
    // A recorded port can be used without a look at the other profiles. For a pinned port they have to be looked at,
    // because another profile may pin the same port.
    let looked = Known::read(home).and_then(|known| Ok((known.settings(home, profile)?, known.recorded(profile))));
    match looked {
        Ok((settings, _)) if !settings.is_understood() => {
            for fault in settings.faults {
                let file = home.shown(profile, fault.file.unwrap_or_default());
                log.warning(&format!("{file}: {}: {VARIABLE} is left alone", fault.text));
            }
            return Ok(());
        }
        Ok((Settings { pin: None, .. }, Some(port))) => {
            environment.set(VARIABLE, port.to_string());
            return Ok(());
        }
        Ok(_) => {}
        // If the record cannot be read, perhaps because of a lease, the gateway must not stay down. The preferred port
        // is most likely the recorded one.
        Err(error) => {
            let port = preferred(profile, range);
            log.warning(&format!("{}: {profile} takes its preferred port {port}", error.text));
            environment.set(VARIABLE, port.to_string());
            return Ok(());
        }
    }
    // A process that never releases the lock must not keep the gateway down. A recorded port can be used without the lock.
    let profiles = home.scan().map(|scan| scan.profiles);
    let opened = Book::open_or_peek(home, profiles, range, Deadline::after_ms(PATIENCE_MS), log);
    let (mut book, late) = opened.map_err(permanent)?;
    late.iter().for_each(|error| log.warning(&error.text));
    // Whoever started this gateway wants it, also where no intent says so (`hermes-svc-start -o`).
    let assignment = book.assign_if_wanted(profile)?;
    if let Err(error) = book.save() {
        log.warning(&error.text);
    }
    match &assignment {
        // A pinned port is exported as well, because Hermes Agent itself does not read `platforms.api_server.port`.
        Assignment::Port { port, .. } => environment.set(VARIABLE, port.to_string()),
        Assignment::Full | Assignment::Conflict { .. } => match book.why_not(profile, &assignment) {
            Some(error) if error.kind == Kind::Usage => return Err(permanent(error)),
            Some(error) => log.warning(&error.text),
            None => {}
        },
    }
    Ok(())
}
