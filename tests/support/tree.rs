//! A private place for one test: a volume, a scandir, a template, the tools, and a real s6-svscan over them.

use super::process::{MARK, processes_of};
use super::scratch::Scratch;
use super::{GID, Process, Profile, Svscan, Tool, UID, copy_template, executable, is_root, wait_until};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

/// The runtime account in a tree that root runs, as `uid:gid`. No user database has it.
static ACCOUNT: LazyLock<String> = LazyLock::new(|| format!("{UID}:{GID}"));
/// The directories of the system's programs, including s6's.
const SYSTEM_PATH: &str = "/command:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A tree for one test. When it is dropped, its processes are killed and its files are removed.
pub struct Tree {
    scratch: Scratch,
    /// The runtime account.
    pub uid: u32,
    /// The account's gid.
    pub gid: u32,
    /// More variables for the environment of everything that the tree starts.
    pub env: Vec<(String, String)>,
    svscan: Mutex<Option<Svscan>>,
}

impl Tree {
    /// A tree with an empty volume and an empty scandir, and no s6-svscan yet.
    #[track_caller]
    pub fn new() -> Tree {
        let (uid, gid) = if is_root() {
            (UID, GID)
        } else {
            (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
        };
        let tree = Tree { scratch: Scratch::new(), uid, gid, env: Vec::new(), svscan: Mutex::new(None) };
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

    /// The directory of the whole tree. It belongs to root if root runs the tests.
    pub fn root(&self) -> &Path {
        &self.scratch.root
    }

    /// The volume.
    pub fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// The scan directory.
    pub fn scandir(&self) -> PathBuf {
        self.root().join("scandir")
    }

    /// This tree's own template.
    pub fn template(&self) -> PathBuf {
        self.root().join("template")
    }

    /// The first directory on the PATH. It has the tools and the stand-in `hermes`.
    pub fn bin(&self) -> PathBuf {
        self.root().join("bin")
    }

    /// A directory of the runtime account for the files of a test. It is the tools' working directory.
    pub fn scratch(&self) -> PathBuf {
        self.root().join("scratch")
    }

    /// `scandir/gateway-NAME`.
    pub fn slot(&self, profile: &str) -> PathBuf {
        self.scandir().join(format!("gateway-{profile}"))
    }

    /// The directory of this profile. It need not exist.
    pub fn profile_dir(&self, name: &str) -> PathBuf {
        if name == "default" { self.home() } else { self.home().join("profiles").join(name) }
    }

    /// The profile of this name, which is made if it does not exist.
    pub fn profile(&self, name: &str) -> Profile<'_> {
        Profile::new(self, name)
    }

    /// Remove a profile's directory, even while its gateway writes files there.
    #[track_caller]
    pub fn delete_profile(&self, name: &str) {
        let dir = self.profile_dir(name);
        wait_until("the profile to be deleted", || {
            let _ = fs::remove_dir_all(&dir);
            !dir.exists()
        });
    }

    /// The PATH: `bin`, then the system's directories.
    pub fn path(&self) -> String {
        format!("{}:{SYSTEM_PATH}", self.bin().display())
    }

    /// One of the tools, or another program on the PATH, in this tree's environment.
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
            (MARK, self.root().as_ref()),
            ("HERMES_HOME", home.as_ref()),
            ("HERMES_USER", ACCOUNT.as_str().as_ref()),
            ("HERMES_SLOT_TEMPLATE", template.as_ref()),
            ("S6_PROFILE_GATEWAY_SCANDIR", scandir.as_ref()),
        ];
        let tool = Tool::new(program, &env, &self.scratch());
        self.env.iter().fold(tool, |tool, (name, value)| tool.env(name, value))
    }

    /// As `tool`, run as the runtime account.
    pub fn tool_as_account(&self, name: &str) -> Tool {
        let tool = self.tool(name);
        if is_root() { tool.account(self.uid, self.gid) } else { tool }
    }

    /// Write an executable file into `scratch`, like a user's script. Returns its path.
    pub fn script(&self, name: &str, text: &str) -> String {
        let path = self.scratch().join(name);
        executable(&path, text);
        path.display().to_string()
    }

    /// Install the tools, the stand-in, and the template.
    fn install(&self) {
        let built = Path::new(env!("CARGO_BIN_EXE_hermes-s6")).parent().expect("a directory");
        // If the runtime account cannot reach the build directory (for example below /root), the tools are copied out
        // of it.
        let open = built.ancestors().all(|dir| fs::metadata(dir).is_ok_and(|m| m.mode() & 0o001 != 0));
        let how = if open || !is_root() { "ln -s" } else { "cp" };
        let script = r#"for tool in "$2"/hermes-*; do case ${tool##*/} in *.*) ;; *) set -- "$@" "$tool" ;; esac; done
            how=$1 bin=$3 stand_in=$4; shift 4
            $how "$@" "$bin"; cp "$stand_in" "$bin"; chmod 755 "$bin/hermes""#;
        let mut command = Command::new("sh");
        command.args(["-ec", script, "sh", how]).arg(built).arg(self.bin());
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/hermes"));
        assert!(command.status().expect("sh").success(), "unable to install into {}", self.bin().display());
        copy_template(&self.template(), &self.bin());
    }

    /// Start s6-svscan and wait until it listens.
    #[track_caller]
    pub fn svscan(&self) {
        self.svscan_with(&[]);
    }

    /// Start s6-svscan with these options, for at most `max` services, and wait until it listens.
    #[track_caller]
    pub fn svscan_max(&self, max: u32) {
        // s6 2.12 renamed the option, and counts the loggers as well.
        let usage = self.tool("s6-svscan").args(["-?", "/"]).run().stderr;
        let option = if usage.contains("maxservices") { "-c" } else { "-C" };
        self.svscan_with(&[option, &max.to_string()]);
    }

    #[track_caller]
    fn svscan_with(&self, options: &[&str]) {
        let log = fs::File::options().create(true).append(true).open(self.svscan_log()).expect("svscan.log");
        let mut command = Command::new("setsid");
        command.arg("s6-svscan").args(options).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.env("PATH", self.path()).env(MARK, self.root()).env("HERMES_HOME", self.home());
        command.env("HERMES_USER", ACCOUNT.as_str()).env("S6_PROFILE_GATEWAY_SCANDIR", self.scandir());
        command.stdout(log.try_clone().expect("descriptor")).stderr(log);
        *self.svscan.lock().expect("lock") = Some(Svscan::start(command, &self.scandir()));
    }

    /// The log of s6-svscan and of everything below it.
    pub fn svscan_log(&self) -> PathBuf {
        self.root().join("svscan.log")
    }

    /// s6-svscan's pid.
    #[track_caller]
    pub fn svscan_pid(&self) -> u32 {
        self.svscan.lock().expect("lock").as_ref().expect("a running s6-svscan").pid()
    }

    /// Every live process of this tree.
    pub fn processes(&self) -> Vec<Process> {
        processes_of(self.root())
    }

    /// Kill all processes at once, like the death of a container: no finish script runs.
    #[track_caller]
    pub fn kill_hard(&self) {
        if let Some(svscan) = self.svscan.lock().expect("lock").take() {
            svscan.kill();
        }
        self.scratch.kill_all();
    }

    /// Empty the scandir, as s6-overlay's preinit does at every start of a container.
    #[track_caller]
    pub fn wipe(&self) {
        fs::remove_dir_all(self.scandir()).expect("wipe");
        fs::create_dir(self.scandir()).expect("scandir");
    }

    /// Do what a container restart does before cont-init: kill everything, empty the scandir, start a new s6-svscan.
    #[track_caller]
    pub fn reboot(&self) {
        self.kill_hard();
        self.wipe();
        self.svscan();
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.svscan_log()).unwrap_or_default();
            let from = log.len().saturating_sub(4000);
            let from = (from..=log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(0);
            eprintln!("---- the end of {}'s svscan.log\n{}----", self.root().display(), &log[from..]);
            for p in self.processes() {
                eprintln!("{} (parent {}) {} in {}", p.pid, p.ppid, p.args, p.cwd.display());
            }
        }
        self.kill_hard();
    }
}
