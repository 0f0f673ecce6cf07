//! hermes-profile-watch: run a program for each profile that appears, changes or goes.

use crate::ground::error::Exit;
use crate::ground::parameter;
use crate::tools::cli::{self, Args, Ending, Item, Tool, valued};
use crate::volume::home::Home;
use crate::work::watch::{self, Options};
use std::time::Duration;

pub static TOOL: Tool = Tool {
    name: "hermes-profile-watch",
    usage: "[ -H home ] [ -v ] [ -i ms ] prog...",
    summary: "Watch the volume, and run prog... NAME for each profile that appears, changes or goes.",
    options: &[
        &[cli::HOME, cli::VERBOSE],
        &[valued('i', "interval", "ms", "look at everything again so often, in milliseconds; 0 = never")],
    ],
    run,
};

fn run(args: &mut Args) -> Result<Exit, Ending> {
    let (mut ms, mut prog) = (30_000, Vec::new());
    while let Some(item) = args.item()? {
        match item {
            Item::Option('i', value) => {
                let what = "a whole number of milliseconds";
                ms = parameter::number(&value, "interval", what, 0, u64::from(u32::MAX))?;
            }
            Item::Operand(first) => {
                prog = vec![first];
                prog.extend(args.rest()?);
            }
            Item::Option(..) => return Err(Ending::Usage),
        }
    }
    if prog.is_empty() {
        return Err(Ending::Wrong("no program given".to_string()));
    }
    let home = Home::open(&args.home())?;
    let interval = (ms != 0).then(|| Duration::from_millis(ms));
    watch::run(home, Options { interval, prog }, &args.log())?;
    Ok(Exit::Done)
}
