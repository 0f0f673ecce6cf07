//! A private place for one test: a volume, a scandir, a template, the tools, and a real s6-svscan over them.

use super::{Process, Profile, Ran, Tool, kill, processes, start_time, wait_for, wait_until};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::process::Signal;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};

/// Everything that a tree starts has this in its environment, with the tree's root as its value.
const MARK: &str = "HERMES_S6_TEST_TREE";
/// An account for the volume of a root-run tree. It is in no user database, so the tools take it from the home's owner.
const ACCOUNT: u32 = 23_456;
/// A name that no user database has.
const NO_USER: &str = "no-such-user";
/// The system's programs, s6's among them.
const SYSTEM_PATH: &str = "/command:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Does the suite run as root?
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// One test's own tree. What it started dies with it, and what it made is removed.
pub struct Tree {
    root: PathBuf,
    /// The runtime account.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    svscan: Mutex<Option<Child>>,
    /// Held as long as the tree is in use, by whichever process of whichever PID namespace.
    _lock: OwnedFd,
}

impl Tree {
    /// A tree with an empty volume and an empty scandir, and no s6-svscan yet.
    #[track_caller]
    pub fn new() -> Tree {
        let (root, lock) = claim();
        let (uid, gid) = if is_root() {
            (ACCOUNT, ACCOUNT)
        } else {
            (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
        };
        let tree = Tree { root, uid, gid, svscan: Mutex::new(None), _lock: lock };
        for dir in [tree.home(), tree.scandir(), tree.bin(), tree.template(), tree.scratch()] {
            fs::create_dir(&dir).unwrap_or_else(|e| panic!("unable to make {}: {e}", dir.display()));
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("mode");
        }
        for dir in [tree.home(), tree.scratch()] {
            chown(dir, Some(uid), Some(gid)).expect("owner");
        }
        tree.install();
        tree
    }

    /// A tree with an s6-svscan that listens.
    #[track_caller]
    pub fn up() -> Tree {
        let tree = Tree::new();
        tree.svscan();
        tree
    }

    /// The volume.
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// The scan directory.
    pub fn scandir(&self) -> PathBuf {
        self.root.join("scandir")
    }

    /// This tree's own template.
    pub fn template(&self) -> PathBuf {
        self.root.join("template")
    }

    /// First on the PATH: the tools and the stand-in `hermes`.
    pub fn bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// A directory of the runtime account's for whatever a test needs, and the tools' working directory.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// `scandir/gateway-NAME`.
    pub fn slot(&self, profile: &str) -> PathBuf {
        self.scandir().join(format!("gateway-{profile}"))
    }

    /// Where this profile is or would be.
    pub fn profile_dir(&self, name: &str) -> PathBuf {
        if name == "default" { self.home() } else { self.home().join("profiles").join(name) }
    }

    /// The profile of this name, made if it is not there.
    pub fn profile(&self, name: &str) -> Profile<'_> {
        Profile::new(self, name)
    }

    /// `rm -r` of a profile, however much its gateway is writing there.
    #[track_caller]
    pub fn delete_profile(&self, name: &str) {
        let dir = self.profile_dir(name);
        wait_until("the profile to be deleted", || {
            let _ = fs::remove_dir_all(&dir);
            !dir.exists()
        });
    }

    /// `bin:system`.
    pub fn path(&self) -> String {
        format!("{}:{SYSTEM_PATH}", self.bin().display())
    }

    /// One of the tools, or any other program of the PATH, in this tree's environment.
    pub fn tool(&self, name: &str) -> Tool {
        let program = match self.bin().join(name) {
            tool if tool.exists() => tool,
            _ if name.contains('/') => PathBuf::from(name),
            _ => (SYSTEM_PATH.split(':').map(|dir| Path::new(dir).join(name)).find(|p| p.exists()))
                .unwrap_or_else(|| panic!("no such program: {name}")),
        };
        let (path, home, scandir, template) = (self.path(), self.home(), self.scandir(), self.template());
        let env: [(&str, &OsStr); 6] = [
            ("PATH", path.as_ref()),
            (MARK, self.root.as_ref()),
            ("HERMES_HOME", home.as_ref()),
            ("HERMES_USER", NO_USER.as_ref()),
            ("HERMES_SLOT_TEMPLATE", template.as_ref()),
            ("S6_PROFILE_GATEWAY_SCANDIR", scandir.as_ref()),
        ];
        Tool::new(program, &env, &self.scratch())
    }

