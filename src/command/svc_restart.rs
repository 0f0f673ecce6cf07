//! hermes-svc-restart: record the intent, take the gateway down, wait until it is, bring it up, verify.

use crate::cli::{self, Args, Item, Stop, Tool, flag};
use crate::command::lifecycle::{Common, each};
use crate::command::operand;
use crate::exit::Exit;
use crate::lifecycle::restart::{self, Begun};
use crate::lifecycle::start::{self, Until};
use crate::status;
use std::process::ExitCode;

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-svc-restart",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -n ] [ -j ] [ -a ] [ -w | -W ] [ -t ms ] profile...",
    summary: "Restart gateways; one that is down comes up.",
    options: &[
        cli::HOME,
        cli::SCANDIR,
        cli::VERBOSE,
        cli::DRY_RUN,
        cli::JSON,
        flag('a', "all", "every gateway that is up, or intended to be"),
        flag('w', "wait", "wait until it is up, and still up a second later"),
        flag('W', "wait-ready", "wait until it is ready"),
        cli::TIMEOUT,
    ],
    posix: false,
    run,
};

/// The tool's `main`.
pub fn main() -> ExitCode {
    cli::main(&TOOL)
}

fn run(args: &mut Args) -> Result<Exit, Stop> {
    let mut common = Common { dry_run: false, json: false, all: false, ms: 70_000, operands: Vec::new() };
    let mut until = Until::Ordered;
    while let Some(item) = args.item()? {
        match item {
            Item::Option('n', _) => common.dry_run = true,
            Item::Option('j', _) => common.json = true,
            Item::Option('a', _) => common.all = true,
            Item::Option('w', _) if until != Until::Ready => until = Until::Up,
            Item::Option('W', _) if until != Until::Up => until = Until::Ready,
            Item::Option('t', value) => common.ms = cli::milliseconds(&value)?,
            other => operand(other, &mut common.operands)?,
        }
    }
    if common.all != common.operands.is_empty() {
        return Err(Stop::Usage);
    }
    Ok(each(
        args,
        &common,
        |home, scandir, log| {
            let mut wanted = status::up(scandir)?;
            for profile in status::intended_up(home, log)? {
                if scandir.has_slot(&profile) && !wanted.contains(&profile) {
                    wanted.push(profile);
                }
            }
            Ok(wanted)
        },
        |site, profile| Ok((restart::order(site, profile)?, "restarted")),
        restart::finish,
        |site, profile, begun| match begun {
            Begun::Stopping(_) | Begun::Started => start::wait(site, profile, until, None),
            Begun::ByItself => Ok(()),
        },
    )?)
}
