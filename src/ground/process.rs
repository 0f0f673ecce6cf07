//! What `/proc` says about a process. `None` means that there is no such process. All errors are 111: `/proc` could not be
//! read just now.

use crate::ground::error::{Error, Result};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The most bytes that are read of a file in `/proc`, and the most arguments and variables of a process that are looked
/// at. A process can make both lists as long as it likes. Kubernetes makes seven variables for each service.
const LIMIT: u64 = 1 << 21;
const MOST: usize = 4096;
const MOST_VARIABLES: usize = 32_768;

/// The start time tells a process from a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The parent's pid; 0 if the parent is outside of our pid namespace.
    pub parent: i32,
    /// Clock ticks from boot to the start of the process: field 22 of `/proc/PID/stat`. An exec does not change it.
    pub start_time: u64,
    /// Has a signal stopped the process (SIGSTOP), or does a debugger hold it?
    pub stopped: bool,
}

/// The process of this pid, unless it has ended.
///
/// # Errors
/// 111 if the process could not be looked at.
pub fn stat(pid: i32) -> Result<Option<Stat>> {
    Ok(read(format!("/proc/{pid}/stat"))?.and_then(|line| parse(&line)))
}

/// Read a file of `/proc`. Such a file reports the size 0, so `std::fs::read` needs eight reads for what takes one or
/// two here; a loop over all processes is noticeably slower with it.
fn read(path: impl AsRef<Path>) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(4096);
    let read = File::open(&path).and_then(|file| file.take(LIMIT).read_to_end(&mut bytes));
    match read.map_err(|e| (e.raw_os_error().map(Errno::from_raw_os_error), e)) {
        Ok(_) => Ok(Some(bytes)),
        // With `hidepid=1` the kernel refuses a look at the processes of others; with `hidepid=2` it says that there are
        // none (proc(5)).
        Err((Some(Errno::NOENT | Errno::SRCH | Errno::PERM | Errno::ACCESS), _)) => Ok(None),
        Err((_, error)) => Err(Error::system("read", path.as_ref().display(), error)),
    }
}

/// The start time of the process in seconds since the epoch, computed with the present setting of the clock. `None` also if
/// the process could not be looked at.
pub fn started(pid: i32) -> Option<i64> {
    use rustix::time::{ClockId, clock_gettime};
    let ticks = stat(pid).ok()??.start_time;
    let after_boot = i64::try_from(ticks / rustix::param::clock_ticks_per_second()).ok()?;
    Some(clock_gettime(ClockId::Realtime).tv_sec - clock_gettime(ClockId::Boottime).tv_sec + after_boot)
}

/// The children of the first thread of the process, in this pid namespace.
///
/// # Errors
/// 111 if the process could not be looked at.
pub fn children(pid: i32) -> Result<Vec<i32>> {
    let children = read(format!("/proc/{pid}/task/{pid}/children"))?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&children).split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

/// The environment that the process was started with, as far as the process has left it alone.
///
/// # Errors
/// The system's error if it cannot be read. `FileTooLarge` if it has more than 32,768 variables.
pub fn environment(pid: i32) -> std::io::Result<Vec<(OsString, OsString)>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/environ"))?.take(LIMIT).read_to_end(&mut bytes)?;
    if bytes.iter().filter(|b| **b == 0).nth(MOST_VARIABLES).is_some() {
        let text = format!("it has more than {MOST_VARIABLES} variables");
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, text));
    }
    let pairs = bytes.split(|b| *b == 0).filter_map(|pair| {
        let equals = pair.iter().position(|b| *b == b'=')?;
        Some((OsStr::from_bytes(&pair[..equals]).into(), OsStr::from_bytes(&pair[equals + 1..]).into()))
    });
    Ok(pairs.collect())
}

pub fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// The first 4096 arguments that the process was started with, or has written over them since.
///
/// # Errors
/// 111 if the process could not be looked at.
pub fn arguments(pid: i32) -> Result<Vec<Vec<u8>>> {
    let Some(line) = read(format!("/proc/{pid}/cmdline"))? else { return Ok(Vec::new()) };
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    Ok(line.split(|b| *b == 0).take(MOST).map(<[u8]>::to_vec).collect())
}

/// The first 15 bytes of the name of the process's executable.
///
/// # Errors
/// 111 if the process could not be looked at.
pub fn name(pid: i32) -> Result<Option<String>> {
    let name = read(format!("/proc/{pid}/comm"))?;
    Ok(name.map(|name| String::from_utf8_lossy(&name).trim_end_matches('\n').to_string()))
}

