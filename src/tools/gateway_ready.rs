//! hermes-gateway-ready: is a gateway ready? In a slot's `run`: wait for the gateway's turn, execute it, and tell s6 when
//! it is ready.

use crate::ground::environment::{self, Environment};
use crate::ground::error::{Error, Exit, Kind, Result};
use crate::ground::memory;
use crate::ground::message::{Log, Silent};
use crate::ground::parameter;
use crate::ground::process::own_pid;
use crate::ground::profile::Profile;
use crate::s6::programs;
use crate::s6::scandir::Scandir;
use crate::tools::cli::{self, Args, Ending, Item, Tool, valued};
use crate::volume::home::Home;
use crate::work::gateway::identity::{Identity, Overrides};
use crate::work::gateway::readiness::{self, Answer, No};
use crate::work::gateway::{exec, turn};
use crate::work::whose;
use rustix::process::getppid;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

pub static TOOL: Tool = Tool {
    name: "hermes-gateway-ready",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -p pid ] profile [ prog... ]",
    summary: "Is the gateway of this profile ready? Exit 0 if it is, 1 if not. With prog: start it in turn.",
    options: &[
        &[cli::HOME, cli::SCANDIR, cli::VERBOSE],
        &[valued('p', "pid", "pid", "wait until this process is the ready gateway, then print a newline")],
    ],
    run,
};

fn run(args: &mut Args) -> std::result::Result<Exit, Ending> {
    let mut pid = None;
    let name = loop {
        match args.item()?.ok_or_else(|| Ending::Wrong(cli::NO_PROFILE.to_string()))? {
            Item::Option(_, value) => {
                let number =
                    parameter::number(&value, "pid", "a process identifier", 1, i32::MAX.unsigned_abs().into());
                pid = i32::try_from(number?).ok();
            }
            Item::Operand(name) => break name,
        }
    };
    let prog = args.rest()?;
    let profile = Profile::parse(&name)?;
    let log = args.log();
    match (pid, prog.is_empty()) {
        (Some(_), false) => Err(Ending::Wrong("-p takes no program".to_string())),
        (None, false) => Err(start(args, &profile, &prog, &log).into()),
        (Some(pid), true) if getppid().is_some_and(|parent| parent.as_raw_nonzero().get() == pid) => {
            // A process must not get a child that it does not know. The parent waits for our end.
            spawn(args, &profile, pid, Stdio::inherit())?;
            Ok(Exit::Done)
        }
        (Some(pid), true) => Ok(tell(args, &profile, pid)?),
        (None, true) => match ask(args, &profile)? {
            Ok(()) => Ok(Exit::Done),
            Err(No { why }) => {
                log.info(&format!("{profile} is not ready: {why}"));
                Ok(Exit::No)
            }
        },
    }
}

/// The identity of the gateway, and its home.
fn open(args: &Args, profile: &Profile) -> Result<(Identity, Home)> {
    // The environment of s6-supervise may be empty, but a HERMES_HOME that a person has set wins. Warnings are dropped:
    // hermes-run-gateway prints them.
    let inherited = std::env::var_os("HERMES_HOME").filter(|home| !home.is_empty());
    let overrides = Overrides { home: args.home_option(), variable: inherited.as_deref(), ..Overrides::default() };
    // Only `finish` understands 78, and only from run-gateway. So a configuration error becomes 111 here.
    let identity = Identity::find(&overrides, &Silent)
        .map_err(|e| Error::new(if e.kind == Kind::Config { Kind::System } else { e.kind }, e.text))?;
    let home = Home::open_as(&identity.home, identity.account.clone());
    let home = home.map_err(|error| Home::or_missing(&identity.home, error))?;
    home.require(profile)?;
    Ok((identity, home))
}

/// Look once.
fn ask(args: &Args, profile: &Profile) -> Result<Answer> {
    let (identity, home) = open(args, profile)?;
    let scandir = Scandir::open_where(&args.scandir(), identity.is_open())?;
    whose::require(&home, &scandir, profile)?;
    let Some(pid) = programs::svstat(&scandir.slot(profile))?.and_then(|stat| stat.pid) else {
        return Ok(Err(No::because("s6 has no process of it")));
    };
    // The account's rights are kept from here on.
    identity.account.become_for_good()?;
    readiness::look(&home, profile, pid)
}

