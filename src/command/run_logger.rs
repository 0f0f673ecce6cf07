//! `hermes-run-logger`: what a slot's `log/run` ends in. Whatever is wrong with the volume, the gateway's lines go on to
//! the container's log, and nothing loops (G1, H1).

use crate::beneath;
use crate::cli::{self, Args, Deadline, Item, Stop, Tool};
use crate::exit::{Error, Exit, Result, cause_text};
use crate::gateway::chain;
use crate::gateway::passage::{self, End};
use crate::gateway::place::{Place, Wishes};
use crate::home::Home;
use crate::lock;
use crate::message::Log;
use crate::profile::Profile;
use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

/// How long the logger of an older slot of the same name may still be writing its last lines. Milliseconds.
const DRAIN_MS: u64 = 2000;

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-run-logger",
    usage: "[ -H home ] [ -v ] [ -c envdir ] [ -u user ] profile [ prog... ]",
    summary: "Become the runtime account and execute s6-log, or prog, for the log of one profile's gateway.",
    options: &[cli::HOME, cli::VERBOSE, cli::ENVDIR, cli::USER],
    posix: true,
    run,
};

/// Its `main`.
pub fn main() -> ExitCode {
    cli::main(&TOOL)
}

fn run(args: &mut Args) -> std::result::Result<Exit, Stop> {
    let (mut envdir, mut user) = (None, None);
    let name = loop {
        match args.item()?.ok_or(Stop::Usage)? {
            Item::Option('c', value) => envdir = Some(value),
            Item::Option(_, value) => user = Some(value),
            Item::Operand(name) => break name,
        }
    };
    let prog = args.rest()?;
    let log = args.log();
    let profile = Profile::parse(&name)?;
    let wishes = Wishes { home: args.home_option(), envdir: envdir.as_deref(), user: user.as_deref() };
    let place = Place::find(&wishes, &log)?;
    place.become_account()?;
    let directory = directory(&place, &profile).and_then(|(path, lock)| free(path, lock, &profile, &log));
    match directory {
        Ok(None) => Ok(Exit::Done),
        Err(error) => {
            log.warning(&format!("{}: the log of {profile} goes to the container's log only", error.text));
            Err(Stop::Failed(chain::exec(&logger(prog, None), place.environment)))
        }
        Ok(path) => Err(Stop::Failed(chain::exec(&logger(prog, path), place.environment))),
    }
}

/// The directory once no other logger writes there; `None` if the lines ended before that.
///
/// That other one is a slot's of the same name that still drains, or another container's on the same volume (G1). In that
/// case the gateway waits as well, so there is little to log; when its turn comes, its log comes back.
fn free(path: PathBuf, lock: OwnedFd, profile: &Profile, log: &dyn Log) -> Result<Option<PathBuf>> {
    let shown = path.join("lock");
    match lock::take(&lock, shown.display(), Deadline::after_ms(DRAIN_MS)) {
        Ok(()) => return Ok(Some(path)),
        Err(error) if error.exit != Exit::TimedOut => return Err(error),
        Err(_) => {}
    }
    log.warning(&format!(
        "another logger writes in {}: until it ends, the log of {profile} goes to the container's log only",
        path.display()
    ));
    match passage::until_free(lock)? {
        End::Free => Ok(Some(path)),
        End::EndOfFile => Ok(None),
    }
}

/// `s6-log`, ready on descriptor 3: to its own output, and with times into the directory.
fn logger(prog: Vec<OsString>, directory: Option<PathBuf>) -> Vec<OsString> {
    let program = || crate::s6::program("s6-log").map_or_else(|_| "s6-log".into(), PathBuf::into_os_string);
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let mut argv = match (&directory, prog.is_empty()) {
        (None, _) => [vec![program()], words(&["-d3", "1"])].concat(),
        (Some(_), true) => [vec![program()], words(&["-d3", "1", "n10", "s1000000", "T"])].concat(),
        (Some(_), false) => prog,
    };
    argv.extend(directory.map(PathBuf::into_os_string));
    argv
}

/// The log directory, every component made with the account's rights (H1), and s6-log's lock in it: a lock that looks stale
/// may be held elsewhere (G5), so it is asked for, never removed.
fn directory(place: &Place, profile: &Profile) -> Result<(PathBuf, OwnedFd)> {
    let home = Home::open_as(&place.home, place.account.clone())?;
    let mut path = home.path.clone();
    home.act(move |root| {
        let mut dir = root.try_clone().map_err(|e| Error::system("open", path.display(), e))?;
        for name in ["logs", "gateways", profile.as_str()] {
            path.push(name);
            match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::system("create", path.display(), errno)),
            }
            dir = beneath::open_dir(&dir, name).map_err(|e| Error::system("open", path.display(), e))?;
        }
        rustix::fs::accessat(&dir, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty())
            .map_err(|e| Error::system("write in", path.display(), e))?;
        // s6-log dies of these, again and again, and then the gateway blocks on a full pipe.
        for name in ["current", "previous", "processed", "state", "lock"] {
            if let Some(wrong) = obstacle(&dir, name) {
                return Err(Error::new(Exit::System, format!("unable to write {}/{name}: {wrong}", path.display())));
            }
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK;
        let lock = beneath::open(&dir, "lock", flags, Mode::from_raw_mode(0o644))
            .map_err(|e| Error::system("open", path.join("lock").display(), e))?;
        Ok((path, lock))
    })
}

/// What keeps s6-log from taking over a file of this name. Two of them it gives other modes, which only
/// the owner can.
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
