//! hermes-home: print the home that the other tools use, for scripts.

use crate::ground::error::{Error, Exit, Kind};
use crate::ground::profile::home_of;
use crate::ground::record::line;
use crate::ground::trusted::{self, Rule};
use crate::tools::cli::{self, Args, Ending, Tool, flag};
use rustix::process::geteuid;
use std::path::Path;

pub static TOOL: Tool = Tool {
    name: "hermes-home",
    usage: "[ -H home ] [ -v ] [ -p | -P ]",
    summary: "Print the home that is meant: the directory on the volume that has the profiles.",
    options: &[
        &[cli::HOME, cli::VERBOSE],
        &[
            flag('p', "profile", "print the profile that is meant instead: the home's default, or a named one"),
            flag('P', "physical", "resolve the links on the way; root goes through its own only"),
        ],
    ],
    run,
};

fn run(args: &mut Args) -> Result<Exit, Ending> {
    let (mut profile, mut physical) = (false, false);
    args.no_operands(|letter, _| {
        if letter == 'p' {
            profile = true
        } else {
            physical = true
        }
        Ok(())
    })?;
    if profile && physical {
        return Err(Ending::Wrong("-p and -P exclude each other".to_string()));
    }
    let (home, of) = home_of(&args.named_home());
    match (profile, physical) {
        (true, _) => line(of.as_str())?,
        (_, true) => line(resolved(&home)?)?,
        _ => line(home.display().to_string())?,
    }
    Ok(Exit::Done)
}

/// The path without links. The caller will use it by name, so root must not get a path that a link of another user has
/// chosen.
fn resolved(home: &Path) -> Result<String, Error> {
    let found = if geteuid().is_root() {
        let unable = |wrong| Error::new(Kind::System, format!("unable to open {wrong}"));
        trusted::open_dir(home, Rule::RootsLinks).map_err(unable)?.1
    } else {
        home.canonicalize().map_err(|e| Error::system("open", home.display(), e))?
    };
    Ok(found.display().to_string())
}
