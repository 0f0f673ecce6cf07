//! hermes-svc-status: what s6 says, beside what was intended.

use crate::cli::{self, Args, Item, Stop, Tool, flag};
use crate::command::{Failures, operand, profiles};
use crate::exit::{Error, Exit, Result};
use crate::home::Home;
use crate::message::{Log as _, Stderr, printable};
use crate::profile::Profile;
use crate::reconcile::role;
use crate::record::{Output, line};
use crate::scandir::Scandir;
use crate::status::{self, Doing, Manager, Status, explain, table};
use crate::supervise::Changes;
use std::process::ExitCode;
use std::time::Duration;

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-svc-status",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -j ] [ -q | -c ] [ -F ] [ -x ] [ profile... ]",
    summary: "Show what s6 says of each gateway, beside what was intended.",
    options: &[
        cli::HOME,
        cli::SCANDIR,
        cli::VERBOSE,
        cli::JSON,
        flag('q', "quiet", "print nothing: exit 0 only if every named profile is up, else 1"),
        flag('c', "check", "print nothing: exit 1 if any profile that shall run is neither up nor waiting"),
        flag('F', "follow", "go on, and print each change"),
        flag('x', "explain", "say why, and what to type next"),
    ],
    posix: false,
    run,
};

/// How long -F waits between two looks at what sends no event, the volume's side.
const FOLLOW: Duration = Duration::from_secs(2);

/// The tool's `main`.
pub fn main() -> ExitCode {
    cli::main(&TOOL)
}

fn run(args: &mut Args) -> std::result::Result<Exit, Stop> {
    let (mut json, mut quiet, mut check, mut follow, mut why) = (false, false, false, false, false);
    let mut operands = Vec::new();
    while let Some(item) = args.item()? {
        match item {
            Item::Option('j', _) => json = true,
            Item::Option('q', _) => quiet = true,
            Item::Option('c', _) => check = true,
            Item::Option('F', _) => follow = true,
            Item::Option('x', _) => why = true,
            other => operand(other, &mut operands)?,
        }
    }
    if quiet && check || (quiet || check) && (follow || why || json) || why && json {
        return Err(Stop::Usage);
    }
    let mut failures = Failures::none();
    let named = profiles(args, &operands, &mut failures);
    if named.is_empty() && !operands.is_empty() {
        return Ok(failures.exit());
    }
    let log = args.log();
    if check && role::why_not().is_some() {
        // A dashboard has no gateways of its own, and is well without them (H9).
        return Ok(Exit::Done);
    }
    let home = Home::open(&args.home())?;
    let scandir = Scandir::open(&args.scandir())?;
    let manager = Manager::of(&scandir)?;
    log.info(&format!(
        "hermes-s6 {}, home {}, scandir {}, PID 1 is {}",
        env!("CARGO_PKG_VERSION"),
        home.path.display(),
        scandir.path.display(),
        crate::process::name(1).unwrap_or_else(|| "unknown".to_string()),
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
                Err(Error::new(Exit::WrongState, text).into())
            }
        };
    }
    let all = look(&home, &scandir, &named, why, &log, |error| failures.add(args, error))?;
    if quiet {
        let up = |s: &Status| matches!(s.doing, Doing::Up);
        return Ok(failures.exit().max(if all.iter().all(up) { Exit::Done } else { Exit::No }));
    }
    if check {
        return Ok(failures.exit().max(checked(&all, &log)));
    }
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

/// The named profiles, or all that are known. A named one without a slot is a failure of its own, and one that is there on
/// the volume may be looked at all the same.
fn look(
    home: &Home,
    scandir: &Scandir,
    named: &[Profile],
    unregistered_too: bool,
    log: &Stderr,
    mut failed: impl FnMut(&Error),
) -> Result<Vec<Status>> {
    let mut all = Vec::new();
    let known = if named.is_empty() { status::known(home, scandir, log)? } else { named.to_vec() };
    for profile in known {
        let registered = if named.is_empty() { Ok(()) } else { scandir.require_slot(&profile).map(drop) };
        if let Err(error) = &registered {
            failed(error);
            if !unregistered_too || home.require(&profile).is_err() {
                continue;
            }
        }
        match status::look(home, scandir, &profile) {
            Ok(status) => all.push(status),
            Err(error) => failed(&error),
        }
    }
    Ok(all)
}

fn checked(all: &[Status], log: &Stderr) -> Exit {
    let mut exit = Exit::Done;
    for status in all.iter().filter(|s| !s.is_healthy()) {
        log.warning(&format!(
            "{} shall run and is {}: hermes-svc-status -x {0}",
            status.profile,
            status.doing.as_str()
        ));
        exit = Exit::No;
    }
    exit
}

/// Print a record for each profile that changed, until somebody ends us.
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
        let changes = Changes::watch(slots.iter().map(|s| s.as_path()))?.and_scandir(&scandir.path);
        // Look once more after the watch was set: what changed in between is not lost.
        let now = look(home, scandir, named, false, log, |_| {})?;
        for status in &now {
            let old = before.iter().find(|s| s.profile == status.profile);
            if old.is_none_or(|old| Status { uptime: None, ..old.clone() } != Status { uptime: None, ..status.clone() })
            {
                Output { json }.record("", &status.record(manager))?;
            }
        }
        before = now;
        changes.sleep(FOLLOW);
    }
}
