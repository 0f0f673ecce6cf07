//! hermes-svc-register: publish the slot of one profile, atomically; down unless told otherwise.

use crate::cli::{self, Args, Deadline, Item, Stop, Tool, flag, valued};
use crate::command::{one_profile, operand};
use crate::exit::Exit;
use crate::home::Home;
use crate::record::{Output, Record};
use crate::register::Registration;
use crate::scandir::Scandir;
use crate::slot;
use crate::template::Template;
use std::process::ExitCode;

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-svc-register",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -n ] [ -j ] [ -u ] [ -t ms ] [ -e KEY=VALUE ]... [ -T template ] profile",
    summary: "Publish the slot of one profile, down unless told otherwise, and wait until it is supervised.",
    options: &[
        cli::HOME,
        cli::SCANDIR,
        cli::VERBOSE,
        cli::DRY_RUN,
        cli::JSON,
        flag('u', "up", "start its gateway"),
        cli::TIMEOUT,
        valued('e', "env", "KEY=VALUE", "a variable for the slot's env/; may be repeated"),
        cli::TEMPLATE,
    ],
    posix: false,
    run,
};

/// The tool's `main`.
pub fn main() -> ExitCode {
    cli::main(&TOOL)
}

fn run(args: &mut Args) -> Result<Exit, Stop> {
    let (mut dry_run, mut json, mut up, mut ms) = (false, false, false, 5000);
    let (mut env, mut template, mut operands) = (Vec::new(), None, Vec::new());
    while let Some(item) = args.item()? {
        match item {
            Item::Option('n', _) => dry_run = true,
            Item::Option('j', _) => json = true,
            Item::Option('u', _) => up = true,
            Item::Option('t', value) => ms = cli::milliseconds(&value)?,
            Item::Option('e', value) => {
                let (key, value) = slot::variable(&value)?;
                env.retain(|(k, _)| *k != key);
                env.push((key, value));
            }
            Item::Option('T', value) => template = Some(value),
            other => operand(other, &mut operands)?,
        }
    }
    let profile = one_profile(&operands)?;
    let template = Template::load(template.as_deref())?;
    let home = Home::open(&args.home())?;
    home.require(&profile)?;
    let scandir = Scandir::open(&args.scandir())?;
    let log = args.log();
    let (home, scandir, template, profile) = (&home, &scandir, &template, &profile);
    let deadline = Deadline::after_ms(ms);
    let registration = Registration { home, scandir, template, profile, up, env: &env, dry_run, deadline, log: &log };
    let done = registration.register()?;
    let record = Record::new()
        .text("profile", profile.as_str())
        .text("action", done.action)
        .number_or_none("port", done.port.map(u64::from))
        .note("note", done.note)
        .flag("dry_run", dry_run);
    Output { json }.record("", &record)?;
    Ok(Exit::Done)
}
