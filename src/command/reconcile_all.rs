//! hermes-reconcile-all: the boot pass over every profile.

use crate::bootlog;
use crate::cli::{self, Args, Deadline, Item, Stop, Tool, flag};
use crate::command::operand;
use crate::exit::Exit;
use crate::home::Home;
use crate::message::Log as _;
use crate::reconcile::line::{self, Action, Line};
use crate::reconcile::pass::Pass;
use crate::reconcile::role;
use crate::record::{self, Output, Record};
use crate::scandir::Scandir;
use crate::template::Template;
use std::process::ExitCode;
use std::time::Instant;

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-reconcile-all",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -n ] [ -j ] [ -w ] [ -t ms ] [ -T template ]",
    summary: "Publish one slot per profile, up exactly where the operator wants it, and retire the others.",
    options: &[
        cli::HOME,
        cli::SCANDIR,
        cli::VERBOSE,
        cli::DRY_RUN,
        cli::JSON,
        flag('w', "wait", "wait until every slot is supervised"),
        cli::TIMEOUT,
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
    let (mut dry_run, mut json, mut wait, mut ms) = (false, false, false, 70_000);
    let (mut template, mut operands) = (None, Vec::new());
    while let Some(item) = args.item()? {
        match item {
            Item::Option('n', _) => dry_run = true,
            Item::Option('j', _) => json = true,
            Item::Option('w', _) => wait = true,
            Item::Option('t', value) => ms = cli::milliseconds(&value)?,
            Item::Option('T', value) => template = Some(value),
            other => operand(other, &mut operands)?,
        }
    }
    if !operands.is_empty() {
        return Err(Stop::Usage);
    }
    let started = Instant::now();
    let output = Output { json };
    if let Some(why) = role::why_not() {
        report(output, &[], started, Some(why), dry_run)?;
        return Ok(Exit::Done);
    }
    let template = Template::load(template.as_deref())?;
    let home = Home::open(&args.home())?;
    let scandir = Scandir::open(&args.scandir())?;
    let log = args.log();
    let mut pass = Pass::new(&home, &scandir, &template, dry_run, Deadline::after_ms(ms), &log)?;
    let (lines, listed) = pass.all()?;
    let waited = if wait { pass.wait(&lines) } else { Ok(()) };
    let texts = report(output, &lines, started, None, dry_run)?;
    if !dry_run && let Err(error) = bootlog::append(&home, &texts) {
        log.warning(&error.text);
    }
    listed?;
    waited?;
    Ok(if lines.iter().any(|l| l.action == Action::Failed) { Exit::System } else { Exit::Done })
}

/// Print the lines and the last one; return them as the log takes them.
fn report(
    output: Output,
    lines: &[Line],
    started: Instant,
    note: Option<&'static str>,
    dry_run: bool,
) -> Result<String, Stop> {
    let (mut printed, mut texts) = (String::new(), String::new());
    let mut add = |prefix: &str, record: Record| {
        let text = format!("{prefix}{}\n", record.to_text());
        let shown = if output.json { record.to_json() + "\n" } else { format!("reconcile: {text}") };
        printed.push_str(&shown);
        texts.push_str(&text);
    };
    lines.iter().for_each(|line| add("", line.record(dry_run)));
    add("done ", line::done(lines, started.elapsed().as_millis() as u64, note, dry_run));
    printed.pop();
    record::line(printed)?;
    Ok(texts)
}
