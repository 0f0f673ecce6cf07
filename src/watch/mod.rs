//! Watch the volume, and run a program for each profile that appears, changes or goes.
//!
//! A root process that watches what an account may change at will: it looks with that account's rights (`tree`), nothing
//! of what it finds goes further than valid profile names, and how much it runs is bounded (`schedule`). It ends when it is
//! told to, and not because of anything that it finds.

mod children;
mod ready;
mod schedule;
mod signals;
mod tree;

use crate::exit::{Error, Exit, Result, cause_text};
use crate::home::Home;
use crate::message::Log;
use crate::profile::Profile;
use children::Children;
pub use ready::Ready;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use schedule::{Change, Schedule};
use signals::{Signals, came};
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use tree::Tree;

/// After events nobody looks at the next ones for so long: a burst is a few batches then, however many events it has, and
/// an account that makes them without end costs little.
const BURST: Duration = Duration::from_millis(2);

/// Between two rescans that events ask for there is at least this, and twenty times what the last one took.
const RESCAN_GAP: Duration = Duration::from_millis(100);

/// At the end children may go on for so long before SIGTERM is passed on to them: long enough to publish a slot, too
/// short to drain a gateway, which goes on by itself.
const PATIENCE: Duration = Duration::from_secs(3);

/// What to do.
pub struct Options {
    /// Look at everything again so often; `None` for never.
    pub interval: Option<Duration>,
    /// The program and its arguments; the name comes behind them.
    pub prog: Vec<OsString>,
}

/// Watch `home` until SIGTERM or SIGINT: take on nothing more then, and wait for what is running.
///
/// What is there at the start was the boot pass's to see. But between that pass and the watches there is a moment, and
/// this program may have been restarted later; so at the start `prog` is run, at leisure, for every profile that has
/// changed since the container started. A profile that went in that time has left no trace: it is the next pass's.
///
/// # Errors
/// 111 if there can be neither events nor rescans, or the account's rights cannot be had any more.
pub fn run(home: Home, options: Options, ready: Ready, log: &dyn Log) -> Result<()> {
    let signals = Signals::catch()?;
    let tree = match (Tree::new(log), options.interval) {
        (Ok(tree), _) => tree,
        (Err(errno), None) => return Err(Error::system("watch", home.path.display(), errno)),
        (Err(errno), Some(_)) => {
            let cause = cause_text(&errno.into());
            log.warning(&format!("unable to watch {}: {cause}: relying on rescans", home.path.display()));
            Tree::blind(log)
        }
    };
    let now = Instant::now();
    let children = Children::of(options.prog);
    let schedule = Schedule::default();
    let interval = options.interval;
    let mut watcher = Watcher { home, tree, schedule, children, interval, log, rescan: Some(now), scanned: None };
    watcher.rescan()?;
    ready.notify();
    watcher.watch(&signals)?;
    watcher.finish(&signals)
}

struct Watcher<'a> {
    home: Home,
    tree: Tree<'a>,
    schedule: Schedule,
    children: Children,
    interval: Option<Duration>,
    log: &'a dyn Log,
    /// When to look at everything again.
    rescan: Option<Instant>,
    /// When that was done last, and how long it took.
    scanned: Option<(Instant, Duration)>,
}

