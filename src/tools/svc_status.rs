//! hermes-svc-status: print the state of the gateways according to s6, beside their intents.

use crate::ground::error::{Error, Exit, Kind, Result};
use crate::ground::message::{Log as _, Stderr, printable};
use crate::ground::profile::Profile;
use crate::ground::record::{Output, line};
use crate::s6::changes::Changes;
use crate::s6::scandir::Scandir;
use crate::tools::cli::{self, Args, Ending, Tool, flag};
use crate::tools::{Failures, Opened, profiles, warn_if_disowned};
use crate::volume::home::Home;
use crate::work::status::{self, Doing, Manager, Status, View, explain, table};
use std::time::Duration;

pub static TOOL: Tool = Tool {
    name: "hermes-svc-status",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -j ] [ -q | -c ] [ -F ] [ -x ] [ profile... ]",
    summary: "Show what s6 says of each gateway, beside what was intended.",
    options: &[
        &[cli::HOME, cli::SCANDIR, cli::VERBOSE, cli::JSON],
        &[
            flag('q', "quiet", "print nothing: exit 0 only if every named profile is up, else 1"),
            flag('c', "check", "print nothing: exit 1 if any profile that shall run is neither up nor waiting"),
            flag('F', "follow", "go on, and print each change"),
            flag('x', "explain", "say why, and what to type next"),
        ],
    ],
    run,
};

/// How long -F waits between two looks. A change on the volume sends no event, so it shows after this time at the
/// latest.
const FOLLOW: Duration = Duration::from_secs(2);

fn run(args: &mut Args) -> std::result::Result<Exit, Ending> {
    let (mut quiet, mut check, mut follow, mut why) = (false, false, false, false);
    let operands = args.operands(|letter, _| {
        match letter {
            'q' => quiet = true,
            'c' => check = true,
            'F' => follow = true,
            _ => why = true,
        }
        Ok(())
    })?;
    let json = args.output().json;
    if quiet && check || (quiet || check) && (follow || why || json) || why && json {
        return Err(Ending::Usage);
    }
    let mut failures = Failures::none();
    let named = profiles(args, &operands, &mut failures);
    if named.is_empty() && !operands.is_empty() {
        return Ok(failures.exit());
    }
    if warn_if_disowned(args, &mut failures) && check {
        // A dashboard has no gateways of its own, and is well without them (H9).
        return Ok(failures.exit());
    }
    let Opened { home, scandir, log } = Opened::open(args)?;
    let manager = Manager::of(&scandir)?;
    log.info(&format!(
        "hermes-s6 {}, home {}, scandir {}, PID 1 is {}",
        env!("CARGO_PKG_VERSION"),
        home.path.display(),
        scandir.path.display(),
        crate::ground::process::name(1)?.unwrap_or_else(|| "unknown".to_string()),
    ));
    let shown = !quiet && !check;
    if shown && !json {
        line(format!("Manager: {}", manager.label))?;
    }
    if !manager.is_s6 && !why {
        return match shown && !json {
            true => Ok(failures.exit().max(Exit::WrongState)),
            false => {
                let text = format!("no s6-svscan is running on {}", scandir.path.display());
                Err(Error::new(Kind::WrongState, text).into())
            }
        };
    }
    if check {
        let checked = health(&home, &scandir, &named, &log, |error| failures.add(args, error))?;
        return Ok(failures.exit().max(checked));
    }
    let all = look(&home, &scandir, &named, why, &log, |error| failures.add(args, error))?;
    if quiet {
        let up = |s: &Status| matches!(s.doing, Doing::Up | Doing::Foreground) && !s.is_no_answer();
        return Ok(failures.exit().max(if all.iter().all(up) { Exit::Done } else { Exit::No }));
    }
    // The rows of these profiles are printed all the same, with a note.
    all.iter().filter_map(|status| status.unread.as_ref()).for_each(|error| failures.add(args, error));
    if why {
        for status in &all {
            explain::lines(&home, &manager, status).iter().try_for_each(|l| line(printable(l)))?;
        }
    } else if json {
        all.iter().try_for_each(|s| Output { json }.record("", &s.record(&manager)))?;
    } else {
        table::lines(&all).iter().try_for_each(line)?;
    }
    if follow {
        return Ok(follow_changes(&home, &scandir, &manager, &named, all, json, &log)?);
    }
    Ok(failures.exit().max(if manager.is_s6 { Exit::Done } else { Exit::WrongState }))
}

