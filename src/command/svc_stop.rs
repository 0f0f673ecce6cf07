//! hermes-svc-stop: record the intent, bring the gateway down, verify.

use crate::cli::{self, Args, Item, Stop, Tool, flag};
use crate::command::lifecycle::{Common, each, settled};
use crate::command::operand;
use crate::exit::Exit;
use crate::lifecycle::stop;
use crate::status;
use std::process::ExitCode;

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-svc-stop",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -n ] [ -j ] [ -a ] [ -k ] [ -w ] [ -t ms ] profile...",
    summary: "Stop gateways until somebody starts them again.",
    options: &[
        cli::HOME,
        cli::SCANDIR,
        cli::VERBOSE,
        cli::DRY_RUN,
        cli::JSON,
        flag('a', "all", "every gateway that is up"),
        flag('k', "keep-intent", "stop it, but not for the next boot: a container's own stop"),
        flag('w', "wait", "wait until it is gone"),
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
    let (mut keep_intent, mut wait) = (false, false);
    while let Some(item) = args.item()? {
        match item {
            Item::Option('n', _) => common.dry_run = true,
            Item::Option('j', _) => common.json = true,
            Item::Option('a', _) => common.all = true,
            Item::Option('k', _) => keep_intent = true,
            Item::Option('w', _) => wait = true,
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
        |_, scandir, _| status::up(scandir),
        |site, profile| Ok(((), if stop::order(site, profile, keep_intent)? { "stopped" } else { "unchanged" })),
        settled,
        |site, profile, ()| if wait { stop::wait(site, profile, keep_intent) } else { Ok(()) },
    )?)
}