impl Watcher<'_> {
    fn watch(&mut self, signals: &Signals) -> Result<()> {
        let mut listen_from = Instant::now();
        loop {
            let now = Instant::now();
            while let Some(profile) = self.schedule.take(now) {
                self.start(&profile, now);
            }
            let listening = now >= listen_from;
            let pause = (!listening && self.tree.events().is_some()).then_some(listen_from);
            let wake = [self.schedule.wake(now), self.rescan, pause].into_iter().flatten().min();
            let events = wait(signals, self.tree.events().filter(|_| listening), wake)?;
            if came(&signals.end) {
                return Ok(());
            }
            self.reap(signals);
            if events {
                let hints = self.tree.read();
                if hints.all {
                    let gap = self.scanned.map(|(at, took)| at + RESCAN_GAP.max(took * 20));
                    let soon = gap.map_or(now, |at| at.max(now));
                    self.rescan = Some(self.rescan.map_or(soon, |at| at.min(soon)));
                }
                let changes = self.home.act(|home| Ok(self.tree.look_at(home, hints)))?;
                self.changed(changes);
                listen_from = Instant::now() + BURST;
            }
            if self.rescan.is_some_and(|at| Instant::now() >= at) {
                self.rescan()?;
            }
        }
    }

    /// Nothing new; wait for what runs.
    fn finish(&mut self, signals: &Signals) -> Result<()> {
        let mut patience = Some(Instant::now() + PATIENCE);
        while !self.children.is_empty() {
            wait(signals, None, patience)?;
            if came(&signals.end) || patience.is_some_and(|at| Instant::now() >= at) {
                patience = None;
                self.children.terminate();
            }
            self.reap(signals);
        }
        Ok(())
    }

    fn reap(&mut self, signals: &Signals) {
        if came(&signals.child) {
            for (profile, status) in self.children.reap() {
                let again = self.report(&profile, status);
                self.schedule.ended(&profile, again, Instant::now());
            }
        }
    }

    fn start(&mut self, profile: &Profile, now: Instant) {
        let shown = self.children.shown(profile);
        match self.children.start(profile) {
            Ok(()) => self.log.info(&format!("running {shown}")),
            Err(error) => {
                self.log.warning(&format!("unable to run {shown}: {}", cause_text(&error)));
                self.schedule.ended(profile, true, now);
            }
        }
    }

    /// Say how it ended; is it worth another try? 100 says that it will never work as asked: of a profile that is there, only
    /// because its directory was somewhere else just then.
    fn report(&self, profile: &Profile, status: ExitStatus) -> bool {
        let shown = self.children.shown(profile);
        match (status.code(), status.signal()) {
            (Some(0), _) => self.log.info(&format!("{shown} ended")),
            (Some(code), _) => self.log.warning(&format!("{shown} exited {code}")),
            (None, signal) => self.log.warning(&format!("{shown} was killed by signal {}", signal.unwrap_or(0))),
        }
        match status.code() {
            Some(0) => false,
            Some(code) if code == Exit::Usage as i32 => self.tree.has(profile),
            _ => true,
        }
    }

    fn changed(&mut self, changes: Vec<(Profile, Change)>) {
        let now = Instant::now();
        for (profile, change) in changes {
            self.log.info(&format!("{profile}: {change:?}"));
            self.schedule.changed(profile, change, now);
        }
    }

    fn begin(&mut self, found: Vec<(Profile, Change)>, now: Instant) -> Result<()> {
        let boot = boot();
        let late = self.home.act(|home| {
            let profiles = found.into_iter().map(|(profile, _)| profile);
            Ok(profiles.filter(|p| Tree::changed_since(home, p, boot)).collect::<Vec<_>>())
        })?;
        late.into_iter().for_each(|profile| self.schedule.calmly(profile, now));
        Ok(())
    }

    fn rescan(&mut self) -> Result<()> {
        let start = Instant::now();
        // By its path again: what is mounted there may be another volume by now.
        if let Ok(home) = Home::open_as(&self.home.path, self.home.account.clone()) {
            self.home = home;
        }
        let changes = self.home.act(|home| Ok(self.tree.rescan(home)))?;
        let end = Instant::now();
        match self.scanned {
            Some(_) => self.changed(changes),
            None => self.begin(changes, end)?,
        }
        self.scanned = Some((end, end - start));
        self.rescan = self.interval.map(|interval| end + interval);
        Ok(())
    }
}

/// The second from which on a change was perhaps too late for the boot pass: PID 1 is as old as the container. A file
/// server's clock may be somewhat behind ours.
fn boot() -> i64 {
    crate::process::started(1).map_or(0, |at| at - 60)
}

/// Sleep until a signal, an event, or `wake`: was it an event?
fn wait(signals: &Signals, events: Option<BorrowedFd<'_>>, wake: Option<Instant>) -> Result<bool> {
    let mut fds = vec![PollFd::new(&signals.end, PollFlags::IN), PollFd::new(&signals.child, PollFlags::IN)];
    fds.extend(events.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
    let left = wake.map(|at| at.saturating_duration_since(Instant::now()));
    let left = left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
    match poll(&mut fds, left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(fds.get(2).is_some_and(|fd| !fd.revents().is_empty())),
        Err(errno) => Err(Error::system("wait for", "events", errno)),
    }
}
