//! hermes-detect-supervisor: is s6 really PID 1 here?

use crate::cli::{self, Args, Item, Stop, Tool, flag};
use crate::exit::Exit;
use crate::record;
use crate::scandir;
use std::process::ExitCode;

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-detect-supervisor",
    usage: "[ -v ] [ -q ]",
    summary: "Print s6 and exit 0 if s6-overlay runs this container, else print none and exit 1.",
    options: &[cli::VERBOSE, flag('q', "quiet", "print nothing")],
    posix: false,
    run,
};

/// The tool's `main`.
pub fn main() -> ExitCode {
    cli::main(&TOOL)
}

fn run(args: &mut Args) -> Result<Exit, Stop> {
    let mut quiet = false;
    while let Some(item) = args.item()? {
        match item {
            Item::Option('q', _) => quiet = true,
            _ => return Err(Stop::Usage),
        }
    }
    let found = scandir::s6_is_pid_1();
    if !quiet {
        record::line(if found { "s6" } else { "none" })?;
    }
    Ok(if found { Exit::Done } else { Exit::No })
}
