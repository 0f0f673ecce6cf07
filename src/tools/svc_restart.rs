//! hermes-svc-restart: record the intent, bring the gateway down, wait until it is down, bring it up, verify.

use crate::ground::environment::Environment;
use crate::ground::error::Exit;
use crate::ground::interrupt;
use crate::ground::profile::Profile;
use crate::ground::waiting;
use crate::tools::cli::{self, Args, Ending, Tool, flag};
use crate::tools::several::{FORCE, WAIT, order_each, parse_start, report};
use crate::tools::{Failures, Opened};
use crate::work::action::Action;
use crate::work::gateway::turn::Rules;
use crate::work::restart::{self, Begun};
use crate::work::start::{self, Lasts, Turn};
use crate::work::status;

pub static TOOL: Tool = Tool {
    name: "hermes-svc-restart",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -n ] [ -j ] [ -a ] [ -f ] [ -w | -W ] [ -t ms ] profile...",
    summary: "Restart gateways; one that is down comes up.",
    options: &[
        cli::COMMON,
        &[flag('a', "all", "every gateway that is up, or intended to be"), FORCE],
        WAIT,
        &[cli::TIMEOUT],
    ],
    run,
};

fn run(args: &mut Args) -> Result<Exit, Ending> {
    let (several, until, _) = parse_start(args)?;
    waiting::announce("Ctrl-C ends the wait; the gateway starts when the old one has ended");
    let opened = Opened::open(args)?;
    // A restart of all has no limit by default: each gateway has its time.
    let context = opened.context(args, if several.all { 0 } else { 70_000 });
    let Opened { home, scandir, log, .. } = &opened;
    let mut failures = Failures::none();
    let profiles = several.targets(args, &mut failures, log, || {
        let mut wanted = status::up(scandir)?;
        for profile in status::intended_up(home, args.dry_run(), log)? {
            if scandir.has_slot(&profile)? && !wanted.contains(&profile) {
                wanted.push(profile);
            }
        }
        Ok(wanted)
    })?;
    // So many gateways are restarted at a time, and at most half of them, that a restart of all is no outage of all. The
    // others go on running. One who names the gateways has them all at once.
    let rules = Rules::of(&Environment::inherited(), log);
    let half = profiles.len().div_ceil(2);
    let (turn, places) =
        if several.all { (Turn::InTurn, rules.places.map(|places| places.min(half))) } else { (Turn::Now, None) };
    let order = |profile: &Profile| restart::order(&context, profile, turn);
    let mut waves = profiles.chunks(places.unwrap_or(profiles.len()).max(1));
    while let Some(wave) = waves.next().filter(|_| !interrupt::caught()) {
        let begun = order_each(args, &context, wave, &mut failures, order);
        // Each gateway is brought up as soon as it is down, so one that drains for long does not keep the others down.
        for ((profile, begun), settled) in begun.iter().zip(restart::finish(&context, &begun)) {
            let waited = settled.and_then(|()| match begun {
                Begun::Stopping(_) | Begun::Started => start::wait(&context, profile, until, None, Lasts::Always),
                Begun::ByItself => Ok(()),
            });
            report(args, &mut failures, profile, Action::Restarted, waited)?;
        }
        if waves.len() > 0 && !args.dry_run() {
            begun.iter().for_each(|(profile, _)| start::give_time(&context, profile, rules.time));
        }
    }
    interrupt::end();
    Ok(failures.exit())
}
