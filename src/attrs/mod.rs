//! Give back to the runtime account what root left on the volume: what the old `chown -R` at boot was for, without its two
//! faults. It followed links that the account had planted (H2: CWE-59, CWE-367), and it wrote every inode at every boot (H3).
//!
//! This is the one thing that acts on the volume with root's own rights, because only root may give a file away and only
//! root can read a directory that root left 0700. What makes it safe against an account that rearranges the tree meanwhile:
//!
//! - The home's own path goes through no link but root's (`trusted`).
//! - Everything is opened by `openat2` from an open directory: beneath the home, through no symbolic link and no mount
//!   point. Mount points are told by `RESOLVE_NO_XDEV`, which also stops at a bind mount of the same file system; `st_dev`
//!   would not, and it differs within one mount on btrfs and overlayfs.
//! - What is changed is the open descriptor, after `fstat` of that same descriptor: owned by root, and a directory or a
//!   regular file with a single link. Nothing is done to a name.
//! - Hard links: a file that root keeps elsewhere on the volume and that the account linked into a profile has two links as
//!   long as root keeps it, so it is left alone. It has one again once root deletes or replaces its own name, and then the
//!   account would get the old contents; `fs.protected_hardlinks` keeps the account from linking what is not its own in the
//!   first place, so where that is not 1 regular files are left as they are, with a warning. A file that gains a link
//!   between `fstat` and `fchown` had its only name in the account's own part of the volume, and was to be given away.
//! - `chown` clears set-id bits and file capabilities by itself. Modes are never changed (C13), nor owners other than root (C8).
//!
//! The home itself is handed over too: a bind mount's directory that the engine had to make belongs to root, and nothing
//! works before the account can write there. Whoever owns a directory can rename what is in it, so root can keep nothing
//! from the account directly inside a home; a home that is a directory of the system is therefore refused.

mod walk;

use crate::account::Account;
use crate::beneath;
use crate::exit::{Error, Exit, Result, cause_text};
use crate::message::Log;
use crate::trusted::{self, Rule};
use rustix::fs::{AtFlags, FileType, OFlags, RawDir, StatxFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use walk::{Step, Walk};

/// The directories of a home in which everything is looked at (DESIGN, section 3). Of others only Hermes Agent knows.
const BELOW: [&[u8]; 3] = [b"profiles", b"logs", b"cron"];

/// Directories of the system that a mistyped home must not give away, and those in which nothing is a home.
const SYSTEM: [&str; 14] =
    ["/", "/bin", "/dev", "/home", "/lib", "/media", "/mnt", "/opt", "/root", "/run", "/sbin", "/srv", "/tmp", "/var"];
const SYSTEM_BELOW: [&str; 5] = ["/boot", "/etc", "/proc", "/sys", "/usr"];

/// So many failures are told in full; a file system that refuses every chown would fill the boot log (C8).
const TOLD: u64 = 10;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Directories and regular files that were looked at.
    pub checked: u64,
    /// Those handed over (in a dry run: that would be).
    pub updated: u64,
    /// Those that could not be looked at or handed over.
    pub failed: u64,
}

/// Hand every root-owned directory and regular file of one link in `home`, and below its `profiles`, `logs` and `cron`, to
/// `account`; `updated` is told each one's path, relative to the home. Where the account is root itself there is nothing to
/// do. A caller who is not root may look: what belongs to root then fails.
///
/// # Errors
/// 111 if the home cannot be opened, 100 if it is a directory of the system; what `updated` returns. A single object that
/// fails is a warning and is counted.
pub fn give_back(
    home: &Path,
    account: &Account,
    dry_run: bool,
    log: &dyn Log,
    updated: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<Outcome> {
    // Root gives away what it finds there, so nobody else may have pointed the path at it.
    let found = trusted::open_dir(home, Rule::RootsLinks);
    let (dir, real) = found.map_err(|wrong| Error::new(Exit::System, format!("unable to open {wrong}")))?;
    if SYSTEM.iter().any(|d| real == Path::new(d)) || SYSTEM_BELOW.iter().any(|d| real.starts_with(d)) {
        return Err(Error::new(Exit::Usage, format!("refusing to give {} away: it is no home", real.display())));
    }
    let mut pass = Pass { account, dry_run, log, updated, outcome: Outcome::default(), links_are_safe: None };
    if account.uid != 0 {
        pass.walk(Walk::new(dir))?;
    }
    if pass.outcome.failed > TOLD {
        log.warning(&format!("{} more like these", pass.outcome.failed - TOLD));
    }
    Ok(pass.outcome)
}

struct Pass<'a> {
    account: &'a Account,
    dry_run: bool,
    log: &'a dyn Log,
    updated: &'a mut dyn FnMut(&str) -> Result<()>,
    outcome: Outcome,
    /// `fs.protected_hardlinks`, once it was asked for.
    links_are_safe: Option<bool>,
}