    /// The same as the runtime account.
    pub fn tool_as_account(&self, name: &str) -> Tool {
        let tool = self.tool(name);
        if is_root() { tool.account(self.uid, self.gid) } else { tool }
    }

    /// An executable file in `scratch`, as a user writes a script; its path.
    pub fn script(&self, name: &str, text: &str) -> String {
        let path = self.scratch().join(name);
        executable(&path, text);
        path.display().to_string()
    }

    /// Run a line of shell where the volume is mounted read-only. Nobody else sees that mount. Root only.
    pub fn on_read_only_volume(&self, command: &str) -> Ran {
        let mount =
            r#"mount --bind "$HERMES_HOME" "$HERMES_HOME" && mount -o remount,ro,bind "$HERMES_HOME" || exit 97"#;
        self.tool("unshare").args(["--mount", "sh", "-c", &format!("{mount}\n{command}")]).run()
    }

    /// Run a line of shell where the volume is another one, with what `setup` puts there and not one byte more. Nobody
    /// else sees that mount. Root only.
    pub fn on_full_volume(&self, setup: &str, command: &str) -> Ran {
        let (uid, gid) = (self.uid, self.gid);
        let script = format!(
            r#"mount -t tmpfs -o size=256k,mode=0755 none "$HERMES_HOME" || exit 97
               {setup}
               chown -R {uid}:{gid} "$HERMES_HOME"
               cat /dev/zero > "$HERMES_HOME/fill" 2> /dev/null
               {command}"#
        );
        self.tool("unshare").args(["--mount", "sh", "-c", &script]).run()
    }

    /// The tools, the stand-in, and the template with the modes that `make install` gives it.
    fn install(&self) {
        let built = Path::new(env!("CARGO_BIN_EXE_hermes-s6")).parent().expect("a directory");
        // Where the build directory is closed to the runtime account (below /root, say), the tools are copied out of it.
        let open = built.ancestors().all(|dir| fs::metadata(dir).is_ok_and(|m| m.mode() & 0o001 != 0));
        let how = if open || !is_root() { "ln -s" } else { "cp" };
        let script = r#"umask 022
            for tool in "$2"/hermes-*; do case ${tool##*/} in *.*) ;; *) $1 "$tool" "$4" ;; esac; done
            cp "$3/tests/suite/support/hermes" "$4" && chmod 755 "$4/hermes"
            cp -R "$3/template/gateway/." "$5" && chmod -R u=rwX,go=rX "$5"
            # As make install does: the directory of these tools in the scripts.
            sed -i "s|/command:/usr/local/bin:|$4:/command:/usr/local/bin:|" \
                "$5/run" "$5/finish" "$5/data/check" "$5/log/run""#;
        let mut command = Command::new("sh");
        command.args(["-ec", script, "sh", how]).arg(built).arg(env!("CARGO_MANIFEST_DIR"));
        let status = command.arg(self.bin()).arg(self.template()).status().expect("sh");
        assert!(status.success(), "unable to install into {}", self.root.display());
    }

    /// Start s6-svscan and wait until it listens.
    #[track_caller]
    pub fn svscan(&self) {
        self.svscan_with(&[]);
    }

    /// The same with these options, and for at most `max` services.
    #[track_caller]
    pub fn svscan_max(&self, max: u32) {
        // s6 2.12 renamed the option and counts the loggers too.
        let usage = self.tool("s6-svscan").args(["-?", "/"]).run().stderr;
        let option = if usage.contains("maxservices") { "-c" } else { "-C" };
        self.svscan_with(&[option, &max.to_string()]);
    }

    #[track_caller]
    fn svscan_with(&self, options: &[&str]) {
        let log = fs::File::options().create(true).append(true).open(self.svscan_log()).expect("svscan.log");
        let mut command = Command::new("setsid");
        command.arg("s6-svscan").args(options).arg(self.scandir()).current_dir("/").env_clear();
        command.env("PATH", self.path()).env(MARK, &self.root).env("HERMES_HOME", self.home());
        command.env("HERMES_USER", NO_USER).env("S6_PROFILE_GATEWAY_SCANDIR", self.scandir());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("descriptor")).stderr(log);
        let child = command.spawn().unwrap_or_else(|e| panic!("unable to run s6-svscan: {e}"));
        *self.svscan.lock().expect("lock") = Some(child);
        wait_until("s6-svscan to listen", || has_reader(&self.scandir().join(".s6-svscan/control")));
    }