/// Our own process, asked for by its first thread. This works also if the mounted `/proc` is that of another pid namespace.
/// `None` if there is no `/proc`.
///
/// # Errors
/// 111 if the process could not be looked at.
pub fn own_stat() -> Result<Option<Stat>> {
    // The first thread started with the process. qemu-user answers for /proc/self/stat itself, with another start time
    // than everybody else sees.
    Ok(read("/proc/thread-self/stat")?.and_then(|line| parse(&line)))
}

/// The real uid of the process.
///
/// # Errors
/// 111 if the process could not be looked at.
pub fn uid(pid: i32) -> Result<Option<u32>> {
    let status = read(format!("/proc/{pid}/status"))?.unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    Ok(ids.and_then(|ids| ids.split_ascii_whitespace().next()?.parse().ok()))
}

/// The soft limit of open files of the process, in descriptors; `None` also if there is no limit.
///
/// # Errors
/// 111 if the process could not be looked at.
pub fn max_open_files(pid: i32) -> Result<Option<usize>> {
    Ok(read(format!("/proc/{pid}/limits"))?.and_then(|limits| soft_limit(&limits, "Max open files ")))
}

/// The soft limit of this name in `/proc/PID/limits`, see proc_pid_limits(5); `None` also if it is `unlimited`.
fn soft_limit(limits: &[u8], name: &str) -> Option<usize> {
    let limits = String::from_utf8_lossy(limits);
    limits.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next()?.parse().ok()
}

/// The id of the kernel's present boot.
pub fn boot_id() -> Option<String> {
    Some(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_string())
}

/// The name of our pid namespace, such as `pid:[4026531836]`.
pub fn pid_namespace() -> Option<String> {
    Some(std::fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned())
}

/// Parse `/proc/PID/stat`. The process chooses the name in the second field, which may contain anything; the name ends
/// at the last `)` of the line.
fn parse(stat: &[u8]) -> Option<Stat> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let state = *fields.first()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    let (parent, start_time) = (fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?);
    Some(Stat { parent, start_time, stopped: matches!(state, "T" | "t") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_fake_the_fields_behind_it() {
        let line = b"7 (a) Z 1 (b) S 42 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 1234 0 0\n";
        assert_eq!(parse(line), Some(Stat { parent: 42, start_time: 1234, stopped: false }));
        let stopped = b"7 (a) T 42 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 1234 0 0\n";
        assert_eq!(parse(stopped), Some(Stat { parent: 42, start_time: 1234, stopped: true }));
        assert_eq!(parse(b"7 (a) Z 42 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 1234 0 0\n"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn the_soft_limit_of_open_files_is_found_among_the_others() {
        let limits = b"Limit                     Soft Limit           Hard Limit           Units     \n\
            Max resident set          unlimited            unlimited            bytes     \n\
            Max open files            64                   4096                 files     \n";
        assert_eq!(soft_limit(limits, "Max open files "), Some(64));
        assert_eq!(soft_limit(limits, "Max resident set "), None);
        assert_eq!(soft_limit(b"Max open files", "Max open files "), None);
        assert_eq!(soft_limit(b"", "Max open files "), None);
    }

    #[test]
    fn of_lists_without_end_a_part_is_looked_at() {
        let many: Vec<(String, &str)> = (0..50_000).map(|n| (format!("v{n}"), "")).collect();
        let mut sleep = std::process::Command::new("sleep");
        sleep.arg("1000").args(vec!["0"; 50_000]).env_clear().envs(many).env("PATH", "/usr/bin:/bin");
        let mut child = sleep.spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let (count, environment) = (arguments(pid).unwrap().len(), environment(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(count, MOST);
        assert_eq!(environment.unwrap_err().to_string(), "it has more than 32768 variables");
    }

    #[test]
    fn we_are_a_process() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(stat(own).unwrap().is_some_and(|s| s.start_time > 0 && s.parent > 0));
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
        assert!(started(own).is_some_and(|at| (now - 3600..=now + 1).contains(&at)));
        assert_eq!(uid(own).unwrap(), Some(rustix::process::getuid().as_raw()));
        assert!(pid_namespace().is_some_and(|ns| ns.starts_with("pid:[")));
    }
}
