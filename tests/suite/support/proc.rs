//! Processes, by what `/proc` says of them.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;

/// One process.
#[derive(Clone, Debug)]
pub struct Process {
    pub pid: u32,
    pub ppid: u32,
    /// `/proc/PID/comm`.
    pub comm: String,
    /// Its working directory: a supervisor's is its service directory, by the name that it has now.
    pub cwd: PathBuf,
    /// Its arguments, space-separated.
    pub args: String,
    /// Its environment, NUL-separated as in `/proc`.
    pub environ: Vec<u8>,
}

/// Every live process that may be looked at. A zombie is not live.
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

/// Field 22 of `/proc/PID/stat`, which together with the pid names one process for ever; `None` once it is gone.
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if fields.next() == Some("Z") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Send a signal. That the process is gone already is no error.
pub fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
