//! The port that the gateway's API server is told to take (E5: an allocated port must reach the process).

use crate::cli::Deadline;
use crate::environment::Environment;
use crate::exit::{Error, Exit, Result};
use crate::home::Home;
use crate::message::Log;
use crate::port::{Assignment, Book, Range};
use crate::profile::Profile;

/// What Hermes Agent reads.
const VARIABLE: &str = "API_SERVER_PORT";

/// How long somebody else may be allocating ports. Milliseconds.
const PATIENCE_MS: u64 = 10_000;

/// Put the profile's port into `API_SERVER_PORT`, unless the profile pins its own, or its slot gives one.
///
/// # Errors
/// 78 if another profile pins the same port (E8), or the range makes no sense; 99 and 111 as the allocator has them.
pub fn export(home: &Home, profile: &Profile, environment: &mut Environment, log: &dyn Log) -> Result<()> {
    if environment.is_explicit(VARIABLE) {
        return Ok(());
    }
    let permanent = |error: Error| match error.exit {
        Exit::Usage => Error::new(Exit::Config, format!("{}: correct it", error.text)),
        _ => error,
    };
    let range = Range::from_option(environment.get("HERMES_PORT_RANGE")).map_err(permanent)?;
    let mut book = match Book::open(home, range, Deadline::after_ms(PATIENCE_MS), log) {
        // Whoever never lets go of the lock keeps no gateway down: what is on record holds without it.
        Err(error) if error.exit == Exit::TimedOut => {
            log.warning(&error.text);
            Book::peek(home, range, log)
        }
        opened => opened,
    }
    .map_err(permanent)?;
    let assignment = book.assign(profile)?;
    if let Err(error) = book.save() {
        log.warning(&error.text);
    }
    match &assignment {
        Assignment::Port { port, pinned: false } => environment.set(VARIABLE, port.to_string()),
        Assignment::Port { pinned: true, .. } => {}
        Assignment::Full | Assignment::Conflict { .. } => match book.why_not(profile, &assignment) {
            Some(error) if error.exit == Exit::Usage => return Err(permanent(error)),
            Some(error) => log.warning(&error.text),
            None => {}
        },
    }
    Ok(())
}
