//! One slot: a service directory whose files are links into the template. Made whole under a hidden name, published by
//! one rename, brought up to date one rename at a time (DESIGN, section 4).

use crate::beneath::random_suffix;
use crate::exit::{Error, Exit, Result};
use crate::profile::Profile;
use crate::scandir::{Scandir, ScandirLock};
use crate::template::Template;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, getegid};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// What a new slot shall be.
pub struct Plan<'a> {
    /// Whose slot.
    pub profile: &'a Profile,
    /// What it is an instance of.
    pub template: &'a Template,
    /// Shall it start by itself?
    pub up: bool,
    /// Variables for its `env/`.
    pub env: &'a [(String, OsString)],
    /// The group that may write to its control FIFO.
    pub group: u32,
}

/// The umask would take away what the modes of a slot give; it comes back when this is dropped.
struct NoUmask(Mode);

impl NoUmask {
    fn set() -> NoUmask {
        NoUmask(rustix::process::umask(Mode::empty()))
    }
}

impl Drop for NoUmask {
    fn drop(&mut self) {
        rustix::process::umask(self.0);
    }
}

/// Publish a fresh slot, a new inode each time. Returns false, having done nothing, where one is there already.
///
/// # Errors
/// 111, and nothing is left behind.
pub fn publish(scandir: &Scandir, _lock: &ScandirLock, plan: &Plan) -> Result<bool> {
    let slot = plan.profile.slot();
    let shown = scandir.slot(plan.profile);
    let staging = hidden_name(plan.profile)?;
    let done = build(&scandir.dir, &staging, plan)
        .and_then(|()| rustix::fs::renameat_with(&scandir.dir, &staging, &scandir.dir, &slot, RenameFlags::NOREPLACE));
    match done {
        Ok(()) => Ok(true),
        Err(errno) => {
            let _ = std::fs::remove_dir_all(scandir.path.join(&staging));
            match errno {
                Errno::EXIST | Errno::NOTEMPTY => Ok(false),
                _ => Err(Error::system("publish", shown.display(), errno)),
            }
        }
    }
}

/// Publish an entry that has a supervisor and nothing to run.
///
/// # Errors
/// What the system says; what is left behind has a hidden name, and is swept.
pub fn publish_idle(scandir: &Scandir, _lock: &ScandirLock, entry: &str, profile: &Profile) -> std::io::Result<()> {
    let staging = hidden_name(profile).map_err(|e| std::io::Error::other(e.text))?;
    rustix::fs::mkdirat(&scandir.dir, &staging, Mode::from_raw_mode(0o755))?;
    touch(&open_dir(&scandir.dir, &staging)?, "down")?;
    Ok(rustix::fs::renameat_with(&scandir.dir, &staging, &scandir.dir, entry, RenameFlags::NOREPLACE)?)
}

/// A name that s6-svscan never looks at: `.gateway-NAME.XXXXXX` (B10, B11: unique, and it begins with a dot).
pub fn hidden_name(profile: &Profile) -> Result<String> {
    let suffix = random_suffix().map_err(|e| Error::system("name", profile.slot(), e))?;
    Ok(format!(".{}.{suffix}", profile.slot()))
}

fn build(scandir: &OwnedFd, staging: &str, plan: &Plan) -> rustix::io::Result<()> {
    let _umask = NoUmask::set();
    rustix::fs::mkdirat(scandir, staging, Mode::from_raw_mode(0o755))?;
    let slot = open_dir(scandir, staging)?;
    for dir in &plan.template.dirs {
        rustix::fs::mkdirat(&slot, dir.as_str(), Mode::from_raw_mode(0o755))?;
    }
    for (file, target) in &plan.template.files {
        rustix::fs::symlinkat(target, &slot, file.as_str())?;
    }
    skeleton(&slot, ["supervise", "supervise/control", "event"], Some(plan.group))?;
    if plan.template.has_logger() {
        skeleton(&slot, ["log/supervise", "log/supervise/control", "log/event"], None)?;
    }
    if !plan.env.is_empty() {
        write_env(&slot, plan.env)?;
    }
    if !plan.up {
        touch(&slot, "down")?;
    }
    Ok(())
}

/// What s6-supervise would make as well, with the rights that let the runtime account control the service and write
/// nowhere: `event/` stays closed to it, because s6-supervise follows links there (s6-facts, 4: tried). It keeps what it finds.
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

