//! hermes-run-logger: set up the log directory, then exec s6-log. A slot's `log/run` ends in this program. If the
//! volume cannot be used, the gateway's lines still go to the container's log, and the logger does not restart in a
//! loop (G1, H1).
//!
//! The container's log has the lines of all gateways. s6-log puts nothing in front of a line, so a second process of this
//! program does it on their way there.

use crate::ground::beneath;
use crate::ground::deadline::Deadline;
use crate::ground::environment::boolean;
use crate::ground::error::{Error, Exit, Kind, Result, cause_text};
use crate::ground::lock;
use crate::ground::message::Log;
use crate::ground::profile::Profile;
use crate::ground::roots_links;
use crate::tools::cli::{self, Args, Ending, Item, Tool, flag};
use crate::volume::home::Home;
use crate::work::gateway::exec;
use crate::work::gateway::identity::Identity;
use crate::work::gateway::label;
use crate::work::gateway::pass_through::{self, End};
use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// How long the logger of an older slot of the same name has to write its last lines, in milliseconds.
const DRAIN_MS: u64 = 2000;

pub static TOOL: Tool = Tool {
    name: "hermes-run-logger",
    usage: "[ -H home ] [ -v ] [ -c envdir ] [ -u user ] [ -L ] profile [ prog... ]",
    summary: "Become the runtime account and execute s6-log, or prog, for the log of one profile's gateway.",
    options: &[
        &[cli::HOME, cli::VERBOSE, cli::ENVDIR, cli::USER],
        &[flag('L', "label", "only copy standard input, with the profile in front of each line")],
    ],
    run,
};

fn run(args: &mut Args) -> std::result::Result<Exit, Ending> {
    let mut only_label = false;
    let name = loop {
        match args.item()? {
            Some(Item::Operand(name)) => break name,
            Some(Item::Option(..)) => only_label = true,
            None => return Err(Ending::Wrong(cli::NO_PROFILE.to_string())),
        }
    };
    let prog = args.rest()?;
    if only_label {
        label::copy(&Profile::parse(&name)?)?;
        return Ok(Exit::Done);
    }
    let log = args.log();
    let profile = Profile::parse(&name)?;
    let identity = Identity::find(&args.overrides(), &log)?;
    identity.become_account()?;
    let wanted = identity.environment.get("HERMES_LOG_PREFIX").and_then(OsStr::to_str);
    if wanted.and_then(boolean) != Some(false)
        && let Err(error) = label::begin(&profile)
    {
        log.warning(&format!("{}: the lines of {profile} do not say whose they are", error.text));
    }
    let directory = directory(&identity, &profile).and_then(|(path, lock)| free(path, lock, &profile, &log));
    match directory {
        Ok(None) => Ok(Exit::Done),
        Err(error) => {
            log.warning(&format!("{}: the log of {profile} goes to the container's log only", error.text));
            Err(Ending::Failed(exec::exec(&logger(prog, None), identity.environment)))
        }
        Ok(path) => Err(Ending::Failed(exec::exec(&logger(prog, path), identity.environment))),
    }
}

/// Wait until no other logger holds the directory. Returns the directory, or `None` if the input ended before.
///
/// The other logger is that of a slot of the same name that still drains, or one in another container on the same
/// volume (G1). In the second case the gateway waits as well, so there is little to log. When the gateway's turn comes,
/// the logger gets the directory.
fn free(path: PathBuf, lock: OwnedFd, profile: &Profile, log: &dyn Log) -> Result<Option<PathBuf>> {
    let shown = path.join("lock");
    match lock::take(&lock, shown.display(), Deadline::after_ms(DRAIN_MS)) {
        Ok(None) => return Ok(Some(path)),
        // s6-log cannot do without this lock.
        Ok(Some(errno)) => return Err(Error::system("lock", shown.display(), errno)),
        Err(error) if error.kind != Kind::TimedOut => return Err(error),
        Err(_) => {}
    }
    log.warning(&format!(
        "another logger writes in {}: until it ends, the log of {profile} goes to the container's log only",
        path.display()
    ));
    match pass_through::until_free(lock)? {
        End::Free => Ok(Some(path)),
        End::EndOfFile => Ok(None),
    }
}

