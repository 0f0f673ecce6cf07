//! The profiles on the volume, as they were last seen.
//!
//! An event is only a hint that something has changed. A look then reads everything anew, beneath the home and with the
//! account's rights. So it does no harm if events are merged, lost, or forged by a process that can rename things on
//! the volume. Names are untrusted bytes, and only valid profile names are used.
//!
//! A look that fails tells nothing. A profile is gone only if the kernel says that there is nothing of that name.

use super::events::{Events, Place};
use super::schedule::Change;
use crate::ground::error::cause_text;
use crate::ground::message::Log;
use crate::ground::profile::{MARKER, Profile};
use crate::ground::roots_links;
use crate::volume::home::{link_at, marker};
use crate::volume::ports;
use rustix::fs::{AtFlags, Dir, FileType, OFlags};
use rustix::io::{Errno, Result};
use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How many directories below `profiles` are remembered. The account can make as many as the volume has room for.
const MOST: usize = 4096;

/// How long the same warning is not repeated. The account could cause it as often as it likes.
const SAID_FOR: Duration = Duration::from_secs(3600);

/// The profiles that were seen.
pub struct Tree<'a> {
    log: &'a dyn Log,
    /// The events since the last look.
    pub events: Events,
    known: HashMap<Profile, Seen>,
    /// Names that were no profile at the last look, and that an event was about.
    touched: HashSet<Profile>,
    /// The names that the last look reported as touched.
    reported: HashSet<Profile>,
    /// The kernel has dropped events since the last look.
    lost: bool,
    /// The number of looks so far.
    looks: u64,
    /// In this look something could not be read, for a reason that may pass.
    failed: bool,
    said: HashMap<String, Instant>,
}

/// A directory below `profiles`.
struct Seen {
    identity: (u64, u64),
    watch: Option<i32>,
    real: bool,
    /// The directory or its marker got this name since the last look. A run that is under way may have seen neither.
    came: bool,
    /// The number of the last look that found the directory.
    look: u64,
}

/// The result of a look.
pub struct Look {
    /// The changes since the last look.
    pub changes: Vec<(Profile, Change)>,
    /// Something could not be read, for a reason that may pass.
    pub failed: bool,
    /// Something changed during the look, so another one is due.
    pub stale: bool,
    /// Names that an event was about and that neither this look nor the last one has found.
    pub touched: HashSet<Profile>,
    /// The kernel has dropped events since the last look, so `changes` and `touched` may not be complete.
    pub lost: bool,
}

