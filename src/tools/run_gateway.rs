//! hermes-run-gateway: set up the environment, the account, the port and the lock, then exec the gateway
//! (docs/DESIGN.md, "The gateway's own process").

use crate::ground::deadline::Deadline;
use crate::ground::environment;
use crate::ground::error::{Error, Exit, Kind, Result};
use crate::ground::message::Log;
use crate::ground::process;
use crate::ground::profile::{MARKER, Profile};
use crate::ground::roots_links;
use crate::s6::orders;
use crate::tools::cli::{self, Args, Ending, Item, Tool};
use crate::volume::client::Client;
use crate::volume::gateway_lock::{self, Holding};
use crate::volume::home::Home;
use crate::volume::intent;
use crate::volume::mode::{self, Mode};
use crate::volume::state::{self, State};
use crate::work::gateway::identity::{Identity, Overrides};
use crate::work::gateway::{exec, limit, scrub, take_lock};
use rustix::process::getppid;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an orphan has to end, in milliseconds, if the slot has no valid `timeout-kill`. It is the value of our own
/// template.
const GRACE_MS: u64 = 60_000;

pub static TOOL: Tool = Tool {
    name: "hermes-run-gateway",
    usage: "[ -H home ] [ -v ] [ -c envdir ] [ -u user ] [ -P ] profile [ prog... ]",
    summary: "Become the runtime account and execute the gateway of one profile, or prog, in its environment.",
    options: &[
        &[cli::HOME, cli::VERBOSE, cli::ENVDIR, cli::USER],
        &[cli::flag('P', "keep-port", "leave API_SERVER_PORT alone")],
    ],
    run,
};

fn run(args: &mut Args) -> std::result::Result<Exit, Ending> {
    let mut ports = true;
    let name = loop {
        match args.item()?.ok_or_else(|| Ending::Wrong(cli::NO_PROFILE.to_string()))? {
            Item::Option(..) => ports = false,
            Item::Operand(name) => break name,
        }
    };
    let prog = args.rest()?;
    let log = args.log();
    // An invalid name exits 100. `finish` takes this for a permanent error like 78, because every restart would end in
    // it (F5).
    let profile = Profile::parse(&name)?;
    Err(Ending::Failed(run_profile(&profile, &args.overrides(), ports, prog, &log)))
}

fn run_profile(profile: &Profile, overrides: &Overrides, ports: bool, prog: Vec<OsString>, log: &dyn Log) -> Error {
    match prepare(profile, overrides, ports, prog, log) {
        // The lock's descriptor must stay open until the exec.
        Ok((argv, identity, _lock)) => exec::exec(&argv, identity.environment),
        Err(error) => error,
    }
}

type Prepared = (Vec<OsString>, Identity, Option<OwnedFd>);

fn prepare(
    profile: &Profile,
    overrides: &Overrides,
    ports: bool,
    prog: Vec<OsString>,
    log: &dyn Log,
) -> Result<Prepared> {
    let supervisor = getppid();
    let mut identity = Identity::find(overrides, log)?;
    if identity.account.uid == 0 {
        log.warning(&format!("running the gateway of {profile} as root: name another account with -u or HERMES_USER"));
    }
    // Only root can make a control group. A directory that others can have made is no slot of ours.
    let in_slot = environment::is_trusted_slot(identity.is_open()).unwrap_or(false);
    limit::apply(&identity.environment, profile, in_slot, log);
    identity.become_account()?;
    let home = Home::open_as(&identity.home, identity.account.clone()).map_err(|e| Identity::no_home(&e))?;
    require(&home, profile)?;
    let grace_ms = orders::timeout_kill_ms(Path::new(".")).unwrap_or(GRACE_MS);
    let user_directory = identity.user_directory();
    let environment = &mut identity.environment;
    environment.set("HERMES_HOME", &home.path);
    environment.set("HOME", user_directory);
    environment.set("HERMES_S6_SUPERVISED_CHILD", "1");
    environment.set("HERMES_SUPERVISED_CHILD", "1");
    std::env::set_current_dir(&home.path)
        .map_err(|e| Identity::no_home(&Error::system("enter", home.path.display(), e)))?;
    environment.set("PWD", &home.path);
    if !profile.is_default() {
        let gone = scrub::scrub(environment);
        if !gone.is_empty() {
            let names: Vec<_> = gone.iter().map(|name| name.to_string_lossy()).collect();
            log.info(&format!("dropped what belongs to the profile default: {}", names.join(" ")));
        }
    }
    if ports {
        crate::work::gateway::port::export(&home, profile, environment, log)?;
    }
    // This process has the account's rights already.
    let mode = Mode::by_release(&Client::on(&identity.environment.path())?);
    if mode == Mode::Others && prog.is_empty() && !profile.is_default() {
        require_unserved(&home, profile, mode, log)?;
    }
    let lock = take_lock(&home, profile, grace_ms, log)?;
    if getppid() != supervisor {
        // Our supervisor was killed. The next gateway of this slot waits until this process has ended.
        return Err(Error::new(Kind::System, "unable to go on: the supervisor was killed while we waited"));
    }
    let port = identity.environment.get("API_SERVER_PORT").map_or("not set".into(), |port| port.to_string_lossy());
    // Collecting the components removes the `.` of the profile `default`.
    let directory: PathBuf = home.path.join(profile.path()).components().collect();
    let uid = identity.account.uid;
    log.info(&format!("{profile} in {}, uid {uid}, API_SERVER_PORT {port}", directory.display()));
    let argv = if prog.is_empty() { gateway(profile, mode) } else { prog };
    Ok((argv, identity, lock))
}

