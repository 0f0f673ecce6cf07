//! s6's own programs, and nothing but their documented interfaces.

use crate::exit::{Error, Exit, Result};
use rustix::process::geteuid;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Where s6's programs are looked for: s6-overlay's place first (H6), then the system's own directories, which root owns.
const PLACES: [&str; 6] = ["/command", "/usr/bin", "/bin", "/usr/sbin", "/sbin", "/package/admin/s6/command"];

/// The path of an s6 program. Root looks only where nobody else can write; others look on their `PATH` as well.
///
/// # Errors
/// 111 if it is nowhere.
pub fn program(name: &str) -> Result<PathBuf> {
    let fixed = PLACES.iter().map(PathBuf::from);
    let path = if geteuid().is_root() { None } else { std::env::var_os("PATH") };
    let own: Vec<PathBuf> = path.iter().flat_map(std::env::split_paths).filter(|d| d.is_absolute()).collect();
    let found = fixed.chain(own).map(|dir| dir.join(name)).find(|p| p.is_file());
    found.ok_or_else(|| Error::new(Exit::System, format!("unable to find {name}: is s6 installed?")))
}

fn run(name: &str, arguments: &[&OsStr]) -> Result<Output> {
    let path = program(name)?;
    let done = Command::new(&path).args(arguments).env_clear().stdin(Stdio::null()).output();
    done.map_err(|e| Error::system("run", path.display(), e))
}

fn failed(name: &str, object: &Path, output: &Output) -> Error {
    let code = output.status.code().map_or("a signal".to_string(), |c| c.to_string());
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said = stderr.lines().next().map(|l| format!(" ({l})")).unwrap_or_default();
    Error::new(Exit::System, format!("unable to {name} {}: it ended with {code}{said}", object.display()))
}

/// What `s6-svstat` says of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Svstat {
    /// Is `run`'s process there?
    pub up: bool,
    /// Does s6-supervise want it up?
    pub wanted_up: bool,
    /// Is there no `down` file?
    pub normally_up: bool,
    /// Up and ready, or down and about to be started again: ask it together with `up`.
    pub ready: bool,
    /// The process, while it is up.
    pub pid: Option<i32>,
    /// How the last process ended: its code. 2.11 says 0 where nothing ran yet.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Seconds since it went up or down.
    pub seconds: u64,
    /// Down, with `finish` done as well: then s6 says that the readiness changed no earlier than the process did. While
    /// `finish` runs the other fields are the same as afterwards (2.11 to 2.15: tried).
    pub finished: bool,
}

impl Svstat {
    /// Up and ready.
    pub fn is_ready(&self) -> bool {
        self.up && self.ready
    }

    /// Down, `finish` done, and not about to start again by itself.
    pub fn is_down(&self) -> bool {
        !self.up && self.finished && !self.wanted_up
    }

    fn parse(text: &str) -> Option<Svstat> {
        let mut words = text.split_ascii_whitespace();
        let mut flag = || words.next()?.parse::<bool>().ok();
        let (up, wanted_up, normally_up, ready) = (flag()?, flag()?, flag()?, flag()?);
        let mut number = || words.next()?.parse::<i64>().ok();
        let (pid, exit_code, signal, seconds) = (number()?, number()?, number()?, number()?);
        // TAI64N labels: they sort as text.
        let (changed, readied) = (words.next()?, words.next()?);
        Some(Svstat {
            up,
            wanted_up,
            normally_up,
            ready,
            pid: i32::try_from(pid).ok().filter(|p| *p > 0),
            exit_code: i32::try_from(exit_code).ok().filter(|c| *c >= 0),
            signal: i32::try_from(signal).ok().filter(|s| *s > 0),
            seconds: u64::try_from(seconds).unwrap_or(0),
            finished: !up && readied >= changed,
        })
    }
}

/// Ask `s6-svstat -o`; `None` if the directory is not supervised, or so freshly that there is nothing to tell yet.
///
/// # Errors
/// 111 if it cannot be run, or answers what cannot be understood (A12: a failed parse is never a silent "no").
pub fn svstat(service: &Path) -> Result<Option<Svstat>> {
    let fields = OsStr::new("up,wantedup,normallyup,ready,pid,exitcode,signum,updownfor,updownsince,readysince");
    // s6-supervise holds its lock up to 38 ms before it writes its first status (s6-facts, 4), and s6-svstat calls that 111.
    let status = std::fs::symlink_metadata(service.join("supervise/status"));
    if status.is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let output = run("s6-svstat", &[OsStr::new("-o"), fields, service.as_os_str()])?;
    if output.status.code() == Some(1) || !output.status.success() && !service.is_dir() {
        return Ok(None);
    }
    if !output.status.success() {
        return Err(failed("s6-svstat", service, &output));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    match Svstat::parse(&text) {
        Some(stat) => Ok(Some(stat)),
        None => {
            Err(Error::new(Exit::System, format!("unable to understand s6-svstat of {}: {text}", service.display())))
        }
    }
}

/// `s6-svc OPTIONS SERVICE`. Its code for an unsupervised directory differs between versions and is not relied on.
///
/// # Errors
/// 111 with what it said.
pub fn svc(options: &str, service: &Path) -> Result<()> {
    let output = run("s6-svc", &[OsStr::new(options), service.as_os_str()])?;
    if output.status.success() { Ok(()) } else { Err(failed("s6-svc", service, &output)) }
}

/// `s6-svscanctl OPTIONS SCANDIR`.
///
/// # Errors
/// 102 if no s6-svscan listens there, 111 with what it said otherwise.
pub fn svscanctl(options: &str, scandir: &Path) -> Result<()> {
    let output = run("s6-svscanctl", &[OsStr::new(options), scandir.as_os_str()])?;
    match output.status.code() {
        Some(0) => Ok(()),
        Some(100) => Err(Error::new(Exit::WrongState, format!("no s6-svscan is running on {}", scandir.display()))),
        _ => Err(failed("s6-svscanctl", scandir, &output)),
    }
}

/// `s6-svdt-clear SERVICE`: forget the deaths, so that a held service has all its tries again. Best effort: only who may
/// write in `supervise/` has the right to.
pub fn svdt_clear(service: &Path) -> bool {
    run("s6-svdt-clear", &[service.as_os_str()]).is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_svstat_is_understood_or_refused() {
        let up = Svstat::parse("true true false true 42 0 0 17 @40b1 @40b2\n").unwrap();
        assert!(up.is_ready() && !up.is_down() && up.pid == Some(42) && up.seconds == 17);
        // 2.13 and later: never started.
        let fresh = Svstat::parse("false false false false -1 -1 -1 1 @40b1 @40b1").unwrap();
        assert!(fresh.is_down() && fresh.pid.is_none() && fresh.exit_code.is_none());
        // In the middle of finish.
        assert!(!Svstat::parse("false false true false -1 -1 15 0 @40b2 @40b1").unwrap().is_down());
        for odd in ["", "up (pid 42) 17 seconds", "true true false", "true true false true 1 2 3 4"] {
            assert_eq!(Svstat::parse(odd), None);
        }
    }
}
