//! Scratch directories, one for each tree. At the end the directory is removed, and every process in it is killed.

use super::{is_root, kill, processes_of, program, wait_until};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::process::Signal;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that belongs to one test.
pub struct Scratch {
    pub root: PathBuf,
    /// The lock, which is held as long as the directory is in use. Processes in other PID namespaces respect it as
    /// well.
    _lock: OwnedFd,
}

impl Scratch {
    /// A new, locked directory. It is made while the lock of the base directory is held, so that no sweep comes in
    /// between.
    #[track_caller]
    pub fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let _alone = locked(&BASE, FlockOperation::LockExclusive);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let root = BASE.join(format!("hermes-s6-test.{}.{count}", std::process::id()));
            match fs::create_dir(&root) {
                Ok(()) => {
                    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).expect("mode");
                    let _lock = locked(&root, FlockOperation::NonBlockingLockExclusive).expect("a lock of our own");
                    return Scratch { root, _lock };
                }
                // A process in another PID namespace may have the same pid.
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => panic!("unable to make {}: {e}", root.display()),
            }
        }
    }

    /// Kill every process of this directory, until none is left.
    #[track_caller]
    pub fn kill_all(&self) {
        wait_until("the tree to be dead", || {
            let left = processes_of(&self.root);
            left.iter().for_each(|p| kill(p.pid, Signal::KILL));
            left.is_empty()
        });
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.kill_all();
        open_up(&self.root);
        // std keeps a descriptor open for every level, and some trees are too deep for that.
        let removed = Command::new("rm").arg("-rf").arg(&self.root).status();
        let removed = removed.is_ok_and(|status| status.success());
        assert!(removed || std::thread::panicking(), "unable to remove {}", self.root.display());
    }
}

/// Make everything accessible: a plain user cannot remove the entries of a directory that a test made unreadable.
fn open_up(root: &Path) {
    if !is_root() {
        let _ = Command::new("chmod").args(["-Rf", "u+rwX"]).arg(root).status();
    }
}

/// The base directory. Every component of a template's path must belong to root, and the directory must not be
/// `noexec`.
static BASE: LazyLock<PathBuf> = LazyLock::new(|| {
    let candidates = if is_root() {
        vec![PathBuf::from("/run"), PathBuf::from("/var/lib"), PathBuf::from("/opt")]
    } else {
        vec![std::env::temp_dir()]
    };
    let base = candidates.into_iter().find(|dir| program::can_execute_in(dir)).expect("a directory for the trees");
    sweep(&base);
    base
});

/// Remove the scratch directories of test runs that died (Ctrl-C, a killed build).
fn sweep(base: &Path) {
    let _alone = locked(base, FlockOperation::LockExclusive);
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let own = entry.metadata().is_ok_and(|m| m.is_dir() && m.uid() == rustix::process::geteuid().as_raw());
        if !own || !entry.file_name().to_string_lossy().starts_with("hermes-s6-test.") {
            continue;
        }
        if let Some(_lock) = locked(&entry.path(), FlockOperation::NonBlockingLockExclusive) {
            drop(Scratch { root: entry.path(), _lock });
        }
    }
}

fn locked(dir: &Path, how: FlockOperation) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(dir, flags, Mode::empty()).ok()?;
    rustix::fs::flock(&fd, how).ok().map(|()| fd)
}
