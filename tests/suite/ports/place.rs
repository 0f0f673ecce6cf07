//! A home for each test of ports, and the tool that runs on it.

use crate::support::{Ran, Tree, is_root};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A home in a tree without s6-svscan.
pub struct Place {
    tree: Tree,
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
    /// A home with these profiles. If root runs the test, the home belongs to another account, as in a container.
    pub fn new(profiles: &[&str]) -> Place {
        let tree = Tree::new();
        let place = Place { home: tree.home(), tree };
        fs::create_dir(place.home.join("profiles")).unwrap();
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

    /// Make the home read-only for its account.
    pub fn make_read_only(&self) {
        fs::set_permissions(&self.home, fs::Permissions::from_mode(0o555)).unwrap();
    }

    /// The command hermes-port-alloc for this home.
    pub fn port_alloc(&self) -> Command {
        let mut command = self.tree.tool("hermes-port-alloc").command();
        command.stdin(Stdio::null());
        command
    }

    /// Run hermes-port-alloc with these arguments.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.port_alloc().args(arguments))
    }

    /// Run hermes-port-alloc, and check that it succeeds and prints exactly this.
    pub fn expect(&self, arguments: &[&str], stdout: &str) {
        assert_eq!(self.run(arguments), Ended::ok(stdout), "{arguments:?}");
    }

    /// A path below the home, as messages show it.
    pub fn shown(&self, path: &str) -> String {
        self.home.join(path).display().to_string()
    }

    fn give_away(&self) {
        if is_root() {
            for path in self.files() {
                lchown(path, Some(self.tree.uid), Some(self.tree.gid)).unwrap();
            }
        }
    }
}

impl Ended {
    /// The expected result of a success: this stdout, and an empty stderr.
    pub fn ok(stdout: &str) -> Ended {
        Ended { code: Some(0), stdout: stdout.to_string(), stderr: String::new() }
    }

    /// The expected result of a failure: this code and one line on stderr.
    pub fn fatal(code: i32, words: &str) -> Ended {
        let stderr = format!("hermes-port-alloc: fatal: {words}\n");
        Ended { code: Some(code), stdout: String::new(), stderr }
    }

    /// The same result with a warning in front.
    pub fn warned(mut self, words: &str) -> Ended {
        self.stderr = format!("hermes-port-alloc: warning: {words}\n{}", self.stderr);
        self
    }
}

/// Run a command to its end.
pub fn ended(command: &mut Command) -> Ended {
    let Ran { code, stdout, stderr, .. } = Ran::new(String::new(), &command.output().unwrap());
    Ended { code: Some(code), stdout, stderr }
}

/// The inode and the time of the last change. Every write changes one of them.
pub fn stamp(path: &Path) -> (u64, i64, i64) {
    let stat = fs::metadata(path).unwrap();
    (stat.ino(), stat.mtime(), stat.mtime_nsec())
}
