//! The home: the directory on the volume that has the profiles.
//!
//! A profile that does not exist and a profile that could not be looked at are two different answers. Only ENOENT,
//! ENOTDIR and ELOOP mean that it does not exist.

mod link;
mod marks;
mod scan;

pub use link::{Link, link_at};
pub use scan::{Odd, Scan, Why};

use crate::ground::account::Account;
use crate::ground::error::{Error, Kind, Result};
use crate::ground::message::Log;
use crate::ground::profile::{MARKER, Profile};
use crate::ground::roots_links;
use crate::volume::client::Client;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The name in the home of the file that records the ports.
pub const RECORD_OF_PORTS: &str = "gateway_ports.json";

/// What is said of a file that the account may not use.
pub const DENIED: &str = " (hermes-fix-attrs gives back what root left)";

/// An open home, and the account that owns it.
pub struct Home {
    /// The absolute path.
    pub path: PathBuf,
    account: Account,
    dir: OwnedFd,
}

impl Home {
    /// Open the home with the runtime account's rights.
    ///
    /// # Errors
    /// 100 if `$HERMES_USER` names no account. 102 if there is nothing at this path. 111 if the home is not a directory,
    /// or not readable for the account.
    pub fn open(path: &Path) -> Result<Home> {
        let opened = Account::runtime(path).and_then(|account| Home::open_as(path, account));
        opened.map_err(|error| Home::or_missing(path, error))
    }

    /// The error of a home that could not be opened: with code 102, and what names another home, if there is nothing at
    /// this path.
    pub fn or_missing(path: &Path, error: Error) -> Error {
        match std::fs::metadata(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && error.kind == Kind::System => {
                Error::new(Kind::WrongState, format!("{}: -H or HERMES_HOME names another home", error.text))
            }
            _ => error,
        }
    }