fn write_env(slot: &OwnedFd, env: &[(String, OsString)]) -> rustix::io::Result<()> {
    // 0700: values may be secrets, and only root or the tree's owner reads them.
    rustix::fs::mkdirat(slot, "env", Mode::from_raw_mode(0o700))?;
    for (key, value) in env {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(slot, format!("env/{key}"), flags, Mode::from_raw_mode(0o600))?;
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(b'\n');
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            rest = &rest[rustix::io::write(&fd, rest)?..];
        }
    }
    Ok(())
}

fn touch(dir: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644)).map(drop)
}

fn open_dir(dir: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// An existing slot, open for being brought up to date in place (B15).
pub struct Slot {
    dir: OwnedFd,
    shown: String,
}

/// What an update found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// Were links brought up to date?
    pub changed: bool,
    /// Has the template got another shape, which only a fresh slot can take on?
    pub stale: bool,
}

impl Slot {
    /// Open the slot of this profile.
    ///
    /// # Errors
    /// 111 if it cannot be opened.
    pub fn open(scandir: &Scandir, profile: &Profile) -> Result<Slot> {
        let shown = scandir.slot(profile).display().to_string();
        let dir = open_dir(&scandir.dir, &profile.slot()).map_err(|e| Error::system("open", &shown, e))?;
        Ok(Slot { dir, shown })
    }

    /// Make its links what the template has, each by one rename, while it may be running.
    ///
    /// # Errors
    /// 111, between two renames: the next update goes on from there.
    pub fn update(&self, template: &Template, dry_run: bool) -> Result<Update> {
        let _umask = NoUmask::set();
        let stale = self.is(FileType::Directory, "log") != template.has_logger();
        let fits = |path: &str| !stale || path != "log" && !path.starts_with("log/");
        let mut changed = false;
        for dir in template.dirs.iter().filter(|d| fits(d)) {
            if !self.is(FileType::Directory, dir) {
                changed = true;
                if !dry_run {
                    self.replace(dir, |name| rustix::fs::mkdirat(&self.dir, name, Mode::from_raw_mode(0o755)))?;
                }
            }
        }
        for (file, target) in template.files.iter().filter(|(f, _)| fits(f)) {
            if !self.links_to(file, target) {
                changed = true;
                if !dry_run {
                    self.replace(file, |name| rustix::fs::symlinkat(target, &self.dir, name))?;
                }
            }
        }
        for dir in [""].into_iter().chain(template.dirs.iter().map(String::as_str).filter(|d| fits(d))) {
            changed |= self.drop_dead_links(template, dir, dry_run)?;
        }
        Ok(Update { changed, stale })
    }

