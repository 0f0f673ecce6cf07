//! hermes-svc-status: print the state of the gateways according to s6, beside their intents.

use crate::ground::error::{Error, Exit, Kind, Result};
use crate::ground::message::{Log as _, Stderr, printable};
use crate::ground::parameter;
use crate::ground::profile::Profile;
use crate::ground::record::{Output, Record, line};
use crate::s6::changes::Changes;
use crate::s6::scandir::Scandir;
use crate::tools::cli::{self, Args, Ending, Tool, flag, valued};
use crate::tools::{Failures, Opened, profiles, warn_if_disowned};
use crate::volume::boot_log;
use crate::volume::home::Home;
use crate::work::context::require_slot;
use crate::work::status::screen::Screen;
use crate::work::status::{self, Doing, Manager, Status, View, explain, table};
use std::time::Duration;

pub static TOOL: Tool = Tool {
    name: "hermes-svc-status",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -j ] [ -q | -c | -r | -F | -x ] [ -g ms ] [ profile... ]",
    summary: "Show what s6 says of each gateway, beside what was intended.",
    options: &[
        &[cli::HOME, cli::SCANDIR, cli::VERBOSE, cli::JSON],
        &[
            flag('q', "quiet", "print nothing: exit 0 only if every named profile is up, else 1"),
            flag('c', "check", "print nothing: exit 1 if any profile that shall run is neither up nor waiting"),
            flag('r', "ready", "print nothing: exit 1 if any profile that shall run is neither ready nor waiting"),
            valued('g', "grace", "ms", "with -r: how long a gateway that has not died yet may take to get ready"),
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
    let (mut quiet, mut check, mut ready, mut follow, mut why) = (false, false, false, false, false);
    let mut grace = None;
    let operands = args.operands(|letter, value| {
        match letter {
            'q' => quiet = true,
            'c' => check = true,
            'r' => ready = true,
            'g' => grace = Some(Duration::from_millis(parameter::milliseconds(&value)?)),
            'F' => follow = true,
            _ => why = true,
        }
        Ok(())
    })?;
    let json = args.output().json;
    if [quiet, check, ready, follow].iter().filter(|one| **one).count() > 1
        || (quiet || check || ready) && (why || json)
    {
        return Err(Ending::Wrong(
            "-q, -c, -r and -F exclude each other, and -q, -c and -r exclude -j and -x".to_string(),
        ));
    }
    if grace.is_some() && !ready {
        return Err(Ending::Wrong("-g goes with -r".to_string()));
    }
    if follow && why {
        return Err(Ending::Wrong("-F and -x exclude each other".to_string()));
    }
    let mut failures = Failures::none();
    let named = profiles(args, &operands, &mut failures);
    if named.is_empty() && !operands.is_empty() {
        return Ok(failures.exit());
    }
    if warn_if_disowned(args, &mut failures) && (check || ready) {
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
    let shown = !quiet && !check && !ready;
    let nobody = !manager.is_s6 && !why && (manager.left == 0 || !shown);
    if nobody && (!shown || json) {
        let text = format!("no s6-svscan is running on {}", scandir.path.display());
        return Err(Error::new(Kind::WrongState, text).into());
    }
    if check || ready {
        let serves = |status: &Status| status.serves(grace.unwrap_or_default());
        let is_well = if ready { &serves as &dyn Fn(&Status) -> bool } else { &Status::is_healthy };
        let checked = health(&home, &scandir, &named, is_well, &log, |error| failures.add(args, error))?;
        return Ok(failures.exit().max(checked));
    }
    let all = if nobody { Vec::new() } else { look(&home, &scandir, &named, &log, |error| failures.add(args, error))? };
    // A table without a row would only hide that every name was wrong.
    let is_empty = all.is_empty() && !named.is_empty() && !nobody;
    if shown && !json && !is_empty {
        line(format!("Manager: {}", manager.label))?;
    }
    if nobody {
        return Ok(failures.exit().max(Exit::WrongState));
    }
    if is_empty {
        return Ok(failures.exit());
    }
    if quiet {
        let up = |s: &Status| matches!(s.doing, Doing::Up | Doing::Foreground) && !s.is_no_answer();
        return Ok(failures.exit().max(if all.iter().all(up) { Exit::Done } else { Exit::No }));
    }
    // The rows of these profiles are printed all the same, with a note.
    all.iter().filter_map(|status| status.unread.as_ref()).for_each(|error| failures.add(args, error));
    if why {
        for status in &all {
            let found = explain::explain(&home, &scandir, &manager, status);
            match json {
                true => Output { json }.record("", &found.add_to(status.record(&manager)))?,
                false => found.lines().iter().try_for_each(|l| line(printable(l)))?,
            }
        }
    } else if json {
        all.iter().try_for_each(|s| Output { json }.record("", &s.record(&manager)))?;
    } else {
        table::lines(&all, Screen::of_stdout()).iter().try_for_each(line)?;
    }
    if follow {
        return Ok(follow_changes(&home, &scandir, &manager, &named, all, json, &log)?);
    }
    Ok(failures.exit().max(if manager.is_s6 { Exit::Done } else { Exit::WrongState }))
}

/// How many gateways a health check names. The account can make as many profiles as the volume has room for.
const MOST_NAMED: usize = 10;

/// The statuses of the named profiles, or of all that are known. A named profile that does not exist is a failure, and
/// so is one that has no slot; the status of the latter is printed all the same.
fn look(
    home: &Home,
    scandir: &Scandir,
    named: &[Profile],
    log: &Stderr,
    mut failed: impl FnMut(&Error),
) -> Result<Vec<Status>> {
    let mut all = Vec::new();
    let view = View::of(home, scandir);
    let known = if named.is_empty() { status::known(home, scandir, log)? } else { named.to_vec() };
    for profile in known {
        if !named.is_empty()
            && let Err(error) = require_slot(home, scandir, &profile)
        {
            failed(&error);
            if error.kind == Kind::Usage {
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

/// Warn of each of the named profiles, or of all that are known, whose gateway is not well.
fn health(
    home: &Home,
    scandir: &Scandir,
    named: &[Profile],
    is_well: &dyn Fn(&Status) -> bool,
    log: &Stderr,
    mut failed: impl FnMut(&Error),
) -> Result<Exit> {
    let view = View::of(home, scandir).without_ports();
    let known = if named.is_empty() { status::known(home, scandir, log)? } else { named.to_vec() };
    let mut unhealthy = 0;
    for profile in known {
        if !named.is_empty()
            && let Err(error) = require_slot(home, scandir, &profile)
        {
            failed(&error);
            continue;
        }
        match status::check::unwell(&view, &profile, is_well) {
            Ok(None) => {}
            // If all profiles are checked, a slot of a profile that only another home has is no failure.
            Ok(Some(status)) if named.is_empty() && status.is_others() && home.has(&profile) == Ok(false) => {}
            Ok(Some(Status { profile, doing, .. })) => {
                unhealthy += 1;
                if unhealthy <= MOST_NAMED {
                    let unready = if doing == Doing::Up { ", and not ready" } else { "" };
                    let doing = doing.as_str();
                    log.warning(&format!(
                        "{profile} shall run and is {doing}{unready}: hermes-svc-status -x {profile}"
                    ));
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
    let watch = |all: &[Status]| {
        let slots: Vec<_> = all.iter().map(|s| scandir.slot(&s.profile)).collect();
        Changes::watch(slots.iter().map(|s| s.as_path())).and_scandir(&scandir.path)
    };
    let mut changes = watch(&before);
    loop {
        // A watch that was made after a look may have missed a change, so look once more.
        let mut now = look(home, scandir, named, log, |_| {})?;
        let stamped = |record: Record| Record::new().text("time", boot_log::now()).and(record);
        let mut changed = false;
        for status in &now {
            let old = before.iter().find(|s| s.profile == status.profile);
            if old.is_none_or(|old| old.timeless() != status.timeless()) {
                changed = true;
                Output { json }.record("", &stamped(status.record(manager)))?;
            }
        }
        for old in before {
            if now.iter().any(|status| status.profile == old.profile) {
                continue;
            }
            // A profile that could not be looked at just now is kept as it was.
            if scandir.has_slot(&old.profile) != Ok(false) || home.has(&old.profile) != Ok(false) {
                now.push(old);
                continue;
            }
            changed = true;
            let record = Record::new().text("profile", old.profile.as_str()).text("state", "gone");
            Output { json }.record("", &stamped(record))?;
        }
        before = now;
        // What has changed may have a directory that is not watched yet. A watch begins with looks in quick succession,
        // so it is kept as long as nothing changes.
        if changed {
            changes = watch(&before);
        }
        changes.sleep(FOLLOW)?;
    }
}
