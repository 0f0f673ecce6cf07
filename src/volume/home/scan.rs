//! The profiles of a home, and the entries beside them that only look like a profile.

use super::link::{Link, link_at};
use super::marks::{self, DELETED};
use super::{Home, marker};
use crate::ground::beneath;
use crate::ground::error::{Error, Kind, Result};
use crate::ground::profile::{MARKER, Profile};
use crate::ground::roots_links;
use crate::volume::client::Client;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::BinaryHeap;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

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
    /// How many valid names were not looked at. A profile that is not in `profiles` may be among them.
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

impl Home {
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
                let marks = marks::open(&dir, DELETED).unwrap_or_default();
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
                        scan.more += 1;
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

impl Scan {
    /// Check that every valid name was looked at.
    ///
    /// # Errors
    /// 111 if there were too many: what the others are cannot be told.
    pub fn require_whole(&self) -> Result<()> {
        match self.left_out {
            0 => Ok(()),
            left_out => {
                let text = format!("{left_out} more entries of profiles are not looked at: there are too many");
                Err(Error::new(Kind::System, text))
            }
        }
    }

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
            if marks.is_some_and(|marks| marks::is_marked(marks, name) == Ok(true))
                && Client::here().is_ok_and(|client| client.marks_the_deleted()) =>
        {
            Entry::Deleted
        }
        Ok(true) => Entry::Profile,
        Ok(false) => is_link().map_or(Entry::Unknown, Entry::Bare),
        Err(_) => Entry::Unknown,
    }
}
