//! The scan directory: who listens, what is in it, how much more fits, and the lock that its writers share.

use crate::cli::Deadline;
use crate::exit::{Error, Exit, Result, cause_text};
use crate::lock;
use crate::process;
use crate::profile::Profile;
use crate::settings::is_truthy;
use crate::supervise;
use crate::trusted::{self, Rule};
use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::cell::OnceCell;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The lock file of all writers of a scandir (`fcntl`, so `s6-setlock` sees it too).
const LOCK: &str = ".hermes-s6.lock";

/// s6-svscan's own limit, loggers included, where `$HERMES_MAX_SERVICES` does not tell another value of its `-C`.
const MAX_SERVICES: usize = 1000;

/// An open scan directory.
pub struct Scandir {
    /// Its path, absolute.
    pub path: PathBuf,
    pub(crate) dir: OwnedFd,
    /// The lock file, once it was needed.
    lock: OnceCell<OwnedFd>,
}

/// Does an s6-svscan listen on the scandir?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// Yes.
    Yes,
    /// No.
    No,
    /// The caller has no right to find out: the scandir is sealed.
    Unknown,
}

impl Scandir {
    /// Open it. Root does so only where all of its path is root's, unless `HERMES_OPEN_SCANDIR` says that the operator
    /// knows better: root runs what is in a scandir, and writes and gives orders there by name.
    ///
    /// # Errors
    /// 111 if it is missing, unreadable or not a directory; 102 where root has to expect somebody else's links in it.
    pub fn open(path: &Path) -> Result<Scandir> {
        Scandir::open_where(path, std::env::var("HERMES_OPEN_SCANDIR").is_ok_and(|v| is_truthy(&v)))
    }

