//! `hermes-run-gateway`: environment, identity, port, lock, then exec the gateway (DESIGN, section 7).

use crate::beneath;
use crate::cli::{self, Args, Item, Stop, Tool};
use crate::exit::{Error, Exit, Result};
use crate::gateway::place::{Place, Wishes};
use crate::gateway::{chain, lock, scrub};
use crate::home::Home;
use crate::message::Log;
use crate::profile::{MARKER, Profile};
use rustix::process::getppid;
use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// What an orphan is given to end in, where the slot has no `timeout-kill` that says so. Milliseconds; the template's.
const GRACE_MS: u64 = 60_000;

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-run-gateway",
    usage: "[ -H home ] [ -v ] [ -c envdir ] [ -u user ] [ -P ] profile [ prog... ]",
    summary: "Become the runtime account and execute the gateway of one profile, or prog, in its environment.",
    options: &[
        cli::HOME,
        cli::VERBOSE,
        cli::ENVDIR,
        cli::USER,
        cli::flag('P', "keep-port", "leave API_SERVER_PORT alone"),
    ],
    posix: true,
    run,
};

/// Its `main`.
pub fn main() -> ExitCode {
    cli::main(&TOOL)
}

fn run(args: &mut Args) -> std::result::Result<Exit, Stop> {
    let (mut envdir, mut user, mut ports) = (None, None, true);
    let name = loop {
        match args.item()?.ok_or(Stop::Usage)? {
            Item::Option('c', value) => envdir = Some(value),
            Item::Option('u', value) => user = Some(value),
            Item::Option(..) => ports = false,
            Item::Operand(name) => break name,
        }
    };
    let prog = args.rest()?;
    let log = args.log();
    // 100, which every restart would end with as well; `finish` takes it for as permanent as 78 (F5).
    let profile = Profile::parse(&name)?;
    let wishes = Wishes { home: args.home_option(), envdir: envdir.as_deref(), user: user.as_deref() };
    Err(Stop::Failed(run_profile(&profile, &wishes, ports, prog, &log)))
}

fn run_profile(profile: &Profile, wishes: &Wishes, ports: bool, prog: Vec<OsString>, log: &dyn Log) -> Error {
    match prepare(profile, wishes, ports, prog, log) {
        // The lock has to be open still when exec happens.
        Ok((argv, place, _lock)) => chain::exec(&argv, place.environment),
        Err(error) => error,
    }
}

type Prepared = (Vec<OsString>, Place, Option<std::os::fd::OwnedFd>);

fn prepare(profile: &Profile, wishes: &Wishes, ports: bool, prog: Vec<OsString>, log: &dyn Log) -> Result<Prepared> {
    let supervisor = getppid();
    let mut place = Place::find(wishes, log)?;
    if place.account.uid == 0 {
        log.warning(&format!("running the gateway of {profile} as root: name another account with -u or HERMES_USER"));
    }
    place.become_account()?;
    let home = Home::open_as(&place.home, place.account.clone()).map_err(|e| Place::no_home(&e))?;
    require(&home, profile)?;
    let grace_ms = grace_ms();
    let user_directory = place.user_directory();
    let environment = &mut place.environment;
    environment.set("HERMES_HOME", &home.path);
    environment.set("HOME", user_directory);
    environment.set("HERMES_S6_SUPERVISED_CHILD", "1");
    environment.set("HERMES_SUPERVISED_CHILD", "1");
    std::env::set_current_dir(&home.path)
        .map_err(|e| Place::no_home(&Error::system("enter", home.path.display(), e)))?;
    environment.set("PWD", &home.path);
    if !profile.is_default() {
        let gone = scrub::scrub(environment);
        if !gone.is_empty() {
            let names: Vec<_> = gone.iter().map(|name| name.to_string_lossy()).collect();
            log.info(&format!("dropped what belongs to the profile default: {}", names.join(" ")));
        }
    }
    if ports {
        crate::gateway::port::export(&home, profile, environment, log)?;
    }
    let lock = take_lock(&home, profile, grace_ms, log)?;
    if getppid() != supervisor {
        // The next gateway of this slot is waiting for us to be gone.
        return Err(Error::new(Exit::System, "unable to go on: the supervisor was killed while we waited"));
    }
    let port = place.environment.get("API_SERVER_PORT").map_or("not set".into(), |port| port.to_string_lossy());
    // Without the `.` of the profile default
    let directory: PathBuf = home.path.join(profile.path()).components().collect();
    let uid = place.account.uid;
    log.info(&format!("{profile} in {}, uid {uid}, API_SERVER_PORT {port}", directory.display()));
    let argv = if prog.is_empty() { gateway(profile) } else { prog };
    Ok((argv, place, lock))
}

/// `run` never creates a profile (B4, B5): a slot that outlived its profile ends here.
fn require(home: &Home, profile: &Profile) -> Result<()> {
    home.require(profile).map_err(|error| match error.exit {
        Exit::Usage => {
            let hint = format!(
                "create it (hermes profile create {profile}) or retire its slot (hermes-svc-unregister {profile})"
            );
            Error::new(Exit::Config, format!("{}: {hint}", error.text))
        }
        _ => error,
    })
}

fn take_lock(home: &Home, profile: &Profile, grace_ms: u64, log: &dyn Log) -> Result<Option<std::os::fd::OwnedFd>> {
    let shown = home.shown(profile, lock::FILE);
    home.act(|root| {
        let dir = beneath::open_dir(root, &profile.path())
            .map_err(|e| Error::system("open", home.shown(profile, MARKER), e))?;
        lock::take(&dir, profile, &shown, grace_ms, log)
    })
}

/// `--replace`, because a gateway that was started by hand, outside of this lock, holds Hermes Agent's own (F7).
/// HERMES_S6_SUPERVISED_CHILD keeps `default` from following `active_profile` (D4).
fn gateway(profile: &Profile) -> Vec<OsString> {
    let mut argv = vec!["hermes"];
    if !profile.is_default() {
        argv.extend(["-p", profile.as_str()]);
    }
    argv.extend(["gateway", "run", "--replace"]);
    argv.into_iter().map(OsString::from).collect()
}

/// The slot's own `timeout-kill`, as s6-supervise reads it: a number up to the first newline.
fn grace_ms() -> u64 {
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut text = String::new();
    let read = (std::fs::File::options().read(true).custom_flags(nonblock).open("timeout-kill"))
        .and_then(|file| file.take(32).read_to_string(&mut text));
    read.ok().and_then(|_| text.lines().next()?.trim().parse().ok()).unwrap_or(GRACE_MS)
}
