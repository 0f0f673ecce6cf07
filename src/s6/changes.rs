//! Waiting for a change of service directories.

use crate::ground::deadline::Deadline;
use crate::ground::error::{Error, Kind, Result};
use crate::s6::programs::{self, Svstat};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, WatchFlags};
use rustix::io::Errno;
use std::cell::OnceCell;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a wait begins with looks in quick succession.
const SOON: Duration = Duration::from_millis(50);

/// The longest sleep between two looks if there is no inotify instance. After a long wait the sleep is an eighth of the
/// time that was waited so far.
const BLIND: Duration = Duration::from_millis(50);

/// A wake-up for every change of some service directories. At each change s6-supervise renames `status` into
/// `supervise/`. Unlike `event/`, that directory can be watched by a process that may not write there.
///
/// Most waits take some milliseconds, and the kernel takes ten milliseconds to close an inotify instance. So a wait
/// begins with looks in quick succession, and an instance is made only after that. An event is only a hint to look
/// again. There may be no instance at all: a uid may have 128 of them, and root's are shared with the root of every
/// other container. Without an instance the looks are 50 ms apart, and further apart later.
pub struct Changes {
    watched: Vec<(PathBuf, WatchFlags)>,
    begun: Instant,
    inotify: OnceCell<Option<OwnedFd>>,
    /// The longest sleep between two looks. Where events get lost, as on a file system without inotify, a change is
    /// seen after this time.
    at_most: Duration,
}

impl Changes {
    /// Watch the `supervise/` directories of these services and of their loggers, as far as they exist. The service
    /// directory itself is watched for its `down` file: s6-supervise writes no new status when only `down` comes or
    /// goes.
    pub fn watch<'a>(services: impl IntoIterator<Item = &'a Path>) -> Changes {
        let interest = WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::ONLYDIR;
        let watched = services.into_iter().flat_map(|service| {
            let below = ["supervise", "log/supervise"].map(|dir| (service.join(dir), interest));
            [(service.to_path_buf(), interest | WatchFlags::DELETE)].into_iter().chain(below)
        });
        let watched = watched.collect();
        Changes { watched, begun: Instant::now(), inotify: OnceCell::new(), at_most: Duration::from_secs(1) }
    }

    /// For a wait that ends when a lock becomes free. Such a lock sends no event, so look every 10 ms as well.
    #[must_use]
    pub fn and_locks(mut self) -> Changes {
        self.at_most = Duration::from_millis(10);
        self
    }

    /// Use no inotify instance. The runs of hermes-profile-watch wait in this way, because the account decides how many
    /// of these runs there are.
    #[must_use]
    pub fn by_looks(mut self) -> Changes {
        self.inotify = OnceCell::from(None);
        self
    }

    /// Wake up for new and removed entries of a scandir as well.
    #[must_use]
    pub fn and_scandir(mut self, scandir: &Path) -> Changes {
        let interest = WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::ONLYDIR;
        self.watched.push((scandir.to_path_buf(), interest));
        self
    }

    /// An inotify instance with all watches. A directory that does not exist or cannot be watched sends no events. The
    /// look after the longest sleep sees its changes.
    fn instance(&self) -> Option<OwnedFd> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
        for (dir, interest) in &self.watched {
            let _ = inotify::add_watch(&fd, dir, *interest);
        }
        Some(fd)
    }

    /// Call `done` until it returns a value, and sleep until something changed between two calls.
    ///
    /// # Errors
    /// The errors of `done` and of `sleep`. 99, naming `what`, once the deadline has passed. 111 once a deferred signal
    /// has come.
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
            self.sleep(deadline.patience(self.at_most, &what)?)?;
        }
    }

    /// Sleep until something changed, at most for `most`.
    ///
    /// # Errors
    /// 111 if the kernel refuses to wait. The caller would otherwise look again at once, without end.
    pub fn sleep(&self, most: Duration) -> Result<()> {
        let nap = |time| {
            std::thread::sleep(time);
            Ok(())
        };
        let waited = self.begun.elapsed();
        if waited < SOON {
            return nap(most.min(waited / 4 + Duration::from_millis(1)));
        }
        let Some(inotify) = self.inotify.get() else {
            // Changes from before the watch send no event. So return at once, and let the caller look.
            return self.inotify.set(self.instance()).or(Ok(()));
        };
        let Some(inotify) = inotify else { return nap(most.min(BLIND.max(waited / 8))) };
        let mut fds = [PollFd::new(inotify, PollFlags::IN)];
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let waited = poll(&mut fds, Timespec::try_from(most).ok().as_ref()).and_then(|ready| {
            // The events only say that something has changed. The caller asks s6 what it was.
            while ready > 0 && !rustix::io::read(inotify, &mut buffer[..])?.0.is_empty() {}
            Ok(())
        });
        match waited {
            Ok(()) | Err(Errno::INTR | Errno::AGAIN) => Ok(()),
            Err(errno) => Err(Error::system("wait for", "changes of the slots", errno)),
        }
    }
}

/// Wait until the `s6-svstat` of this service is as `wanted`. If the supervisor is gone, that is an error: the wait
/// would never end.
///
/// # Errors
/// 99, naming `what`, once the deadline has passed. 111 if the service is not supervised any more or cannot be asked,
/// or a deferred signal has come.
pub fn wait_for(
    service: &Path,
    deadline: Deadline,
    what: impl std::fmt::Display,
    wanted: impl Fn(&Svstat) -> bool,
) -> Result<Svstat> {
    Changes::watch([service]).until(deadline, &what, || match programs::svstat(service)? {
        Some(stat) => Ok(Some(stat).filter(&wanted)),
        None => {
            let text = format!("unable to wait for {what}: {} is not supervised any more", service.display());
            Err(Error::new(Kind::System, text))
        }
    })
}
