//! Running s6's own programs. Only their documented interfaces are used.

use crate::ground::deadline::Deadline;
use crate::ground::error::{Error, Kind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, geteuid, pidfd_open, waitid};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The directories in which s6's programs are looked for: s6-overlay's first (H6), then the system's, which root owns.
const PLACES: [&str; 6] = ["/command", "/usr/bin", "/bin", "/usr/sbin", "/sbin", "/package/admin/s6/command"];

/// The least time that an s6 program gets before the command's deadline, and after it.
const LEAST: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(5);
/// The most time that an s6 program gets.
const MOST: Duration = Duration::from_secs(10);

/// How much of a program's output is kept, in bytes.
const SAID_MAX: usize = 64 * 1024;

/// The path of an s6 program. Root looks only in directories where nobody else can write; other users also on their
/// `PATH`.
///
/// # Errors
/// 111 if no directory has the program.
pub fn program(name: &str) -> Result<PathBuf> {
    let fixed = PLACES.iter().map(PathBuf::from);
    let path = if geteuid().is_root() { None } else { std::env::var_os("PATH") };
    let own: Vec<PathBuf> = path.iter().flat_map(std::env::split_paths).filter(|d| d.is_absolute()).collect();
    let found = fixed.chain(own).map(|dir| dir.join(name)).find(|p| p.is_file());
    found.ok_or_else(|| Error::new(Kind::System, format!("unable to find {name}: is s6 installed?")))
}

/// The result of an s6 program that has ended.
struct Ended {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Run an s6 program to its end. s6's programs take some milliseconds, and on a very busy machine some seconds. The
/// program gets what is left of the command's deadline, at least one second and at most ten. A command that has failed
/// may have to take back after its deadline what it has done, and then the program gets five seconds.
///
/// # Errors
/// 99 if the program has not ended by then; it is killed. 111 if the program cannot be run.
fn run(name: &str, arguments: &[&OsStr]) -> Result<Ended> {
    let left = Deadline::command().left(MOST).map_or(LATE, |left| left.max(LEAST));
    run_until(Deadline::after_ms(u64::try_from(left.as_millis()).unwrap_or(1)), name, arguments)
}

fn run_until(deadline: Deadline, name: &str, arguments: &[&OsStr]) -> Result<Ended> {
    let path = program(name)?;
    let unable = |e: std::io::Error| Error::system("run", path.display(), e);
    let mut command = Command::new(&path);
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(unable)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let read = match (stdout, stderr) {
        (Some(stdout), Some(stderr)) => read_both(stdout.into(), stderr.into(), deadline, name),
        _ => Err(unable(std::io::ErrorKind::BrokenPipe.into())),
    };
    let read = read.and_then(|said| wait_for_end(&child, deadline, name).map(|()| said));
    if read.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(unable);
    let [stdout, stderr] = read?;
    Ok(Ended { status: status?, stdout, stderr })
}

/// The output of the program on stdout and stderr, read until the program has closed both.
fn read_both(stdout: OwnedFd, stderr: OwnedFd, deadline: Deadline, name: &str) -> Result<[Vec<u8>; 2]> {
    let unable = |e: Errno| Error::system("read what", format_args!("{name} says"), e);
    let mut open = [Some(stdout), Some(stderr)];
    let mut said = [Vec::new(), Vec::new()];
    let mut piece = [0; 4096];
    while open.iter().any(Option::is_some) {
        let left = deadline.left(MOST).ok_or_else(|| deadline.timed_out(format_args!("{name} to end")))?;
        let mut fds: Vec<PollFd> = open.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(unable(errno)),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>().into_iter();
        for (fd, said) in open.iter_mut().zip(&mut said).filter(|(fd, _)| fd.is_some()) {
            if ready.next() != Some(true) {
                continue;
            }
            match fd.as_ref().map_or(Ok(0), |fd| rustix::io::read(fd, &mut piece)) {
                Ok(0) => *fd = None,
                // Output beyond the limit is read and dropped.
                Ok(read) => said.extend(piece[..read].iter().take(SAID_MAX.saturating_sub(said.len()))),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(unable(errno)),
            }
        }
    }
    Ok(said)
}

/// Wait for the end of the program, which has closed its output and may hang all the same.
fn wait_for_end(child: &Child, deadline: Deadline, name: &str) -> Result<()> {
    let unable = |e: Errno| Error::system("wait for", name, e);
    let pidfd = match pidfd_open(Pid::from_child(child), PidfdFlags::empty()) {
        // Linux before 5.3 and some sandboxes do not have pidfd_open.
        Err(Errno::NOSYS | Errno::PERM) => None,
        opened => Some(opened.map_err(unable)?),
    };
    loop {
        let left = deadline.left(MOST).ok_or_else(|| deadline.timed_out(format_args!("{name} to end")))?;
        let Some(pidfd) = &pidfd else {
            let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            match waitid(WaitId::Pid(Pid::from_child(child)), ended) {
                Ok(None) => std::thread::sleep(left.min(Duration::from_millis(2))),
                Ok(Some(_)) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(unable(errno)),
            }
            continue;
        };
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Timespec::try_from(left).ok().as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(unable(errno)),
        }
    }
}

