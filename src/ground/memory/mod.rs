//! Memory: how much is left, in the machine and in every control group of this process, whether the processes stand
//! still for want of it, and how many the kernel has killed for it.

mod limit;

pub use limit::{Keeper, limit};

use std::path::{Component, Path, PathBuf};

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The bytes that one more process can use before the kernel kills one. Pages of files count as free, because the
/// kernel drops them first. `None` if nothing tells.
pub fn left() -> Option<u64> {
    let host = read(Path::new("/proc/meminfo")).and_then(|text| field(&text, "MemAvailable:")).map(|kb| kb * 1024);
    groups().iter().filter_map(|dir| left_in(|name| read(&dir.join(name)))).chain(host).min()
}

/// How much of the last ten seconds, in percent, every process that had something to do stood still for want of memory:
/// in a control group of this process, where one tells, else in the machine. `None` if nothing tells.
pub fn stalled() -> Option<u64> {
    let in_file = |file: &Path| full(&read(file)?);
    let in_groups = groups().iter().filter_map(|dir| in_file(&dir.join("memory.pressure"))).max();
    in_groups.or_else(|| in_file(Path::new("/proc/pressure/memory")))
}

/// The whole percents in the line `full avg10=1.53 ...`, see the kernel's documentation of PSI.
fn full(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("full avg10="))?;
    line.split(['.', ' ']).next()?.parse().ok()
}

/// How many processes the kernel has killed for memory, and the file that says so.
pub struct Kills {
    pub count: u64,
    pub file: PathBuf,
}

impl Kills {
    /// Those in the control group in this directory, else in the closest group of this process that tells, else in the
    /// machine. `None` if nothing tells.
    pub fn now(group: Option<&Path>) -> Option<Kills> {
        let groups = group.map(Path::to_path_buf).into_iter().chain(groups());
        let files = groups.flat_map(|dir| ["memory.events", "memory.oom_control"].map(|name| dir.join(name)));
        let mut files = files.chain([PathBuf::from("/proc/vmstat")]);
        files.find_map(|file| Some(Kills { count: field(&read(&file)?, "oom_kill")?, file }))
    }
}

/// The `oom_score_adj` of this process, see proc_pid_oom_score_adj(5).
pub fn own_score() -> Option<i32> {
    score(Path::new("/proc/self"))
}

/// The `oom_score_adj` of the process with this directory in `/proc`.
pub fn score(process: &Path) -> Option<i32> {
    read(&process.join("oom_score_adj"))?.trim().parse().ok()
}

/// Give this `oom_score_adj` to the process with this directory in `/proc`. Raising the number needs no right. Where it
/// cannot be raised, the process runs all the same.
pub fn set_score(process: &Path, score: i32) {
    let _ = std::fs::write(process.join("oom_score_adj"), score.to_string());
}

/// Let the kernel choose this process, and what it executes and starts, before others with as much memory, where it runs
/// out of memory.
pub fn go_first() {
    if let Some(own) = own_score() {
        set_score(Path::new("/proc/self"), gateways_score(own));
    }
}

/// The score of a gateway, of which nothing of s6's has more than `own`.
pub fn gateways_score(own: i32) -> i32 {
    (own + 100).min(MOST)
}

/// The greatest score that there is. A process with it goes before others, however small it is.
pub const MOST: i32 = 1000;

/// The directories of the control groups in which limits of memory may be that hold for this process: its own, and
/// those above it.
fn groups() -> Vec<PathBuf> {
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    groups.lines().flat_map(directories).collect()
}

/// The directories in which the limits of memory may be that hold by this line of `/proc/self/cgroup`: that of the
/// control group, and those above it. In a container the path may be the host's; then only the topmost exists.
fn directories(line: &str) -> Vec<PathBuf> {
    let mut fields = line.splitn(3, ':');
    let (Some(number), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
        return Vec::new();
    };
    let mount = match (number, controllers.split(',').any(|name| name == "memory")) {
        ("0", _) => Path::new("/sys/fs/cgroup"),
        (_, true) => Path::new("/sys/fs/cgroup/memory"),
        _ => return Vec::new(),
    };
    let below = Path::new(path).strip_prefix("/").unwrap_or(Path::new(""));
    let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    let below = if plain { below } else { Path::new("") };
    below.ancestors().map(|part| mount.join(part)).collect()
}

/// What is left in one control group, of version 2 or 1. `None` if it has no limit.
fn left_in(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    let (limit, used, prefix) = match number("memory.max") {
        Some(limit) => (limit, number("memory.current")?, ""),
        None => (number("memory.limit_in_bytes")?, number("memory.usage_in_bytes")?, "total_"),
    };
    let stat = read("memory.stat").unwrap_or_default();
    let files = |kind: &str| field(&stat, &format!("{prefix}{kind}_file")).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(files("active") + files("inactive"))))
}

/// The number behind this word at the beginning of a line.
fn field(text: &str, word: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_ascii_whitespace);
    lines.find_map(|mut words| (words.next() == Some(word)).then(|| words.next()?.parse().ok()).flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_the_limit_without_what_is_used_for_other_things_than_files() {
        type Files = &'static [(&'static str, &'static str)];
        const STAT: &str = "anon 5\ninactive_file 20\nactive_file 10\ntotal_inactive_file 2\ntotal_active_file 1\n";
        let tables: [(Files, Option<u64>); 6] = [
            (&[("memory.max", "100\n"), ("memory.current", "70\n"), ("memory.stat", STAT)], Some(60)),
            (&[("memory.max", "100\n"), ("memory.current", "70\n")], Some(30)),
            (&[("memory.max", "100\n"), ("memory.current", "170\n")], Some(0)),
            (&[("memory.max", "max\n"), ("memory.current", "70\n")], None),
            (&[("memory.limit_in_bytes", "100\n"), ("memory.usage_in_bytes", "70\n"), ("memory.stat", STAT)], Some(33)),
            (&[], None),
        ];
        for (files, left) in tables {
            let read = |name: &str| files.iter().find(|(file, _)| *file == name).map(|(_, text)| text.to_string());
            assert_eq!(left_in(read), left, "{files:?}");
        }
    }

    #[test]
    fn a_stall_is_in_whole_percents() {
        let text = "some avg10=99.00 avg60=1.00 avg300=0.00 total=5\nfull avg10=12.93 avg60=0.10 avg300=0.00 total=3\n";
        assert_eq!(full(text), Some(12));
        for odd in ["", "full avg10=", "some avg10=12.93 avg60=0.10", "full avg10=x.1 avg60=0"] {
            assert_eq!(full(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_limit_above_holds_below() {
        for (line, wanted) in [
            ("0::/", &["/sys/fs/cgroup/"][..]),
            ("0::/a/b", &["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup/"]),
            ("4:cpu,memory:/x", &["/sys/fs/cgroup/memory/x", "/sys/fs/cgroup/memory/"]),
            ("0::/../x", &["/sys/fs/cgroup/"]),
            ("3:cpuset:/", &[]),
            ("odd", &[]),
        ] {
            let wanted: Vec<PathBuf> = wanted.iter().map(PathBuf::from).collect();
            assert_eq!(directories(line), wanted, "{line}");
        }
    }

    #[test]
    fn this_machine_has_memory_left() {
        assert!(left().is_some_and(|bytes| bytes > 0));
    }
}
