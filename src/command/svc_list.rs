//! hermes-svc-list: names of registered profiles, one per line.

use crate::cli::{self, Args, Item, Stop, Tool, flag};
use crate::command::Failures;
use crate::exit::{Exit, Result};
use crate::profile::Profile;
use crate::record::{Output, Record, line};
use crate::s6;
use crate::scandir::Scandir;
use std::process::ExitCode;

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-svc-list",
    usage: "[ -s scandir ] [ -v ] [ -j ] [ -u | -d ]",
    summary: "Print the names of the registered profiles, default first, one per line.",
    options: &[
        cli::SCANDIR,
        cli::VERBOSE,
        cli::JSON,
        flag('u', "up", "only those that are up"),
        flag('d', "down", "only those that are down"),
    ],
    posix: false,
    run,
};

/// The tool's `main`.
pub fn main() -> ExitCode {
    cli::main(&TOOL)
}

fn run(args: &mut Args) -> std::result::Result<Exit, Stop> {
    let (mut json, mut up, mut down) = (false, false, false);
    while let Some(item) = args.item()? {
        match item {
            Item::Option('j', _) => json = true,
            Item::Option('u', _) => up = true,
            Item::Option('d', _) => down = true,
            _ => return Err(Stop::Usage),
        }
    }
    if up && down {
        return Err(Stop::Usage);
    }
    let scandir = Scandir::open(&args.scandir())?;
    let mut failures = Failures::none();
    for profile in scandir.slots()? {
        match if up || down { is_up(&scandir, &profile) } else { Ok(false) } {
            Ok(is) if is == up => match json {
                true => Output { json }.record("", &Record::new().text("profile", profile.as_str()))?,
                false => line(profile.as_str())?,
            },
            Ok(_) => {}
            // Neither up nor down: a loop over either must not take it for done.
            Err(error) => failures.add(args, &error),
        }
    }
    Ok(failures.exit())
}

fn is_up(scandir: &Scandir, profile: &Profile) -> Result<bool> {
    Ok(s6::svstat(&scandir.slot(profile))?.is_some_and(|stat| stat.up))
}
