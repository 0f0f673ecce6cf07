//! How much memory is left: in the machine, and in every control group of this process.

use std::path::{Component, Path, PathBuf};

/// The bytes that one more process can use before the kernel kills one. Pages of files count as free, because the
/// kernel drops them first. `None` if nothing tells.
pub fn left() -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let host = read(Path::new("/proc/meminfo")).and_then(|text| field(&text, "MemAvailable:")).map(|kb| kb * 1024);
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    groups.lines().flat_map(directories).filter_map(|dir| left_in(|name| read(&dir.join(name)))).chain(host).min()
}

/// Let the kernel choose this process, and what it executes and starts, before others with as much memory, where it runs
/// out of memory.
pub fn go_first() {
    let file = "/proc/self/oom_score_adj";
    let own = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<i32>().ok());
    // Raising the number needs no right. Where it cannot be raised, the gateway runs all the same.
    let _ = own.map(|own| std::fs::write(file, (own + HANDICAP).min(1000).to_string()));
}

/// How much sooner, in thousandths of the memory: see proc_pid_oom_score_adj(5).
const HANDICAP: i32 = 100;

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
