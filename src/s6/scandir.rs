//! The scan directory: whether an s6-svscan runs on it, which entries it has, and the lock that its writers share.

use crate::ground::beneath;
use crate::ground::deadline::Deadline;
use crate::ground::environment::is_truthy;
use crate::ground::error::{Error, Kind, Result, cause_text};
use crate::ground::lock;
use crate::ground::profile::Profile;
use crate::ground::trusted::{self, Rule};
use crate::s6::supervise;
use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::cell::OnceCell;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The lock file of all writers of a scandir. The lock is `fcntl`'s, so `s6-setlock` can take it as well.
const LOCK: &str = ".hermes-s6.lock";

/// An open scan directory.
pub struct Scandir {
    /// The absolute path.
    pub path: PathBuf,
    pub(super) dir: OwnedFd,
    /// The lock file, opened at its first use.
    lock: OnceCell<OwnedFd>,
}

/// Does an s6-svscan run on the scandir?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    Yes,
    No,
    /// The caller has no right to find out, because the scandir is sealed.
    Unknown,
}

impl Scandir {
    /// Open a scandir. Root runs whatever is in a scandir, and writes and gives orders there by name. So root opens one
    /// only if all of its path belongs to root, unless `HERMES_OPEN_SCANDIR` is set.
    ///
    /// # Errors
    /// 102 if there is nothing at this path, or if the caller is root and other users could put links into it. 111 if
    /// the scandir is unreadable or not a directory.
    pub fn open(path: &Path) -> Result<Scandir> {
        Scandir::open_where(path, std::env::var("HERMES_OPEN_SCANDIR").is_ok_and(|v| is_truthy(&v)))
    }

