//! The home: the volume with its profiles.

use crate::account::Account;
use crate::beneath;
use crate::exit::{Error, Exit, Result};
use crate::message::Log;
use crate::profile::{MARKER, Profile};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// An open home and the account that it belongs to.
pub struct Home {
    /// Its path, absolute.
    pub path: PathBuf,
    /// The runtime account.
    pub account: Account,
    dir: OwnedFd,
}

impl Home {
    /// Open the home with the runtime account's rights.
    ///
    /// # Errors
    /// 111 if it is missing, not a directory, or may not be read by that account.
    pub fn open(path: &Path) -> Result<Home> {
        let account = Account::runtime(path)?;
        Home::open_as(path, account)
    }

    /// The same for an account that the caller has chosen.
    pub fn open_as(path: &Path, account: Account) -> Result<Home> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = account.act(|| {
            rustix::fs::open(path, flags, Mode::empty()).map_err(|e| {
                let error = Error::system("open", path.display(), e);
                match e {
                    Errno::ACCESS => Error::new(error.exit, format!("{} (for uid {})", error.text, account.uid)),
                    _ => error,
                }
            })
        })?;
        Ok(Home { path: path.to_path_buf(), account, dir })
    }

    /// Do `work` with the account's rights and the home's descriptor.
    pub fn act<T>(&self, work: impl FnOnce(&OwnedFd) -> Result<T>) -> Result<T> {
        self.account.act(|| work(&self.dir))
    }

    /// The path of something of this profile, for messages.
    pub fn shown(&self, profile: &Profile, name: &str) -> String {
        let dir = if profile.is_default() { self.path.clone() } else { self.path.join(profile.path()) };
        dir.join(name).display().to_string()
    }

    /// Does the profile exist? `default` always does (B9); another one is a directory with a SOUL.md.
    ///
    /// # Errors
    /// 100 `no such profile` if it does not, 111 if that cannot be found out.
    pub fn require(&self, profile: &Profile) -> Result<()> {
        self.act(|home| match profile_dir(home, profile) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => {
                let want =
                    if profile.is_default() { String::new() } else { format!(" (no {})", self.shown(profile, MARKER)) };
                Err(Error::new(Exit::Usage, format!("no such profile: {profile}{want}")))
            }
            Err(errno) => Err(Error::system("open", self.shown(profile, ""), errno)),
        })
    }

    /// Every profile, `default` first, then by name. What only looks like one is passed over with a warning.
    ///
    /// # Errors
    /// 111 if `profiles` is there and cannot be read.
    pub fn profiles(&self, log: &dyn Log) -> Result<Vec<Profile>> {
        let scan = self.scan()?;
        for name in &scan.odd {
            log.warning(&format!("profiles/{name} is not a profile: its name is {}", odd_name(name)));
        }
        Ok(scan.profiles)
    }

    /// Every profile that can be listed: `default`, at the least (B9).
    pub fn listed(&self) -> Vec<Profile> {
        self.scan().unwrap_or_else(|_| Scan::unlisted()).profiles
    }

    /// Every profile, without words: what else has a marker but no valid name is handed over (B7, B8).
    ///
    /// # Errors
    /// 111 if `profiles` is there and cannot be read.
    pub fn scan(&self) -> Result<Scan> {
        self.act(|home| {
            let mut scan = Scan { profiles: Vec::new(), odd: Vec::new() };
            let shown = self.path.join("profiles");
            let unreadable = |e| Error::system("read", shown.display(), e);
            match beneath::open_dir(home, "profiles") {
                Ok(dir) => {
                    for entry in rustix::fs::Dir::read_from(&dir).map_err(unreadable)? {
                        let name = entry.map_err(unreadable)?.file_name().to_owned();
                        if name.to_bytes() != b"." && name.to_bytes() != b".." && has_marker(&dir, &name) {
                            match Profile::from_bytes(name.to_bytes()) {
                                Some(profile) if !profile.is_default() => scan.profiles.push(profile),
                                _ => scan.odd.push(name.to_string_lossy().into_owned()),
                            }
                        }
                    }
                }
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(unreadable(errno)),
            }
            scan.profiles.sort();
            scan.odd.sort();
            scan.profiles.insert(0, Profile::default_profile());
            Ok(scan)
        })
    }
}

/// What is below `profiles`.
pub struct Scan {
    /// The profiles, `default` first, then by name.
    pub profiles: Vec<Profile>,
    /// Directories with a SOUL.md whose names are not for profiles. Untrusted text.
    pub odd: Vec<String>,
}

impl Scan {
    /// What is known where `profiles` cannot be listed: the home itself is a profile.
    pub fn unlisted() -> Scan {
        Scan { profiles: vec![Profile::default_profile()], odd: Vec::new() }
    }
}

/// Why such a name is not a profile's.
pub fn odd_name(name: &str) -> &'static str {
    if name == "default" { "reserved" } else { "invalid" }
}

/// Open a profile's directory beneath the home; `None` where it is not a profile. Call it with the account's rights.
pub fn profile_dir(home: &OwnedFd, profile: &Profile) -> rustix::io::Result<Option<OwnedFd>> {
    let dir = match beneath::open_dir(home, &profile.path()) {
        Ok(dir) => dir,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    if profile.is_default() || marker(&dir)? {
        return Ok(Some(dir));
    }
    Ok(None)
}

fn has_marker(profiles: &OwnedFd, name: &CStr) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(profiles, name, flags, Mode::empty()).is_ok_and(|dir| {
        // One that we may not look into (root made it, 0700) passes: it must be named as one that fails, and not be taken
        // for one that is gone, whose slot would be retired.
        marker(&dir).unwrap_or_else(|errno| errno == Errno::ACCESS)
    })
}

/// Has this directory a SOUL.md? A regular file, or the user's link to one: it is only looked at, never opened, because
/// root may have left it 0600. An error where that cannot be told.
pub fn marker(dir: &OwnedFd) -> rustix::io::Result<bool> {
    match rustix::fs::statat(dir, MARKER, AtFlags::empty()) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
        Err(errno) => Err(errno),
    }
}