/// The command line of `s6-log`. It reports readiness on descriptor 3, writes to its own output, and writes with
/// timestamps into the directory.
fn logger(prog: Vec<OsString>, directory: Option<PathBuf>) -> Vec<OsString> {
    let program = || crate::s6::programs::program("s6-log").map_or_else(|_| "s6-log".into(), PathBuf::into_os_string);
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let mut argv = match (&directory, prog.is_empty()) {
        (None, _) => [vec![program()], words(&["-d3", "1"])].concat(),
        (Some(_), true) => [vec![program()], words(&["-d3", "1", "n10", "s1000000", "T"])].concat(),
        (Some(_), false) => prog,
    };
    argv.extend(directory.map(PathBuf::into_os_string));
    argv
}

/// Make the log directory, with the account's rights for every component (H1), and open s6-log's lock in it. A lock
/// file that looks stale may be held in another container (G5), so it is never removed.
fn directory(identity: &Identity, profile: &Profile) -> Result<(PathBuf, OwnedFd)> {
    let home = Home::open_as(&identity.home, identity.account.clone())?;
    let mut path = home.path.clone();
    home.act(move |root| {
        let mut dir = root.try_clone().map_err(|e| Error::system("open", path.display(), e))?;
        for name in ["logs", "gateways", profile.as_str()] {
            path.push(name);
            match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::system("create", path.display(), errno)),
            }
            dir = roots_links::open_dir(&dir, name).map_err(|e| Error::system("open", path.display(), e))?;
        }
        rustix::fs::accessat(&dir, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty())
            .map_err(|e| Error::system("write in", path.display(), e))?;
        // An obstacle under one of these names would make s6-log die again and again, and the gateway would block on a
        // full pipe.
        for name in ["current", "previous", "processed", "state", "lock"] {
            if let Some(wrong) = obstacle(&dir, name) {
                return Err(Error::new(Kind::System, format!("unable to write {}/{name}: {wrong}", path.display())));
            }
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK;
        let lock = beneath::open(&dir, "lock", flags, Mode::from_raw_mode(0o644))
            .map_err(|e| Error::system("open", path.join("lock").display(), e))?;
        allows_s6_log(&lock).map_err(|(verb, e)| Error::system(verb, path.join("lock").display(), e))?;
        Ok((path, lock))
    })
}

/// Try on the lock what s6-log does with its files and cannot do without. Some volumes refuse to change a mode (TrueNAS,
/// CIFS) or to sync a file (FUSE).
fn allows_s6_log(lock: &OwnedFd) -> std::result::Result<(), (&'static str, Errno)> {
    let stat = rustix::fs::fstat(lock).map_err(|e| ("stat", e))?;
    if stat.st_uid == rustix::process::geteuid().as_raw() {
        rustix::fs::fchmod(lock, Mode::from_raw_mode(stat.st_mode)).map_err(|e| ("change the mode of", e))?;
    }
    rustix::fs::fsync(lock).map_err(|e| ("sync", e))
}

/// Why s6-log cannot use the file of this name, if so. s6-log changes the modes of two of these files, which only their
/// owner can.
fn obstacle(dir: &OwnedFd, name: &str) -> Option<String> {
    let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return None,
        Err(errno) => return Some(cause_text(&errno.into())),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Some("it is not a regular file".to_string());
    }
    let euid = rustix::process::geteuid();
    let ours = euid.is_root() || stat.st_uid == euid.as_raw() || !matches!(name, "current" | "previous");
    (!ours).then(|| format!("it belongs to uid {}: hermes-fix-attrs gives it back", stat.st_uid))
}
