//! Is somebody supervising a service directory, and waiting until that changes.

use crate::cli::Deadline;
use crate::exit::{Error, Result};
use crate::s6::{self, Svstat};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, inotify};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, fcntl_getlk};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// Does an s6-supervise hold this service directory? Asked as a *read* lock: a mere reader of `supervise/lock` must not
/// pass for a supervisor (s6-facts, 4: tried). Where that cannot be told (no descriptor left, say) it counts as held: who
/// asks may be about to delete.
pub fn is_held(service: &Path) -> bool {
    match writer(&service.join("supervise/lock")) {
        Ok(writer) => writer.is_some(),
        Err(errno) => !matches!(errno, Errno::NOENT | Errno::NOTDIR),
    }
}

/// Who has the write lock on this file: a pid, 0 if it has none here.
pub(crate) fn writer(lock: &Path) -> rustix::io::Result<Option<i32>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let lock = rustix::fs::open(lock, flags, Mode::empty())?;
    let held = fcntl_getlk(&lock, &Flock::from(FlockType::ReadLock))?;
    Ok(held.map(|held| held.pid.map_or(0, |pid| pid.as_raw_nonzero().get())))
}

/// The service and, if it has one, its logger: the directories that each have a supervisor of their own.
pub fn with_logger(service: &Path) -> Vec<std::path::PathBuf> {
    let log = service.join("log");
    let mut both = vec![service.to_path_buf()];
    if log.is_dir() {
        both.push(log);
    }
    both
}

/// Is it held by a supervisor, logger included?
pub fn any_held(service: &Path) -> bool {
    with_logger(service).iter().any(|d| is_held(d))
}

/// Held, the control FIFO has a reader, and `s6-svstat` answers, logger included. A fresh s6-supervise needs up to 40 ms
/// from its lock to that (s6-facts, 4: tried).
pub fn is_usable(service: &Path) -> bool {
    with_logger(service).iter().all(|d| is_held(d) && has_control_reader(d) && matches!(s6::svstat(d), Ok(Some(_))))
}

/// Opening the FIFO is how one asks whether it has a reader. No right to write there, no way to know.
fn has_control_reader(service: &Path) -> bool {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match rustix::fs::open(service.join("supervise/control"), flags, Mode::empty()) {
        Ok(_) | Err(Errno::ACCESS) => true,
        Err(_) => false,
    }
}

/// A wake-up for every change of some service directories. s6-supervise renames `status` into `supervise/` at each of
/// them, and unlike `event/` that may be watched without any right to write (s6-facts, 4: tried).
pub struct Changes {
    inotify: OwnedFd,
    /// The longest sleep between two looks: an event that is lost, on a file system without inotify, costs this much.
    at_most: Duration,
}

impl Changes {
    /// Watch the `supervise/` of these service directories, those that are there, and whether `down` comes or goes: where
    /// nothing else changes s6-supervise writes no new status.
    pub fn watch<'a>(services: impl IntoIterator<Item = &'a Path>) -> Result<Changes> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let fd = inotify::init(flags).map_err(|e| Error::system("create", "an inotify instance", e))?;
        for service in services {
            let interest = inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CREATE | inotify::WatchFlags::ONLYDIR;
            let _ = inotify::add_watch(&fd, service, interest | inotify::WatchFlags::DELETE);
            for dir in with_logger(service) {
                // A directory that is gone sends nothing, and the look after the wait sees that.
                let _ = inotify::add_watch(&fd, dir.join("supervise"), interest);
            }
        }
        Ok(Changes { inotify: fd, at_most: Duration::from_secs(1) })
    }

    /// The same for a wait that ends with a lock that is let go, which sends no event: look every 10 ms as well.
    #[must_use]
    pub fn and_locks(mut self) -> Changes {
        self.at_most = Duration::from_millis(10);
        self
    }

    /// Wake up for new entries of a scandir as well.
    #[must_use]
    pub fn and_scandir(self, scandir: &Path) -> Changes {
        let interest = inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::MOVED_FROM | inotify::WatchFlags::ONLYDIR;
        let _ = inotify::add_watch(&self.inotify, scandir, interest);
        self
    }

    /// Look until `done` gives something; sleep between two looks until something changed.
    ///
    /// # Errors
    /// Those of `done`; 99 with `what` when the deadline has passed, 111 when a deferred signal came.
    pub fn until<T>(
        &self,
        deadline: Deadline,
        what: impl std::fmt::Display,
        mut done: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        loop {
            if let Some(result) = done()? {
                return Ok(result);
            }
            self.sleep(deadline.patience(self.at_most, &what)?);
        }
    }

    /// Sleep until something changed, at most this long.
    pub fn sleep(&self, most: Duration) {
        let time = Timespec { tv_sec: most.as_secs() as _, tv_nsec: most.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.inotify, PollFlags::IN)];
        if poll(&mut fds, Some(&time)).is_ok_and(|ready| ready > 0) {
            let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
            // The events only say that something changed; what it was is asked of s6.
            while rustix::io::read(&self.inotify, &mut buffer[..]).is_ok_and(|(read, _)| !read.is_empty()) {}
        }
    }
}

/// Wait until `s6-svstat` of this service answers as wanted. Gone is an error, not an endless wait.
pub fn wait_for(service: &Path, deadline: Deadline, what: &str, wanted: impl Fn(&Svstat) -> bool) -> Result<Svstat> {
    let changes = Changes::watch([service])?;
    changes.until(deadline, what, || match s6::svstat(service)? {
        Some(stat) => Ok(Some(stat).filter(&wanted)),
        None => Err(Error::new(
            crate::exit::Exit::System,
            format!("unable to wait for {what}: {} is not supervised any more", service.display()),
        )),
    })
}