impl<'a> Tree<'a> {
    pub fn new(events: Events, log: &'a dyn Log) -> Tree<'a> {
        Tree {
            log,
            events,
            known: HashMap::new(),
            touched: HashSet::new(),
            reported: HashSet::new(),
            lost: false,
            looks: 0,
            failed: false,
            said: HashMap::new(),
        }
    }

    /// Was there a profile of this name at the last look?
    pub fn has(&self, profile: &Profile) -> bool {
        self.known.get(profile).is_some_and(|seen| seen.real)
    }

    /// Read the events, and return whether they are a reason to look.
    pub fn read(&mut self) -> bool {
        let came = self.events.read(self.log);
        self.lost |= came.lost;
        for profile in &came.came {
            if let Some(seen) = self.known.get_mut(profile) {
                seen.came = true;
            }
        }
        // A profile may come at the end of one look and go before the next. Its coming was reported by the first one, and a
        // run may have met it since. So its going is reported too.
        let went = came.went.into_iter().filter(|profile| self.reported.contains(profile));
        let touched: Vec<_> = came.came.into_iter().chain(went).filter(|profile| !self.has(profile)).collect();
        self.touched.extend(touched);
        came.any
    }

    /// Look at everything, with the account's rights. Each directory is watched before it is read, so that no change is
    /// missed in between.
    pub fn look(&mut self, home: &OwnedFd) -> Look {
        (self.looks, self.failed) = (self.looks + 1, false);
        let mut changes = Vec::new();
        let mut places = HashMap::new();
        places.extend(self.watch(home).map(|watch| (watch, Place::Home)));
        let complete = match roots_links::open_dir(home, "profiles") {
            Ok(dir) => {
                places.extend(self.watch(&dir).map(|watch| (watch, Place::Profiles)));
                self.scan(&dir, &mut changes).map(|()| true)
            }
            // If `profiles` is a link that does not lead to a directory, the profiles do not count as gone.
            Err(errno) if is_absent(errno) => match link_at(home, "profiles") {
                Ok(None) => self.is_mounted(home),
                Ok(Some(_)) => Err(errno),
                Err(errno) => Err(errno),
            },
            Err(errno) => Err(errno),
        };
        match complete {
            Ok(true) => self.forget_the_gone(&mut changes),
            Ok(false) => {
                let file = ports::FILE;
                self.warn(format!("the home has neither profiles nor {file}: nothing counts as gone"));
            }
            Err(errno) => {
                self.failed |= errno != Errno::ACCESS;
                self.warn(format!("unable to read profiles in the home: {}", cause_text(&errno.into())));
            }
        }
        let watched = self.known.iter().filter_map(|(name, seen)| Some((seen.watch?, Place::Profile(name.clone()))));
        places.extend(watched);
        self.events.keep(places);
        // A change that happened before its profile was looked at has become an event by now. It is no reason to run
        // for that profile again.
        let stale = self.read();
        for (profile, _) in &changes {
            if let Some(seen) = self.known.get_mut(profile) {
                seen.came = false;
            }
        }
        // A profile that came and went between two looks is found by neither of them, and a run that went on meanwhile
        // may have met it.
        let mut touched = std::mem::take(&mut self.touched);
        touched.retain(|profile| !self.has(profile));
        self.reported.clone_from(&touched);
        Look { changes, failed: self.failed, stale, touched, lost: std::mem::take(&mut self.lost) }
    }

    /// Has the profile's directory or its marker changed at this second (since the epoch) or later? The answer is yes
    /// if this cannot be told. The caller has the account's rights.
    pub fn changed_since(home: &OwnedFd, profile: &Profile, second: i64) -> bool {
        let changed = || {
            let dir = roots_links::open(home, &profile.path(), OFlags::PATH | OFlags::DIRECTORY)?;
            let marker = rustix::fs::statat(&dir, MARKER, AtFlags::SYMLINK_NOFOLLOW)?;
            Result::Ok(marker.st_ctime.max(rustix::fs::fstat(&dir)?.st_ctime))
        };
        !changed().is_ok_and(|at| at < second)
    }

    fn scan(&mut self, dir: &OwnedFd, changes: &mut Vec<(Profile, Change)>) -> Result<()> {
        let mut left_out = false;
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            if matches!(entry.file_type(), FileType::Directory | FileType::Symlink | FileType::Unknown)
                && let Some(profile) = Profile::from_bytes(entry.file_name().to_bytes()).filter(|p| !p.is_default())
            {
                match self.known.len() < MOST || self.known.contains_key(&profile) {
                    true => self.one(dir, profile, changes),
                    false => left_out = true,
                }
            }
        }
        if left_out {
            self.warn(format!("there are more than {MOST} directories in profiles: the others are left out"));
        }
        Ok(())
    }

    fn one(&mut self, dir: &OwnedFd, profile: Profile, changes: &mut Vec<(Profile, Change)>) {
        let opened = roots_links::open(dir, profile.as_str(), OFlags::PATH | OFlags::DIRECTORY);
        let (fd, identity) = match opened.and_then(|fd| rustix::fs::fstat(&fd).map(|s| (fd, (s.st_dev, s.st_ino)))) {
            Ok(found) => found,
            Err(errno) if is_absent(errno) => return,
            Err(errno) => {
                self.failed |= errno != Errno::ACCESS;
                // The directory could not be looked at, so it keeps its earlier state.
                self.known.entry(profile).and_modify(|seen| seen.look = self.looks);
                return;
            }
        };
        let watch = self.watch(&fd);
        let before = self.known.remove(&profile);
        let same = before.as_ref().filter(|before| before.identity == identity);
        let watch = watch.or(same.and_then(|same| same.watch));
        let (was_real, still) = (before.as_ref().is_some_and(|b| b.real), same.is_some_and(|same| !same.came));
        let is_new = same.is_none();
        let real = marker(&fd).unwrap_or_else(|errno| {
            self.failed |= errno != Errno::ACCESS;
            was_real
        });
        self.known.insert(profile.clone(), Seen { identity, watch, real, came: false, look: self.looks });
        match (was_real, real) {
            (false, true) => changes.push((profile, Change::Appeared)),
            (true, false) => changes.push((profile, Change::Gone)),
            (true, true) if !still => changes.push((profile, Change::Renewed)),
            // A marker that came and went before this directory was watched has left no event.
            (false, false) if is_new => self.touched.extend([profile]),
            _ => {}
        }
    }