impl Pass<'_> {
    fn walk(&mut self, mut walk: Walk) -> Result<()> {
        let mut buffer = vec![MaybeUninit::uninit(); 32768];
        while let Some(step) = walk.advance() {
            match step {
                Step::Entered(dir) => {
                    self.outcome.checked += 1;
                    self.hand_over(&dir, &|| shown(walk.path(), b""))?;
                    self.entries(&dir, &mut walk, &mut buffer)?;
                }
                Step::Failed(errno) => self.failed("open", &shown(walk.path(), b""), errno),
            }
        }
        Ok(())
    }

    /// Look at the files of a directory, and note its subdirectories. A file that is right costs one `statx`.
    fn entries(&mut self, dir: &OwnedFd, walk: &mut Walk, buffer: &mut [MaybeUninit<u8>]) -> Result<()> {
        let top = walk.path().is_empty();
        let mut entries = RawDir::new(dir, buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => {
                    self.failed("read", &shown(walk.path(), b""), errno);
                    break;
                }
            };
            let name = entry.file_name();
            let (mut kind, mut uid) = (entry.file_type(), None);
            if matches!(kind, FileType::RegularFile | FileType::Unknown) {
                match look(dir, name) {
                    Ok(seen) => (kind, uid) = (seen.0, Some(seen.1)),
                    Err(errno) => self.failed("stat", &shown(walk.path(), name.to_bytes()), errno),
                }
            }
            match kind {
                FileType::Directory if is_below(top, name.to_bytes()) => walk.later(name.to_bytes()),
                FileType::RegularFile => {
                    self.outcome.checked += 1;
                    if uid == Some(0) {
                        self.file(dir, walk.path(), name)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn file(&mut self, dir: &OwnedFd, base: &[u8], name: &CStr) -> Result<()> {
        let path = || shown(base, name.to_bytes());
        match beneath::open_same_mount(dir, name, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(file) => self.hand_over(&file, &path),
            Err(errno) => {
                self.failed("open", &path(), errno);
                Ok(())
            }
        }
    }

    /// Hand over what `fd` is, if it is to be; whatever its name may stand for by now.
    fn hand_over(&mut self, fd: &OwnedFd, path: &dyn Fn() -> String) -> Result<()> {
        let stat = match rustix::fs::fstat(fd) {
            Ok(stat) => stat,
            Err(errno) => {
                self.failed("stat", &path(), errno);
                return Ok(());
            }
        };
        if stat.st_uid != 0 {
            return Ok(());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {}
            FileType::RegularFile if stat.st_nlink != 1 => {
                self.log.info(&format!("{} has {} links: left to root", path(), stat.st_nlink));
                return Ok(());
            }
            FileType::RegularFile if !*self.links_are_safe.get_or_insert_with(links_are_safe) => {
                self.count(&format!("leaving {} to root: fs.protected_hardlinks is not 1 on this machine", path()));
                return Ok(());
            }
            FileType::RegularFile => {}
            _ => return Ok(()),
        }
        if !self.dry_run {
            let (uid, gid) = (Uid::from_raw(self.account.uid), Gid::from_raw(self.account.gid));
            if let Err(errno) = rustix::fs::chownat(fd, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH) {
                self.failed("change the owner of", &path(), errno);
                return Ok(());
            }
        }
        self.outcome.updated += 1;
        (self.updated)(&path())
    }

    fn failed(&mut self, verb: &str, path: &str, errno: Errno) {
        match errno {
            // The account removed or replaced it since it was listed.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => {}
            Errno::XDEV => self.log.info(&format!("{path} is a mount point: left alone")),
            Errno::PERM if verb.starts_with("change") && rustix::process::geteuid().is_root() => {
                let cause = cause_text(&errno.into());
                self.count(&format!("unable to {verb} {path}: {cause} (CAP_CHOWN is needed)"));
            }
            _ => self.count(&format!("unable to {verb} {path}: {}", cause_text(&errno.into()))),
        }
    }

    fn count(&mut self, text: &str) {
        self.outcome.failed += 1;
        if self.outcome.failed <= TOLD {
            self.log.warning(text);
        }
    }
}

/// Type and owner of what has this name now, without asking a file server again: a hint, which `hand_over` verifies.
fn look(dir: &OwnedFd, name: &CStr) -> rustix::io::Result<(FileType, u32)> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let seen = rustix::fs::statx(dir, name, flags, StatxFlags::TYPE | StatxFlags::UID)?;
    Ok((FileType::from_raw_mode(seen.stx_mode.into()), seen.stx_uid))
}

fn is_below(top: bool, name: &[u8]) -> bool {
    if top { BELOW.contains(&name) } else { name != b"." && name != b".." }
}

fn links_are_safe() -> bool {
    std::fs::read("/proc/sys/fs/protected_hardlinks").is_ok_and(|text| text.trim_ascii() == b"1")
}

/// A path relative to the home, for people.
fn shown(base: &[u8], name: &[u8]) -> String {
    let slash: &[u8] = if base.is_empty() || name.is_empty() { b"" } else { b"/" };
    match [base, slash, name].concat() {
        path if path.is_empty() => ".".to_string(),
        path => String::from_utf8_lossy(&path).into_owned(),
    }
}
