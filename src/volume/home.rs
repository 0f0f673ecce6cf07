//! The home: the directory on the volume that has the profiles.
//!
//! A profile that does not exist and a profile that could not be looked at are two different answers. Only ENOENT,
//! ENOTDIR and ELOOP mean that it does not exist.

use crate::ground::account::Account;
use crate::ground::beneath;
use crate::ground::error::{Error, Kind, Result};
use crate::ground::message::Log;
use crate::ground::profile::{MARKER, Profile};
use crate::ground::roots_links;
use crate::volume::client::Client;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;
use std::collections::BinaryHeap;
use std::ffi::{CStr, CString};
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
        let shown = self.path.join("profiles").join(DELETED);
        let marked = marks(home, &format!("profiles/{DELETED}"))
            .and_then(|marks| marks.map_or(Ok(false), |marks| is_marked(&marks, profile.as_str())));
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
    /// As `scan`.
    pub fn profiles(&self, log: &dyn Log) -> Result<Vec<Profile>> {
        let scan = self.scan()?;
        for Odd { name, why } in &scan.odd {
            match why {
                Why::NoSoul => log.info(&format!("profiles/{name} is not a profile: {why}")),
                _ => log.warning(&format!("profiles/{name} is not a profile: {why}")),
            }
        }
        if scan.left_out > 0 {
            log.warning(&format!("{} more entries of profiles are not looked at: there are too many", scan.left_out));
        }
        Ok(scan.profiles)
    }

    /// Every profile, and the other entries that look like one (B7, B8). Of more than ten thousand names those that come
    /// first are looked at.
    ///
    /// # Errors
    /// 111 if `profiles` exists and cannot be read.
    pub fn scan(&self) -> Result<Scan> {
        self.act(|home| {
            let mut scan = Scan { profiles: Vec::new(), odd: Vec::new(), more: 0, left_out: 0 };
            let shown = self.path.join("profiles");
            let unreadable = |e| Error::system("read", shown.display(), e);
            let profiles = match roots_links::open_dir(home, "profiles") {
                Ok(dir) => Some(dir),
                Err(errno @ (Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {
                    // If `profiles` is a link that does not lead to a directory, the profiles do not count as gone.
                    if let Some(link) = link_at(home, "profiles").map_err(unreadable)? {
                        let text = format!("unable to read {}: it is {link}", shown.display());
                        return Err(Error::new(Kind::System, text));
                    }
                    if errno == Errno::LOOP { return Err(unreadable(errno)) } else { None }
                }
                Err(errno) => return Err(unreadable(errno)),
            };
            if let Some(dir) = profiles {
                // If the marks cannot be looked at, a directory that may have one does not count as gone.
                let marks = marks(&dir, DELETED).unwrap_or_default();
                let (mut names, mut others) = (BinaryHeap::new(), 0);
                for entry in rustix::fs::Dir::read_from(&dir).map_err(unreadable)? {
                    let entry = entry.map_err(unreadable)?;
                    if let Some(profile) = Profile::from_bytes(entry.file_name().to_bytes()) {
                        names.push(profile);
                        scan.left_out += usize::from(names.len() > MOST && names.pop().is_some());
                    } else if others < MOST {
                        scan.add(&dir, marks.as_ref(), entry.file_name());
                        others += 1;
                    } else {
                        scan.left_out += 1;
                    }
                }
                for profile in names.into_sorted_vec() {
                    let name = CString::new(profile.as_str()).map_err(|_| unreadable(Errno::INVAL))?;
                    scan.add(&dir, marks.as_ref(), &name);
                }
            }
            scan.profiles.sort();
            scan.odd.sort();
            scan.profiles.insert(0, Profile::default_profile());
            Ok(scan)
        })
    }
}

/// How many odd entries of `profiles` are named for each reason. The account can make as many as the volume has room
/// for.
const NAMED: usize = 10;

/// How many names of profiles are looked at, and how many other names. This is far more than s6-svscan has room for, and
/// each takes some hundred bytes of memory in a pass.
const MOST: usize = 10_000;

/// The content of `profiles`.
pub struct Scan {
    /// The profiles, `default` first, then by name. They include directories that could not be looked into. If such a
    /// directory were left out, its profile would count as gone. The caller looks again when it works with the profile,
    /// and reports the error then.
    pub profiles: Vec<Profile>,
    /// Entries that look like a profile and are none, at most ten for each reason.
    pub odd: Vec<Odd>,
    /// How many more of them there are.
    pub more: usize,
    /// How many names were not looked at. A profile that is not in `profiles` may be among them.
    pub left_out: usize,
}

/// An entry of `profiles` that looks like a profile and is none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Odd {
    /// Its name. Untrusted text.
    pub name: String,
    pub why: Why,
}

/// Why an entry of `profiles` is not a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It has a SOUL.md, and is called `default`.
    Reserved,
    /// It has a SOUL.md, and its name is not a valid profile name.
    Invalid,
    /// A directory without a SOUL.md.
    NoSoul,
    /// Hermes Agent has deleted the profile, and something has made its directory again.
    Deleted,
    /// A link that does not lead to a profile.
    Link(Link),
}

