//! hermes-run-hook: run the operator's program for an event of a gateway. A slot's `finish` and the process that waits
//! for the readiness of a gateway call it.

use crate::ground::error::{Error, Exit, Kind};
use crate::ground::message::Stderr;
use crate::ground::parameter;
use crate::ground::profile::Profile;
use crate::ground::record::Record;
use crate::tools::cli::{self, Args, Ending, NO_PROFILE, Tool, valued, wrong};
use crate::volume::boot_log;
use crate::work::gateway::hook::{self, Event};
use crate::work::gateway::identity::Identity;
use std::ffi::OsStr;
use std::path::Path;

/// The variable that names the program.
const VARIABLE: &str = "HERMES_ON_EVENT";

/// The events.
const EVENTS: [&str; 3] = ["died", "held", "recovered"];

pub static TOOL: Tool = Tool {
    name: "hermes-run-hook",
    usage: "[ -H home ] [ -v ] [ -c envdir ] [ -u user ] [ -t ms ] profile event [ reason ]",
    summary: "Run $HERMES_ON_EVENT for an event of this profile's gateway (died, held, recovered), as the runtime account.",
    options: &[
        &[cli::HOME, cli::VERBOSE, cli::ENVDIR, cli::USER],
        &[valued('t', "timeout", "ms", "how long the program may run, in milliseconds; 0 = no limit")],
    ],
    run,
};

fn run(args: &mut Args) -> Result<Exit, Ending> {
    let mut ms = 30_000;
    let operands = args.operands(|_, value| {
        ms = parameter::milliseconds(&value)?;
        Ok(())
    })?;
    let (profile, event, reason) = match operands.as_slice() {
        [] => return Err(Ending::Wrong(NO_PROFILE.to_string())),
        [_] => return Err(Ending::Wrong("no event given".to_string())),
        [profile, event] => (profile, event, None),
        [profile, event, reason] => (profile, event, Some(reason.to_string_lossy())),
        [_, _, _, more, ..] => return Err(wrong("an operand too many", more)),
    };
    let profile = Profile::parse(profile)?;
    let event = EVENTS.into_iter().find(|known| OsStr::new(known) == event);
    let event = event.ok_or_else(|| wrong("no event", &operands[1]))?;
    let log = args.log();
    let refused = |text: String| Error::new(Kind::Config, text);
    // Most have no such program. Then nothing more is looked at.
    let variables = Identity::variables(&args.overrides(), &log)?;
    let Some(program) = variables.get(VARIABLE) else { return Ok(Exit::Done) };
    if !Path::new(program).is_absolute() {
        let shown = program.to_string_lossy();
        return Err(refused(format!("{VARIABLE} is not an absolute path: \"{shown}\": nothing is run")).into());
    }
    let mut identity = Identity::find(&args.overrides(), &log)?;
    if identity.account.uid == 0 {
        return Err(refused(format!("the runtime account is root: {VARIABLE} is not run")).into());
    }
    identity.become_account()?;
    let user_directory = identity.user_directory();
    identity.environment.set("HERMES_HOME", &identity.home);
    identity.environment.set("HOME", user_directory);
    let record = Record::new().text("time", boot_log::now()).text("event", event).text("profile", profile.as_str());
    let line = record.note("reason", reason).to_json() + "\n";
    let event = Event { arguments: [event, profile.as_str()], line };
    // What the program says is shown in any case.
    let output = Stderr::new(TOOL.name, true);
    let ran = hook::run(Path::new(program), &event, identity.environment, ms, &output);
    ran.map_err(|error| error.context(format_args!("{profile} {}", event.arguments[0])))?;
    Ok(Exit::Done)
}
