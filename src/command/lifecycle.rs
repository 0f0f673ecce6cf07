//! What hermes-svc-start, -stop and -restart share: several profiles, all signalled first, then waited for.

use crate::cli::{Args, Deadline};
use crate::command::{Failures, profiles};
use crate::exit::{Exit, Result};
use crate::home::Home;
use crate::interrupt;
use crate::lifecycle::Site;
use crate::message::{Log as _, Stderr};
use crate::profile::Profile;
use crate::record::{Output, Record};
use crate::scandir::Scandir;
use crate::supervise;
use std::ffi::OsString;

/// The options that all three have.
pub struct Common {
    /// `-n`
    pub dry_run: bool,
    /// `-j`
    pub json: bool,
    /// `-a`
    pub all: bool,
    /// `-t`
    pub ms: u64,
    /// The profiles, as they were typed.
    pub operands: Vec<OsString>,
}

/// Order each profile about, settle what was begun for all of them together, then wait for each; report every failure, print one record for every success, and end with
/// the worst code (F13).
///
/// # Errors
/// What keeps the whole command from its work; failures of single profiles are in the code.
pub fn each<B>(
    args: &Args,
    common: &Common,
    all: impl Fn(&Home, &Scandir, &Stderr) -> Result<Vec<Profile>>,
    order: impl Fn(&Site, &Profile) -> Result<(B, &'static str)>,
    settle: impl Fn(&Site, &[(&Profile, B)]) -> Vec<Result<()>>,
    wait: impl Fn(&Site, &Profile, &B) -> Result<()>,
) -> Result<Exit> {
    let mut failures = Failures::none();
    let mut profiles = profiles(args, &common.operands, &mut failures);
    if profiles.is_empty() && !common.all {
        return Ok(failures.exit());
    }
    let home = Home::open(&args.home())?;
    let scandir = Scandir::open(&args.scandir())?;
    let log = args.log();
    if common.all {
        profiles = all(&home, &scandir, &log)?;
        if profiles.is_empty() {
            log.info("no gateway to be ordered about");
        }
    }
    let site = Site::new(&home, &scandir, common.dry_run, Deadline::after_ms(common.ms), &log);
    // A supervisor that is gone is waited for: the others have their orders before that.
    let mut turns: Vec<usize> = (0..profiles.len()).collect();
    turns.sort_by_key(|at| !supervise::is_held(&scandir.slot(&profiles[*at])));
    let mut ordered: Vec<(usize, B, &'static str)> = Vec::new();
    for at in turns {
        match order(&site, &profiles[at]) {
            Ok((state, action)) => ordered.push((at, state, action)),
            Err(error) => failures.add(args, &error),
        }
    }
    ordered.sort_by_key(|(at, ..)| *at);
    let (begun, actions): (Vec<_>, Vec<_>) =
        ordered.into_iter().map(|(at, state, action)| ((&profiles[at], state), action)).unzip();
    for ((settled, (profile, state)), action) in settle(&site, &begun).into_iter().zip(&begun).zip(actions) {
        match settled.and_then(|()| wait(&site, profile, state)) {
            Ok(()) => {
                let record = Record::new().text("profile", profile.as_str()).text("action", action);
                Output { json: common.json }.record("", &record.flag("dry_run", common.dry_run))?;
            }
            Err(error) => failures.add(args, &error),
        }
    }
    interrupt::end();
    Ok(failures.exit())
}

/// Where an order leaves nothing to settle.
pub fn settled<B>(_: &Site, begun: &[(&Profile, B)]) -> Vec<Result<()>> {
    begun.iter().map(|_| Ok(())).collect()
}