/// Why a link does not lead to a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// It belongs to this uid, and only root's links are followed.
    Foreign(u32),
    /// It is root's, and there is no profile at its other end.
    Empty,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Reserved => f.write_str("its name is reserved"),
            Why::Invalid => f.write_str("its name is invalid"),
            Why::NoSoul => write!(f, "it has no {MARKER}"),
            Why::Deleted => write!(f, "it was deleted: remove its name from profiles/{DELETED} to have it back"),
            Why::Link(link) => write!(f, "it is {link}"),
        }
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Link::Foreign(uid) => write!(f, "a link of uid {uid}: only links of root's are followed"),
            Link::Empty => f.write_str("a link of root's that leads to nothing usable: is its volume mounted?"),
        }
    }
}

impl Scan {
    /// The profiles that are known if `profiles` cannot be listed: only `default`, whose directory is the home.
    pub fn unlisted() -> Scan {
        Scan { profiles: vec![Profile::default_profile()], odd: Vec::new(), more: 0, left_out: 0 }
    }

    fn add(&mut self, profiles: &OwnedFd, marks: Option<&OwnedFd>, name: &CStr) {
        if matches!(name.to_bytes(), b"." | b"..") {
            return;
        }
        let profile = Profile::from_bytes(name.to_bytes());
        let why = match (look(profiles, marks, name), profile) {
            (Entry::Other, _) | (Entry::Bare(_) | Entry::Deleted | Entry::Unknown, None) => return,
            (Entry::Deleted, Some(_)) => Why::Deleted,
            (Entry::Profile | Entry::Unknown, Some(profile)) if !profile.is_default() => {
                return self.profiles.push(profile);
            }
            (Entry::Profile | Entry::Unknown, Some(_)) => Why::Reserved,
            (Entry::Profile, None) => Why::Invalid,
            (Entry::Bare(link), Some(_)) => link.map_or(Why::NoSoul, Why::Link),
        };
        let reason = std::mem::discriminant(&why);
        if self.odd.iter().filter(|odd| std::mem::discriminant(&odd.why) == reason).count() < NAMED {
            self.odd.push(Odd { name: name.to_string_lossy().into_owned(), why });
        } else {
            self.more += 1;
        }
    }
}

/// What an entry of `profiles` is.
enum Entry {
    /// A directory with a SOUL.md.
    Profile,
    /// It cannot be looked at.
    Unknown,
    /// A directory without a SOUL.md, or a link that does not lead to a profile.
    Bare(Option<Link>),
    /// A directory of a name that Hermes Agent has marked as deleted.
    Deleted,
    /// Neither a directory nor a link.
    Other,
}

fn look(profiles: &OwnedFd, marks: Option<&OwnedFd>, name: &CStr) -> Entry {
    // A name that is not UTF-8 is opened without following links.
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let opened = match name.to_str() {
        Ok(name) => roots_links::open(profiles, name, flags),
        Err(_) => beneath::open(profiles, name, flags, Mode::empty()),
    };
    let is_link = || link_at(profiles, name);
    let there = match opened {
        Ok(dir) => marker(&dir),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
            return is_link().map_or(Entry::Unknown, |link| link.map_or(Entry::Other, |l| Entry::Bare(Some(l))));
        }
        Err(errno) => Err(errno),
    };
    match there {
        Ok(true)
            if marks.is_some_and(|marks| is_marked(marks, name) == Ok(true))
                && Client::here().is_ok_and(|client| client.marks_the_deleted()) =>
        {
            Entry::Deleted
        }
        Ok(true) => Entry::Profile,
        Ok(false) => is_link().map_or(Entry::Unknown, Entry::Bare),
        Err(_) => Entry::Unknown,
    }
}

/// The link of this name, if it is one.
///
/// # Errors
/// The system's error if the name cannot be looked at.
pub fn link_at(dir: &OwnedFd, name: impl Arg) -> rustix::io::Result<Option<Link>> {
    let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    Ok(match (FileType::from_raw_mode(stat.st_mode), stat.st_uid) {
        (FileType::Symlink, 0) => Some(Link::Empty),
        (FileType::Symlink, uid) => Some(Link::Foreign(uid)),
        _ => None,
    })
}

/// The directory, beside the profiles, in which newer releases of Hermes Agent mark those that they have deleted. A late
/// write can make the directory of such a profile again, and an older release does not know the mark.
const DELETED: &str = ".deleted";

/// The directory of the marks, at this path beneath `dir`, if there is one.
fn marks(dir: &OwnedFd, path: &str) -> rustix::io::Result<Option<OwnedFd>> {
    match roots_links::open(dir, path, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(marks) => Ok(Some(marks)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Is there a mark for this name?
fn is_marked(marks: &OwnedFd, name: impl Arg) -> rustix::io::Result<bool> {
    match rustix::fs::statat(marks, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
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