    /// The same where our own environment does not say whether the scandir is `open` to others than root.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_where(path: &Path, open: bool) -> Result<Scandir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let unable = |e| Error::system("open", path.display(), e);
        let dir = rustix::fs::open(path, flags, Mode::empty()).map_err(unable)?;
        let scandir = |dir| Scandir { path: path.to_path_buf(), dir, lock: OnceCell::new() };
        if !geteuid().is_root() || open {
            return Ok(scandir(dir));
        }
        match trusted::open_dir(path, Rule::RootKept) {
            Ok((dir, _)) => Ok(scandir(dir)),
            Err(wrong) => {
                let hint = "HERMES_OPEN_SCANDIR=1 lets root act there all the same";
                let text = format!("unable to trust scandir {}: {wrong}: {hint}", path.display());
                Err(Error::new(Exit::WrongState, text))
            }
        }
    }

    /// The path of a profile's slot.
    pub fn slot(&self, profile: &Profile) -> PathBuf {
        self.path.join(profile.slot())
    }

    /// Is the slot there?
    pub fn has_slot(&self, profile: &Profile) -> bool {
        let stat = rustix::fs::statat(&self.dir, profile.slot(), AtFlags::empty());
        stat.is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory)
    }

    /// The slot, or 102.
    ///
    /// # Errors
    /// 102 if the profile is not registered here.
    pub fn require_slot(&self, profile: &Profile) -> Result<PathBuf> {
        if self.has_slot(profile) {
            return Ok(self.slot(profile));
        }
        Err(Error::new(
            Exit::WrongState,
            format!("no such gateway: {profile} is not registered in {}", self.path.display()),
        ))
    }

    /// The registered profiles, `default` first, then by name.
    ///
    /// # Errors
    /// 111 if the scandir cannot be read.
    pub fn slots(&self) -> Result<Vec<Profile>> {
        let mut found = Vec::new();
        self.each(|name, kind| {
            if let Some(profile) = Profile::of_slot(name)
                && (kind == FileType::Directory || kind == FileType::Symlink && self.has_slot(&profile))
            {
                found.push(profile);
            }
        })?;
        found.sort_by_key(|p| (!p.is_default(), p.as_str().to_string()));
        Ok(found)
    }

    /// Names of what killed or draining runs left: staging and retired directories, `.gateway-NAME.XXXXXX`.
    pub(crate) fn leftovers(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        self.each(|name, kind| {
            if kind == FileType::Directory && of_hidden(name).is_some() {
                found.push(String::from_utf8_lossy(name).into_owned());
            }
        })?;
        Ok(found)
    }

    /// Whose leftover this is.
    pub(crate) fn leftover_of(name: &str) -> Option<Profile> {
        of_hidden(name.as_bytes())
    }

    /// How many services s6-svscan has to look after: every entry that is not hidden, every logger, and what was retired
    /// and still has a supervisor.
    pub(crate) fn services(&self) -> Result<usize> {
        let mut count = 0;
        self.each(|name, kind| {
            if name.first() != Some(&b'.') && matches!(kind, FileType::Directory | FileType::Symlink) {
                let log = [name, b"/log"].concat();
                count +=
                    1 + usize::from(rustix::fs::accessat(&self.dir, log, Access::EXISTS, AtFlags::empty()).is_ok());
            }
        })?;
        for name in self.leftovers()? {
            let held = supervise::with_logger(&self.path.join(name)).iter().filter(|d| supervise::is_held(d)).count();
            count += held;
        }
        Ok(count)
    }

    /// How many supervisors s6-svscan has, and how many of them have ended without its having taken note yet. Each is
    /// looked at, so where there is room for all of its children, whatever they are, nobody looks.
    pub(crate) fn supervisors(&self, room: usize) -> (usize, usize) {
        let Ok(Some(svscan)) = supervise::writer(&self.path.join(".s6-svscan/lock")) else { return (0, 0) };
        let children = std::fs::read_to_string(format!("/proc/{svscan}/task/{svscan}/children")).unwrap_or_default();
        let mut children: Vec<i32> = children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        if children.len() <= room {
            return (0, 0);
        }
        // As PID 1 it has others' orphans as well, and they are called what they like.
        let uid = process::uid(svscan);
        children.retain(|pid| process::uid(*pid) == uid && process::name(*pid).as_deref() == Some("s6-supervise"));
        (children.len(), children.iter().filter(|pid| process::stat(**pid).is_none()).count())
    }

    /// The most services that its s6-svscan takes: `$HERMES_MAX_SERVICES`, else 1000.
    ///
    /// # Errors
    /// 100 if the variable is not a number.
    pub fn max_services() -> Result<usize> {
        match std::env::var_os("HERMES_MAX_SERVICES").filter(|v| !v.is_empty()) {
            None => Ok(MAX_SERVICES),
            Some(v) => {
                Ok(crate::cli::number(&v, "HERMES_MAX_SERVICES", "a number of services", 1, 1_000_000)? as usize)
            }
        }
    }

    /// An entry whose `stat` fails, and why: it aborts every scan of s6 2.12 and later (s6-facts, 1.2).
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

    /// Ask the control FIFO whether s6-svscan listens.
    pub fn listening(&self) -> Listening {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.dir, ".s6-svscan/control", flags, Mode::empty()) {
            Ok(_) => Listening::Yes,
            Err(Errno::ACCESS | Errno::PERM) => Listening::Unknown,
            Err(_) => Listening::No,
        }
    }

    /// May the caller make entries here, and does s6-svscan hear of it?
    ///
    /// # Errors
    /// 102 if not.
    pub fn require_publishable(&self) -> Result<()> {
        self.require_writable()?;
        match self.listening() {
            Listening::Yes => Ok(()),
            Listening::No => {
                Err(Error::new(Exit::WrongState, format!("no s6-svscan is running on {}", self.path.display())))
            }
            Listening::Unknown => Err(self.not_permitted("rescan")),
        }
    }

    /// May the caller make entries here?
    ///
    /// # Errors
    /// 102 if not.
    pub fn require_writable(&self) -> Result<()> {
        let wanted = Access::WRITE_OK | Access::EXEC_OK;
        match rustix::fs::accessat(&self.dir, ".", wanted, AtFlags::EACCESS) {
            Ok(()) => Ok(()),
            Err(Errno::ACCESS | Errno::PERM) => Err(self.not_permitted("publish in")),
            Err(errno) => Err(Error::system("write to", self.path.display(), errno)),
        }
    }

    fn not_permitted(&self, verb: &str) -> Error {
        let uid = geteuid().as_raw();
        Error::new(Exit::WrongState, format!("not permitted to {verb} {}: it is not uid {uid}'s", self.path.display()))
    }

    /// Take the lock that all writers of this scandir hold while they publish and rename.
    ///
    /// # Errors
    /// 99 when the deadline passes first, 102 where the caller may not write here.
    pub fn lock(&self, deadline: Deadline) -> Result<ScandirLock<'_>> {
        let file = match self.lock.get() {
            Some(file) => file,
            None => {
                let file = self.open_lock()?;
                self.lock.get_or_init(|| file)
            }
        };
        lock::take(file, self.path.join(LOCK).display(), deadline)?;
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

    /// An open scandir (`HERMES_OPEN_SCANDIR=1`) has two writers, root and its owner: both must be able to lock.
    fn share_with_owner(&self, lock: &OwnedFd) {
        if let Ok(stat) = rustix::fs::fstat(&self.dir)
            && stat.st_uid != geteuid().as_raw()
        {
            let _ = rustix::fs::fchown(lock, Some(rustix::process::Uid::from_raw(stat.st_uid)), None);
        }
    }

    /// What the entry is, where the file system does not say so by itself.
    fn kind(&self, name: &[u8], said: FileType) -> FileType {
        match said {
            FileType::Unknown => rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_or(said, |stat| FileType::from_raw_mode(stat.st_mode)),
            said => said,
        }
    }

    fn each(&self, mut look: impl FnMut(&[u8], FileType)) -> Result<()> {
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

/// Is s6 the supervisor of this container? `/proc/1/comm` is `s6-svscan` *and* `/run/s6/basedir` is a directory; never
/// `/proc/1/exe`, never a guess about containers (C1, C2, C4).
pub fn s6_is_pid_1() -> bool {
    process::name(1).as_deref() == Some("s6-svscan") && Path::new("/run/s6/basedir").is_dir()
}

/// The held lock of a scandir; dropped, it is free.
pub struct ScandirLock<'a>(&'a OwnedFd);

impl Drop for ScandirLock<'_> {
    fn drop(&mut self) {
        lock::release(self.0);
    }
}

/// The profile in `.gateway-NAME.XXXXXX`.
fn of_hidden(name: &[u8]) -> Option<Profile> {
    let (slot, suffix) = name.strip_prefix(b".")?.split_at_checked(name.len().checked_sub(8)?)?;
    let ours = suffix.first() == Some(&b'.') && suffix[1..].iter().all(u8::is_ascii_alphanumeric);
    if ours { Profile::of_slot(slot) } else { None }
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
