//! `hermes-gateway-ready`: what a slot's `data/check` asks.

use crate::cli::{self, Args, Item, Stop, Tool};
use crate::exit::{Error, Exit, Result};
use crate::gateway::place::{Place, Wishes};
use crate::home::{Home, profile_dir};
use crate::message::Log;
use crate::profile::Profile;
use crate::scandir::Scandir;
use crate::state::State;
use crate::{process, s6};
use std::process::ExitCode;

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-gateway-ready",
    usage: "[ -H home ] [ -s scandir ] [ -v ] profile",
    summary: "Is the gateway of this profile ready? Exit 0 if it is, 1 if not.",
    options: &[cli::HOME, cli::SCANDIR, cli::VERBOSE],
    posix: false,
    run,
};

/// Its `main`.
pub fn main() -> ExitCode {
    cli::main(&TOOL)
}

fn run(args: &mut Args) -> std::result::Result<Exit, Stop> {
    let mut name = None;
    while let Some(item) = args.item()? {
        match item {
            Item::Operand(operand) if name.is_none() => name = Some(operand),
            _ => return Err(Stop::Usage),
        }
    }
    let profile = Profile::parse(&name.ok_or(Stop::Usage)?)?;
    let log = args.log();
    match ready(args, &profile, &log)? {
        Ok(()) => Ok(Exit::Done),
        Err(why) => {
            log.info(&format!("{profile} is not ready: {why}"));
            Ok(Exit::No)
        }
    }
}

/// Ready, or why not.
type Answer = std::result::Result<(), String>;

fn ready(args: &Args, profile: &Profile, log: &dyn Log) -> Result<Answer> {
    // 78 is run-gateway's word to `finish`, and nobody's else.
    let place = Place::find(&Wishes { home: args.home_option(), ..Wishes::default() }, log)
        .map_err(|e| Error::new(if e.exit == Exit::Config { Exit::System } else { e.exit }, e.text))?;
    let home = Home::open_as(&place.home, place.account.clone())?;
    home.require(profile)?;
    let scandir = Scandir::open(&args.scandir())?;
    let Some(pid) = s6::svstat(&scandir.slot(profile))?.and_then(|stat| stat.pid) else {
        return Ok(Err("s6 has no process of it".to_string()));
    };
    // All that follows, the request included, has the account's rights.
    place.account.become_for_good()?;
    let state = home.act(|root| {
        let dir = profile_dir(root, profile).map_err(|e| Error::system("open", home.shown(profile, ""), e))?;
        Ok(dir.map_or(State::Absent, State::read))
    })?;
    Ok(says_running(&state, pid))
}

/// Does the state file name this very process as running? One that an earlier gateway left behind does not.
fn says_running(state: &State, pid: i32) -> Answer {
    let start_time = process::stat(pid).map(|stat| stat.start_time);
    if state.number("pid") != u64::try_from(pid).ok() || state.number("start_time") != start_time {
        return Err(format!("gateway_state.json is not by pid {pid}"));
    }
    match state.string("gateway_state").as_deref() {
        Some("running" | "degraded") => Ok(()),
        other => Err(format!("its state is {}", other.unwrap_or("unknown"))),
    }
}
