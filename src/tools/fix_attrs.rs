//! hermes-fix-attrs: safely give back to the runtime account the files that root has left on the volume.

use crate::ground::account::Account;
use crate::ground::deadline::Deadline;
use crate::ground::error::{Error, Exit, Kind};
use crate::ground::record::Record;
use crate::tools::cli::{self, Args, Ending, Tool};
use crate::volume::give_back::{self, Reach};
use std::time::Instant;

/// The uid that the account had before (`-o`).
const FORMER: cli::Opt =
    cli::valued('o', "old-uid", "uid", "the account's former uid: hand over what belongs to it as well");

/// The deepest level to look at (`-d`).
const LEVELS: cli::Opt = cli::valued(
    'd',
    "depth",
    "levels",
    "look at most so many levels below the home, and leave the rest for another run",
);

pub static TOOL: Tool = Tool {
    name: "hermes-fix-attrs",
    usage: "[ -H home ] [ -v ] [ -n ] [ -j ] [ -d levels | -o uid ] [ -t ms ]",
    summary: "Hand what root owns of Hermes Agent's files in the home to the runtime account.",
    options: &[&[cli::HOME, cli::VERBOSE, cli::DRY_RUN, cli::JSON, cli::TIMEOUT], &[LEVELS, FORMER]],
    run,
};

fn run(args: &mut Args) -> Result<Exit, Ending> {
    let (mut former, mut levels) = (None, None);
    args.no_operands(|letter, value| {
        let number = value
            .to_str()
            .and_then(|number| number.parse::<u32>().ok())
            .ok_or_else(|| cli::wrong("not a number", &value))?;
        match (letter, number) {
            ('o', 1..=0xffff_fffe) => former = Some(number),
            ('d', _) => levels = Some(number as usize),
            _ => return Err(cli::wrong("not a uid other than root's", &value)),
        }
        Ok(())
    })?;
    // What belonged to the former uid must not be left for another run, which would not know that uid.
    if former.is_some() && levels.is_some() {
        return Err(Ending::Wrong("-d and -o exclude each other".to_string()));
    }
    let reach = Reach { former, levels };
    let (dry_run, ms) = (args.dry_run(), args.ms(60_000));
    let (started, deadline) = (Instant::now(), Deadline::after_ms(ms));
    let home = args.home();
    let account = Account::runtime(&home)?;
    let out = args.output();
    let done = give_back::give_back(&home, &account, reach, dry_run, deadline, &args.log(), &mut |path| {
        let record = Record::new().text("path", path).text("action", "updated").flag("dry_run", dry_run);
        out.record("fix-attrs: ", &record)
    })?;
    if let Some(dir) = done.stopped_in {
        let counts = format!("checked {}, updated {}, failed {}", done.checked, done.updated, done.failed);
        return Err(Error::new(Kind::TimedOut, format!("timed out after {ms} ms in {dir}: {counts}")).into());
    }
    let record = Record::new()
        .number("checked", done.checked)
        .number("updated", done.updated)
        .number("failed", done.failed)
        .number("ms", u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
        .flag("dry_run", dry_run);
    out.record("fix-attrs: done ", &record)?;
    Ok(if done.failed == 0 { Exit::Done } else { Exit::System })
}
