//! hermes-svc-unregister: stop the gateway, retire the slot, and say truthfully when everything is gone.

use crate::cli::{self, Args, Deadline, Item, Stop, Tool, flag};
use crate::command::{one_profile, operand};
use crate::exit::{Error, Exit, Result};
use crate::gateway;
use crate::home::Home;
use crate::message::Log;
use crate::port;
use crate::profile::Profile;
use crate::record::{Output, Record};
use crate::retire;
use crate::scandir::Scandir;
use crate::sealed;
use std::process::ExitCode;

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-svc-unregister",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -n ] [ -j ] [ -k ] [ -t ms ] profile",
    summary: "Stop the gateway of one profile and take its slot away.",
    options: &[
        cli::HOME,
        cli::SCANDIR,
        cli::VERBOSE,
        cli::DRY_RUN,
        cli::JSON,
        flag('k', "keep-port", "do not free its port"),
        cli::TIMEOUT,
    ],
    posix: false,
    run,
};

/// The tool's `main`.
pub fn main() -> ExitCode {
    cli::main(&TOOL)
}

fn run(args: &mut Args) -> std::result::Result<Exit, Stop> {
    let (mut dry_run, mut json, mut keep_port, mut ms, mut operands) = (false, false, false, 70_000, Vec::new());
    while let Some(item) = args.item()? {
        match item {
            Item::Option('n', _) => dry_run = true,
            Item::Option('j', _) => json = true,
            Item::Option('k', _) => keep_port = true,
            Item::Option('t', value) => ms = cli::milliseconds(&value)?,
            other => operand(other, &mut operands)?,
        }
    }
    let profile = one_profile(&operands)?;
    let home = Home::open(&args.home())?;
    let scandir = Scandir::open(&args.scandir())?;
    let deadline = Deadline::after_ms(ms);
    let log = args.log();
    let action = unregister(&home, &scandir, &profile, dry_run, deadline, &log)?;
    if !keep_port {
        let but = |e: Error| e.context(format!("{profile}: {action}, but its port is still recorded"));
        port::free(&home, &profile, dry_run, deadline, &log).map_err(but)?;
    }
    let record = Record::new().text("profile", profile.as_str()).text("action", action).flag("dry_run", dry_run);
    Output { json }.record("", &record)?;
    Ok(Exit::Done)
}

fn unregister(
    home: &Home,
    scandir: &Scandir,
    profile: &Profile,
    dry_run: bool,
    deadline: Deadline,
    log: &dyn Log,
) -> Result<&'static str> {
    let there = scandir.has_slot(profile);
    if sealed::is_sealed(scandir) && home.require(profile).is_err() {
        // The watcher retires it, and frees its port.
        if there && !dry_run {
            sealed::await_no_slot(scandir, profile, deadline)?;
        }
        return Ok(if there { "unregistered" } else { "absent" });
    }
    scandir.require_writable()?;
    if !dry_run {
        if there {
            retire::retire(scandir, profile, deadline, log)?;
        }
        // An earlier run may have gone before the gateway did (B5).
        retire::drained(scandir, profile, deadline, log)?;
        // s6 may have lost sight of it: its supervisor killed, the gateway still answers (s6-facts; DESIGN, section 7).
        gateway::lock::wait_until_free_here(home, profile, deadline)?;
        let lock = scandir.lock(deadline)?;
        retire::sweep(scandir, &lock, log)?;
    }
    Ok(if there { "unregistered" } else { "absent" })
}
