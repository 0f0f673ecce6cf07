//! A tree with the profile coder and one port to give away, and slots that are published by hand.

use crate::support::{Ran, Tool, Tree, needs_root, wait_until};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

pub use crate::support::{GID, UID};

pub struct Ground {
    pub tree: Tree,
    /// The only port in the range. No process uses it at the start of the test.
    pub port: u16,
}

impl Ground {
    #[track_caller]
    pub fn new() -> Ground {
        needs_root();
        let port = free_port();
        let mut tree = Tree::new();
        tree.env.push(("HERMES_PORT_RANGE".to_string(), format!("{port}-{port}")));
        let ground = Ground { tree, port };
        ground.profile("coder");
        ground
    }

    /// The root of the tree.
    pub fn dir(&self) -> &Path {
        self.tree.root()
    }

    pub fn home(&self) -> PathBuf {
        self.tree.home()
    }

    /// Make a profile. Returns its directory.
    pub fn profile(&self, name: &str) -> PathBuf {
        self.tree.profile(name).dir
    }

    pub fn profile_dir(&self, name: &str) -> PathBuf {
        self.tree.profile_dir(name)
    }

    /// Write a file in a profile, which belongs to the account.
    pub fn give(&self, profile: &str, name: &str, text: &str) {
        let path = self.profile_dir(profile).join(name);
        fs::write(&path, text).unwrap();
        chown(&path, Some(UID), Some(GID)).unwrap();
    }

    /// Let the stand-in gateway of this profile run these lines of shell first.
    pub fn at_start(&self, profile: &str, lines: &str) {
        self.give(profile, "stand-in.conf", &format!("at_start() {{\n{lines}\n}}\n"));
    }

    pub fn tool(&self, program: &str) -> Tool {
        self.tree.tool(program).directory(self.dir())
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = self.tool(program).command();
        command.stdin(Stdio::null());
        command
    }

    /// Run a tool to its end. Returns the exit code, stdout and stderr.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str]) -> (i32, String, String) {
        self.tool(program).args(arguments).run().triple()
    }

    /// Publish a slot by hand. Returns its path.
    pub fn slot(&self, profile: &str) -> PathBuf {
        let staging = self.tree.scandir().join(format!(".gateway-{profile}"));
        for dir in ["", "data", "log"] {
            fs::create_dir(staging.join(dir)).unwrap();
            for entry in fs::read_dir(self.tree.template().join(dir)).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_file() {
                    symlink(entry.path(), staging.join(dir).join(entry.file_name())).unwrap();
                }
            }
        }
        let slot = self.tree.slot(profile);
        fs::rename(staging, &slot).unwrap();
        slot
    }

    pub fn container_log(&self) -> String {
        fs::read_to_string(self.tree.svscan_log()).unwrap_or_default()
    }

    pub fn log(&self, profile: &str) -> String {
        fs::read_to_string(self.home().join("logs/gateways").join(profile).join("current")).unwrap_or_default()
    }

    pub fn starts(&self, profile: &str) -> usize {
        self.tree.profile(profile).starts()
    }

    /// Fields of `s6-svstat -o`; empty if no s6-supervise runs there.
    pub fn svstat(&self, slot: &Path, fields: &str) -> String {
        self.tool("s6-svstat").args(["-o", fields]).arg(slot).run().stdout.trim().to_string()
    }

    /// Wait until s6 says so.
    #[track_caller]
    pub fn until_svstat(&self, slot: &Path, fields: &str, wanted: &str) {
        wait_until(&format!("{fields} to be {wanted}"), || self.svstat(slot, fields) == wanted);
    }

    #[track_caller]
    pub fn svc(&self, options: &str, slot: &Path) {
        self.tool("s6-svc").arg(options).arg(slot).run().is(0, "", "");
    }

    /// Is the gateway lock of this profile held?
    pub fn is_locked(&self, profile: &str) -> bool {
        let file = self.profile_dir(profile).join(".hermes-s6.gateway.lock");
        file.exists() && self.tool("flock").arg("-n").arg(file).arg("true").run().code != 0
    }

    /// The pids of the tree's processes that have this name.
    pub fn named(&self, name: &str) -> Vec<u32> {
        self.tree.processes().into_iter().filter(|p| p.comm == name).map(|p| p.pid).collect()
    }
}

/// Run a command to its end. Returns the exit code, stdout and stderr.
#[track_caller]
pub fn ended(output: &Output) -> (i32, String, String) {
    Ran::new(String::new(), output).triple()
}

/// A port that no process uses and that the kernel does not assign by itself. Each process of the tests gets another
/// one.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 20_000).unwrap() + 10_000;
    let ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed));
    ports.take(1000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}
