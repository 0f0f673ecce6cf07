//! Giving files that root left on the volume back to the runtime account. The old `chown -R` at boot did this with two
//! faults: it followed links that the account had planted (H2: CWE-59, CWE-367), and it wrote every inode at every boot
//! (H3).
//!
//! This is the only code that acts on the volume with root's own rights, because only root can give a file away, and
//! only root can read a directory that root left with the mode 0700. The account may rearrange the tree at the same
//! time. These rules make that harmless:
//!
//! - The path of the home goes through no link except root's own (`trusted`).
//! - Everything is opened by `openat2` from an open directory: beneath the home, and through no symbolic link and no
//!   mount point. `RESOLVE_NO_XDEV` recognises mount points. Without openat2, the number of the mount does. Both also
//!   stop at a bind mount of the same file system. `st_dev` would not, and on btrfs and overlayfs it differs within one
//!   mount.
//! - The owner is changed through an open descriptor, after `fstat` of that same descriptor has shown an object that
//!   belongs to root and is a directory or a regular file with a single link. Nothing is done by name.
//! - A regular file with more than one link is left alone: root may keep it elsewhere on the volume, and the account
//!   may have linked it into a profile. But the file has one link again when root deletes or replaces its own name, and
//!   then the account would get the old content. `fs.protected_hardlinks` keeps the account from linking files that are
//!   not its own, so where it is not 1, regular files are left alone, with a warning. A file that gains a link between
//!   `fstat` and `fchown` had its only name in the account's part of the volume, so it was to be given away.
//! - If the account's uid has changed, everything in the home that belongs to its former uid is given to it: who could
//!   use that uid could use these files. The number of links does not matter then, except that the rule about
//!   `fs.protected_hardlinks` holds here too.
//! - `chown` clears set-id bits and file capabilities by itself. Modes are never changed (C13), nor are owners other
//!   than root (C8).
//!
//! The walk takes bounded time, memory, descriptors and log lines, whatever tree the account makes. It has a limit of
//! depth, uses one buffer and one descriptor a level, and ends at a deadline. Without the deadline, an account that
//! keeps moving directories to where the walk comes next could keep it going for ever.
//!
//! The home itself is given back as well. If the engine had to make the directory of a bind mount, it belongs to root,
//! and nothing works until the account can write there. The owner of a directory can rename its entries, so root cannot
//! keep anything from the account directly inside a home. Therefore a home that is a directory of the system is
//! refused.

mod walk;

use crate::ground::account::Account;
use crate::ground::deadline::Deadline;
use crate::ground::error::{Error, Kind, Result, cause_text};
use crate::ground::message::Log;
use crate::ground::trusted::{self, Rule};
use rustix::fs::{AtFlags, FileType, StatxFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Directories of the system that a mistyped home must not give away. `SYSTEM` is exactly these directories;
/// `SYSTEM_BELOW` is these and everything below them.
const SYSTEM: [&str; 14] =
    ["/", "/bin", "/dev", "/home", "/lib", "/media", "/mnt", "/opt", "/root", "/run", "/sbin", "/srv", "/tmp", "/var"];
const SYSTEM_BELOW: [&str; 5] = ["/boot", "/etc", "/proc", "/sys", "/usr"];

/// How many warnings, and how many lines of `-v`, are printed. A file system that refuses every chown would otherwise
/// fill the boot log (C8).
const TOLD: u64 = 10;

/// How many of the objects that were given back are named, for the same reason.
const NAMED: u64 = 1000;

/// The result of a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many directories and regular files were looked at.
    pub checked: u64,
    /// How many of them were given back, or would be in a dry run.
    pub updated: u64,
    /// How many could not be looked at or given back.
    pub failed: u64,
    /// The directory in which the deadline passed, relative to the home. What comes after it was not looked at.
    pub stopped_in: Option<String>,
}

/// What a walk reaches besides root's own files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach {
    /// The uid that the account had before.
    pub former: Option<u32>,
    /// How many levels below the home the walk goes down; `None` for as many as it can.
    pub levels: Option<usize>,
}

