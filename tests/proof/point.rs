//! The points at which a tool can be disturbed. They are found by running the tool under strace once, undisturbed.

use std::collections::BTreeMap;

/// A disturbance of one system call of the tool, written `CALL:N=ACTION`: ACTION is KILL or an errno. Or a disturbance
/// of the N-th program of s6 that the tool runs, written `program:N=ACTION`: the program is killed BEFORE or AFTER its
/// work, or it does nothing and exits 111.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub call: String,
    /// N for the N-th call of this name, counted from 1. strace calls this `when=N`.
    pub number: u32,
    pub action: String,
}

impl Point {
    pub fn parse(text: &str) -> Option<Point> {
        let (at, action) = text.split_once('=')?;
        let (call, number) = at.split_once(':')?;
        Some(Point { call: call.to_string(), number: number.parse().ok()?, action: action.to_string() })
    }

    /// Is this a disturbance of a program of s6?
    pub fn of_program(&self) -> bool {
        self.call == "program"
    }

    pub fn kills(&self) -> bool {
        self.action == "KILL"
    }

    /// The disturbance as an argument of strace's option `-e`.
    pub fn inject(&self) -> String {
        let Point { call, number, action } = self;
        if self.kills() {
            format!("{call}:signal=KILL:when={number}")
        } else {
            format!("{call}:error={action}:when={number}")
        }
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}={}", self.call, self.number, self.action)
    }
}

/// Calls that change something whatever their arguments are. The process is killed at the entry of the call. At
/// exit_group, its last call, all its work is done.
const CHANGES: [&str; 29] = [
    "mkdirat",
    "mkdir",
    "mknodat",
    "symlinkat",
    "symlink",
    "linkat",
    "link",
    "renameat",
    "renameat2",
    "rename",
    "unlinkat",
    "unlink",
    "rmdir",
    "write",
    "pwrite64",
    "writev",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "utimensat",
    "flock",
    "clone3",
    "vfork",
    "wait4",
    "exit_group",
];
/// Calls that change or ask for the rights of the tool.
const IDENTITY: [&str; 5] = ["setresuid", "setresgid", "setgroups", "capset", "capget"];
/// Calls with which the tool starts programs, and waits.
const PROCESS: [&str; 8] =
    ["clone3", "vfork", "pipe2", "poll", "ppoll", "inotify_init1", "inotify_add_watch", "socket"];

/// The points of a tool, from the log of `strace -y`. `root` is the path of the tree. Calls on the volume and the
/// scandir contain that path, and the C library's own calls do not.
pub fn points(log: &str, root: &str) -> Vec<Point> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut points = Vec::new();
    for line in log.lines() {
        let Some((call, rest)) = line.split_once('(') else { continue };
        if !call.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            continue;
        }
        let number = counts.entry(call.to_string()).and_modify(|n| *n += 1).or_insert(1);
        let mut add =
            |action: &str| points.push(Point { call: call.to_string(), number: *number, action: action.to_string() });
        if changes(call, rest) {
            add("KILL");
        }
        let errors = errors(call, rest);
        match concerns(call, rest, root) {
            Some(Concern::Each) => errors.iter().for_each(|errno| add(errno)),
            // There are dozens of such calls, one after the other. Each of them fails with only one errno, the next
            // call with the next errno.
            Some(Concern::InTurn) => {
                errors.iter().cycle().nth(*number as usize).into_iter().for_each(|errno| add(errno))
            }
            None => {}
        }
    }
    let programs = ["clone3", "clone", "vfork"].iter().filter_map(|call| counts.get(*call)).sum();
    for number in 1..=programs {
        let program = |action: &str| Point { call: "program".to_string(), number, action: action.to_string() };
        points.extend(["BEFORE", "AFTER", "111"].map(program));
    }
    points
}

fn changes(call: &str, rest: &str) -> bool {
    let opens =
        call.starts_with("open") && ["O_CREAT", "O_WRONLY", "O_RDWR", "O_TRUNC"].iter().any(|flag| rest.contains(flag));
    let locks = call == "fcntl" && (rest.contains("_SETLK") || rest.contains("_OFD_SETLK"));
    CHANGES.contains(&call) || opens || locks
}

/// Which errnos of a call are tried.
enum Concern {
    /// Try each errno. These are calls on the volume or the scandir, calls about rights, calls that start programs or
    /// wait, and writes to stdout and stderr.
    Each,
    /// Try one errno at each call. These are calls on the template, /proc and the user database, which are only read.
    InTurn,
}

fn concerns(call: &str, rest: &str, root: &str) -> Option<Concern> {
    let says = call.starts_with("write") && (rest.starts_with("1<") || rest.starts_with("2<"));
    if rest.contains(&format!("{root}/template"))
        || ["\"/proc", "</proc", "/etc/passwd", "/etc/group"].iter().any(|p| rest.contains(p))
    {
        Some(Concern::InTurn)
    } else if IDENTITY.contains(&call) || PROCESS.contains(&call) || rest.contains(root) || says {
        Some(Concern::Each)
    } else {
        None
    }
}

/// The errnos with which this call can fail.
fn errors(call: &str, rest: &str) -> &'static [&'static str] {
    match call {
        "open" | "openat" | "openat2" if rest.contains("O_CREAT") => &["EIO", "ENOMEM", "EMFILE", "EACCES", "ENOSPC"],
        "open" | "openat" | "openat2" => &["EIO", "ENOMEM", "EMFILE", "EACCES"],
        "mkdirat" | "mkdir" | "mknodat" | "symlinkat" | "symlink" | "linkat" | "link" | "renameat" | "renameat2"
        | "rename" => &["EIO", "ENOMEM", "EACCES", "ENOSPC"],
        "unlinkat" | "unlink" | "rmdir" => &["EIO", "ENOMEM", "EACCES"],
        "write" | "pwrite64" | "writev" => &["EIO", "ENOSPC"],
        "fsync" | "fdatasync" => &["EIO", "ENOSPC"],
        "ftruncate" | "flock" => &["EIO", "ENOMEM"],
        "fchmod" | "fchmodat" | "fchown" | "fchownat" | "utimensat" => &["EIO", "EACCES"],
        "fcntl" if rest.contains("SETLK") || rest.contains("GETLK") => &["EIO", "ENOMEM"],
        "read" | "pread64" | "getdents64" | "fstat" | "fstatfs" => &["EIO", "ENOMEM"],
        "newfstatat" | "statx" if rest.contains("AT_EMPTY_PATH") => &["EIO", "ENOMEM"],
        "newfstatat" | "statx" | "stat" | "lstat" | "readlink" | "readlinkat" | "faccessat" | "faccessat2"
        | "access" | "statfs" => &["EIO", "ENOMEM", "EACCES"],
        "setresuid" | "setresgid" | "setgroups" | "capset" | "capget" => &["EPERM", "ENOMEM"],
        "clone3" | "vfork" => &["EAGAIN", "ENOMEM"],
        "pipe2" | "socket" | "inotify_init1" => &["EMFILE", "ENOMEM"],
        "inotify_add_watch" => &["ENOSPC", "ENOMEM", "EACCES"],
        "poll" | "ppoll" => &["ENOMEM", "EINTR"],
        _ => &[],
    }
}
