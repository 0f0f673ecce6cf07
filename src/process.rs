//! What `/proc` says of a process.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// An argument list is as long as its process likes.
const LIMIT: u64 = 1 << 21;

/// What tells one process from a later one of the same pid, and who its parent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its parent, 0 if that is outside of our pid namespace.
    pub parent: i32,
    /// Ticks between boot and its start: field 22 of `/proc/PID/stat`, the same over exec.
    pub start_time: u64,
}

/// The process of this pid, if there is one that has not ended.
pub fn stat(pid: i32) -> Option<Stat> {
    parse(&read(format!("/proc/{pid}/stat"))?)
}

/// A file of `/proc` has no size, and `std::fs::read` asks for it in eight pieces: who looks at every process feels that.
pub fn read(path: impl AsRef<Path>) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096);
    File::open(path).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Seconds since the epoch at which the process started, by the clock as it goes now.
pub fn started(pid: i32) -> Option<i64> {
    use rustix::time::{ClockId, clock_gettime};
    let ticks = stat(pid)?.start_time;
    let after_boot = i64::try_from(ticks / rustix::param::clock_ticks_per_second()).ok()?;
    Some(clock_gettime(ClockId::Realtime).tv_sec - clock_gettime(ClockId::Boottime).tv_sec + after_boot)
}

/// We ourselves.
pub fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// The first 15 bytes of the name of what it executes.
pub fn name(pid: i32) -> Option<String> {
    let name = read(format!("/proc/{pid}/comm"))?;
    Some(String::from_utf8_lossy(&name).trim_end_matches('\n').to_string())
}

/// Ourselves, also where the `/proc` that is mounted is another pid namespace's.
pub fn own_stat() -> Option<Stat> {
    parse(&read("/proc/self/stat")?)
}

/// The real uid of the process.
pub fn uid(pid: i32) -> Option<u32> {
    let status = read(format!("/proc/{pid}/status"))?;
    String::from_utf8_lossy(&status)
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
}

/// This kernel's boot.
pub fn boot_id() -> Option<String> {
    Some(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_string())
}

/// Our pid namespace, as `pid:[4026531836]`.
pub fn pid_namespace() -> Option<String> {
    Some(std::fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned())
}

/// The name in the second field is the process's own choice, and may hold anything: the last `)` ends it.
fn parse(stat: &[u8]) -> Option<Stat> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    if matches!(fields.first(), None | Some(&"Z" | &"X")) {
        return None;
    }
    Some(Stat { parent: fields.get(1)?.parse().ok()?, start_time: fields.get(19)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_fake_the_fields_behind_it() {
        let line = b"7 (a) Z 1 (b) S 42 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 1234 0 0\n";
        assert_eq!(parse(line), Some(Stat { parent: 42, start_time: 1234 }));
        assert_eq!(parse(b"7 (a) Z 42 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 1234 0 0\n"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn we_are_a_process() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(stat(own).is_some_and(|s| s.start_time > 0 && s.parent > 0));
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
        assert!(started(own).is_some_and(|at| (now - 3600..=now + 1).contains(&at)));
        assert_eq!(uid(own), Some(rustix::process::getuid().as_raw()));
        assert!(pid_namespace().is_some_and(|ns| ns.starts_with("pid:[")));
    }
}