fn failed(name: &str, object: &Path, output: &Ended) -> Error {
    let code = output.status.code().map_or("a signal".to_string(), |c| c.to_string());
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said = stderr.lines().next().map(|l| format!(" ({l})")).unwrap_or_default();
    Error::new(Kind::System, format!("unable to {name} {}: it ended with {code}{said}", object.display()))
}

/// The fields that `s6-svstat` prints about a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Svstat {
    /// Is the process of `run` there?
    pub up: bool,
    /// Does s6-supervise want the service up?
    pub wanted_up: bool,
    /// Is there no `down` file?
    pub normally_up: bool,
    /// If up: is the service ready? If down: is it about to be started again? Read this together with `up`.
    pub ready: bool,
    /// The pid of `run`'s process, while the service is up.
    pub pid: Option<i32>,
    /// The exit code of the last process. s6 2.11 says 0 if no process has run yet.
    pub exit_code: Option<i32>,
    /// The signal that ended the last process.
    pub signal: Option<i32>,
    /// Seconds since the service went up or down.
    pub seconds: u64,
    /// Is the service down, and has its `finish` ended? s6-svstat shows this only as readysince >= updownsince; all
    /// other fields are the same while `finish` runs and after it.
    pub finished: bool,
}

impl Svstat {
    pub fn is_ready(&self) -> bool {
        self.up && self.ready
    }

    /// Is the service down, its `finish` ended, and will s6-supervise leave it down?
    pub fn is_down(&self) -> bool {
        !self.up && self.finished && !self.wanted_up
    }

