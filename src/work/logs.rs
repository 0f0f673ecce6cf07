//! Reading several logs as one: their lines in the order of their times, and on, as they are written.

use crate::ground::error::{Error, Result};
use crate::ground::profile::Profile;
use crate::volume::home::Home;
use crate::volume::log_files::LogFiles;
use crate::volume::log_line;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, WatchFlags};
use rustix::io::Errno;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Duration;

/// The longest time between two looks. What sends no event is seen after this time.
const LOOK: Duration = Duration::from_secs(1);

/// How long lines are gathered after an event, so that a busy gateway does not wake us for every line.
const GATHER: Duration = Duration::from_millis(20);

/// Which lines of each log are wanted.
pub struct Wanted {
    /// Only this many lines from the end.
    pub last: Option<u64>,
    /// Only lines that are not older than this.
    pub since: Option<Timestamp>,
    /// Go on with what is written later.
    pub follow: bool,
}

/// A line of a log.
pub struct Line<'a> {
    /// The profile whose gateway wrote the line. `None` for the boot log.
    pub profile: Option<&'a Profile>,
    /// When it was written; of a line without a time, that of the line before it.
    pub time: Option<Timestamp>,
    /// What it says, which is untrusted.
    pub text: String,
}

/// Who gets the lines.
pub trait Reader {
    /// Take a line.
    ///
    /// # Errors
    /// An error ends the reading.
    fn line(&mut self, line: &Line<'_>) -> Result<()>;

    /// Every line that is there now was given.
    ///
    /// # Errors
    /// An error ends the reading.
    fn pause(&mut self) -> Result<()>;

    /// A log cannot be read. It is left out from now on.
    fn failed(&mut self, error: &Error);

    /// The profiles whose logs are to be read by now.
    ///
    /// # Errors
    /// An error ends the reading.
    fn profiles(&mut self) -> Result<Vec<Profile>>;
}

struct Log {
    profile: Option<Profile>,
    files: LogFiles,
    time: Option<Timestamp>,
    /// The line that was read and not given yet, with its time in `time`.
    text: Option<String>,
    failed: bool,
}

/// Give the wanted lines of the logs of these profiles, or of the boot log, to the reader. It returns once all lines
/// were given; if they are followed, once nobody reads our standard output any more.
///
/// # Errors
/// Those of the reader. 111 if the kernel refuses to wait.
pub fn read(home: &Home, boot: bool, wanted: &Wanted, zone: &TimeZone, reader: &mut impl Reader) -> Result<()> {
    // Nothing here needs root. The lines are written to a descriptor that is open already.
    home.act(|dir| {
        let mut logs = Vec::new();
        if boot {
            logs.push(Log::open(None, dir, wanted, reader));
        }
        let mut events = None;
        loop {
            for profile in if boot { Vec::new() } else { reader.profiles()? } {
                if !logs.iter().any(|log| log.profile.as_ref() == Some(&profile)) {
                    logs.push(Log::open(Some(profile), dir, wanted, reader));
                }
            }
            merge(&mut logs, dir, wanted, zone, reader)?;
            reader.pause()?;
            if !wanted.follow {
                return Ok(());
            }
            match &events {
                // What was written before the watch sends no event, so look once more before the first wait.
                None => events = Some(Events::new()),
                Some(events) if !events.wait()? => return Ok(()),
                Some(_) => {}
            }
            logs.iter().filter(|log| !log.failed).for_each(|log| {
                events.iter().for_each(|events: &Events| events.watch(&log.files, dir));
            });
        }
    })
}

/// Give all lines that are there now, in the order of their times.
fn merge(logs: &mut [Log], home: &OwnedFd, wanted: &Wanted, zone: &TimeZone, reader: &mut impl Reader) -> Result<()> {
    let mut heads = BinaryHeap::new();
    for (index, log) in logs.iter_mut().enumerate() {
        if log.advance(home, wanted, zone, reader) {
            heads.push(Reverse((log.time, index)));
        }
    }
    while let Some(Reverse((time, index))) = heads.pop() {
        let log = &mut logs[index];
        if let Some(text) = log.text.take() {
            reader.line(&Line { profile: log.profile.as_ref(), time, text })?;
        }
        if log.advance(home, wanted, zone, reader) {
            heads.push(Reverse((log.time, index)));
        }
    }
    Ok(())
}

impl Log {
    /// The log at its first wanted line.
    fn open(profile: Option<Profile>, home: &OwnedFd, wanted: &Wanted, reader: &mut impl Reader) -> Log {
        let files = profile.as_ref().map_or_else(LogFiles::of_boot, LogFiles::of_gateway);
        let mut log = Log { profile, files, time: None, text: None, failed: false };
        let begun = if wanted.follow { Ok(()) } else { log.files.until_now(home) };
        let begun = begun.and_then(|()| match (wanted.last, wanted.since) {
            (Some(lines), _) => log.files.begin_with_last(home, lines),
            (None, Some(since)) => log.files.begin_at(home, since),
            (None, None) => Ok(()),
        });
        log.keep(begun, reader);
        log
    }

    /// Read the next wanted line. `false` if there is none now.
    fn advance(&mut self, home: &OwnedFd, wanted: &Wanted, zone: &TimeZone, reader: &mut impl Reader) -> bool {
        while !self.failed {
            let read = self.files.line(home);
            let Some(Some(bytes)) = self.keep(read, reader) else { break };
            let line = String::from_utf8_lossy(&bytes);
            let (time, text) = log_line::split(&line, zone);
            // A clock that was set back does not change the order of the lines of one log.
            self.time = self.time.max(time);
            if wanted.since.is_none_or(|since| self.time.is_some_and(|time| time >= since)) {
                self.text = Some(text.to_string());
                return true;
            }
        }
        false
    }

    /// The result. If it is an error, the log is left out from now on.
    fn keep<T>(&mut self, result: Result<T>, reader: &mut impl Reader) -> Option<T> {
        result
            .map_err(|error| {
                self.failed = true;
                reader.failed(&error);
            })
            .ok()
    }
}

/// Events in the directories of the logs. They only say that it is time to look; a look comes every second without them.
struct Events(Option<OwnedFd>);

impl Events {
    fn new() -> Events {
        Events(inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok())
    }

    /// Watch the directory of a log, if it is there. Watching it again changes nothing.
    fn watch(&self, files: &LogFiles, home: &OwnedFd) {
        if let (Some(instance), Ok(Some(dir))) = (&self.0, files.directory(home)) {
            let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
            let _ = inotify::add_watch(instance, path, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO);
        }
    }

    /// Wait until it is time to look. `false` if nobody reads our standard output any more.
    fn wait(&self) -> Result<bool> {
        let stdout = std::io::stdout();
        // Without a wanted event, poll reports that the other end of a pipe is closed, and nothing else.
        let mut fds = vec![PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty())];
        fds.extend(self.0.iter().map(|instance| PollFd::new(instance, PollFlags::IN)));
        let waited = poll(&mut fds, Timespec::try_from(LOOK).ok().as_ref());
        match waited {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::system("wait for", "lines", errno)),
        }
        if !fds[0].revents().is_empty() {
            return Ok(false);
        }
        if let (Some(instance), true) = (&self.0, fds.iter().skip(1).any(|fd| !fd.revents().is_empty())) {
            std::thread::sleep(GATHER);
            let mut buffer = [MaybeUninit::uninit(); 4096];
            while rustix::io::read(instance, &mut buffer[..]).is_ok_and(|(events, _)| !events.is_empty()) {}
        }
        Ok(true)
    }
}
