//! hermes-svc-register: publish the slot of one profile, atomically; down unless told otherwise.

use crate::cli::{self, Args, Deadline, Item, Stop, Tool, flag, valued};
use crate::command::{one_profile, operand};
use crate::exit::{Error, Exit, Result};
use crate::home::Home;
use crate::intent::Guard;
use crate::lifecycle;
use crate::message::Log;
use crate::port;
use crate::profile::Profile;
use crate::record::{Output, Record};
use crate::register;
use crate::retire;
use crate::s6;
use crate::scandir::{Listening, Scandir};
use crate::sealed;
use crate::slot::{self, Plan, Slot};
use crate::supervise;
use crate::template::Template;
use std::ffi::OsString;
use std::process::ExitCode;

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-svc-register",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -n ] [ -j ] [ -u ] [ -t ms ] [ -e KEY=VALUE ]... [ -T template ] profile",
    summary: "Publish the slot of one profile, down unless told otherwise, and wait until it is supervised.",
    options: &[
        cli::HOME,
        cli::SCANDIR,
        cli::VERBOSE,
        cli::DRY_RUN,
        cli::JSON,
        flag('u', "up", "start its gateway"),
        cli::TIMEOUT,
        valued('e', "env", "KEY=VALUE", "a variable for the slot's env/; may be repeated"),
        cli::TEMPLATE,
    ],
    posix: false,
    run,
};

/// The tool's `main`.
pub fn main() -> ExitCode {
    cli::main(&TOOL)
}

struct Options {
    dry_run: bool,
    up: bool,
    deadline: Deadline,
    env: Vec<(String, OsString)>,
}

fn run(args: &mut Args) -> std::result::Result<Exit, Stop> {
    let (mut dry_run, mut json, mut up, mut ms) = (false, false, false, 5000);
    let (mut env, mut template, mut operands) = (Vec::new(), None, Vec::new());
    while let Some(item) = args.item()? {
        match item {
            Item::Option('n', _) => dry_run = true,
            Item::Option('j', _) => json = true,
            Item::Option('u', _) => up = true,
            Item::Option('t', value) => ms = cli::milliseconds(&value)?,
            Item::Option('e', value) => {
                let (key, value) = slot::variable(&value)?;
                env.retain(|(k, _)| *k != key);
                env.push((key, value));
            }
            Item::Option('T', value) => template = Some(value),
            other => operand(other, &mut operands)?,
        }
    }
    let profile = one_profile(&operands)?;
    let template = Template::load(template.as_deref())?;
    let home = Home::open(&args.home())?;
    home.require(&profile)?;
    let scandir = Scandir::open(&args.scandir())?;
    let log = args.log();
    let options = Options { dry_run, up, deadline: Deadline::after_ms(ms), env };
    let done = register(&home, &scandir, &template, &profile, &options, &log)?;
    Output { json }.record("", &done)?;
    Ok(Exit::Done)
}

fn register(
    home: &Home,
    scandir: &Scandir,
    template: &Template,
    profile: &Profile,
    options: &Options,
    log: &dyn Log,
) -> Result<Record> {
    if sealed::is_sealed(scandir) && !options.up && options.env.is_empty() && scandir.listening() != Listening::No {
        return by_watcher(home, scandir, profile, options);
    }
    scandir.require_publishable()?;
    let port = port::allocate(home, profile, options.dry_run, options.deadline, log)?;
    let Options { dry_run, up, deadline, env } = options;
    let path = scandir.slot(profile);
    // A fresh copy of a slot that is there already shall not forget that it was to be up.
    let marked_up = scandir.has_slot(profile) && !Slot::open(scandir, profile)?.is_down_marked();
    let plan = Plan { profile, template, up: *up || marked_up, env, group: home.account.gid };
    let mut note = None;
    let action = if supervise::any_held(&path) {
        // A start that comes in between would be told to a supervisor that is about to go.
        let _guard = (!dry_run).then(|| Guard::take(home, profile, *deadline, log));
        let lock = if *dry_run { None } else { Some(scandir.lock(*deadline)?) };
        let slot = Slot::open(scandir, profile)?;
        let update = slot.update(template, *dry_run)?;
        let other_env = !env.is_empty() && slot.set_env(env, *dry_run)?;
        let is_down = update.stale && s6::svstat(&path)?.is_some_and(|s| s.is_down() && !s.normally_up);
        let old = lock.as_ref().filter(|_| is_down).map(|lock| register::replace(scandir, lock, &plan)).transpose()?;
        drop(lock);
        if let Some(old) = &old {
            retire::let_go(scandir)?;
            old.finish(*deadline, log)?;
        } else {
            note = update.stale.then_some("stale-template");
        }
        if !dry_run {
            // Another run may have published it this very moment.
            register::await_held(scandir, &plan, *deadline, log)?;
        }
        let started = *up && old.is_none() && lifecycle::bring_up(&path, *deadline, *dry_run)?;
        if update.changed || other_env || started || old.is_some() { "updated" } else { "unchanged" }
    } else if *dry_run {
        register::require_room(scandir, scandir.services()?, template.has_logger())?;
        if scandir.has_slot(profile) { "updated" } else { "registered" }
    } else {
        let lock = scandir.lock(*deadline)?;
        let fresh = register::publish(scandir, &lock, &plan, log)?;
        if !fresh {
            let slot = Slot::open(scandir, profile)?;
            slot.update(template, false)?;
            if !env.is_empty() {
                slot.set_env(env, false)?;
            }
            if *up {
                slot.mark(false, false)?;
            }
        }
        drop(lock);
        register::confirm(scandir, &plan, *deadline, log).inspect_err(|_| {
            if fresh {
                register::take_back(scandir, profile, log);
            }
        })?;
        if fresh { "registered" } else { "updated" }
    };
    if port.is_none() {
        log.warning(&format!("{profile}: no port is free in the range: registered without one"));
    }
    Ok(Record::new()
        .text("profile", profile.as_str())
        .text("action", action)
        .number_or_none("port", port.map(u64::from))
        .note("note", note)
        .flag("dry_run", *dry_run))
}

/// The runtime account of a sealed tree has its profiles registered by hermes-profile-watch.
fn by_watcher(home: &Home, scandir: &Scandir, profile: &Profile, options: &Options) -> Result<Record> {
    let there = scandir.has_slot(profile);
    if !options.dry_run {
        sealed::await_slot(scandir, profile, options.deadline).map_err(|error| {
            match scandir.require_publishable() {
                Err(why) => Error::new(error.exit, format!("{}; {}", why.text, error.text)),
                Ok(()) => error,
            }
        })?;
    }
    Ok(Record::new()
        .text("profile", profile.as_str())
        .text("action", if there { "unchanged" } else { "registered" })
        .number_or_none("port", port::lookup(home, profile)?.map(u64::from))
        .note("note", None::<&str>)
        .flag("dry_run", options.dry_run))
}