    fn parse(text: &str) -> Option<Svstat> {
        let mut words = text.split_ascii_whitespace();
        let mut flag = || words.next()?.parse::<bool>().ok();
        let (up, wanted_up, normally_up, ready) = (flag()?, flag()?, flag()?, flag()?);
        let mut number = || words.next()?.parse::<i64>().ok();
        let (pid, exit_code, signal, seconds) = (number()?, number()?, number()?, number()?);
        // These are TAI64N labels, which can be compared as text.
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

/// The state of a service by `s6-svstat -o`; `None` if no s6-supervise runs on the directory, or one has just started
/// and has not written its status yet.
///
/// # Errors
/// 99 if s6-svstat does not end in time. 111 if it cannot be run, or its output cannot be parsed (A12: a failed parse
/// is never a silent "no").
pub fn svstat(service: &Path) -> Result<Option<Svstat>> {
    let fields = OsStr::new("up,wantedup,normallyup,ready,pid,exitcode,signum,updownfor,updownsince,readysince");
    // A new s6-supervise holds its lock for up to 40 ms before it writes its first status. Until then s6-svstat exits
    // 111.
    let has_status = || Ok(size(&service.join("supervise/status"))?.is_some());
    if !has_status()? {
        return Ok(None);
    }
    let output = run("s6-svstat", &[OsStr::new("-o"), fields, service.as_os_str()])?;
    if output.status.code() == Some(1) || !output.status.success() && !has_status()? {
        return Ok(None);
    }
    if !output.status.success() {
        return Err(failed("s6-svstat", service, &output));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    match Svstat::parse(&text) {
        Some(stat) => Ok(Some(stat)),
        None => {
            Err(Error::new(Kind::System, format!("unable to understand s6-svstat of {}: {text}", service.display())))
        }
    }
}

/// The size of a file in bytes; `None` if it is not there.
fn size(path: &Path) -> Result<Option<i64>> {
    match rustix::fs::lstat(path) {
        Ok(stat) => Ok(Some(stat.st_size)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(Error::system("stat", path.display(), errno)),
    }
}

/// Run `s6-svc OPTIONS SERVICE`. Its exit code for an unsupervised directory differs between versions, so no caller
/// relies on it.
///
/// # Errors
/// 99 or 111 as for `run`; 111, with the first line of s6-svc's stderr, if s6-svc fails.
pub fn svc(options: &str, service: &Path) -> Result<()> {
    let output = run("s6-svc", &[OsStr::new(options), service.as_os_str()])?;
    if output.status.success() { Ok(()) } else { Err(failed("s6-svc", service, &output)) }
}

/// Run `s6-svscanctl OPTIONS SCANDIR`.
///
/// # Errors
/// 102 if no s6-svscan runs on the scandir. 99 or 111 as for `run`; 111, with the first line of its stderr, if
/// s6-svscanctl fails otherwise.
pub fn svscanctl(options: &str, scandir: &Path) -> Result<()> {
    let output = run("s6-svscanctl", &[OsStr::new(options), scandir.as_os_str()])?;
    match output.status.code() {
        Some(0) => Ok(()),
        Some(100) => Err(Error::new(Kind::WrongState, format!("no s6-svscan is running on {}", scandir.display()))),
        _ => Err(failed("s6-svscanctl", scandir, &output)),
    }
}

/// The recorded deaths of a service. s6-supervise forgets them when it starts, and the template's `finish` and a start
/// clear them, so they are those since an operator last ordered the gateway up or down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deaths {
    /// How many there were, at most `max-death-tally`. An exit with 75 is a wish to be restarted, and not counted.
    pub count: u64,
    /// How the last one was: `SIGKILL`, `exit 3`, or `OUT_OF_MEMORY`.
    pub last: Option<String>,
}

/// The word for a kill by the kernel, for memory.
pub const OUT_OF_MEMORY: &str = "out-of-memory";

impl Deaths {
    /// Was the last one a kill by the kernel, for memory?
    pub fn end_in_memory(&self) -> bool {
        self.last.as_deref() == Some(OUT_OF_MEMORY)
    }

    /// Read the output of s6-svdt: a death a line, the last one last. `kills` has the labels of those that were the
    /// kernel's kills for memory.
    fn parse(text: &str, kills: &str) -> Deaths {
        let one = |line: &str| match line.split_ascii_whitespace().collect::<Vec<_>>().as_slice() {
            [label, "signal", "SIGKILL"] if kills.lines().any(|kill| kill == *label) => Some(OUT_OF_MEMORY.to_string()),
            [_, "signal", signal] => Some((*signal).to_string()),
            [_, "exitcode", code] if *code != "75" => Some(format!("exit {code}")),
            _ => None,
        };
        let deaths: Vec<String> = text.lines().filter_map(one).collect();
        Deaths { count: deaths.len() as u64, last: deaths.last().cloned() }
    }
}

/// The recorded deaths of a service, by s6-svdt. `kills` has the labels of those that were the kernel's kills for memory.
///
/// # Errors
/// 99 if s6-svdt does not end in time. 111 if it cannot be run.
pub fn svdt(service: &Path, kills: &str) -> Result<Deaths> {
    // The file is missing before s6-supervise has made it, and empty while there is no death. Then no program is run.
    if size(&service.join("supervise/death_tally"))?.unwrap_or(0) == 0 {
        return Ok(Deaths::default());
    }
    let output = run("s6-svdt", &[service.as_os_str()])?;
    if !output.status.success() {
        return Err(failed("s6-svdt", service, &output));
    }
    Ok(Deaths::parse(&String::from_utf8_lossy(&output.stdout), kills))
}

/// Run `s6-svdt-clear SERVICE`, which forgets the recorded deaths, so that a held service gets all its tries again.
/// This needs the right to write to `supervise/`. If the caller does not have it, the template's `run` does the same
/// when it finds `data/held`.
pub fn svdt_clear(service: &Path) {
    let _ = run("s6-svdt-clear", &[service.as_os_str()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row A12 of docs/failures.md.
    #[test]
    fn a_line_of_svstat_is_understood_or_refused() {
        let up = Svstat::parse("true true false true 42 0 0 17 @40b1 @40b2\n").unwrap();
        assert!(up.is_ready() && !up.is_down() && up.pid == Some(42) && up.seconds == 17);
        // s6 2.13 and later prints this for a service that was never started.
        let fresh = Svstat::parse("false false false false -1 -1 -1 1 @40b1 @40b1").unwrap();
        assert!(fresh.is_down() && fresh.pid.is_none() && fresh.exit_code.is_none());
        // The service's `finish` is running.
        assert!(!Svstat::parse("false false true false -1 -1 15 0 @40b2 @40b1").unwrap().is_down());
        for odd in ["", "up (pid 42) 17 seconds", "true true false", "true true false true 1 2 3 4"] {
            assert_eq!(Svstat::parse(odd), None);
        }
    }

    #[test]
    fn deaths_are_counted_but_not_wishes_to_be_restarted() {
        let deaths = |text| Deaths::parse(text, "@4002\n@4004\n");
        assert_eq!(deaths(""), Deaths::default());
        let text = "@4000 signal SIGKILL\n@4001 exitcode 75\n@4002 exitcode 3\n@4003 exitcode 75\n";
        assert_eq!(deaths(text), Deaths { count: 2, last: Some("exit 3".to_string()) });
        assert_eq!(deaths("@4000 signal SIGSEGV\n").last.as_deref(), Some("SIGSEGV"));
        assert_eq!(deaths("@4000 signal SIGKILL\n").last.as_deref(), Some("SIGKILL"));
        assert_eq!(deaths("@4000 signal SIGKILL\n@4004 signal SIGKILL\n").last.as_deref(), Some(OUT_OF_MEMORY));
    }

    /// Each line differs in one field, so that no field can be read in place of another one.
    #[test]
    fn each_word_of_svstat_is_one_field() {
        let line = |text| Svstat::parse(text).unwrap();
        let stat = line("true false true false 42 3 15 17 @4000000000000001 @4000000000000002");
        let up = Svstat {
            up: true,
            wanted_up: false,
            normally_up: true,
            ready: false,
            pid: Some(42),
            exit_code: Some(3),
            signal: Some(15),
            seconds: 17,
            finished: false,
        };
        assert_eq!(stat, up);
        assert!(!stat.is_ready() && !stat.is_down());
        let down = line("false true false true 0 0 0 0 @4000000000000002 @4000000000000002 more");
        assert_eq!((down.pid, down.exit_code, down.signal, down.finished), (None, Some(0), None, true));
        // The service is about to be started again, so it is neither ready nor down.
        assert!(!down.is_ready() && !down.is_down());
        assert_eq!(line("false false false false -1 256 -1 -9 @2 @1").seconds, 0);
        let huge = line("false false false false 2147483648 2147483648 9 9223372036854775807 @1 @1");
        assert_eq!((huge.pid, huge.exit_code, huge.signal, huge.seconds), (None, None, Some(9), i64::MAX as u64));
        for odd in [
            "True true false true 42 0 0 17 @1 @2",
            "1 1 0 1 42 0 0 17 @1 @2",
            "true true false true x 0 0 17 @1 @2",
            "true true false true 42 0 0 9223372036854775808 @1 @2",
            "true true false true 42 0 0 17 @1",
        ] {
            assert_eq!(Svstat::parse(odd), None, "{odd}");
        }
    }

    fn sh(ms: u64, script: &str) -> Result<Ended> {
        run_until(Deadline::after_ms(ms), "sh", &[OsStr::new("-c"), OsStr::new(script)])
    }

    #[test]
    fn a_program_that_hangs_is_killed_when_its_time_is_over() {
        for script in [
            "exec sleep 60",
            "exec sleep 60 2>&-",
            "echo said; exec sleep 60 >&-",
            "exec yes",
            "exec sleep 60 >&- 2>&-",
        ] {
            let error = sh(500, script).err().map(|e| (e.kind, e.text));
            let text = "timed out after 500 ms waiting for sh to end".to_string();
            assert_eq!(error, Some((Kind::TimedOut, text)), "{script}");
        }
    }

    #[test]
    fn of_what_a_program_says_only_the_first_part_is_kept_and_all_is_read() {
        let ended = sh(60_000, "head -c 300000 /dev/zero; head -c 200000 /dev/zero >&2; echo end; exit 3").unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!((ended.stdout.len(), ended.stderr.len()), (65_536, 65_536));
        let ended = sh(60_000, "echo out; echo error >&2; sleep 0.05; echo more").unwrap();
        assert_eq!((ended.stdout.as_slice(), ended.stderr.as_slice()), (&b"out\nmore\n"[..], &b"error\n"[..]));
        assert!(ended.status.success());
    }

    #[test]
    fn a_program_gets_nothing_from_our_environment_or_input() {
        let ended = sh(60_000, "cat; exec env -0").unwrap();
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(!said.contains("CARGO") && !said.contains("HOME="), "{said}");
    }

    #[test]
    fn how_a_program_failed_is_said_in_one_line() {
        for (script, said) in [
            ("exit 100", "it ended with 100"),
            ("echo one >&2; echo two >&2; exit 111", "it ended with 111 (one)"),
            ("kill -KILL $$", "it ended with a signal"),
        ] {
            let error = failed("s6-svc", Path::new("/scandir/gateway-coder"), &sh(60_000, script).unwrap());
            let text = format!("unable to s6-svc /scandir/gateway-coder: {said}");
            assert_eq!((error.kind, error.text), (Kind::System, text), "{script}");
        }
        let error = program("no-such-program-of-s6").unwrap_err();
        assert_eq!(error.text, "unable to find no-such-program-of-s6: is s6 installed?");
    }
}
