//! hermes-svc-list: print the names of the registered profiles, one per line.

use crate::ground::error::{Exit, Result};
use crate::ground::profile::Profile;
use crate::ground::record::{Record, line};
use crate::s6::programs;
use crate::s6::scandir::Scandir;
use crate::tools::cli::{self, Args, Ending, Tool, flag};
use crate::tools::{Failures, warn_if_disowned};

pub static TOOL: Tool = Tool {
    name: "hermes-svc-list",
    usage: "[ -s scandir ] [ -v ] [ -j ] [ -u | -d ]",
    summary: "Print the names of the registered profiles, default first, one per line.",
    options: &[
        &[cli::SCANDIR, cli::VERBOSE, cli::JSON],
        &[flag('u', "up", "only those that are up"), flag('d', "down", "only those that are down")],
    ],
    run,
};

fn run(args: &mut Args) -> std::result::Result<Exit, Ending> {
    let (mut up, mut down) = (false, false);
    args.no_operands(|letter, _| {
        if letter == 'u' {
            up = true
        } else {
            down = true
        }
        Ok(())
    })?;
    if up && down {
        return Err(Ending::Wrong("-u and -d exclude each other".to_string()));
    }
    let scandir = Scandir::open(&args.scandir())?;
    let mut failures = Failures::none();
    warn_if_disowned(args, &mut failures);
    for profile in scandir.slots()? {
        match if up || down { is_up(&scandir, &profile) } else { Ok(false) } {
            Ok(is) if is == up => match args.output().json {
                true => args.output().record("", &Record::new().text("profile", profile.as_str()))?,
                false => line(profile.as_str())?,
            },
            Ok(_) => {}
            // A profile that cannot be asked is neither up nor down. It must not be listed as one of them, so it is a
            // failure.
            Err(error) => failures.add(args, &error),
        }
    }
    Ok(failures.exit())
}

fn is_up(scandir: &Scandir, profile: &Profile) -> Result<bool> {
    Ok(programs::svstat(&scandir.slot(profile))?.is_some_and(|stat| stat.up))
}