/// Wait for the turn, leave a process behind that tells s6 of the readiness, and execute the program. Its standard
/// output is standard error, because ours is s6's notification descriptor. If the turn cannot be had, or nobody can
/// tell s6, the gateway is started all the same.
fn start(args: &Args, profile: &Profile, prog: &[OsString], log: &dyn Log) -> Error {
    let supervisor = getppid();
    // If the home cannot be opened, hermes-run-gateway says so and ends with the right code.
    if let Ok((identity, home)) = open(args, profile) {
        let place = match turn_of(&identity, &home, profile, log) {
            Err(error) if getppid() != supervisor => return error,
            Err(error) => {
                log.warning(&format!("{}: {profile} starts without a turn", error.text));
                None
            }
            Ok(place) => place,
        };
        let place = place.map_or_else(Stdio::null, Stdio::from);
        let told = spawn(args, profile, own_pid(), place)
            .and_then(|mut child| child.wait().map_err(|e| Error::system("wait for", "hermes-gateway-ready", e)));
        if let Err(error) = told {
            log.warning(&format!("{}: s6 is not told when {profile} is ready", error.text));
        }
    }
    memory::go_first();
    if let Err(errno) = rustix::stdio::dup2_stdout(rustix::stdio::stderr()) {
        return Error::system("close", "standard output", errno);
    }
    exec::exec(prog, Environment::inherited())
}

fn turn_of(identity: &Identity, home: &Home, profile: &Profile, log: &dyn Log) -> Result<Option<OwnedFd>> {
    // Root makes no directory beside one that a person happens to be in.
    if !environment::is_trusted_slot(identity.is_open())? {
        return Ok(None);
    }
    turn::take(home, profile, &turn::Rules::of(&identity.environment, log), log)
}

/// Run this tool to wait for the readiness of a process. Its standard input is the place of the start.
fn spawn(args: &Args, profile: &Profile, pid: i32, place: Stdio) -> Result<std::process::Child> {
    let unable = |e| Error::system("run", "hermes-gateway-ready", e);
    let mut command = Command::new(std::env::current_exe().map_err(unable)?);
    command.arg0(TOOL.name);
    if let Some(home) = args.home_option() {
        command.arg("-H").arg(home);
    }
    command.args(["-p", &pid.to_string(), "--", profile.as_str()]).stdin(place).spawn().map_err(unable)
}

/// Wait until the process is ready, then write a newline, which is how s6 is told. The place of the start is given up
/// with standard input: at the end, or when the start has had its time.
fn tell(args: &Args, profile: &Profile, pid: i32) -> Result<Exit> {
    let (identity, home) = open(args, profile)?;
    let time = turn::Rules::of(&identity.environment, &Silent).time;
    let give_up = || {
        let null = std::fs::File::open("/dev/null");
        let _ = null.map(rustix::stdio::dup2_stdin);
    };
    if !readiness::wait(&home, profile, pid, time, give_up)? {
        return Ok(Exit::No);
    }
    // If nobody reads any more, the gateway has ended meanwhile.
    let _ = rustix::io::write(rustix::stdio::stdout(), b"\n");
    if !environment::is_trusted_slot(identity.is_open())? || std::fs::remove_file(FAILED).is_err() {
        return Ok(Exit::Done);
    }
    Err(recovered(args, profile))
}

/// `finish` makes this file in the slot when the gateway dies.
const FAILED: &str = "data/failed";

/// Become hermes-run-hook, which tells the operator's program that the gateway is ready again.
fn recovered(args: &Args, profile: &Profile) -> Error {
    let unable = |e| Error::system("run", "hermes-run-hook", e);
    // Standard input is the place of the start, and standard output is s6's notification descriptor. The program must
    // have neither.
    let given_up = std::fs::File::open("/dev/null").and_then(|null| {
        rustix::stdio::dup2_stdin(null)?;
        Ok(rustix::stdio::dup2_stdout(rustix::stdio::stderr())?)
    });
    let mut command = match given_up.and_then(|()| std::env::current_exe()) {
        Ok(own) => Command::new(own.with_file_name("hermes-run-hook")),
        Err(error) => return unable(error),
    };
    if let Some(home) = args.home_option() {
        command.arg("-H").arg(home);
    }
    unable(command.args(["--", profile.as_str(), "recovered"]).exec())
}
