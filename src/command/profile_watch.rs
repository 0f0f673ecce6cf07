//! hermes-profile-watch: run a program for each profile that appears, changes or goes.

use crate::cli::{self, Args, Item, Stop, Tool, valued};
use crate::exit::Exit;
use crate::home::Home;
use crate::watch::{self, Options, Ready};
use std::process::ExitCode;
use std::time::Duration;

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-profile-watch",
    usage: "[ -H home ] [ -v ] [ -i ms ] prog...",
    summary: "Watch the volume, and run prog... NAME for each profile that appears, changes or goes.",
    options: &[
        cli::HOME,
        cli::VERBOSE,
        valued('i', "interval", "ms", "look at everything again so often, in milliseconds; 0 = never"),
    ],
    posix: true,
    run,
};

/// The tool's `main`.
pub fn main() -> ExitCode {
    cli::main(&TOOL)
}

fn run(args: &mut Args) -> Result<Exit, Stop> {
    let (mut ms, mut prog) = (30_000, Vec::new());
    while let Some(item) = args.item()? {
        match item {
            Item::Option('i', value) => {
                let what = "a whole number of milliseconds";
                ms = cli::number(&value, "interval", what, 0, u64::from(u32::MAX))?;
            }
            Item::Operand(first) => {
                prog = vec![first];
                prog.extend(args.rest()?);
            }
            Item::Option(..) => return Err(Stop::Usage),
        }
    }
    if prog.is_empty() {
        return Err(Stop::Usage);
    }
    let ready = Ready::inherited()?;
    let home = Home::open(&args.home())?;
    let interval = (ms != 0).then(|| Duration::from_millis(ms));
    watch::run(home, Options { interval, prog }, ready, &args.log())?;
    Ok(Exit::Done)
}
