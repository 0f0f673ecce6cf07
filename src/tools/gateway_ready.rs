//! hermes-gateway-ready: is a gateway ready? A slot's `data/check` asks this.

use crate::ground::environment::{Environment, is_truthy};
use crate::ground::error::{Error, Exit, Kind, Result};
use crate::ground::message::{Log as _, Silent};
use crate::ground::process;
use crate::ground::profile::Profile;
use crate::s6::programs;
use crate::s6::scandir::Scandir;
use crate::tools::cli::{self, Args, Ending, Tool};
use crate::volume::home::{Home, profile_dir};
use crate::volume::settings::{FALLBACK_PORT, Inherited, Settings};
use crate::volume::state::{self, State};
use crate::work::gateway::identity::{Identity, Overrides};
use crate::work::gateway::listener;
use crate::work::whose;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;

pub static TOOL: Tool = Tool {
    name: "hermes-gateway-ready",
    usage: "[ -H home ] [ -s scandir ] [ -v ] profile",
    summary: "Is the gateway of this profile ready? Exit 0 if it is, 1 if not.",
    options: &[&[cli::HOME, cli::SCANDIR, cli::VERBOSE]],
    run,
};

fn run(args: &mut Args) -> std::result::Result<Exit, Ending> {
    let profile = args.one_profile(cli::none)?;
    let log = args.log();
    match ready(args, &profile)? {
        Ok(()) => Ok(Exit::Done),
        Err(why) => {
            log.info(&format!("{profile} is not ready: {why}"));
            Ok(Exit::No)
        }
    }
}

/// `Ok` if the gateway is ready, else the reason why not.
type Answer = std::result::Result<(), String>;

fn ready(args: &Args, profile: &Profile) -> Result<Answer> {
    // The environment of s6-supervise may be empty, but a HERMES_HOME that a person has set wins. Warnings are dropped:
    // this program runs several times in a start, and hermes-run-gateway has printed them.
    let inherited = std::env::var_os("HERMES_HOME").filter(|home| !home.is_empty());
    let overrides = Overrides { home: args.home_option(), variable: inherited.as_deref(), ..Overrides::default() };
    // Only `finish` understands 78, and only from run-gateway. So a configuration error becomes 111 here.
    let identity = Identity::find(&overrides, &Silent)
        .map_err(|e| Error::new(if e.kind == Kind::Config { Kind::System } else { e.kind }, e.text))?;
    let home = Home::open_as(&identity.home, identity.account.clone());
    let home = home.map_err(|error| Home::or_missing(&identity.home, error))?;
    home.require(profile)?;
    let open = identity.environment.get("HERMES_OPEN_SCANDIR").and_then(OsStr::to_str).is_some_and(is_truthy);
    let scandir = Scandir::open_where(&args.scandir(), open)?;
    whose::require(&home, &scandir, profile)?;
    let Some(pid) = programs::svstat(&scandir.slot(profile))?.and_then(|stat| stat.pid) else {
        return Ok(Err("s6 has no process of it".to_string()));
    };
    // The account's rights are kept from here on, also for the request to the API server.
    identity.account.become_for_good()?;
    home.act(|root| {
        let dir = profile_dir(root, profile).map_err(|e| Error::system("open", home.shown(profile, ""), e))?;
        let unable = |e| Error::system("read", home.shown(profile, state::FILE), e);
        let state = dir.map_or(Ok(State::Absent), State::read).map_err(unable)?;
        match says_running(&state, pid)? {
            Ok(()) => answers(root, profile, pid),
            no => Ok(no),
        }
    })
}

/// Does the state file say that this process is running? A file that an earlier gateway left names another process.
fn says_running(state: &State, pid: i32) -> Result<Answer> {
    let start_time = process::stat(pid)?.map(|stat| stat.start_time);
    if state.number("pid") != u64::try_from(pid).ok() || state.number("start_time") != start_time {
        return Ok(Err(format!("gateway_state.json is not by pid {pid}")));
    }
    Ok(match state.string("gateway_state").as_deref() {
        Some("running" | "degraded") => Ok(()),
        other => Err(format!("its state is {}", other.unwrap_or("unknown"))),
    })
}

/// If the API server is enabled, does it answer? The environment that the gateway was started with decides, overridden
/// by the profile's own `.env`.
fn answers(root: &OwnedFd, profile: &Profile, pid: i32) -> Result<Answer> {
    let Ok(variables) = process::environment(pid) else {
        return Ok(Err(format!("the environment of pid {pid} cannot be read")));
    };
    let started_with = Environment::of(variables);
    let exported = started_with.get("API_SERVER_PORT").and_then(|value| value.to_str()?.parse().ok());
    let settings = Settings::read(root, profile, &Inherited::given(started_with))?;
    if !settings.api_server {
        return Ok(Ok(()));
    }
    let port = settings.pin.map(|pin| pin.port).or(exported).unwrap_or(FALLBACK_PORT);
    Ok(match listener::address(pid, port) {
        Some(at) => listener::is_healthy(at),
        None => Err(format!("pid {pid} does not listen on port {port}")),
    })
}