/// How many gateways a health check names. The account can make as many profiles as the volume has room for.
const MOST_NAMED: usize = 10;

/// The statuses of the named profiles, or of all that are known. A named profile that has no slot is a failure. If it
/// exists on the volume, its status is printed all the same.
fn look(
    home: &Home,
    scandir: &Scandir,
    named: &[Profile],
    unregistered_too: bool,
    log: &Stderr,
    mut failed: impl FnMut(&Error),
) -> Result<Vec<Status>> {
    let mut all = Vec::new();
    let view = View::of(home, scandir);
    let known = if named.is_empty() { status::known(home, scandir, log)? } else { named.to_vec() };
    for profile in known {
        let registered = if named.is_empty() { Ok(()) } else { scandir.require_slot(&profile).map(drop) };
        if let Err(error) = &registered {
            failed(error);
            if !unregistered_too || home.has(&profile) == Ok(false) {
                continue;
            }
        }
        match status::look(&view, &profile) {
            Ok(mut status) => {
                // If all profiles are shown, a slot of a profile that only another home has is no failure.
                if named.is_empty() && status.is_others() && home.has(&profile) == Ok(false) {
                    status.unread = None;
                }
                all.push(status);
            }
            Err(error) => failed(&error),
        }
    }
    Ok(all)
}

/// Warn of each of the named profiles, or of all that are known, whose gateway is not as its intent says.
fn health(
    home: &Home,
    scandir: &Scandir,
    named: &[Profile],
    log: &Stderr,
    mut failed: impl FnMut(&Error),
) -> Result<Exit> {
    let view = View::of(home, scandir).without_ports();
    let known = if named.is_empty() { status::known(home, scandir, log)? } else { named.to_vec() };
    let mut unhealthy = 0;
    for profile in known {
        if !named.is_empty()
            && let Err(error) = scandir.require_slot(&profile)
        {
            failed(&error);
            continue;
        }
        match status::check::unhealthy(&view, &profile) {
            Ok(None) => {}
            // If all profiles are checked, a slot of a profile that only another home has is no failure.
            Ok(Some(status)) if named.is_empty() && status.is_others() && home.has(&profile) == Ok(false) => {}
            Ok(Some(Status { profile, doing, .. })) => {
                unhealthy += 1;
                if unhealthy <= MOST_NAMED {
                    let doing = doing.as_str();
                    log.warning(&format!("{profile} shall run and is {doing}: hermes-svc-status -x {profile}"));
                }
            }
            Err(error) => failed(&error),
        }
    }
    if unhealthy > MOST_NAMED {
        log.warning(&format!("{} more shall run and do not", unhealthy - MOST_NAMED));
    }
    Ok(if unhealthy == 0 { Exit::Done } else { Exit::No })
}

/// Print a record for each profile whose status changed, until a signal ends the process.
fn follow_changes(
    home: &Home,
    scandir: &Scandir,
    manager: &Manager,
    named: &[Profile],
    mut before: Vec<Status>,
    json: bool,
    log: &Stderr,
) -> Result<Exit> {
    loop {
        let slots: Vec<_> = before.iter().map(|s| scandir.slot(&s.profile)).collect();
        let changes = Changes::watch(slots.iter().map(|s| s.as_path())).and_scandir(&scandir.path);
        // Look once more after the watch is set, so that a change in between is not lost.
        let now = look(home, scandir, named, false, log, |_| {})?;
        for status in &now {
            let old = before.iter().find(|s| s.profile == status.profile);
            if old.is_none_or(|old| Status { uptime: None, ..old.clone() } != Status { uptime: None, ..status.clone() })
            {
                Output { json }.record("", &status.record(manager))?;
            }
        }
        before = now;
        changes.sleep(FOLLOW)?;
    }
}