    /// Open the home with the rights of the account that the caller has chosen.
    ///
    /// # Errors
    /// 111 as for `open`.
    pub fn open_as(path: &Path, account: Account) -> Result<Home> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = account.act(|| {
            rustix::fs::open(path, flags, Mode::empty()).map_err(|e| {
                let error = Error::system("open", path.display(), e);
                match e {
                    Errno::ACCESS => Error::new(error.kind, format!("{} (for uid {})", error.text, account.uid)),
                    _ => error,
                }
            })
        })?;
        Ok(Home { path: path.to_path_buf(), account, dir })
    }

    /// Is this the path of this home? It is also if it is another path of the same directory. The account may have
    /// chosen the path.
    ///
    /// # Errors
    /// 111 if the path cannot be looked at with the account's rights.
    pub fn is_at(&self, path: &Path) -> Result<bool> {
        if path == self.path || path.is_relative() {
            return Ok(path == self.path);
        }
        let unable = |e| Error::system("stat", path.display(), e);
        self.act(|home| match rustix::fs::statat(CWD, path, AtFlags::empty()) {
            Ok(there) => {
                let here = rustix::fs::fstat(home).map_err(unable)?;
                Ok((there.st_dev, there.st_ino) == (here.st_dev, here.st_ino))
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(false),
            Err(errno) => Err(unable(errno)),
        })
    }

    /// The account that owns the home.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The account that owns this profile and runs its gateway. At present it is the same account for all profiles.
    pub fn account_of(&self, _profile: &Profile) -> &Account {
        &self.account
    }

    /// Call `work` with the rights of the home's account, and give it the home's descriptor.
    ///
    /// # Errors
    /// The error of `work`; 111 if the account's rights cannot be taken.
    pub fn act<T>(&self, work: impl FnOnce(&OwnedFd) -> Result<T>) -> Result<T> {
        self.account.act(|| work(&self.dir))
    }

    /// As `act`, with the rights of the account that owns this profile.
    ///
    /// # Errors
    /// As `act`.
    pub fn act_for<T>(&self, profile: &Profile, work: impl FnOnce(&OwnedFd) -> Result<T>) -> Result<T> {
        self.account_of(profile).act(|| work(&self.dir))
    }

    /// Call `work` with the account's rights, and give it the descriptor of this profile's directory. `None` if there
    /// is no such profile.
    ///
    /// # Errors
    /// The error of `work`; 111 if the directory cannot be looked at, or the account's rights cannot be taken.
    pub fn within<T>(&self, profile: &Profile, work: impl FnOnce(&OwnedFd) -> Result<T>) -> Result<Option<T>> {
        self.act_for(profile, |home| match self.profile_dir(home, profile)? {
            Some(dir) => work(&dir).map(Some),
            None => Ok(None),
        })
    }

    /// Open a profile's directory beneath the open home; `None` if it is not a profile. The caller has the account's
    /// rights.
    ///
    /// # Errors
    /// 111 if the directory, or the mark of a deleted profile, cannot be looked at.
    pub fn profile_dir(&self, home: &OwnedFd, profile: &Profile) -> Result<Option<OwnedFd>> {
        let unable = |errno| denied(Error::system("open", self.shown(profile, ""), errno), errno);
        let dir = match roots_links::open_dir(home, &profile.path()) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(unable(errno)),
        };
        let is_one = profile.is_default() || marker(&dir).map_err(unable)? && !self.is_deleted(home, profile)?;
        Ok(is_one.then_some(dir))
    }

    /// The path of a file of this profile, for messages.
    pub fn shown(&self, profile: &Profile, name: &str) -> String {
        let dir = if profile.is_default() { self.path.clone() } else { self.path.join(profile.path()) };
        dir.join(name).display().to_string()
    }

    /// Does the profile exist? `default` always does (B9). Any other profile is a directory with a SOUL.md.
    ///
    /// # Errors
    /// 111 if the directory cannot be looked at.
    pub fn has(&self, profile: &Profile) -> Result<bool> {
        Ok(self.within(profile, |_| Ok(()))?.is_some())
    }

    /// Check that the profile exists.
    ///
    /// # Errors
    /// 100 if there is no such profile, 111 if its directory cannot be looked at.
    pub fn require(&self, profile: &Profile) -> Result<()> {
        if self.has(profile)? { Ok(()) } else { Err(self.no_such(profile)) }
    }

    /// The error `no such profile`, with code 100. If a link has the profile's name, the text says why the link is not
    /// followed.
    pub fn no_such(&self, profile: &Profile) -> Error {
        let why = match self.link_to(profile) {
            Ok(Some((path, link))) => format!("{} is {link}", path.display()),
            _ if self.act(|home| self.is_deleted(home, profile)) == Ok(true) => Why::Deleted.to_string(),
            _ => format!("no {}", self.shown(profile, MARKER)),
        };
        Error::new(Kind::Usage, format!("no such profile: {profile} ({why})"))
    }

    /// Has Hermes Agent marked this profile as deleted? The caller has the account's rights.
    fn is_deleted(&self, home: &OwnedFd, profile: &Profile) -> Result<bool> {
        let shown = self.path.join("profiles").join(marks::DELETED);
        let marked = marks::open(home, &format!("profiles/{}", marks::DELETED))
            .and_then(|marks| marks.map_or(Ok(false), |marks| marks::is_marked(&marks, profile.as_str())));
        match marked {
            Ok(false) => Ok(false),
            _ if !Client::here()?.marks_the_deleted() => Ok(false),
            Ok(true) => Ok(true),
            Err(errno) => Err(denied(Error::system("look at", shown.display(), errno), errno)),
        }
    }

    /// The link that has the name of the profile's directory, or of `profiles`, if it does not lead to a profile; and
    /// the path of the link. Such a profile does not count as gone, because its disk may not be mounted, or because the
    /// account made the link.
    ///
    /// # Errors
    /// 111 if the directory cannot be looked at.
    pub fn link_to(&self, profile: &Profile) -> Result<Option<(PathBuf, Link)>> {
        let unable = |e| Error::system("open", self.shown(profile, ""), e);
        self.act_for(profile, |home| {
            if profile.is_default() || self.profile_dir(home, profile)?.is_some() {
                return Ok(None);
            }
            if let Some(link) = link_at(home, "profiles").map_err(unable)?
                && !matches!(roots_links::open_dir(home, "profiles"), Ok(_) | Err(Errno::ACCESS))
            {
                return Ok(Some((self.path.join("profiles"), link)));
            }
            match roots_links::open(home, "profiles", OFlags::PATH | OFlags::DIRECTORY) {
                Ok(profiles) => {
                    let link = link_at(&profiles, profile.as_str()).map_err(unable)?;
                    Ok(link.map(|link| (self.path.join(profile.path()), link)))
                }
                Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
                Err(errno) => Err(unable(errno)),
            }
        })
    }

    /// Does the home have neither `profiles` nor a record of ports? The mount point of a volume that is not mounted
    /// looks like this.
    ///
    /// # Errors
    /// 111 if the home cannot be looked at.
    pub fn is_blank(&self) -> Result<bool> {
        self.act(|home| {
            for name in ["profiles", RECORD_OF_PORTS] {
                match rustix::fs::statat(home, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(_) => return Ok(false),
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(Error::system("stat", self.path.join(name).display(), errno)),
                }
            }
            Ok(true)
        })
    }

    /// Every profile, `default` first, then by name. A warning is logged for each entry that only looks like a profile.
    ///
    /// # Errors
    /// As `scan`; 111 also if there are more names than are looked at.
    pub fn profiles(&self, log: &dyn Log) -> Result<Vec<Profile>> {
        let scan = self.scan()?;
        for Odd { name, why } in &scan.odd {
            match why {
                Why::NoSoul => log.info(&format!("profiles/{name} is not a profile: {why}")),
                _ => log.warning(&format!("profiles/{name} is not a profile: {why}")),
            }
        }
        scan.require_whole()?;
        Ok(scan.profiles)
    }
}

/// Name the remedy in an error about something that the account may not use.
fn denied(mut error: Error, errno: Errno) -> Error {
    if errno == Errno::ACCESS {
        error.text += DENIED;
    }
    error
}

/// Does this directory have a SOUL.md, a regular file or a link to one? The file is not opened, because root may have
/// left it with the mode 0600.
///
/// # Errors
/// The system's error if the file cannot be looked at.
pub fn marker(dir: &OwnedFd) -> rustix::io::Result<bool> {
    match rustix::fs::statat(dir, MARKER, AtFlags::empty()) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
        Err(errno) => Err(errno),
    }
}
