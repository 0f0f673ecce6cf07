//! Processes, as `/proc` shows them.

use super::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};

/// A variable in the environment of everything that a tree starts. Its value is the root of the tree.
pub const MARK: &str = "HERMES_S6_TEST_TREE";

/// One process.
#[derive(Clone, Debug)]
pub struct Process {
    pub pid: u32,
    pub ppid: u32,
    /// `/proc/PID/comm`.
    pub comm: String,
    /// The process's working directory. That of a supervisor is its service directory, by its present name.
    pub cwd: PathBuf,
    /// Its arguments, space-separated.
    pub args: String,
    /// Its environment, NUL-separated as in `/proc`.
    pub environ: Vec<u8>,
}

/// Every live process that we may look at. A zombie does not count as live.
pub fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|e| process(e.file_name().to_str()?.parse().ok()?)).collect()
}

fn process(pid: u32) -> Option<Process> {
    let dir = PathBuf::from(format!("/proc/{pid}"));
    let stat = fs::read_to_string(dir.join("stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if fields.next() == Some("Z") {
        return None;
    }
    let ppid = fields.next()?.parse().ok()?;
    let comm = fs::read_to_string(dir.join("comm")).ok()?.trim_end().to_string();
    let cwd = fs::read_link(dir.join("cwd")).ok()?;
    let args = fs::read(dir.join("cmdline")).ok()?;
    let args = String::from_utf8_lossy(&args).trim_end_matches('\0').replace('\0', " ");
    let environ = fs::read(dir.join("environ")).unwrap_or_default();
    Some(Process { pid, ppid, comm, cwd, args, environ })
}

/// Every live process of the tree at this root, except our own: those that have its mark, or work below it.
pub fn processes_of(root: &Path) -> Vec<Process> {
    let mark = format!("{MARK}={}", root.display()).into_bytes();
    let own = std::process::id();
    let marked = |p: &Process| p.environ.split(|b| *b == 0).any(|e| e == mark);
    processes().into_iter().filter(|p| p.pid != own && (marked(p) || p.cwd.starts_with(root))).collect()
}

/// Field 22 of `/proc/PID/stat`. Together with the pid it identifies one process for ever. `None` if the process has
/// ended.
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if fields.next() == Some("Z") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Send a signal. It is no error if the process has ended. After SIGKILL the process is gone, or a zombie: the kernel
/// ends a process a moment after the signal.
pub fn kill(pid: u32, signal: Signal) {
    let before = start_time(pid);
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
    if signal == Signal::KILL && before.is_some() {
        wait_until("a killed process to end", || start_time(pid) != before);
    }
}

/// How many inotify instances this process has.
pub fn instances(pid: u32) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    targets.filter(|target| target == Path::new("anon_inode:inotify")).count()
}
