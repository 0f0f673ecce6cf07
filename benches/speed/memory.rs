//! The peak of each tool's resident memory, and the size of the executable.
//!
//! Before its exec, a child process has its parent's memory, and the kernel counts that in the child's peak. So the
//! tools are started by `time`, which is smaller than they are. The table has a row for `time` itself.

use crate::Result;
use crate::place::{Place, tools};
use crate::programs::Programs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The goal for a tool's resident memory, in KiB.
const GOAL: u64 = 3 * 1024;
/// The number of profiles in the home.
const PROFILES: usize = 1000;
const TIME: &str = "/usr/bin/time";

/// The commands that run without a supervisor: the tool, its arguments, and a remark for the table.
const QUIET: [(&str, &[&str], &str); 13] = [
    ("hermes-reconcile-all", &[], "first boot of 1000"),
    ("hermes-reconcile-all", &[], "all unchanged"),
    ("hermes-reconcile-one", &["p0500"], "of 1000"),
    ("hermes-port-alloc", &["p0500"], "of 1000"),
    ("hermes-port-alloc", &["-l"], "1000"),
    ("hermes-port-alloc", &["-p", "p0500"], ""),
    ("hermes-svc-list", &[], "1000"),
    ("hermes-fix-attrs", &[], "1000"),
    ("hermes-gateway-ready", &["p0500"], ""),
    ("hermes-detect-supervisor", &[], ""),
    ("hermes-run-gateway", &["p0500", "hermes-port-alloc", "-p", "p0500"], "until it executes"),
    ("hermes-run-logger", &["p0500"], "with s6-log behind it"),
    ("hermes-s6", &[], ""),
];

/// The commands that run on a real s6-svscan, in this order: the tool, its arguments, and a remark for the table.
const SUPERVISED: [(&str, &[&str], &str); 7] = [
    ("hermes-svc-register", &["p0001"], ""),
    ("hermes-svc-start", &["-w", "p0001"], ""),
    ("hermes-svc-status", &[], "1000"),
    ("hermes-svc-restart", &["-w", "p0001"], ""),
    ("hermes-svc-stop", &["-w", "p0001"], ""),
    ("hermes-reconcile-one", &["p0001"], "supervised"),
    ("hermes-svc-unregister", &["p0001"], ""),
];

pub fn run(programs: &Programs) -> Result<()> {
    let size = std::fs::metadata(&programs.tools).map_err(|e| e.to_string())?.len();
    println!("\nmemory: most KiB resident, {PROFILES} profiles; goal {GOAL} each");
    println!("the executable, which all tools are: {} KiB on disk", size / 1024);
    if !Path::new(TIME).exists() {
        return Err(format!("{TIME} is MISSING: nothing was measured"));
    }
    let mut place = Place::new(programs, Path::new("/dev/shm"), PROFILES)?;
    place.empty_scandir(rustix::process::geteuid().as_raw()).map_err(|e| e.to_string())?;
    show("(time itself, executing true)", "", resident(&place, "true", &[])?);
    let mut measured = Vec::new();
    let mut each = |place: &Place, list: &[(&'static str, &[&str], &str)]| -> Result<()> {
        for (tool, arguments, what) in list {
            show(&format!("{tool} {}", arguments.join(" ")), what, resident(place, tool, arguments)?);
            measured.push(*tool);
        }
        Ok(())
    };
    each(&place, &QUIET)?;
    place.empty_scandir(rustix::process::geteuid().as_raw()).map_err(|e| e.to_string())?;
    place.supervise();
    each(&place, &SUPERVISED)?;
    show("hermes-profile-watch true", "watching 1000", watching(&place)?);
    measured.push("hermes-profile-watch");
    for tool in tools().map_err(|e| e.to_string())?.iter().filter(|tool| !measured.contains(&tool.as_str())) {
        println!("{tool:<56} NOT MEASURED");
    }
    Ok(())
}

fn show(name: &str, what: &str, kib: u64) {
    let over = if kib > GOAL { "  OVER" } else { "" };
    println!("{name:<56} {kib:>6}  {what}{over}");
}

/// The peak of this command's resident memory, in KiB. The command may fail.
fn resident(place: &Place, tool: &str, arguments: &[&str]) -> Result<u64> {
    let mut command = place.command(TIME);
    command.args(["-q", "-f", "%M", tool]).args(arguments);
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("unable to run {TIME}: {e}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().last().unwrap_or_default();
    last.parse().map_err(|_| format!("unable to measure {tool}: {stderr}"))
}

/// The peak of a watcher's resident memory, in KiB, after the watcher's first look.
fn watching(place: &Place) -> Result<u64> {
    let mut child =
        place.tool("hermes-profile-watch").arg("true").stdin(Stdio::null()).spawn().map_err(|e| e.to_string())?;
    let start = Instant::now();
    let (mut peak, mut since) = (0, start);
    // A watcher reads the volume once and then sleeps. So its peak is final when it has not changed for half a second.
    while since.elapsed() < Duration::from_millis(500) && start.elapsed() < Duration::from_secs(30) {
        let now = peak_of(child.id())?;
        if now != peak {
            (peak, since) = (now, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().and_then(|()| child.wait()).map_err(|e| e.to_string())?;
    Ok(peak)
}

fn peak_of(pid: u32) -> Result<u64> {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(|e| format!("the watcher ended: {e}"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().map_err(|_| format!("unable to read the memory of {pid}"))
}
