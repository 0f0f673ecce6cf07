//! A home of its own for each test, and the tool run on it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A uid that no user database here has: the account of a home that belongs to it.
pub const STRANGER: u32 = 54321;

/// A home in a directory of its own, removed in the end.
pub struct Place {
    pub home: PathBuf,
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    /// A home with these profiles. Where root runs the test it belongs to somebody else, as in a container.
    pub fn new(profiles: &[&str]) -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let home = std::env::temp_dir().join(format!("hermes-s6-ports-{}-{number}", std::process::id()));
        fs::create_dir_all(home.join("profiles")).unwrap();
        let place = Place { home };
        profiles.iter().for_each(|name| place.profile(name));
        place.give_away();
        place
    }

    /// Make a profile.
    pub fn profile(&self, name: &str) {
        self.write(&format!("profiles/{name}/SOUL.md"), "");
    }

    /// Write a file below the home.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.home.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        self.give_away();
    }

    /// The text of a file below the home.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.home.join(path)).unwrap()
    }

    /// Everything below the home, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        let (mut found, mut todo) = (Vec::new(), vec![self.home.clone()]);
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    todo.push(entry.path());
                }
                found.push(entry.path());
            }
        }
        found.sort();
        found
    }

    /// Let the account of this home write nothing in it.
    pub fn make_read_only(&self) {
        fs::set_permissions(&self.home, fs::Permissions::from_mode(0o555)).unwrap();
    }

    /// hermes-port-alloc on this home, with nothing of our own environment but the PATH.
    pub fn port_alloc(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hermes-port-alloc"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("HERMES_HOME", &self.home).env("HERMES_USER", "no-such-user-here");
        command.stdin(Stdio::null());
        command
    }

    /// Run it with these arguments.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.port_alloc().args(arguments))
    }

    /// Run it; it must print this alone and succeed.
    pub fn expect(&self, arguments: &[&str], stdout: &str) {
        assert_eq!(self.run(arguments), Ended::ok(stdout), "{arguments:?}");
    }

    /// A path below the home, as messages show it.
    pub fn shown(&self, path: &str) -> String {
        self.home.join(path).display().to_string()
    }

    fn give_away(&self) {
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::lchown(&self.home, Some(STRANGER), Some(STRANGER)).unwrap();
            for path in self.files() {
                std::os::unix::fs::lchown(path, Some(STRANGER), Some(STRANGER)).unwrap();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::set_permissions(&self.home, fs::Permissions::from_mode(0o755));
        let _ = fs::remove_dir_all(&self.home);
    }
}

impl Ended {
    /// Success, silent on stderr.
    pub fn ok(stdout: &str) -> Ended {
        Ended { code: Some(0), stdout: stdout.to_string(), stderr: String::new() }
    }

    /// Failure with one line.
    pub fn fatal(code: i32, words: &str) -> Ended {
        let stderr = format!("hermes-port-alloc: fatal: {words}\n");
        Ended { code: Some(code), stdout: String::new(), stderr }
    }

    /// The same with a warning before all else.
    pub fn warned(mut self, words: &str) -> Ended {
        self.stderr = format!("hermes-port-alloc: warning: {words}\n{}", self.stderr);
        self
    }
}

/// Run a command to its end.
pub fn ended(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Inode and time of last change: what a write would alter.
pub fn stamp(path: &Path) -> (u64, i64, i64) {
    let stat = fs::metadata(path).unwrap();
    (stat.ino(), stat.mtime(), stat.mtime_nsec())
}
