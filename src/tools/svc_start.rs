//! hermes-svc-start: record the intent, bring the gateway up, verify.

use crate::ground::error::Exit;
use crate::ground::profile::Profile;
use crate::ground::waiting;
use crate::tools::cli::{self, Args, Ending, Tool, flag};
use crate::tools::several::{FORCE, WAIT, order_each, parse_start, report};
use crate::tools::{Failures, Opened};
use crate::work::action::Action;
use crate::work::start::{self, Lasts, Turn};
use crate::work::status;

pub static TOOL: Tool = Tool {
    name: "hermes-svc-start",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -n ] [ -j ] [ -a ] [ -f ] [ -o ] [ -w | -W ] [ -t ms ] profile...",
    summary: "Start gateways, now and after every boot.",
    options: &[
        cli::COMMON,
        &[
            flag('a', "all", "every profile that a boot starts"),
            FORCE,
            flag('o', "once", "until the next boot: do not record that it shall run"),
        ],
        WAIT,
        &[cli::TIMEOUT],
    ],
    run,
};

fn run(args: &mut Args) -> Result<Exit, Ending> {
    let (several, until, lasts) = parse_start(args)?;
    waiting::announce(match lasts {
        Lasts::Always => "Ctrl-C ends the wait; the start is recorded and goes on",
        Lasts::Once => "Ctrl-C ends the wait; the start goes on",
    });
    let opened = Opened::open(args)?;
    let context = opened.context(args, 60_000);
    let Opened { home, log, .. } = &opened;
    let mut failures = Failures::none();
    let profiles = several.targets(args, &mut failures, log, || status::intended_up(home, args.dry_run(), log))?;
    let turn = if several.all { Turn::InTurn } else { Turn::Now };
    let order = |profile: &Profile| start::order(&context, profile, turn, lasts);
    for (profile, ordered) in order_each(args, &context, &profiles, &mut failures, order) {
        let action = if ordered.changed { Action::Started } else { Action::Unchanged };
        let waited = start::wait(&context, &profile, until, ordered.draining, lasts);
        report(args, &mut failures, &profile, action, waited)?;
    }
    Ok(failures.exit())
}
