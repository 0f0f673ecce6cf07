//! hermes-svc-unregister: stop the gateway, retire the slot, free the port, and succeed only when all of this is done.

use crate::ground::error::Exit;
use crate::ground::record::Record;
use crate::ground::waiting;
use crate::tools::Opened;
use crate::tools::cli::{self, Args, Ending, Tool, flag};
use crate::work::unregister;

pub static TOOL: Tool = Tool {
    name: "hermes-svc-unregister",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -n ] [ -j ] [ -k ] [ -t ms ] profile",
    summary: "Stop the gateway of one profile and take its slot away.",
    options: &[cli::COMMON, &[flag('k', "keep-port", "do not free its port"), cli::TIMEOUT]],
    run,
};

fn run(args: &mut Args) -> Result<Exit, Ending> {
    let mut keep_port = false;
    let profile = args.one_profile(|_, _| {
        keep_port = true;
        Ok(())
    })?;
    waiting::announce("Ctrl-C ends the wait; the same command goes on with it");
    let opened = Opened::open(args)?;
    let context = opened.context(args, 70_000);
    let action = unregister::unregister(&context, &profile, keep_port)?;
    let record =
        Record::new().text("profile", profile.as_str()).text("action", action.as_str()).flag("dry_run", args.dry_run());
    args.output().record("", &record)?;
    Ok(Exit::Done)
}
