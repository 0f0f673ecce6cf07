//! hermes-reconcile-all: the boot pass over every profile.

use crate::ground::error::Exit;
use crate::ground::message::Log as _;
use crate::ground::record::{self, Output, Record};
use crate::tools::Opened;
use crate::tools::cli::{self, Args, Ending, Tool, flag};
use crate::volume::boot_log;
use crate::work::action::Action;
use crate::work::container;
use crate::work::note::Note;
use crate::work::reconcile::line::{self, Line, Unlisted};
use crate::work::reconcile::{self, Passed};
use crate::work::versions;
use std::time::Instant;

pub static TOOL: Tool = Tool {
    name: "hermes-reconcile-all",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -n ] [ -j ] [ -w ] [ -t ms ] [ -T template ]",
    summary: "Publish one slot per profile, up exactly where the operator wants it, and retire the others.",
    options: &[cli::COMMON, &[flag('w', "wait", "wait until every slot is supervised"), cli::TIMEOUT, cli::TEMPLATE]],
    run,
};

fn run(args: &mut Args) -> Result<Exit, Ending> {
    let mut wait = false;
    args.no_operands(|_, _| {
        wait = true;
        Ok(())
    })?;
    let started = Instant::now();
    let (output, dry_run) = (args.output(), args.dry_run());
    if let Some(why) = container::why_not()? {
        report(output, &[], Unlisted::default(), started, Some(why), dry_run)?;
        return Ok(Exit::Done);
    }
    let template = args.template()?;
    let opened = Opened::open(args)?;
    let context = opened.context(args, 70_000);
    let Passed { lines, unlisted, whole } = reconcile::all(&context, &template)?;
    let waited = if wait { reconcile::wait(&context, &lines) } else { Ok(()) };
    let texts = report(output, &lines, unlisted, started, None, dry_run)?;
    if !dry_run {
        let begin = versions::line(&opened.home).map(|record| format!("begin {}\n", record.to_text()));
        if let Err(error) = begin.and_then(|begin| boot_log::append(&opened.home, &(begin + &texts))) {
            opened.log.warning(&error.text);
        }
    }
    waited?;
    let failed = whole.is_err() || lines.iter().any(|l| l.action == Action::Failed);
    Ok(if failed { Exit::System } else { Exit::Done })
}

/// Print the lines and the last one. Returns them as text for the boot log.
fn report(
    output: Output,
    lines: &[Line],
    unlisted: Unlisted,
    started: Instant,
    note: Option<Note>,
    dry_run: bool,
) -> Result<String, Ending> {
    let (mut printed, mut texts) = (String::new(), String::new());
    let mut add = |prefix: &str, record: Record| {
        let text = format!("{prefix}{}\n", record.to_text());
        let shown = if output.json { record.to_json() + "\n" } else { format!("reconcile: {text}") };
        printed.push_str(&shown);
        texts.push_str(&text);
    };
    lines.iter().for_each(|line| add("", line.record(dry_run)));
    add("done ", line::done(lines, unlisted, started.elapsed().as_millis() as u64, note, dry_run));
    printed.pop();
    record::line(printed)?;
    Ok(texts)
}