    /// As `Scandir::open`, but the argument `open` says whether others than root may write to the scandir, in place of
    /// our own `HERMES_OPEN_SCANDIR`.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_where(path: &Path, open: bool) -> Result<Scandir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let unable = |e| match (Error::system("open", path.display(), e), e) {
            (Error { text, .. }, Errno::NOENT) => {
                let hint = "-s or S6_PROFILE_GATEWAY_SCANDIR names another scandir";
                Error::new(Kind::WrongState, format!("{text}: {hint}"))
            }
            (error, _) => error,
        };
        let dir = rustix::fs::open(path, flags, Mode::empty()).map_err(unable)?;
        let scandir = |dir| Scandir { path: path.to_path_buf(), dir, lock: OnceCell::new() };
        if !geteuid().is_root() || open {
            return Ok(scandir(dir));
        }
        match trusted::open_dir(path, Rule::RootKept) {
            Ok((dir, _)) => Ok(scandir(dir)),
            Err(wrong) if wrong.unknown => Err(Error::new(Kind::System, format!("unable to open {wrong}"))),
            Err(wrong) => {
                let hint = "HERMES_OPEN_SCANDIR=1 lets root act there all the same";
                let text = format!("unable to trust scandir {}: {wrong}: {hint}", path.display());
                Err(Error::new(Kind::WrongState, text))
            }
        }
    }

    /// The present `stat` of the scandir itself.
    ///
    /// # Errors
    /// 111 if the system call fails.
    pub fn stat(&self) -> Result<rustix::fs::Stat> {
        rustix::fs::fstat(&self.dir).map_err(|e| Error::system("stat", self.path.display(), e))
    }

    /// The path of a profile's slot.
    pub fn slot(&self, profile: &Profile) -> PathBuf {
        self.path.join(profile.slot())
    }

    /// Does this profile have a slot or a hidden directory?
    ///
    /// # Errors
    /// 111 if the scandir cannot be read.
    pub fn has_any(&self, profile: &Profile) -> Result<bool> {
        Ok(self.has_slot(profile)? || self.leftovers()?.iter().any(|(_, owner)| owner == profile))
    }

    /// Is there a slot? Only a directory is one. Root's slots are always directories, and a link could lead anywhere.
    ///
    /// # Errors
    /// 111 if the entry cannot be looked at.
    pub fn has_slot(&self, profile: &Profile) -> Result<bool> {
        let path = || self.slot(profile);
        match rustix::fs::statat(&self.dir, profile.slot(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Ok(true),
            Ok(_) => {
                let text = format!("unable to use {} as a slot: it is not a directory: remove it", path().display());
                Err(Error::new(Kind::System, text))
            }
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(Error::system("stat", path().display(), errno)),
        }
    }

    /// The path of the slot.
    ///
    /// # Errors
    /// 102 if the profile is not registered here, 111 if the entry cannot be looked at.
    pub fn require_slot(&self, profile: &Profile) -> Result<PathBuf> {
        if self.has_slot(profile)? {
            return Ok(self.slot(profile));
        }
        Err(Error::new(
            Kind::WrongState,
            format!("no such gateway: {profile} is not registered in {}", self.path.display()),
        ))
    }

    /// The profiles that have a slot, `default` first, then by name.
    ///
    /// # Errors
    /// 111 if the scandir cannot be read.
    pub fn slots(&self) -> Result<Vec<Profile>> {
        let mut found = Vec::new();
        self.each(|name, kind| {
            found.extend(Profile::of_slot(name).filter(|_| kind == FileType::Directory));
        })?;
        found.sort_by(Profile::default_first);
        Ok(found)
    }

    /// The hidden directories `.gateway-NAME.XXXXXX` that killed or still draining runs have left, each with its
    /// profile.
    ///
    /// # Errors
    /// 111 if the scandir cannot be read.
    pub fn leftovers(&self) -> Result<Vec<(PathBuf, Profile)>> {
        let mut found = Vec::new();
        self.each(|name, kind| {
            if let Some(profile) = of_hidden(name).filter(|_| kind == FileType::Directory) {
                found.push((self.path.join(OsStr::from_bytes(name)), profile));
            }
        })?;
        Ok(found)
    }

    /// An entry whose `stat` fails, with the reason. Such an entry aborts every scan of s6 2.12 and later
    /// (docs/DESIGN.md, "s6-svscan").
    ///
    /// # Errors
    /// 111 if the scandir cannot be read.
    pub fn sick_entry(&self) -> Result<Option<(String, String)>> {
        let mut sick = None;
        self.each(|name, kind| {
            if kind == FileType::Symlink
                && name.first() != Some(&b'.')
                && let Err(e) = rustix::fs::statat(&self.dir, name, AtFlags::empty())
            {
                sick = Some((String::from_utf8_lossy(name).into_owned(), cause_text(&e.into())));
            }
        })?;
        Ok(sick)
    }

    /// Does an s6-svscan run here? Opening its control FIFO for writing tells.
    ///
    /// # Errors
    /// 111 if the FIFO cannot be opened for another reason than that it has no reader or is not the caller's.
    pub fn listening(&self) -> Result<Listening> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.dir, ".s6-svscan/control", flags, Mode::empty()) {
            Ok(_) => Ok(Listening::Yes),
            Err(Errno::NXIO | Errno::NOENT | Errno::NOTDIR) => Ok(Listening::No),
            // Only a security module refuses root, and this says nothing about whether an s6-svscan runs.
            Err(Errno::ACCESS | Errno::PERM) if !geteuid().is_root() => Ok(Listening::Unknown),
            Err(errno) => Err(Error::system("open", self.path.join(".s6-svscan/control").display(), errno)),
        }
    }

    /// The pid of the s6-svscan that holds the lock of this scandir. `None` also if the caller may not look.
    ///
    /// # Errors
    /// 111 if the lock cannot be looked at.
    pub fn svscan_pid(&self) -> Result<Option<i32>> {
        let lock = self.path.join(".s6-svscan/lock");
        match supervise::writer(&lock) {
            Ok(pid) => Ok(pid.filter(|pid| *pid > 0)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::PERM) => Ok(None),
            Err(errno) => Err(Error::system("look at", lock.display(), errno)),
        }
    }

    /// Check that the caller may make entries here, and that an s6-svscan runs and can be told of them.
    ///
    /// # Errors
    /// 102 if not, 111 if the scandir cannot be looked at.
    pub fn require_publishable(&self) -> Result<()> {
        self.require_writable()?;
        match self.listening()? {
            Listening::Yes => Ok(()),
            Listening::No => Err(self.nobody_listens()),
            Listening::Unknown => Err(self.not_permitted("rescan")),
        }
    }

    /// The error that no s6-svscan runs here, with code 102.
    pub fn nobody_listens(&self) -> Error {
        Error::new(Kind::WrongState, format!("no s6-svscan is running on {}", self.path.display()))
    }

    /// Is this scandir closed to the caller? Then only root's watcher makes slots and takes them away.
    ///
    /// # Errors
    /// 111 if the scandir cannot be looked at.
    pub fn is_sealed(&self) -> Result<bool> {
        Ok(!self.is_writable()? || self.listening()? == Listening::Unknown)
    }

    /// Check that the caller may make entries here.
    ///
    /// # Errors
    /// 102 if not, 111 if the scandir cannot be looked at.
    pub fn require_writable(&self) -> Result<()> {
        if self.is_writable()? { Ok(()) } else { Err(self.not_permitted("publish in")) }
    }

    fn is_writable(&self) -> Result<bool> {
        let wanted = Access::WRITE_OK | Access::EXEC_OK;
        match rustix::fs::accessat(&self.dir, ".", wanted, AtFlags::EACCESS) {
            Ok(()) => Ok(true),
            Err(Errno::ACCESS | Errno::PERM) => Ok(false),
            Err(errno) => Err(Error::system("write to", self.path.display(), errno)),
        }
    }

    fn not_permitted(&self, verb: &str) -> Error {
        let uid = geteuid().as_raw();
        Error::new(Kind::WrongState, format!("not permitted to {verb} {}: it is not uid {uid}'s", self.path.display()))
    }

    /// Take the lock that all writers of this scandir hold while they publish and rename.
    ///
    /// # Errors
    /// 99 if the deadline passes first, 102 if the caller may not write here, 111 if a system call fails.
    pub fn lock(&self, deadline: Deadline) -> Result<ScandirLock<'_>> {
        let file = match self.lock.get() {
            Some(file) => file,
            None => {
                let file = self.open_lock()?;
                self.lock.get_or_init(|| file)
            }
        };
        let shown = self.path.join(LOCK);
        if let Some(errno) = lock::take(file, shown.display(), deadline)? {
            return Err(Error::system("lock", shown.display(), errno));
        }
        Ok(ScandirLock(file))
    }

    fn open_lock(&self) -> Result<OwnedFd> {
        let shown = self.path.join(LOCK);
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        loop {
            match rustix::fs::openat(&self.dir, LOCK, flags, Mode::empty()) {
                Err(Errno::NOENT) => {}
                Err(Errno::ACCESS | Errno::PERM) => return Err(self.not_permitted("lock")),
                other => return other.map_err(|e| Error::system("open", shown.display(), e)),
            }
            match rustix::fs::openat(&self.dir, LOCK, flags | OFlags::CREATE | OFlags::EXCL, mode) {
                Err(Errno::EXIST) => {}
                Err(Errno::ACCESS | Errno::PERM) => return Err(self.not_permitted("lock")),
                other => {
                    let fd = other.map_err(|e| Error::system("create", shown.display(), e))?;
                    self.share_with_owner(&fd);
                    return Ok(fd);
                }
            }
        }
    }

    /// With `HERMES_OPEN_SCANDIR=1` a scandir has two writers, root and its owner. Root gives the lock file to the
    /// owner, so that both can lock it.
    fn share_with_owner(&self, lock: &OwnedFd) {
        if let Ok(stat) = rustix::fs::fstat(&self.dir)
            && stat.st_uid != geteuid().as_raw()
        {
            let _ = rustix::fs::fchown(lock, Some(rustix::process::Uid::from_raw(stat.st_uid)), None);
        }
    }

    /// The type of an entry. Some file systems do not tell it in the directory; then the entry is looked at.
    fn kind(&self, name: &[u8], said: FileType) -> FileType {
        match said {
            FileType::Unknown => rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_or(said, |stat| FileType::from_raw_mode(stat.st_mode)),
            said => said,
        }
    }

    pub(super) fn each(&self, mut look: impl FnMut(&[u8], FileType)) -> Result<()> {
        let unreadable = |e| Error::system("read", self.path.display(), e);
        for entry in rustix::fs::Dir::read_from(&self.dir).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                look(name, self.kind(name, entry.file_type()));
            }
        }
        Ok(())
    }
}

/// The lock of a scandir. Dropping it releases the lock.
pub struct ScandirLock<'a>(&'a OwnedFd);

impl Drop for ScandirLock<'_> {
    fn drop(&mut self) {
        lock::release(self.0);
    }
}

/// The profile of the hidden name `.gateway-NAME.XXXXXX`.
fn of_hidden(name: &[u8]) -> Option<Profile> {
    beneath::of_temporary(name).and_then(Profile::of_slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_hidden_names_are_leftovers() {
        assert_eq!(of_hidden(b".gateway-coder.abc234").map(|p| p.to_string()), Some("coder".to_string()));
        for other in [
            &b".gateway-coder"[..],
            b".s6-svscan",
            b".gateway-coder.tmp",
            b".gateway-coder.abc\xff34",
            b".gateway-.abc234",
            b".x",
            b".",
            b".abcdefg",
        ] {
            assert_eq!(of_hidden(other), None);
        }
    }
}
