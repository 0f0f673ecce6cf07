//! hermes-svc-stop: record the intent, bring the gateway down, verify.

use crate::ground::error::Exit;
use crate::ground::profile::Profile;
use crate::ground::waiting;
use crate::s6::orders::Told;
use crate::tools::cli::{self, Args, Ending, Tool, flag};
use crate::tools::several::{Several, order_each, report};
use crate::tools::{Failures, Opened};
use crate::work::action::Action;
use crate::work::status;
use crate::work::stop;

pub static TOOL: Tool = Tool {
    name: "hermes-svc-stop",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -n ] [ -j ] [ -a ] [ -k ] [ -w ] [ -t ms ] profile...",
    summary: "Stop gateways until somebody starts them again.",
    options: &[
        cli::COMMON,
        &[
            flag('a', "all", "every gateway that is up"),
            flag('k', "keep-intent", "stop it, but not for the next boot: a container's own stop"),
            flag('w', "wait", "wait until it is gone"),
            cli::TIMEOUT,
        ],
    ],
    run,
};

fn run(args: &mut Args) -> Result<Exit, Ending> {
    let (mut keep_intent, mut wait) = (false, false);
    let several = Several::parse(args, |letter| {
        if letter == 'k' {
            keep_intent = true
        } else {
            wait = true
        }
        Ok(())
    })?;
    let opened = Opened::open(args)?;
    waiting::announce("Ctrl-C ends the wait; the stop goes on");
    let context = opened.context(args, 70_000);
    let Opened { scandir, log, .. } = &opened;
    let mut failures = Failures::none();
    let profiles = several.targets(args, &mut failures, log, || status::up(scandir))?;
    // The container's own stop (-a -k) drains every gateway, whatever home it is.
    let own = |profile: &Profile| if several.all && keep_intent { Ok(()) } else { context.require_own(profile) };
    let order = |profile: &Profile| own(profile).and_then(|()| stop::order(&context, profile, keep_intent));
    let ordered = order_each(args, &context, &profiles, &mut failures, order);
    let told = Told::now();
    for (profile, changed) in ordered {
        let action = if changed { Action::Stopped } else { Action::Unchanged };
        let waited = if wait { stop::wait(&context, &profile, keep_intent, told) } else { Ok(()) };
        report(args, &mut failures, &profile, action, waited)?;
    }
    Ok(failures.exit())
}
