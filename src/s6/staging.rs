//! Making slots. A slot is a service directory whose files are links into the template. It is built whole under a
//! hidden name, and published by one rename.

use crate::ground::beneath::{aside, random_suffix};
use crate::ground::error::{Error, Result};
use crate::ground::profile::Profile;
use crate::s6::scandir::{Scandir, ScandirLock};
use crate::s6::template::{HOME, Template};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, getegid};
use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// What a slot is to be.
pub struct Plan<'a> {
    pub profile: &'a Profile,
    pub template: &'a Template,
    /// What to do with its `down` file.
    pub mark: Mark,
    /// Variables for its `env/`. If there are none, an existing `env/` stays.
    pub env: &'a [(String, OsString)],
    /// The gid that may write to its control FIFO.
    pub group: u32,
    /// The home of the profile, which the slot's link `home` leads to.
    pub home: &'a Path,
}

/// What to do with a slot's `down` file, which caches the intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Remove the file: the gateway starts by itself.
    Up,
    /// Create the file: the gateway stays down.
    Down,
    /// Leave the file as it is. A new slot gets one.
    Keep,
}

/// Sets the umask to 0, so that slots get exactly the modes that are asked for. Dropping this value restores the umask.
pub(super) struct NoUmask(Mode);

impl NoUmask {
    pub(super) fn set() -> NoUmask {
        NoUmask(rustix::process::umask(Mode::empty()))
    }
}

impl Drop for NoUmask {
    fn drop(&mut self) {
        rustix::process::umask(self.0);
    }
}

/// Publish a fresh slot: build it under a hidden name, then rename it.
///
/// # Errors
/// 111 if a system call fails, or something else has the slot's name: then nothing is left behind.
pub fn publish(scandir: &Scandir, _lock: &ScandirLock, plan: &Plan) -> Result<()> {
    let unable = |e: std::io::Error| Error::system("publish", scandir.slot(plan.profile).display(), e);
    let staging = Staging::build(scandir, plan).map_err(unable)?;
    staging.rename(RenameFlags::NOREPLACE).map_err(unable)
}

/// Replace a slot that nobody runs by a fresh one. One rename exchanges the two, so at every moment a whole slot has
/// the name. Returns the hidden path of the old slot.
///
/// # Errors
/// 111 if a system call fails: then nothing has changed.
pub fn exchange(scandir: &Scandir, _lock: &ScandirLock, plan: &Plan) -> Result<PathBuf> {
    let unable = |e: std::io::Error| Error::system("replace", scandir.slot(plan.profile).display(), e);
    let staging = Staging::build(scandir, plan).map_err(unable)?;
    let path = scandir.path.join(&staging.name);
    staging.rename(RenameFlags::EXCHANGE).map_err(unable)?;
    Ok(path)
}

/// A slot that is being built under a hidden name. It is removed if it is dropped before its rename.
struct Staging<'a> {
    scandir: &'a Scandir,
    name: String,
    slot: String,
    renamed: bool,
}

impl<'a> Staging<'a> {
    fn build(scandir: &'a Scandir, plan: &Plan) -> std::io::Result<Staging<'a>> {
        let name = hidden_name(plan.profile)?;
        let staging = Staging { scandir, name, slot: plan.profile.slot(), renamed: false };
        let _umask = NoUmask::set();
        rustix::fs::mkdirat(&scandir.dir, &staging.name, Mode::from_raw_mode(0o755))?;
        let slot = open_dir(&scandir.dir, &staging.name)?;
        for dir in &plan.template.dirs {
            rustix::fs::mkdirat(&slot, dir.as_str(), Mode::from_raw_mode(0o755))?;
        }
        for (file, target) in &plan.template.files {
            rustix::fs::symlinkat(target, &slot, file.as_str())?;
        }
        rustix::fs::symlinkat(plan.home, &slot, HOME)?;
        skeleton(&slot, ["supervise", "supervise/control", "event"], Some(plan.group))?;
        if plan.template.has_logger() {
            skeleton(&slot, ["log/supervise", "log/supervise/control", "log/event"], None)?;
        }
        if !plan.env.is_empty() {
            write_env(&slot, "env", plan.env)?;
        }
        if plan.mark != Mark::Up {
            touch(&slot, "down")?;
        }
        Ok(staging)
    }

    fn rename(mut self, how: RenameFlags) -> std::io::Result<()> {
        let dir = &self.scandir.dir;
        rename(dir, &self.name, &self.slot, how)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // If the removal fails, the directory has a hidden name, and the next run sweeps it.
            let _ = std::fs::remove_dir_all(self.scandir.path.join(&self.name));
        }
    }
}