    /// There is no `profiles`. Is the volume mounted all the same? The answer is no if there were profiles before and
    /// the record of their ports is gone as well: that is how the mount point of an unmounted volume looks.
    fn is_mounted(&self, home: &OwnedFd) -> Result<bool> {
        match rustix::fs::statat(home, ports::FILE, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(errno) if is_absent(errno) => Ok(!self.known.values().any(|seen| seen.real)),
            Err(errno) => Err(errno),
        }
    }

    fn forget_the_gone(&mut self, changes: &mut Vec<(Profile, Change)>) {
        let gone = self.known.extract_if(|_, seen| seen.look != self.looks);
        changes.extend(gone.filter(|(_, seen)| seen.real).map(|(profile, _)| (profile, Change::Gone)));
    }

    fn watch(&mut self, dir: &OwnedFd) -> Option<i32> {
        self.events.watch(dir).unwrap_or_else(|errno| {
            let cause = match errno {
                Errno::NOSPC => "fs.inotify.max_user_watches is too low".to_string(),
                errno => cause_text(&errno.into()),
            };
            // EACCES comes from the permissions on the volume, which are the account's own choice, so there is no
            // warning. ENOENT comes on a machine without /proc.
            if errno != Errno::ACCESS {
                self.warn(format!("unable to watch every profile: {cause}: relying on rescans"));
            }
            None
        })
    }

    fn warn(&mut self, text: String) {
        if self.said.get(&text).is_none_or(|at| at.elapsed() >= SAID_FOR) {
            self.log.warning(&text);
            self.said.insert(text, Instant::now());
        }
    }
}

/// Does this error say that there is no such directory or file? All other errors say that this could not be found out.
fn is_absent(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::beneath;
    use crate::ground::message::Silent;
    use std::fs;
    use std::path::{Path, PathBuf};

    struct Place(PathBuf);

    impl Place {
        fn new() -> Place {
            let name = format!("hermes-s6-tree-{}", beneath::random_suffix().unwrap());
            let place = Place(std::env::temp_dir().canonicalize().unwrap().join(name));
            fs::create_dir_all(place.0.join("profiles")).unwrap();
            place
        }

        fn home(&self) -> OwnedFd {
            rustix::fs::open(&self.0, OFlags::PATH | OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap()
        }

        fn dir(&self) -> PathBuf {
            self.0.join("profiles/coder")
        }

        fn make(&self) {
            fs::create_dir(self.dir()).unwrap();
            fs::write(self.dir().join(MARKER), "").unwrap();
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    /// A profile comes after a look that has found none. The event is reported, a run meets the profile, and `remove`
    /// removes it.
    fn comes_and_goes(remove: impl Fn(&Path)) {
        let (place, log) = (Place::new(), Silent);
        let mut tree = Tree::new(Events::new().unwrap(), &log);
        tree.look(&place.home());
        place.make();
        tree.read();
        // The profile came in the last moment of a look, which has reported the name.
        tree.reported = std::mem::take(&mut tree.touched);
        assert_eq!(tree.reported.len(), 1);
        remove(&place.dir());
        tree.read();
        let look = tree.look(&place.home());
        assert_eq!((look.changes.len(), look.touched.len()), (0, 1));
    }

    #[test]
    fn a_profile_that_is_removed_piece_by_piece_goes_once() {
        let (place, log) = (Place::new(), Silent);
        let mut tree = Tree::new(Events::new().unwrap(), &log);
        place.make();
        tree.look(&place.home());
        fs::remove_file(place.dir().join(MARKER)).unwrap();
        tree.read();
        let look = tree.look(&place.home());
        assert_eq!((look.changes.len(), look.touched.len()), (1, 0));
        fs::remove_dir(place.dir()).unwrap();
        tree.read();
        let look = tree.look(&place.home());
        assert_eq!((look.changes.len(), look.touched.len()), (0, 0));
    }

    #[test]
    fn a_profile_that_goes_before_any_look_has_found_it_is_reported_once_more() {
        comes_and_goes(|dir| fs::remove_dir_all(dir).unwrap());
    }

    #[test]
    fn a_directory_that_lost_its_marker_before_any_look_has_found_it_is_reported_once_more() {
        comes_and_goes(|dir| fs::remove_file(dir.join(MARKER)).unwrap());
    }
}
