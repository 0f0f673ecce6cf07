//! A home on a real file system, and the tools run on it as root with a runtime account of its own.
#![allow(dead_code)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The runtime account of these tests: the owner of the home, since `HERMES_USER` names nobody.
pub const ACCOUNT: u32 = 10000;

/// A directory of one test, with the home in it.
pub struct Volume {
    top: PathBuf,
    pub home: PathBuf,
}

impl Volume {
    pub fn new() -> Volume {
        assert!(rustix::process::geteuid().is_root(), "these tests need root: they play a root process and an account");
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let top = std::env::temp_dir().join(format!("hermes-s6.{}.{number}", std::process::id()));
        let home = top.join("home");
        fs::create_dir_all(&home).unwrap();
        for dir in [&top, &home] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let volume = Volume { top, home };
        volume.give(&volume.home);
        volume.dir("profiles");
        volume
    }

    /// A path beside the home, which the account has no right to.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.top.join(name)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    pub fn give(&self, path: &Path) {
        chown(path, Some(ACCOUNT), Some(ACCOUNT)).unwrap();
    }

    /// A directory of the account.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        self.give(&path);
        path
    }

    /// A file of the account.
    pub fn file(&self, name: &str) -> PathBuf {
        let path = self.root_file(name);
        self.give(&path);
        path
    }

    /// A file that root left.
    pub fn root_file(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, "root was here\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// A real profile of the account.
    pub fn profile(&self, name: &str) -> PathBuf {
        let path = self.dir(&format!("profiles/{name}"));
        self.file(&format!("profiles/{name}/SOUL.md"));
        path
    }

    pub fn owner(&self, name: &str) -> u32 {
        fs::symlink_metadata(self.path(name)).unwrap().uid()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // std's removal keeps a descriptor for every level; some of these trees are too deep for that.
        let _ = Command::new("rm").arg("-rf").arg(&self.top).status();
    }
}

/// The environment that every tool gets here.
pub fn environment(command: &mut Command) -> &mut Command {
    command.env("HERMES_USER", "no-such-account").env_remove("HERMES_HOME")
}

/// Run it to its end: exit code, stdout, stderr.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = environment(command).output().unwrap();
    let code = status.code().unwrap_or_else(|| panic!("{command:?}: {status}"));
    (code, String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Wait until it is so, for a minute at most.
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited a minute until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
