//! The common part of hermes-svc-start, -stop and -restart. They take several profiles, give all orders first, and then
//! wait for each profile (F13).

use crate::ground::error::Result;
use crate::ground::message::{Log as _, Stderr};
use crate::ground::profile::Profile;
use crate::ground::record::Record;
use crate::s6::supervise;
use crate::tools::cli::{Args, Ending, NO_PROFILE, Opt, flag, wrong};
use crate::tools::{Failures, profiles};
use crate::work::action::Action;
use crate::work::container;
use crate::work::context::Context;
use crate::work::start::{Lasts, Until};
use std::ffi::OsString;

/// The options of hermes-svc-start and -restart that choose what is waited for.
pub const WAIT: &[Opt] = &[
    flag('w', "wait", "wait until it is up, and still up a second later"),
    flag('W', "wait-ready", "wait until it is ready"),
];

/// The option that starts gateways also in a container that owns none.
pub const FORCE: Opt = flag('f', "force", "do it even if this container owns no gateways");

/// Read the command line of hermes-svc-start or -restart: the profiles, what is waited for (`-w` or `-W`), and for how
/// long the start counts (`-o`, which only hermes-svc-start has).
///
/// # Errors
/// As `Several::parse`. `Ending::Wrong` if both `-w` and `-W` are given. 102 if this container owns no gateways and
/// `-f` is not given, 111 if that cannot be told.
pub fn parse_start(args: &mut Args) -> std::result::Result<(Several, Until, Lasts), Ending> {
    let (mut until, mut force, mut lasts) = (Until::Ordered, false, Lasts::Always);
    let several = Several::parse(args, |letter| {
        let chosen = match letter {
            'f' => {
                force = true;
                return Ok(());
            }
            'o' => {
                lasts = Lasts::Once;
                return Ok(());
            }
            'w' => Until::Up,
            _ => Until::Ready,
        };
        if until != Until::Ordered && until != chosen {
            return Err(Ending::Wrong("-w and -W exclude each other".to_string()));
        }
        until = chosen;
        Ok(())
    })?;
    container::require_owner(force)?;
    Ok((several, until, lasts))
}

/// The profiles of the command line.
pub struct Several {
    /// Act on all profiles (`-a`)?
    pub all: bool,
    /// The operands as they were typed.
    operands: Vec<OsString>,
}

impl Several {
    /// Read the whole command line, and pass the options that the tool has besides `-a` to `own`.
    ///
    /// # Errors
    /// Those of `own`; `Ending::Wrong` unless there is either `-a` or a profile.
    pub fn parse(
        args: &mut Args,
        mut own: impl FnMut(char) -> std::result::Result<(), Ending>,
    ) -> std::result::Result<Several, Ending> {
        let mut all = false;
        let operands = args.operands(|letter, _| match letter {
            'a' => {
                all = true;
                Ok(())
            }
            other => own(other),
        })?;
        match operands.first() {
            None if !all => Err(Ending::Wrong(NO_PROFILE.to_string())),
            Some(operand) if all => Err(wrong("-a acts on all profiles, and takes no operand", operand)),
            _ => Ok(Several { all, operands }),
        }
    }

    /// The profiles to act on: with `-a` the result of `all`, else those that were named.
    ///
    /// # Errors
    /// The error of `all`.
    pub fn targets(
        &self,
        args: &Args,
        failures: &mut Failures,
        log: &Stderr,
        all: impl FnOnce() -> Result<Vec<Profile>>,
    ) -> Result<Vec<Profile>> {
        if !self.all {
            return Ok(profiles(args, &self.operands, failures));
        }
        let found = all()?;
        if found.is_empty() {
            log.info("no gateway to be ordered about");
        }
        Ok(found)
    }
}

/// Print the record of one profile, or report its failure.
///
/// # Errors
/// 111 if the record cannot be written on standard output.
pub fn report(args: &Args, failures: &mut Failures, profile: &Profile, action: Action, done: Result<()>) -> Result<()> {
    if let Err(error) = done {
        failures.add(args, &error);
        return Ok(());
    }
    let record = Record::new().text("profile", profile.as_str()).text("action", action.as_str());
    args.output().record("", &record.flag("dry_run", args.dry_run()))
}

/// Give the order to each profile, and go on after a failure. Returns the results in the order of the profiles.
/// Profiles whose supervisor does not run come last, because their orders may have to wait for it.
pub fn order_each<T>(
    args: &Args,
    context: &Context,
    profiles: &[Profile],
    failures: &mut Failures,
    order: impl Fn(&Profile) -> Result<T>,
) -> Vec<(Profile, T)> {
    let mut turns: Vec<usize> = (0..profiles.len()).collect();
    turns.sort_by_key(|at| supervise::is_held(&context.scandir.slot(&profiles[*at])) != Ok(true));
    let mut begun: Vec<(usize, T)> = Vec::new();
    for at in turns {
        match order(&profiles[at]) {
            Ok(state) => begun.push((at, state)),
            Err(error) => failures.add(args, &error),
        }
    }
    begun.sort_by_key(|(at, _)| *at);
    begun.into_iter().map(|(at, state)| (profiles[at].clone(), state)).collect()
}