    /// Is there a `down` file?
    pub fn is_down_marked(&self) -> bool {
        rustix::fs::statat(&self.dir, "down", AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Make `down`, the cache of the intent, what it has to be. Says whether it was something else.
    ///
    /// # Errors
    /// 111.
    pub fn mark(&self, down: bool, dry_run: bool) -> Result<bool> {
        let wrong = self.is_down_marked() != down;
        if wrong && !dry_run {
            let done = if down { touch(&self.dir, "down") } else { unlink_if_there(&self.dir, "down") };
            done.map_err(|e| Error::system(if down { "create" } else { "remove" }, self.path("down"), e))?;
        }
        Ok(wrong)
    }

    /// Put other variables into `env/`, in one rename. Says whether they were others.
    ///
    /// # Errors
    /// 111.
    pub fn set_env(&self, env: &[(String, OsString)], dry_run: bool) -> Result<bool> {
        let same = |(key, value): &(String, OsString)| {
            let path = Path::new(&self.shown).join("env").join(key);
            std::fs::read(path).is_ok_and(|bytes| bytes.strip_suffix(b"\n") == Some(value.as_bytes()))
        };
        let entries = std::fs::read_dir(Path::new(&self.shown).join("env")).map_or(0, Iterator::count);
        if entries == env.len() && env.iter().all(same) {
            return Ok(false);
        }
        if !dry_run {
            let _umask = NoUmask::set();
            let staging = format!(".env.{}", random_suffix().map_err(|e| Error::system("write", self.path("env"), e))?);
            let unable = |e| Error::system("write", self.path("env"), e);
            rustix::fs::mkdirat(&self.dir, &staging, Mode::from_raw_mode(0o700)).map_err(unable)?;
            let fresh = open_dir(&self.dir, &staging).map_err(unable)?;
            write_env(&fresh, env).map_err(unable)?;
            let exchanged = (rustix::fs::renameat_with(&fresh, "env", &self.dir, "env", RenameFlags::EXCHANGE))
                .or_else(|_| rustix::fs::renameat(&fresh, "env", &self.dir, "env"));
            let _ = std::fs::remove_dir_all(Path::new(&self.shown).join(&staging));
            exchanged.map_err(unable)?;
        }
        Ok(true)
    }

    /// Why `finish` gave up, if it did: the text of `data/held`. A plain file of ours, bounded; anything else is no reason.
    pub fn held(&self) -> Option<String> {
        match crate::beneath::read(&self.dir, "data/held", 4096) {
            crate::beneath::Content::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).trim().to_string()),
            _ => None,
        }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.shown)
    }

    fn is(&self, kind: FileType, name: &str) -> bool {
        let stat = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == kind)
    }

    fn links_to(&self, name: &str, target: &Path) -> bool {
        let found = rustix::fs::readlinkat(&self.dir, name, Vec::new());
        found.is_ok_and(|link| link.as_bytes() == target.as_os_str().as_bytes())
    }

    fn replace(&self, name: &str, make: impl Fn(&str) -> rustix::io::Result<()>) -> Result<()> {
        let (below, base) = name.rsplit_once('/').map_or(("", name), |(dir, base)| (dir, base));
        let suffix = random_suffix().map_err(|e| Error::system("replace", self.path(name), e))?;
        let temporary =
            if below.is_empty() { format!(".{base}.{suffix}") } else { format!("{below}/.{base}.{suffix}") };
        let done = make(&temporary).and_then(|()| rustix::fs::renameat(&self.dir, &temporary, &self.dir, name));
        done.map_err(|e| {
            let _ = rustix::fs::unlinkat(&self.dir, &temporary, AtFlags::empty());
            let _ = rustix::fs::unlinkat(&self.dir, &temporary, AtFlags::REMOVEDIR);
            Error::system("replace", self.path(name), e)
        })
    }

    /// A file that the template does not have any more must not stay in force: s6 reads them at each use.
    fn drop_dead_links(&self, template: &Template, below: &str, dry_run: bool) -> Result<bool> {
        let unable = |e| Error::system("read", self.path(below), e);
        let dir = if below.is_empty() { rustix::io::dup(&self.dir) } else { open_dir(&self.dir, below) };
        let dir = dir.map_err(unable)?;
        let mut dead = Vec::new();
        for entry in rustix::fs::Dir::read_from(&dir).map_err(unable)? {
            let entry = entry.map_err(unable)?;
            let base = entry.file_name().to_string_lossy().into_owned();
            let name = if below.is_empty() { base.clone() } else { format!("{below}/{base}") };
            if entry.file_type() == FileType::Symlink && !template.files.contains_key(&name) {
                dead.push(base);
            }
        }
        if !dry_run {
            for base in &dead {
                unlink_if_there(&dir, base).map_err(|e| Error::system("remove", self.path(base), e))?;
            }
        }
        Ok(!dead.is_empty())
    }
}

fn unlink_if_there(dir: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// One `-e KEY=VALUE`.
///
/// # Errors
/// 100 if it is not one, or KEY cannot be a variable and a file name.
pub fn variable(text: &std::ffi::OsStr) -> Result<(String, OsString)> {
    let bytes = text.as_bytes();
    let bad = || {
        let shown = text.to_string_lossy();
        Error::new(Exit::Usage, format!("invalid variable \"{shown}\": it must be KEY=VALUE, KEY a name as in a shell"))
    };
    let equals = bytes.iter().position(|b| *b == b'=').ok_or_else(bad)?;
    let key = std::str::from_utf8(&bytes[..equals]).map_err(|_| bad())?;
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let valid = key.len() <= 255 && key.bytes().enumerate().all(|(i, b)| letter(b) || i > 0 && b.is_ascii_digit());
    if key.is_empty() || !valid {
        return Err(bad());
    }
    Ok((key.to_string(), std::ffi::OsStr::from_bytes(&bytes[equals + 1..]).to_os_string()))
}
