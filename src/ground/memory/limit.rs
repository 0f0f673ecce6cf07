//! A limit of memory for this process, and for what it executes and starts.

use super::read;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Error, Result};
use std::path::{Path, PathBuf};

/// The name of the control group in which `/init` of the image puts process 1, so that the one above it, which has no
/// processes then, can have groups with limits.
const LEAF: &str = "hermes-s6";

/// Who keeps the limit.
pub enum Keeper {
    /// The control group in this directory. At its limit the kernel kills a process in it.
    Group(PathBuf),
    /// Each process by itself, which gets no more memory at its limit.
    Process,
}

/// Limit the memory to so many bytes: by a control group of this name, where a name is given and a group can be made,
/// else by a resource limit.
///
/// # Errors
/// The system's error if there can be no limit.
pub fn limit(group: Option<&str>, bytes: u64) -> Result<Keeper> {
    if let Some(dir) = group.zip(place()).and_then(|(name, (above, files))| enter(above.join(name), files, bytes).ok())
    {
        return Ok(Keeper::Group(dir));
    }
    // RLIMIT_DATA counts what a process has asked for, and not, as RLIMIT_AS does, the files and the reserves in its
    // address space, which are several times what a Python uses.
    let hard = getrlimit(Resource::Data).maximum.map_or(bytes, |hard| hard.min(bytes));
    setrlimit(Resource::Data, Rlimit { current: Some(hard), maximum: Some(hard) })?;
    Ok(Keeper::Process)
}

/// The files of a control group: the limit, and the limit of memory and swap together, or of swap alone.
struct Files {
    limit: &'static str,
    swap: &'static str,
    /// Is the limit of swap one of memory as well?
    both: bool,
}

const V2: Files = Files { limit: "memory.max", swap: "memory.swap.max", both: false };
const V1: Files = Files { limit: "memory.limit_in_bytes", swap: "memory.memsw.limit_in_bytes", both: true };

/// The directory in which a control group with a limit of memory can be made, if there is one.
fn place() -> Option<(PathBuf, &'static Files)> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    // The first directory that exists is that of the own group, or in a container the topmost.
    let own = |line: &str| super::directories(line).into_iter().find(|dir| dir.join("cgroup.procs").exists());
    let of = |version: fn(&str) -> bool| groups.lines().filter(|line| version(line)).find_map(own);
    if let Some(dir) = of(|line| !line.starts_with("0:")).filter(|dir| dir.join(V1.limit).exists()) {
        return Some((dir, &V1));
    }
    let dir = of(|line| line.starts_with("0:"))?;
    let above = dir.parent().filter(|_| dir.file_name().is_some_and(|name| name == LEAF)).map(Path::to_path_buf);
    let gives = |dir: &PathBuf| {
        let controllers = read(&dir.join("cgroup.subtree_control")).unwrap_or_default();
        controllers.split_ascii_whitespace().any(|name| name == "memory")
    };
    [Some(dir), above].into_iter().flatten().find(gives).map(|dir| (dir, &V2))
}

/// Make the control group, if it is not there, and enter it.
fn enter(dir: PathBuf, files: &Files, bytes: u64) -> Result<PathBuf> {
    match std::fs::create_dir(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let write = |file: &str, text: &str| std::fs::write(dir.join(file), text);
    let entered = set(&write, files, bytes).and_then(|()| write("cgroup.procs", "0"));
    if entered.is_err() {
        let _ = std::fs::remove_dir(&dir);
    }
    entered.map(|()| dir)
}

fn set(write: &dyn Fn(&str, &str) -> Result<()>, files: &Files, bytes: u64) -> Result<()> {
    let number = bytes.to_string();
    let swap = if files.both { &number } else { "0" };
    // The limit of both must not be below that of memory. Where the kernel does not count swap, there is no such file.
    let raised =
        |done: Result<()>| done.or_else(|_: Error| write(files.swap, swap).and_then(|()| write(files.limit, &number)));
    raised(write(files.limit, &number))?;
    let _ = write(files.swap, swap);
    Ok(())
}
