//! Bringing an existing slot up to date in place, one rename at a time, while its gateway may be running (B15).

use crate::ground::beneath::{self, Content, random_suffix};
use crate::ground::error::{Error, Kind, Result};
use crate::ground::profile::Profile;
use crate::s6::scandir::Scandir;
use crate::s6::staging::{Mark, NoUmask, open_dir, rename, restore, touch, write_env};
use crate::s6::template::{HOME, Template};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// An existing slot, opened.
pub struct Slot {
    dir: OwnedFd,
    shown: String,
}

impl Slot {
    /// Open the slot of this profile. `None` if the profile has no slot.
    ///
    /// # Errors
    /// 111 if the slot cannot be opened.
    pub fn find(scandir: &Scandir, profile: &Profile) -> Result<Option<Slot>> {
        let shown = scandir.slot(profile).display().to_string();
        match open_dir(&scandir.dir, &profile.slot()) {
            Ok(dir) => Ok(Some(Slot { dir, shown })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(Error::system("open", &shown, errno)),
        }
    }

    /// Open the slot of this profile.
    ///
    /// # Errors
    /// 102 if the profile has no slot, 111 if the slot cannot be opened.
    pub fn open(scandir: &Scandir, profile: &Profile) -> Result<Slot> {
        let gone = || Error::new(Kind::WrongState, format!("{} is gone", scandir.slot(profile).display()));
        Slot::find(scandir, profile)?.ok_or_else(gone)
    }

    /// Make the link `home` in the slot if it is missing. Slots that an earlier version published do not have it.
    /// Returns whether it was missing.
    ///
    /// # Errors
    /// 111 if the link cannot be looked at or made.
    pub fn set_home(&self, home: &Path, dry_run: bool) -> Result<bool> {
        let missing = read_home(&self.dir, &self.shown)?.is_none();
        if missing && !dry_run {
            rustix::fs::symlinkat(home, &self.dir, HOME).map_err(|e| Error::system("create", self.path(HOME), e))?;
        }
        Ok(missing)
    }

    /// Has the template a logger and the slot none, or the other way round? Only a fresh slot can have the shape of the
    /// template.
    ///
    /// # Errors
    /// 111 if the slot cannot be looked at.
    pub fn is_stale(&self, template: &Template) -> Result<bool> {
        Ok(self.is(FileType::Directory, "log")? != template.has_logger())
    }

    /// Make the slot's links those of the template, each by one rename, while the gateway may be running. Returns
    /// whether any link had to change.
    ///
    /// # Errors
    /// 111 if a system call fails; some links are then new and some old, and the next update continues.
    pub fn update(&self, template: &Template, dry_run: bool) -> Result<bool> {
        let _umask = NoUmask::set();
        if !dry_run {
            restore(&self.dir, "env").map_err(|e| Error::system("restore", self.path("env"), e))?;
        }
        let stale = self.is_stale(template)?;
        let fits = |path: &str| !stale || path != "log" && !path.starts_with("log/");
        let mut changed = false;
        for dir in template.dirs.iter().filter(|d| fits(d)) {
            if !self.is(FileType::Directory, dir)? {
                changed = true;
                if !dry_run {
                    self.replace(dir, |name| rustix::fs::mkdirat(&self.dir, name, Mode::from_raw_mode(0o755)))?;
                }
            }
        }
        for (file, target) in template.files.iter().filter(|(f, _)| fits(f)) {
            if !self.links_to(file, target)? {
                changed = true;
                if !dry_run {
                    self.replace(file, |name| rustix::fs::symlinkat(target, &self.dir, name))?;
                }
            }
        }
        for dir in [""].into_iter().chain(template.dirs.iter().map(String::as_str).filter(|d| fits(d))) {
            changed |= self.drop_dead(template, dir, dry_run)?;
        }
        Ok(changed)
    }

    /// Does the slot have a `down` file?
    ///
    /// # Errors
    /// 111 if the slot cannot be looked at.
    pub fn is_marked_down(&self) -> Result<bool> {
        match rustix::fs::statat(&self.dir, "down", AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(Error::system("stat", self.path("down"), errno)),
        }
    }

    /// Create or remove `down`, which caches the intent. Returns whether that was necessary.
    ///
    /// # Errors
    /// 111 if the file cannot be looked at, created or removed.
    pub fn mark(&self, mark: Mark, dry_run: bool) -> Result<bool> {
        if mark == Mark::Keep {
            return Ok(false);
        }
        let down = mark == Mark::Down;
        let wrong = self.is_marked_down()? != down;
        if wrong && !dry_run {
            let done = if down { touch(&self.dir, "down") } else { unlink_if_there(&self.dir, "down") };
            done.map_err(|e| Error::system(if down { "create" } else { "remove" }, self.path("down"), e))?;
        }
        Ok(wrong)
    }

    /// The variables in `env/`, sorted by name.
    ///
    /// # Errors
    /// 111 if the variables cannot be read.
    pub fn env(&self) -> Result<Vec<(String, OsString)>> {
        self.read_env().map_err(|e| Error::system("read", self.path("env"), e))
    }

    fn read_env(&self) -> std::io::Result<Vec<(String, OsString)>> {
        let dir = match open_dir(&self.dir, "env") {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        };
        let mut env = Vec::new();
        for entry in rustix::fs::Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let mut bytes = Vec::new();
                File::from(rustix::fs::openat(&dir, &name, flags, Mode::empty())?).read_to_end(&mut bytes)?;
                bytes.pop_if(|last| *last == b'\n');
                env.push((name, OsString::from_vec(bytes)));
            }
        }
        env.sort();
        Ok(env)
    }

    /// Replace the variables in `env/`, by one rename. Returns whether they were different. With no variables given,
    /// `env/` stays as it is.
    ///
    /// # Errors
    /// 111 if the old variables cannot be read or the new ones not written: then the old ones are in force. 111 also if
    /// the old ones cannot be deleted after the exchange: then the new ones are in force.
    pub fn set_env(&self, env: &[(String, OsString)], dry_run: bool) -> Result<bool> {
        let unable = |e: std::io::Error| Error::system("write", self.path("env"), e);
        let old = self.env()?;
        let mut wanted = env.to_vec();
        wanted.sort();
        if env.is_empty() || old == wanted {
            return Ok(false);
        }
        if !dry_run {
            let _umask = NoUmask::set();
            // If this run is killed, the next update removes the temporary name, because it begins with a dot.
            let staging = format!(".env.{}", random_suffix().map_err(|e| unable(e.into()))?);
            let how = if old.is_empty() { RenameFlags::empty() } else { RenameFlags::EXCHANGE };
            let done = write_env(&self.dir, &staging, env).and_then(|()| Ok(rename(&self.dir, &staging, "env", how)?));
            // After an exchange the temporary name has the old values, which may be revoked secrets.
            let gone = std::fs::remove_dir_all(Path::new(&self.shown).join(&staging));
            done.map_err(unable)?;
            gone.or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(unable(e)) })?;
        }
        Ok(true)
    }

    /// The reason why `finish` gave up, if it did: the text of `data/held`. If that is not a regular file of at most
    /// 4096 bytes, there is no reason.
    ///
    /// # Errors
    /// 111 if the file cannot be looked at.
    pub fn held(&self) -> Result<Option<String>> {
        match beneath::read(&self.dir, "data/held", 4096) {
            Ok(Content::Bytes(bytes)) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_string())),
            Ok(_) => Ok(None),
            Err(errno) => Err(Error::system("read", self.path("data/held"), errno)),
        }
    }

    /// When the gateway was last started, in seconds since the epoch, as the template's `run` has written it. `None` if
    /// it was never started, or its template does not write the time.
    pub fn started(&self) -> Option<u64> {
        let Ok(Content::Bytes(bytes)) = beneath::read(&self.dir, "data/started", 64) else { return None };
        std::str::from_utf8(&bytes).ok()?.trim().parse().ok()
    }

    /// Which of the recorded deaths were the kernel's kills for memory, by their labels, as the template's `finish` has
    /// written them.
    ///
    /// # Errors
    /// 111 if the file cannot be looked at.
    pub fn kills(&self) -> Result<String> {
        match beneath::read(&self.dir, "data/kills", 4096) {
            Ok(Content::Bytes(bytes)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Ok(_) => Ok(String::new()),
            Err(errno) => Err(Error::system("read", self.path("data/kills"), errno)),
        }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.shown)
    }

    fn is(&self, kind: FileType, name: &str) -> Result<bool> {
        match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == kind),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(Error::system("stat", self.path(name), errno)),
        }
    }

    fn links_to(&self, name: &str, target: &Path) -> Result<bool> {
        match rustix::fs::readlinkat(&self.dir, name, Vec::new()) {
            Ok(link) => Ok(link.as_bytes() == target.as_os_str().as_bytes()),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::INVAL) => Ok(false),
            Err(errno) => Err(Error::system("read", self.path(name), errno)),
        }
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

    /// Remove links that the template no longer has, because s6 would still use them, and temporary names, which a killed
    /// run has left and which may hold variables. Other names with a leading dot are files that `run` and `finish` are
    /// writing.
    fn drop_dead(&self, template: &Template, below: &str, dry_run: bool) -> Result<bool> {
        let unable = |e| Error::system("read", self.path(below), e);
        let path = if below.is_empty() { "." } else { below };
        let dir = open_dir(&self.dir, path).map_err(unable)?;
        let mut dead = false;
        for entry in rustix::fs::Dir::read_from(&dir).map_err(unable)? {
            let entry = entry.map_err(unable)?;
            let base = entry.file_name().to_string_lossy().into_owned();
            let name = if below.is_empty() { base.clone() } else { format!("{below}/{base}") };
            let left = beneath::of_temporary(base.as_bytes()).is_some();
            let link = entry.file_type() == FileType::Symlink && !template.files.contains_key(&name) && name != HOME;
            if !left && !link {
                continue;
            }
            dead = true;
            if !dry_run {
                let gone = if entry.file_type() == FileType::Directory {
                    std::fs::remove_dir_all(Path::new(&self.shown).join(&name))
                } else {
                    unlink_if_there(&dir, &base).map_err(std::io::Error::from)
                };
                gone.map_err(|e| Error::system("remove", self.path(&name), e))?;
            }
        }
        Ok(dead)
    }
}

/// The target of the link `home` of an entry of the scandir. The outer `None` means that there is no such directory,
/// and the inner `None` that the directory has no such link. In an open scandir the link may belong to the account, so
/// the path may only be compared with another one.
///
/// # Errors
/// 111 if the directory or the link cannot be looked at.
pub fn home_of(scandir: &Scandir, entry: &str) -> Result<Option<Option<PathBuf>>> {
    let shown = scandir.path.join(entry).display().to_string();
    match open_dir(&scandir.dir, entry) {
        Ok(dir) => read_home(&dir, &shown).map(Some),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(Error::system("open", shown, errno)),
    }
}

fn read_home(dir: &OwnedFd, shown: &str) -> Result<Option<PathBuf>> {
    match rustix::fs::readlinkat(dir, HOME, Vec::new()) {
        Ok(link) => Ok(Some(OsString::from_vec(link.into_bytes()).into())),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::system("read", format!("{shown}/{HOME}"), errno)),
    }
}

fn unlink_if_there(dir: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}