/// Publish an entry that has a supervisor and nothing to run.
///
/// # Errors
/// The system's error. A directory that is left behind has a hidden name, and the next run sweeps it.
pub fn publish_idle(scandir: &Scandir, _lock: &ScandirLock, entry: &str, profile: &Profile) -> std::io::Result<()> {
    let staging = hidden_name(profile)?;
    rustix::fs::mkdirat(&scandir.dir, &staging, Mode::from_raw_mode(0o755))?;
    touch(&open_dir(&scandir.dir, &staging)?, "down")?;
    Ok(rename(&scandir.dir, &staging, entry, RenameFlags::NOREPLACE)?)
}

/// Rename a directory that is not empty. Linux before 3.15, and some sandboxes and file systems, do not have renameat2.
/// There an exchange takes three renames. If the run is killed between them, the old directory is under its name
/// `aside`, and `restore` gives its own name back to it. A plain rename never replaces a directory that is not empty.
///
/// # Errors
/// The system's error. Nothing has changed then.
pub(super) fn rename(dir: &OwnedFd, from: &str, to: &str, how: RenameFlags) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(dir, from, dir, to, how) {
        Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => {}
        done => return done,
    }
    if how != RenameFlags::EXCHANGE {
        return rustix::fs::renameat(dir, from, dir, to);
    }
    rustix::fs::renameat(dir, to, dir, aside(to))?;
    if let Err(errno) = rustix::fs::renameat(dir, from, dir, to) {
        rustix::fs::renameat(dir, aside(to), dir, to)?;
        return Err(errno);
    }
    rustix::fs::renameat(dir, aside(to), dir, from)
}

/// Undo an exchange in the middle of which a run was killed. Returns whether there was one.
///
/// # Errors
/// The system's error.
pub(super) fn restore(dir: &OwnedFd, name: &str) -> rustix::io::Result<bool> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => {}
        looked => return looked.map(|_| false),
    }
    match rustix::fs::renameat(dir, aside(name), dir, name) {
        Err(Errno::NOENT) => Ok(false),
        done => done.map(|()| true),
    }
}

/// A new hidden name, `.gateway-NAME.XXXXXX`. s6-svscan never looks at a name that begins with a dot (B10, B11).
///
/// # Errors
/// The system's error if it gives no random bytes.
pub fn hidden_name(profile: &Profile) -> std::io::Result<String> {
    Ok(format!(".{}.{}", profile.slot(), random_suffix()?))
}

/// Make the files that s6-supervise would otherwise make, with other rights: the runtime account may control the
/// service and write nowhere. s6-supervise keeps what it finds. `event/` stays closed to the account, because
/// s6-supervise opens for writing, as root, whatever is in there, and follows links (ftrigw_notifyb_nosig.c).
fn skeleton(slot: &OwnedFd, [supervise, control, event]: [&str; 3], group: Option<u32>) -> rustix::io::Result<()> {
    rustix::fs::mkdirat(slot, supervise, Mode::from_raw_mode(0o755))?;
    rustix::fs::mkdirat(slot, event, Mode::from_raw_mode(0o700))?;
    let mode = Mode::from_raw_mode(if group.is_some() { 0o620 } else { 0o600 });
    rustix::fs::mknodat(slot, control, FileType::Fifo, mode, 0)?;
    match group {
        Some(gid) if gid != getegid().as_raw() => {
            rustix::fs::chownat(slot, control, None::<Uid>, Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)
        }
        _ => Ok(()),
    }
}

pub(super) fn write_env(slot: &OwnedFd, name: &str, env: &[(String, OsString)]) -> std::io::Result<()> {
    // 0700: values may be secrets, which only root or the owner of the scandir may read.
    rustix::fs::mkdirat(slot, name, Mode::from_raw_mode(0o700))?;
    for (key, value) in env {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(slot, format!("{name}/{key}"), flags, Mode::from_raw_mode(0o600))?;
        File::from(fd).write_all(&[value.as_bytes(), b"\n"].concat())?;
    }
    Ok(())
}

pub(super) fn touch(dir: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644)).map(drop)
}

pub(super) fn open_dir(dir: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}
