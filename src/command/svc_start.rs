//! hermes-svc-start: record the intent, bring the gateway up, verify.

use crate::cli::{self, Args, Item, Stop, Tool, flag};
use crate::command::lifecycle::{Common, each, settled};
use crate::command::operand;
use crate::exit::Exit;
use crate::lifecycle::start::{self, Until};
use crate::settings;
use crate::status;
use std::process::ExitCode;

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-svc-start",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -n ] [ -j ] [ -a ] [ -w | -W ] [ -t ms ] profile...",
    summary: "Start gateways, now and after every boot.",
    options: &[
        cli::HOME,
        cli::SCANDIR,
        cli::VERBOSE,
        cli::DRY_RUN,
        cli::JSON,
        flag('a', "all", "every profile whose intent is running"),
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
    let mut common = Common { dry_run: false, json: false, all: false, ms: 60_000, operands: Vec::new() };
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
        |home, _, log| {
            let served_by_default = settings::multiplex(home);
            let intended = status::intended_up(home, log)?.into_iter();
            Ok(intended.filter(|p| p.is_default() || !served_by_default).collect())
        },
        |site, profile| {
            let ordered = start::order(site, profile)?;
            Ok((ordered.draining, if ordered.changed { "started" } else { "unchanged" }))
        },
        settled,
        |site, profile, draining| start::wait(site, profile, until, *draining),
    )?)
}