    /// What s6-svscan and everything below it said.
    pub fn svscan_log(&self) -> PathBuf {
        self.root.join("svscan.log")
    }

    /// s6-svscan's pid.
    #[track_caller]
    pub fn svscan_pid(&self) -> u32 {
        self.svscan.lock().expect("lock").as_ref().expect("a running s6-svscan").id()
    }

    /// Every live process of this tree: what carries its mark or works below its root.
    pub fn processes(&self) -> Vec<Process> {
        let mark = format!("{MARK}={}", self.root.display()).into_bytes();
        let own = std::process::id();
        (processes().into_iter())
            .filter(|p| {
                p.pid != own && (p.environ.split(|b| *b == 0).any(|e| e == mark) || p.cwd.starts_with(&self.root))
            })
            .collect()
    }

    /// Kill everything at once, as when a container dies: no finish script runs, nobody says goodbye.
    #[track_caller]
    pub fn kill_hard(&self) {
        if let Some(mut svscan) = self.svscan.lock().expect("lock").take() {
            let _ = svscan.kill();
            let _ = svscan.wait();
        }
        wait_until("the tree to be dead", || {
            let left = self.processes();
            left.iter().for_each(|p| kill(p.pid, Signal::KILL));
            left.is_empty()
        });
    }

    /// Empty the scandir, as s6-overlay's preinit does at every container start.
    #[track_caller]
    pub fn wipe(&self) {
        fs::remove_dir_all(self.scandir()).expect("wipe");
        fs::create_dir(self.scandir()).expect("scandir");
    }

    /// A container restart up to where cont-init begins: hard death, an empty scandir, a new s6-svscan.
    #[track_caller]
    pub fn reboot(&self) {
        self.kill_hard();
        self.wipe();
        self.svscan();
    }

    /// The pid of the s6-supervise that works in this directory, if there is one.
    pub fn supervisor(&self, service: &Path) -> Option<u32> {
        self.processes().into_iter().find(|p| p.comm == "s6-supervise" && p.cwd == service).map(|p| p.pid)
    }

    /// `s6-svstat -o FIELDS` of this profile's slot, split; `None` where s6-supervise does not answer.
    pub fn svstat(&self, profile: &str, fields: &str) -> Option<Vec<String>> {
        let ran = self.tool("s6-svstat").args(["-o", fields]).arg(self.slot(profile)).run();
        (ran.code == 0).then(|| ran.stdout.split_whitespace().map(str::to_string).collect())
    }

    /// The pid of this profile's gateway, if s6 says that it is up.
    pub fn gateway(&self, profile: &str) -> Option<u32> {
        let stat = self.svstat(profile, "up,pid")?;
        if stat[0] == "true" { stat[1].parse().ok() } else { None }
    }

    /// Wait until this profile's gateway has started and says `running`, whatever the tools believe; its pid.
    #[track_caller]
    pub fn wait_up(&self, profile: &str) -> u32 {
        wait_for(&format!("the gateway of {profile} to run"), || {
            let pid = self.gateway(profile)?;
            let starts = fs::read_to_string(self.profile_dir(profile).join("stand-in.starts")).ok()?;
            let last = starts.lines().last()?;
            let state = Profile::at(self, profile).json();
            let running = state["gateway_state"] == "running" && state["pid"] == pid;
            (running && last == format!("{pid} {}", start_time(pid)?)).then_some(pid)
        })
    }

    /// Wait until s6 says that this profile's gateway is down, and nobody wants it up.
    #[track_caller]
    pub fn wait_down(&self, profile: &str) {
        wait_until(&format!("the gateway of {profile} to be down"), || {
            self.svstat(profile, "up,wantedup").is_some_and(|s| s == ["false", "false"])
        });
    }

    /// Entries of the scandir that are neither slots nor s6's nor a lock: nothing that is half-done may stay.
    pub fn leftovers(&self) -> Vec<String> {
        let mut names: Vec<String> = (fs::read_dir(self.scandir()).expect("scandir").flatten())
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .filter(|n| n != ".s6-svscan" && n != ".hermes-s6.lock" && !n.starts_with("gateway-"))
            .collect();
        names.sort();
        names
    }