/// Check that the profile exists. `run` never creates a profile (B4, B5), so the gateway of a slot whose profile is
/// gone ends here.
fn require(home: &Home, profile: &Profile) -> Result<()> {
    home.require(profile).map_err(|error| match error.kind {
        Kind::Usage => {
            let hint = format!(
                "create it (hermes profile create {profile}) or retire its slot (hermes-svc-unregister {profile})"
            );
            Error::new(Kind::Config, format!("{}: {hint}", error.text))
        }
        _ => error,
    })
}

fn take_lock(home: &Home, profile: &Profile, grace_ms: u64, log: &dyn Log) -> Result<Option<OwnedFd>> {
    let shown = home.shown(profile, gateway_lock::FILE);
    home.act(|root| {
        let dir = roots_links::open_dir(root, &profile.path())
            .map_err(|e| Error::system("open", home.shown(profile, MARKER), e))?;
        let lock = take_lock::take(&dir, profile, &shown, grace_ms, log)?;
        claim_state(&dir, profile, &home.shown(profile, state::FILE), log)?;
        Ok(lock)
    })
}

/// Write this profile's name into a state file that does not have it, and remove the pid in the file. If the file
/// cannot be written, that is an error only if the process with this pid is alive, because `--replace` would end it.
fn claim_state(dir: &OwnedFd, profile: &Profile, shown: &str, log: &dyn Log) -> Result<()> {
    let Err(error) = intent::claim(dir, profile, shown, false) else { return Ok(()) };
    let state = State::read_for_order(dir).map_err(|e| Error::system("read", shown, e))?;
    let pid = state.number("pid").and_then(|pid| i32::try_from(pid).ok());
    let process = pid.map_or(Ok(None), process::stat)?;
    if process.is_some_and(|stat| Some(stat.start_time) == state.number("start_time")) {
        return Err(error);
    }
    log.warning(&error.text);
    Ok(())
}

/// How long the gateway of `default` has to let go of a profile. It looks every 30 seconds for profiles that have become
/// `standalone`. In milliseconds.
const LETS_GO_MS: u64 = 90_000;

/// Check that the gateway of `default` does not serve this profile, and wait until it has let go of it. With `--force`,
/// Hermes Agent does not check that itself.
fn require_unserved(home: &Home, profile: &Profile, mode: Mode, log: &dyn Log) -> Result<()> {
    if mode.serves(home, profile)? {
        return Err(Error::new(Kind::Config, mode.refusal(home, profile).text));
    }
    let default = Profile::default_profile();
    let deadline = Deadline::after_ms(LETS_GO_MS);
    let mut is_said = false;
    while gateway_lock::holder(home, &default)? != Holding::Free
        && mode::lists(&State::of_profile(home, &default)?, profile)
    {
        if !is_said {
            log.warning(&format!("waiting for the gateway of default to let go of {profile}, which it still serves"));
            is_said = true;
        }
        std::thread::sleep(deadline.patience(Duration::from_secs(1), "the gateway of default to let go of it")?);
    }
    Ok(())
}

/// The command that starts the gateway. `--replace` is necessary because a gateway that was started by hand, without
/// our lock, holds Hermes Agent's own lock (F7). Where one gateway serves several profiles, it would end that gateway,
/// and `--force` is necessary: a named profile is refused without it, and so is the second gateway of a home. `default` is named as well, because without `-p` Hermes Agent 0.15 and
/// 0.16 follow `active_profile` (D4).
fn gateway(profile: &Profile, mode: Mode) -> Vec<OsString> {
    let how = if mode == Mode::Others { "--force" } else { "--replace" };
    ["hermes", "-p", profile.as_str(), "gateway", "run", how].map(OsString::from).to_vec()
}
