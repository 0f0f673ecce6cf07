//! hermes-detect-supervisor: is s6 PID 1 in this container?

use crate::ground::error::Exit;
use crate::ground::message::Log as _;
use crate::ground::{process, record};
use crate::tools::cli::{self, Args, Ending, Tool, flag};
use crate::work::container;

pub static TOOL: Tool = Tool {
    name: "hermes-detect-supervisor",
    usage: "[ -v ] [ -q ]",
    summary: "Print s6 and exit 0 if s6-overlay runs this container, else print none and exit 1.",
    options: &[&[cli::VERBOSE], &[flag('q', "quiet", "print nothing")]],
    run,
};

fn run(args: &mut Args) -> Result<Exit, Ending> {
    let mut quiet = false;
    args.no_operands(|_, _| {
        quiet = true;
        Ok(())
    })?;
    args.log().info(&format!("PID 1 is {}", process::name(1)?.unwrap_or_else(|| "unknown".to_string())));
    let found = container::s6_is_pid_1()?;
    if !quiet {
        record::line(if found { "s6" } else { "none" })?;
    }
    Ok(if found { Exit::Done } else { Exit::No })
}
