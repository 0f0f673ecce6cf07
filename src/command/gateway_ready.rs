//! `hermes-gateway-ready`: what a slot's `data/check` asks.

use crate::cli::{self, Args, Item, Stop, Tool};
use crate::exit::{Error, Exit, Result};
use crate::gateway::listener;
use crate::gateway::place::{Place, Wishes};
use crate::home::{Home, profile_dir};
use crate::message::{Log as _, Silent};
use crate::profile::Profile;
use crate::scandir::Scandir;
use crate::settings::{Inherited, Settings, is_truthy};
use crate::state::State;
use crate::{process, s6};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;

/// Where Hermes Agent's API server listens if nothing says where.
const DEFAULT_PORT: u16 = 8642;

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
    match ready(args, &profile)? {
        Ok(()) => Ok(Exit::Done),
        Err(why) => {
            log.info(&format!("{profile} is not ready: {why}"));
            Ok(Exit::No)
        }
    }
}

/// Ready, or why not.
type Answer = std::result::Result<(), String>;

fn ready(args: &Args, profile: &Profile) -> Result<Answer> {
    // s6-supervise's environment may hold nothing; what a person has set comes first all the same. Half a dozen questions
    // are no place for warnings: hermes-run-gateway has given them.
    let inherited = std::env::var_os("HERMES_HOME").filter(|home| !home.is_empty());
    let wishes = Wishes { home: args.home_option().or(inherited.as_deref()), ..Wishes::default() };
    // 78 is run-gateway's word to `finish`, and nobody else's.
    let place = Place::find(&wishes, &Silent)
        .map_err(|e| Error::new(if e.exit == Exit::Config { Exit::System } else { e.exit }, e.text))?;
    let home = Home::open_as(&place.home, place.account.clone())?;
    home.require(profile)?;
    let open = place.environment.get("HERMES_OPEN_SCANDIR").and_then(OsStr::to_str).is_some_and(is_truthy);
    let scandir = Scandir::open_where(&args.scandir(), open)?;
    let Some(pid) = s6::svstat(&scandir.slot(profile))?.and_then(|stat| stat.pid) else {
        return Ok(Err("s6 has no process of it".to_string()));
    };
    // All that follows, the request included, has the account's rights.
    place.account.become_for_good()?;
    home.act(|root| {
        let dir = profile_dir(root, profile).map_err(|e| Error::system("open", home.shown(profile, ""), e))?;
        let state = dir.map_or(State::Absent, State::read);
        Ok(says_running(&state, pid).and_then(|()| answers(root, profile, pid)))
    })
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

/// Where the API server is enabled: does it answer? What the gateway was started with decides, its own `.env` over that.
fn answers(root: &OwnedFd, profile: &Profile, pid: i32) -> Answer {
    let started_with = environment(pid).map_err(|e| format!("the environment of pid {pid} cannot be read: {e}"))?;
    let exported = started_with.iter().find(|(name, _)| name == "API_SERVER_PORT").map(|(_, value)| value.clone());
    let settings = Settings::read(root, profile, &Inherited::given(started_with));
    if !settings.api_server {
        return Ok(());
    }
    let exported = exported.and_then(|value| value.to_str()?.parse().ok());
    let port = settings.pin.map(|pin| pin.port).or(exported).unwrap_or(DEFAULT_PORT);
    let at = listener::address(pid, port).ok_or_else(|| format!("pid {pid} does not listen on port {port}"))?;
    listener::is_healthy(at)
}

/// The environment that a process was started with.
fn environment(pid: i32) -> std::io::Result<Vec<(OsString, OsString)>> {
    let bytes = std::fs::read(format!("/proc/{pid}/environ"))?;
    let pairs = bytes.split(|b| *b == 0).filter_map(|pair| {
        let equals = pair.iter().position(|b| *b == b'=')?;
        Some((OsStr::from_bytes(&pair[..equals]).into(), OsStr::from_bytes(&pair[equals + 1..]).into()))
    });
    Ok(pairs.collect())
}
