//! Inotify events in the watched directories. They are only hints for when to look again.

use crate::ground::message::Log;
use crate::ground::profile::{MARKER, Profile};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::{Errno, Result};
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

/// How many events are read in one go, which is the default length of the kernel's queue.
const BATCH: usize = 16384;

/// A watched directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Home,
    /// The directory `profiles`.
    Profiles,
    Profile(Profile),
}

/// The watches, and the directory of each. Without an inotify instance there are no watches and no events.
pub struct Events {
    inotify: Option<OwnedFd>,
    places: HashMap<i32, Place>,
}

/// The events of one reading.
#[derive(Default)]
pub struct Came {
    /// Is there a reason to look?
    pub any: bool,
    /// The profiles whose directory or marker file was created or moved into place.
    pub came: Vec<Profile>,
    /// The profiles whose directory or marker file was removed or moved away.
    pub went: Vec<Profile>,
    /// Has the kernel dropped events? Then `came` and `went` are not complete.
    pub lost: bool,
}

impl Events {
    /// An inotify instance without watches. The instance is made with the caller's rights: the account could use up its
    /// own limit of instances.
    ///
    /// # Errors
    /// The error of `inotify_init`.
    pub fn new() -> Result<Events> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Events { inotify: Some(inotify), ..Events::none() })
    }

    /// No instance, so there are never any events.
    pub fn none() -> Events {
        Events { inotify: None, places: HashMap::new() }
    }

    /// The descriptor to poll.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Watch this directory. A directory that is watched already keeps its watch. `None` if there is no inotify
    /// instance.
    ///
    /// # Errors
    /// The error of `inotify_add_watch`.
    pub fn watch(&self, dir: &OwnedFd) -> Result<Option<i32>> {
        let Some(inotify) = &self.inotify else { return Ok(None) };
        // ATTRIB tells us when a profile that root had left unreadable is given to the account.
        let what = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ATTRIB;
        // The path leads to the descriptor, so that we watch the directory that we looked at, even if its name has
        // changed.
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        inotify::add_watch(inotify, path, what | WatchFlags::ONLYDIR).map(Some)
    }

    /// Keep these watches, and remove all others.
    pub fn keep(&mut self, places: HashMap<i32, Place>) {
        for watch in self.places.keys().filter(|watch| !places.contains_key(watch)) {
            let _ = self.inotify.as_ref().map(|inotify| inotify::remove_watch(inotify, *watch));
        }
        self.places = places;
    }

    /// Read the events that have come.
    pub fn read(&mut self, log: &dyn Log) -> Came {
        let mut came = Came::default();
        let Some(inotify) = &self.inotify else { return came };
        let mut buffer = [MaybeUninit::uninit(); 65536];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        let mut read = 0;
        while read < BATCH || !reader.is_buffer_empty() {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(_) => break,
            };
            read += 1;
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                log.info("the kernel dropped events: looking at everything");
                (came.any, came.lost) = (true, true);
            }
            // A removed watch may still have an event in the queue.
            let Some(place) = self.places.get(&event.wd()) else { continue };
            let name = event.file_name().map(|n| n.to_bytes());
            let of = match place {
                Place::Profiles => name.and_then(Profile::from_bytes),
                Place::Profile(profile) if name == Some(MARKER.as_bytes()) => Some(profile.clone()),
                // Other names in the home and in a profile do not matter. An event without a name is about the
                // directory itself.
                Place::Profile(_) if name.is_some() => continue,
                Place::Home if name.is_some_and(|name| name != b"profiles") => continue,
                _ => None,
            };
            came.any = true;
            let went = flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM);
            let came_to = flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
            came.went.extend(of.clone().filter(|_| went));
            came.came.extend(of.filter(|_| came_to));
        }
        came
    }
}
