//! The profiles on the volume as they were last seen, and the kernel's word for when to look again.
//!
//! An event is only a hint: what is true is looked up, beneath the home, with the account's rights. So events may be
//! merged, lost or forged by whoever can rename things there, and names in them are untrusted bytes: those that are not
//! valid profile names go no further.

use super::schedule::Change;
use crate::beneath;
use crate::exit::cause_text;
use crate::home::marker;
use crate::message::Log;
use crate::profile::{MARKER, Profile};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::{Errno, Result};
use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

/// So many directories below `profiles` are kept in mind: the account can make as many as the volume has room for.
const MOST: usize = 4096;

/// So many events are read in one go; it is the length of the kernel's queue by default.
const BATCH: usize = 16384;

const COME_AND_GO: WatchFlags =
    WatchFlags::CREATE.union(WatchFlags::DELETE).union(WatchFlags::MOVED_FROM).union(WatchFlags::MOVED_TO);

/// What was seen.
pub struct Tree<'a> {
    log: &'a dyn Log,
    inotify: Option<OwnedFd>,
    buffer: Vec<MaybeUninit<u8>>,
    home: Option<i32>,
    profiles: Option<i32>,
    known: HashMap<Profile, Seen>,
    names: HashMap<i32, Profile>,
    /// Some watch could not be had since the last rescan began.
    unwatched: bool,
    said: Said,
}

/// A directory below `profiles`.
struct Seen {
    identity: (u64, u64),
    watch: Option<i32>,
    real: bool,
}

/// What was warned about and still holds: it is said once.
#[derive(Default)]
struct Said {
    unwatched: bool,
    unreadable: bool,
    crowded: bool,
}

/// What the kernel says may have changed.
#[derive(Default)]
pub struct Hints {
    names: HashMap<Profile, bool>,
    /// Anything may have.
    pub all: bool,
}