    /// Names of the slots in the scandir, sorted.
    pub fn slots(&self) -> Vec<String> {
        let mut names: Vec<String> = (fs::read_dir(self.scandir()).expect("scandir").flatten())
            .filter_map(|e| e.file_name().to_string_lossy().strip_prefix("gateway-").map(str::to_string))
            .collect();
        names.sort();
        names
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.svscan_log()).unwrap_or_default();
            let from = log.len().saturating_sub(4000);
            let from = (from..=log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(0);
            eprintln!("---- the end of {}'s svscan.log\n{}----", self.root.display(), &log[from..]);
            for p in self.processes() {
                eprintln!("{} (parent {}) {} in {}", p.pid, p.ppid, p.args, p.cwd.display());
            }
        }
        self.kill_hard();
        clear_immutable(&self.root);
        let removed = fs::remove_dir_all(&self.root);
        assert!(removed.is_ok() || std::thread::panicking(), "unable to remove {}: {removed:?}", self.root.display());
    }
}

/// A plain user cannot remove what is in a directory that a test made unreadable.
fn clear_immutable(root: &Path) {
    if is_root() {
        return;
    }
    let mut dirs = vec![root.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        let _ = fs::set_permissions(&dir, fs::Permissions::from_mode(0o755));
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        dirs.extend(entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
    }
}

/// Does somebody read this FIFO? ENXIO says that nobody does.
fn has_reader(fifo: &Path) -> bool {
    rustix::fs::open(fifo, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).is_ok()
}

/// A template for root must be root's in every component of its path, and programs below it must be executable.
static BASE: LazyLock<PathBuf> = LazyLock::new(|| {
    let candidates = if is_root() {
        vec![PathBuf::from("/run"), PathBuf::from("/var/lib"), PathBuf::from("/opt")]
    } else {
        vec![std::env::temp_dir()]
    };
    let base = candidates.into_iter().find(|dir| can_execute_in(dir)).expect("a directory for the trees");
    sweep(&base);
    base
});

fn can_execute_in(dir: &Path) -> bool {
    let probe = dir.join(format!("hermes-s6-test.probe.{}", std::process::id()));
    let status = write_by_shell(&probe, "#!/bin/sh\n").and_then(|()| Command::new(&probe).status());
    let _ = fs::remove_file(&probe);
    status.is_ok_and(|status| status.success())
}

/// An executable file with this text.
///
/// Another process writes it: a descriptor of ours would be inherited by whatever other tests start meanwhile, and as long
/// as one of those has not come to its exec, nobody could execute the file ("Text file busy").
#[track_caller]
pub fn executable(path: &Path, text: &str) {
    write_by_shell(path, text).unwrap_or_else(|e| panic!("unable to write {}: {e}", path.display()));
}

fn write_by_shell(path: &Path, text: &str) -> std::io::Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-ec", "printf %s \"$1\" > \"$0\"; chmod 755 \"$0\""]).arg(path).arg(text).stderr(Stdio::null());
    if shell.status()?.success() { Ok(()) } else { Err(std::io::Error::other("the shell cannot")) }
}

/// Trees whose test run died (Ctrl-C, a killed build) are cleared by the next.
fn sweep(base: &Path) {
    let _alone = locked(base, FlockOperation::LockExclusive);
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let own = entry.metadata().is_ok_and(|m| m.is_dir() && m.uid() == rustix::process::geteuid().as_raw());
        if !own || !entry.file_name().to_string_lossy().starts_with("hermes-s6-test.") {
            continue;
        }
        if let Some(lock) = locked(&entry.path(), FlockOperation::NonBlockingLockExclusive) {
            let (uid, gid) = (0, 0);
            drop(Tree { root: entry.path(), uid, gid, svscan: Mutex::new(None), _lock: lock });
        }
    }
}

/// A new directory with a lock on it. Made and locked under the lock of the place, so that no sweep comes in between.
fn claim() -> (PathBuf, OwnedFd) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let _alone = locked(&BASE, FlockOperation::LockExclusive);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = BASE.join(format!("hermes-s6-test.{}.{count}", std::process::id()));
        match fs::create_dir(&root) {
            Ok(()) => {
                fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).expect("mode");
                let lock = locked(&root, FlockOperation::NonBlockingLockExclusive).expect("a lock of our own");
                return (root, lock);
            }
            // Another PID namespace counts from 1 as well.
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => panic!("unable to make {}: {e}", root.display()),
        }
    }
}

fn locked(dir: &Path, how: FlockOperation) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(dir, flags, Mode::empty()).ok()?;
    rustix::fs::flock(&fd, how).ok().map(|()| fd)
}
