//! hermes-reconcile-one: bring one profile's slot in line with the volume.

use crate::cli::{self, Args, Deadline, Item, Stop, Tool};
use crate::command::{one_profile, operand};
use crate::exit::Exit;
use crate::home::Home;
use crate::reconcile::line::{Action, Line};
use crate::reconcile::pass::Pass;
use crate::reconcile::role;
use crate::record::Output;
use crate::register;
use crate::scandir::{Listening, Scandir};
use crate::supervise;
use crate::template::Template;
use std::process::ExitCode;

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-reconcile-one",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -n ] [ -j ] [ -t ms ] [ -T template ] profile",
    summary: "Make, update or retire the slot of one profile, as the volume has it.",
    options: &[cli::HOME, cli::SCANDIR, cli::VERBOSE, cli::DRY_RUN, cli::JSON, cli::TIMEOUT, cli::TEMPLATE],
    posix: false,
    run,
};

/// The tool's `main`.
pub fn main() -> ExitCode {
    cli::main(&TOOL)
}

fn run(args: &mut Args) -> Result<Exit, Stop> {
    let (mut dry_run, mut json, mut ms, mut template, mut operands) = (false, false, 70_000, None, Vec::new());
    while let Some(item) = args.item()? {
        match item {
            Item::Option('n', _) => dry_run = true,
            Item::Option('j', _) => json = true,
            Item::Option('t', value) => ms = cli::milliseconds(&value)?,
            Item::Option('T', value) => template = Some(value),
            other => operand(other, &mut operands)?,
        }
    }
    let profile = one_profile(&operands)?;
    let output = Output { json };
    if let Some(why) = role::why_not() {
        let line = Line { note: Some(why), ..Line::bare(profile.as_str(), Action::Skipped) };
        output.record("reconcile: ", &line.record(dry_run))?;
        return Ok(Exit::Done);
    }
    let template = Template::load(template.as_deref())?;
    let home = Home::open(&args.home())?;
    let scandir = Scandir::open(&args.scandir())?;
    let log = args.log();
    let mut pass = Pass::new(&home, &scandir, &template, dry_run, Deadline::after_ms(ms), &log)?;
    let line = pass.single(&profile)?;
    if scandir.listening() == Listening::Yes
        && let Err(error) = pass.wait(std::slice::from_ref(&line))
    {
        // One service too many, and s6-svscan would look at nothing new as long as it is there. Not one that was there
        // before: s6-svscan may just be busy with it.
        let ours = matches!(line.action, Action::Registered | Action::Started);
        if ours && !supervise::any_held(&scandir.slot(&profile)) {
            register::take_back(&scandir, &profile, &log);
        }
        return Err(error.into());
    }
    output.record("reconcile: ", &line.record(dry_run))?;
    Ok(match (line.action, line.note) {
        (Action::Failed, _) => Exit::System,
        (Action::Removed, Some("draining")) => Exit::TimedOut,
        _ => Exit::Done,
    })
}