impl<'a> Tree<'a> {
    /// Nothing seen yet. It is the caller's inotify instance, not the account's, which could use up its own limits.
    ///
    /// # Errors
    /// What `inotify_init` says, if there can be no events; a tree without them is `blind`.
    pub fn new(log: &'a dyn Log) -> Result<Tree<'a>> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Tree { inotify: Some(inotify), ..Tree::blind(log) })
    }

    /// One that is only looked at when it is rescanned.
    pub fn blind(log: &'a dyn Log) -> Tree<'a> {
        Tree {
            log,
            inotify: None,
            buffer: vec![MaybeUninit::uninit(); 65536],
            home: None,
            profiles: None,
            known: HashMap::new(),
            names: HashMap::new(),
            unwatched: false,
            said: Said::default(),
        }
    }

    /// Was it a profile when it was last seen?
    pub fn has(&self, profile: &Profile) -> bool {
        self.known.get(profile).is_some_and(|seen| seen.real)
    }

    /// What to poll.
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Read what has come.
    pub fn read(&mut self) -> Hints {
        let mut hints = Hints::default();
        let Some(inotify) = &self.inotify else { return hints };
        let mut reader = inotify::Reader::new(inotify, &mut self.buffer);
        let mut read = 0;
        while read < BATCH || !reader.is_buffer_empty() {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(_) => break,
            };
            read += 1;
            let (flags, watch) = (event.events(), Some(event.wd()));
            let name = event.file_name().map(|n| n.to_bytes());
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                self.log.info("the kernel dropped events: looking at everything");
                hints.all = true;
            } else if watch == self.home {
                hints.all |= name == Some(b"profiles") || flags.contains(ReadFlags::IGNORED);
            } else if watch == self.profiles {
                match name.and_then(Profile::from_bytes) {
                    Some(profile) => {
                        let came = flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
                        *hints.names.entry(profile).or_default() |= came;
                    }
                    // The directory itself.
                    None => hints.all |= name.is_none(),
                }
            } else if let Some(profile) = self.names.get(&event.wd()) {
                if flags.contains(ReadFlags::IGNORED) {
                    if let Some(seen) = self.known.get_mut(profile) {
                        seen.watch = None;
                    }
                } else if name != Some(MARKER.as_bytes()) {
                    continue;
                }
                hints.names.entry(profile.clone()).or_default();
                if flags.contains(ReadFlags::IGNORED) {
                    self.names.remove(&event.wd());
                }
            }
        }
        hints
    }

    /// Look at what the hints name. With the account's rights.
    pub fn look_at(&mut self, home: &OwnedFd, hints: Hints) -> Vec<(Profile, Change)> {
        let mut changes = Vec::new();
        if hints.names.is_empty() {
            return changes;
        }
        if let Ok(dir) = beneath::open_dir(home, "profiles") {
            for (profile, came) in hints.names {
                self.look(&dir, profile, came, &mut changes);
            }
        }
        changes
    }

    /// Look at everything. Watches first, so that nothing falls between. With the account's rights.
    pub fn rescan(&mut self, home: &OwnedFd) -> Vec<(Profile, Change)> {
        let mut changes = Vec::new();
        self.unwatched = false;
        self.home = self.watch(home, COME_AND_GO);
        match beneath::open_dir(home, "profiles") {
            Ok(dir) => {
                let old = self.profiles;
                // ATTRIB: a profile that root left unreadable was handed over.
                self.profiles = self.watch(&dir, COME_AND_GO | WatchFlags::ATTRIB);
                self.unwatch(old.filter(|_| old != self.profiles));
                let read = self.scan(&dir, &mut changes);
                self.readable(read);
            }
            // Anything else than its absence says nothing about the profiles: a file server that does not answer, say.
            Err(Errno::NOENT) => {
                let old = self.profiles.take();
                self.unwatch(old);
                for profile in self.known.keys().cloned().collect::<Vec<_>>() {
                    self.forget(&profile, &mut changes);
                }
            }
            Err(errno) => self.readable(Err(errno)),
        }
        self.said.unwatched &= self.unwatched;
        changes
    }

    /// Has the profile's directory or its marker changed at this second or later? Yes where that cannot be told. With the
    /// account's rights.
    pub fn changed_since(home: &OwnedFd, profile: &Profile, second: i64) -> bool {
        let changed = || {
            let dir = beneath::open(home, profile.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
            let marker = rustix::fs::statat(&dir, MARKER, AtFlags::SYMLINK_NOFOLLOW)?;
            Result::Ok(marker.st_ctime.max(rustix::fs::fstat(&dir)?.st_ctime))
        };
        !changed().is_ok_and(|at| at < second)
    }

    fn scan(&mut self, dir: &OwnedFd, changes: &mut Vec<(Profile, Change)>) -> Result<()> {
        let mut there = HashSet::new();
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            if !matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
                continue;
            }
            if let Some(profile) = Profile::from_bytes(entry.file_name().to_bytes()) {
                self.look(dir, profile.clone(), false, changes);
                there.insert(profile);
            }
        }
        let gone: Vec<Profile> = self.known.keys().filter(|p| !there.contains(p)).cloned().collect();
        for profile in gone {
            self.forget(&profile, changes);
        }
        Ok(())
    }

    /// Look at one name. The watch comes before the look, so that what happens after it is an event.
    fn look(&mut self, dir: &OwnedFd, profile: Profile, came: bool, changes: &mut Vec<(Profile, Change)>) {
        if profile.is_default() {
            return;
        }
        let opened = beneath::open(dir, profile.as_str(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
        let found = opened.and_then(|fd| rustix::fs::fstat(&fd).map(|stat| (fd, (stat.st_dev, stat.st_ino))));
        let (fd, identity) = match found {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return self.forget(&profile, changes),
            // It cannot be told: it stays what it was.
            Err(_) => return,
        };
        let before = self.known.get(&profile).map(|seen| (seen.identity, seen.watch, seen.real));
        if before.is_none() && self.known.len() >= MOST {
            if !std::mem::replace(&mut self.said.crowded, true) {
                self.log
                    .warning(&format!("there are more than {MOST} directories in profiles: the others are left out"));
            }
            return;
        }
        let (same, old_watch, was_real) =
            before.map_or((false, None, false), |(old, watch, real)| (old == identity, watch, real));
        // Also where there is one: the word that it is dead may have been lost, and a directory made since may have the
        // inode of the old one.
        let watch = self.watch(&fd, COME_AND_GO).or(old_watch.filter(|_| same));
        if old_watch != watch {
            self.unwatch(old_watch.filter(|wd| self.names.get(wd) == Some(&profile)));
        }
        if let Some(wd) = watch {
            self.names.insert(wd, profile.clone());
        }
        let real = marker(&fd).unwrap_or(was_real);
        self.known.insert(profile.clone(), Seen { identity, watch, real });
        let change = match (was_real, real) {
            (false, true) => Change::Appeared,
            (true, false) => Change::Gone,
            (true, true) if came || !same => Change::Renewed,
            _ => return,
        };
        changes.push((profile, change));
    }

    /// There is no directory of that name.
    fn forget(&mut self, profile: &Profile, changes: &mut Vec<(Profile, Change)>) {
        let Some(seen) = self.known.remove(profile) else { return };
        // After a rename the watch is the new name's already.
        self.unwatch(seen.watch.filter(|wd| self.names.get(wd) == Some(profile)));
        if seen.real {
            changes.push((profile.clone(), Change::Gone));
        }
    }

    fn watch(&mut self, dir: &OwnedFd, what: WatchFlags) -> Option<i32> {
        let inotify = self.inotify.as_ref()?;
        // By descriptor: the directory that was looked at, whatever has its name by now.
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        match inotify::add_watch(inotify, path, what | WatchFlags::ONLYDIR) {
            Ok(watch) => Some(watch),
            Err(errno) => {
                // EACCES is the volume's business, and ENOENT that of a machine without /proc.
                let needed = errno != Errno::ACCESS;
                self.unwatched |= needed;
                if needed && !std::mem::replace(&mut self.said.unwatched, true) {
                    let cause = match errno {
                        Errno::NOSPC => "fs.inotify.max_user_watches is too low".to_string(),
                        errno => cause_text(&errno.into()),
                    };
                    self.log.warning(&format!("unable to watch every profile: {cause}: relying on rescans"));
                }
                None
            }
        }
    }

    fn unwatch(&mut self, watch: Option<i32>) {
        if let (Some(inotify), Some(watch)) = (&self.inotify, watch) {
            self.names.remove(&watch);
            let _ = inotify::remove_watch(inotify, watch);
        }
    }

    fn readable(&mut self, read: Result<()>) {
        let before = std::mem::replace(&mut self.said.unreadable, read.is_err());
        if let (Err(errno), false) = (read, before) {
            self.log.warning(&format!("unable to read profiles in the home: {}", cause_text(&errno.into())));
        }
    }
}
