//! What `/proc` says of a process.

/// When it started, in clock ticks since boot: field 22 of `/proc/PID/stat`. With the pid it names one process for good.
pub fn start_time(pid: u32) -> Option<u64> {
    field(pid, 22)?.parse().ok()
}

/// Its parent.
pub fn parent(pid: u32) -> Option<u32> {
    field(pid, 4)?.parse().ok()
}

/// Field `n`, counted from 1 as in proc(5). The command's name, field 2, is in parentheses and may hold anything.
fn field(pid: u32, n: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind_name) = stat.rsplit_once(") ")?;
    behind_name.split_ascii_whitespace().nth(n.checked_sub(3)?).map(str::to_string)
}

/// The first 15 bytes of the name of what it executes.
pub fn name(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end_matches('\n').to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn we_have_a_parent_and_a_start() {
        let own = std::process::id();
        assert_eq!(super::parent(own), Some(std::os::unix::process::parent_id()));
        assert!(super::start_time(own).is_some_and(|t| t > 0));
        assert_eq!(super::start_time(u32::MAX), None);
    }
}