/// Give to `account` every directory and every regular file with one link that belongs to root: the home, the files of
/// Hermes Agent at its top, and all below its `profiles`, `logs`, `cron`, `pairing` and `platforms`. If the account had
/// the uid `former` before, everything in the home that belongs to that uid is given to it as well. Deeper directories
/// than `levels` below the home are not looked at. The home itself is given last, so that a later run can see whose it
/// was, and go on. `updated` is called with the path, relative to the home, of each of the first thousand objects. If the account
/// is root, there is nothing to do. A caller that is not root only gets a failure for each object that belongs to root.
///
/// # Errors
/// 111 if the home cannot be opened. 100 if the home is a directory of the system. The error of `updated`. An object
/// that cannot be given back is a warning and is counted. When the deadline passes, the walk ends, and the outcome says
/// so.
pub fn give_back(
    home: &Path,
    account: &Account,
    reach: Reach,
    dry_run: bool,
    deadline: Deadline,
    log: &dyn Log,
    updated: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<Outcome> {
    // Root gives away what it finds there, so the path must lead through no link of anybody else's.
    let found = trusted::open_dir(home, Rule::RootsLinks);
    let (dir, real) = found.map_err(|wrong| Error::new(Kind::System, format!("unable to open {wrong}")))?;
    if SYSTEM.iter().any(|d| real == Path::new(d)) || SYSTEM_BELOW.iter().any(|d| real.starts_with(d)) {
        return Err(Error::new(Kind::Usage, format!("refusing to give {} away: it is no home", real.display())));
    }
    let mut pass = GiveBack {
        account,
        former: reach.former,
        levels: reach.levels,
        roots_too: true,
        dry_run,
        deadline,
        log,
        updated,
        outcome: Outcome::default(),
        links_are_safe: None,
        told: Told::default(),
    };
    if account.uid != 0 {
        pass.directory(&dir, &mut Vec::new(), 0)?;
        if reach.former.is_some() && pass.outcome.stopped_in.is_none() {
            pass.roots_too = true;
            pass.hand_over(&dir, &|| shown(b"", b""))?;
        }
    }
    let more = pass.outcome.failed - pass.told.warnings;
    if more > 0 {
        log.warning(&format!("{more} more like these"));
    }
    if pass.told.notes > TOLD {
        log.info(&format!("{} more like these", pass.told.notes - TOLD));
    }
    Ok(pass.outcome)
}

struct GiveBack<'a> {
    account: &'a Account,
    former: Option<u32>,
    levels: Option<usize>,
    /// Is what belongs to root given back here as well?
    roots_too: bool,
    dry_run: bool,
    deadline: Deadline,
    log: &'a dyn Log,
    updated: &'a mut dyn FnMut(&str) -> Result<()>,
    outcome: Outcome,
    /// Is `fs.protected_hardlinks` 1? It is read when the first regular file needs it.
    links_are_safe: Option<bool>,
    told: Told,
}

/// What was logged so far.
#[derive(Default)]
struct Told {
    warnings: u64,
    /// Lines for `-v`, including those that were not printed.
    notes: u64,
    too_deep: bool,
}

impl GiveBack<'_> {
    /// Give the object behind `fd` to the account if it qualifies. The name that led to it does not matter any more.
    fn hand_over(&mut self, fd: &OwnedFd, path: &dyn Fn() -> String) -> Result<()> {
        let stat = match rustix::fs::fstat(fd) {
            Ok(stat) => stat,
            Err(errno) => {
                self.failed("stat", &path(), errno);
                return Ok(());
            }
        };
        if !self.is_to_change(stat.st_uid) {
            return Ok(());
        }
        let formers = stat.st_uid != 0;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {}
            FileType::RegularFile if stat.st_nlink != 1 && !formers => {
                self.note(&format!("{} has {} links: left to root", path(), stat.st_nlink));
                return Ok(());
            }
            FileType::RegularFile if !*self.links_are_safe.get_or_insert_with(links_are_safe) => {
                self.count(&format!("leaving {} to root: fs.protected_hardlinks is not 1 on this machine", path()));
                return Ok(());
            }
            FileType::RegularFile => {}
            FileType::Symlink | FileType::Fifo | FileType::Socket if formers => {}
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
        if self.outcome.updated > NAMED {
            return Ok(());
        }
        (self.updated)(&path())
    }

    /// Is what belongs to this uid given to the account?
    fn is_to_change(&self, uid: u32) -> bool {
        if uid == 0 { self.roots_too } else { self.former == Some(uid) }
    }

    fn failed(&mut self, verb: &str, path: &str, errno: Errno) {
        match errno {
            // The account has removed or replaced it since it was listed.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => {}
            Errno::XDEV => self.note(&format!("{path} is a mount point: left alone")),
            Errno::PERM if verb.starts_with("change") && rustix::process::geteuid().is_root() => {
                let cause = cause_text(&errno.into());
                self.count(&format!("unable to {verb} {path}: {cause} (CAP_CHOWN is needed)"));
            }
            _ => self.count(&format!("unable to {verb} {path}: {}", cause_text(&errno.into()))),
        }
    }

    /// A directory that is nested too deep. Only the first one is logged, since there are usually many.
    fn too_deep(&mut self, path: &str, levels: usize) {
        if std::mem::replace(&mut self.told.too_deep, true) {
            self.outcome.failed += 1;
        } else {
            self.count(&format!("{path} is nested deeper than {levels} levels: left to root, and what is in it"));
        }
    }

    fn count(&mut self, text: &str) {
        self.outcome.failed += 1;
        if self.told.warnings < TOLD {
            self.told.warnings += 1;
            self.log.warning(text);
        }
    }

    fn note(&mut self, text: &str) {
        self.told.notes += 1;
        if self.told.notes <= TOLD {
            self.log.info(text);
        }
    }
}

/// Type and owner of the object that has this name now, without asking a file server again. This is only a hint, which
/// `hand_over` verifies.
fn look(dir: &OwnedFd, name: &CStr) -> rustix::io::Result<(FileType, u32)> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let seen = match rustix::fs::statx(dir, name, flags, StatxFlags::TYPE | StatxFlags::UID) {
        // Linux before 4.11 and some sandboxes do not have statx.
        Err(Errno::NOSYS | Errno::PERM) => {
            let seen = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
            return Ok((FileType::from_raw_mode(seen.st_mode), seen.st_uid));
        }
        seen => seen?,
    };
    Ok((FileType::from_raw_mode(seen.stx_mode.into()), seen.stx_uid))
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
