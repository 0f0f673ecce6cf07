//! hermes-reconcile-one: make one profile's slot match the volume.

use crate::ground::error::{Exit, Kind};
use crate::s6::publish;
use crate::s6::scandir::Listening;
use crate::s6::supervise;
use crate::tools::Opened;
use crate::tools::cli::{self, Args, Ending, Tool, flag};
use crate::work::action::Action;
use crate::work::container;
use crate::work::note::Note;
use crate::work::reconcile::line::Line;
use crate::work::reconcile::{self, Passed};

pub static TOOL: Tool = Tool {
    name: "hermes-reconcile-one",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -n ] [ -j ] [ -q ] [ -t ms ] [ -T template ] profile",
    summary: "Make, update or retire the slot of one profile, as the volume has it.",
    options: &[
        cli::COMMON,
        &[
            flag('q', "quiet", "say nothing of a name that is neither a profile nor a slot"),
            cli::TIMEOUT,
            cli::TEMPLATE,
        ],
    ],
    run,
};

fn run(args: &mut Args) -> Result<Exit, Ending> {
    let mut quiet = false;
    let profile = args.one_profile(|_, _| {
        quiet = true;
        Ok(())
    })?;
    let (output, dry_run) = (args.output(), args.dry_run());
    if let Some(why) = container::why_not()? {
        let line = Line { note: Some(why), ..Line::bare(profile.as_str(), Action::Skipped) };
        output.record("reconcile: ", &line.record(dry_run))?;
        return Ok(Exit::Done);
    }
    let template = args.template()?;
    let opened = Opened::open(args)?;
    let context = opened.context(args, 70_000);
    let Opened { scandir, log, .. } = &opened;
    let Passed { lines, whole, .. } = match reconcile::single(&context, &template, &profile) {
        // The watcher saw a profile that is gone again. The exit code is the usual one, so that the watcher can tell.
        Err(error) if quiet && error.kind == Kind::Usage && reconcile::is_nothing(&context, &profile)? => {
            return Ok(Exit::Usage);
        }
        passed => passed?,
    };
    if scandir.listening()? == Listening::Yes
        && let Err(error) = reconcile::wait(&context, &lines)
    {
        // s6-svscan may have reached its limit of services, and then it takes up nothing new as long as this slot is
        // there. So a slot that we have just published is taken back. One that was there before is kept, because
        // s6-svscan may only be busy.
        let ours = lines.iter().any(|line| matches!(line.action, Action::Registered | Action::Started));
        if ours && !supervise::any_held(&scandir.slot(&profile))? {
            publish::take_back(scandir, &profile, log);
        }
        return Err(error.into());
    }
    lines.iter().try_for_each(|line| output.record("reconcile: ", &line.record(dry_run)))?;
    let exit = |line: &Line| match (line.action, &line.note) {
        (Action::Failed, _) => Exit::System,
        (Action::Removed, Some(Note::Draining)) => Exit::TimedOut,
        _ => Exit::Done,
    };
    let worst = lines.iter().map(exit).max().unwrap_or(Exit::Done);
    Ok(worst.max(if whole.is_ok() { Exit::Done } else { Exit::System }))
}
