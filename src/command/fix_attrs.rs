//! hermes-fix-attrs: give back to the runtime account what root left on the volume, safely.

use crate::account::Account;
use crate::attrs;
use crate::cli::{self, Args, Item, Stop, Tool};
use crate::exit::Exit;
use crate::record::{Output, Record};
use std::process::ExitCode;
use std::time::Instant;

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-fix-attrs",
    usage: "[ -H home ] [ -v ] [ -n ] [ -j ]",
    summary: "Hand what root owns in the home, and below its profiles, logs and cron, to the runtime account.",
    options: &[cli::HOME, cli::VERBOSE, cli::DRY_RUN, cli::JSON],
    posix: false,
    run,
};

/// The tool's `main`.
pub fn main() -> ExitCode {
    cli::main(&TOOL)
}

fn run(args: &mut Args) -> Result<Exit, Stop> {
    let (mut dry_run, mut json) = (false, false);
    while let Some(item) = args.item()? {
        match item {
            Item::Option('n', _) => dry_run = true,
            Item::Option('j', _) => json = true,
            _ => return Err(Stop::Usage),
        }
    }
    let started = Instant::now();
    let home = args.home();
    let account = Account::runtime(&home)?;
    let out = Output { json };
    let done = attrs::give_back(&home, &account, dry_run, &args.log(), &mut |path| {
        let record = Record::new().text("path", path).text("action", "updated").flag("dry_run", dry_run);
        out.record("fix-attrs: ", &record)
    })?;
    let record = Record::new()
        .number("checked", done.checked)
        .number("updated", done.updated)
        .number("failed", done.failed)
        .number("ms", u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
        .flag("dry_run", dry_run);
    out.record("fix-attrs: done ", &record)?;
    Ok(if done.failed == 0 { Exit::Done } else { Exit::System })
}
