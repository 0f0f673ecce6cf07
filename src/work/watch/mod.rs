//! Watch the volume, and run a program for each profile that appears, changes or goes.
//!
//! The watcher is a root process that looks at what the account can change at will. So it looks with the account's
//! rights (`tree`), passes on only valid profile names, and runs a bounded number of programs (`schedule`). It ends
//! when it is told to, never because of what it finds.

mod children;
mod events;
mod order;
mod schedule;
mod signals;
mod tree;

use crate::ground::error::{Error, Exit, Result, cause_text};
use crate::ground::memory;
use crate::ground::message::Log;
use crate::ground::profile::Profile;
use crate::volume::home::Home;
use children::{Children, Ended};
use events::Events;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use schedule::{Change, Schedule};
use signals::{Signals, came};
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use tree::{Look, Tree};

/// How long no events are read after a look, and after events that call for no look. This turns a burst of events into
/// a few looks.
const GAP: Duration = Duration::from_millis(2);

/// After a look, no events are read for this many times the duration of the look. So an account that makes events or
/// directories without end costs a twentieth of a processor, and a change is acted on within a second as long as a look
/// takes less than 50 ms.
const REST: u32 = 20;

/// How long after a failed look the next one comes.
const AGAIN: Duration = Duration::from_secs(1);

/// How long the children may go on after the watcher was told to end, before they get SIGTERM. This is long enough to
/// publish a slot. It is too short to drain a gateway, but the draining goes on without the child.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often the processes of the gateways are looked at, for the order in which the kernel would kill them.
const ORDER: Duration = Duration::from_secs(2);

/// The options of the watcher.
pub struct Options {
    /// The time between two looks without events; `None` for no such looks.
    pub interval: Option<Duration>,
    /// The program and its arguments. The profile's name is added as the last one.
    pub prog: Vec<OsString>,
}

/// Watch `home` until SIGTERM or SIGINT. Then start nothing more, and wait for the running children.
///
/// The boot pass has handled the profiles that were there before. But there is a moment between that pass and the first
/// watch, and the watcher may have been restarted later. So at its start it runs `prog`, with low priority, for every
/// profile that has changed since the container started. A profile that was removed in that time has left no trace; the
/// next pass handles it.
///
/// # Errors
/// 111 if the watcher can have neither events nor rescans, if readiness cannot be reported, if polling fails, or if the
/// account's rights cannot be taken.
pub fn run(home: Home, options: Options, log: &dyn Log) -> Result<()> {
    let signals = Signals::catch()?;
    let events = match (Events::new(), options.interval) {
        (Ok(events), _) => events,
        (Err(errno), None) => return Err(Error::system("watch", home.path.display(), errno)),
        (Err(errno), Some(_)) => {
            let cause = cause_text(&errno.into());
            log.warning(&format!("unable to watch {}: {cause}: relying on rescans", home.path.display()));
            Events::none()
        }
    };
    let tree = Tree::new(events, log);
    let now = Instant::now();
    let children = Children::of(options.prog);
    let schedule = Schedule::default();
    let interval = options.interval;
    let (score, order_at) = (memory::own_score(), now);
    let mut watcher = Watcher {
        home,
        tree,
        schedule,
        children,
        failed: HashMap::new(),
        interval,
        log,
        score,
        order_at,
        looked: now,
        listen_from: now,
        due: None,
    };
    let found = watcher.look()?;
    watcher.begin(found, now)?;
    say_ready()?;
    watcher.watch(&signals)?;
    watcher.finish(&signals)
}

/// Report readiness by a newline on standard output, like `s6-ipcserver -1`. After that, standard output becomes
/// standard error: this closes the pipe to s6-supervise, and the children's output goes to the log.
fn say_ready() -> Result<()> {
    match rustix::io::retry_on_intr(|| rustix::io::write(rustix::stdio::stdout(), b"\n")) {
        // If nobody reads the pipe any more, that is no error.
        Ok(_) | Err(Errno::PIPE) => {}
        Err(errno) => return Err(Error::system("write to", "standard output", errno)),
    }
    let done = rustix::stdio::dup2_stdout(rustix::stdio::stderr());
    done.map_err(|e| Error::system("make standard error", "standard output", e))
}

struct Watcher<'a> {
    home: Home,
    tree: Tree<'a>,
    schedule: Schedule,
    children: Children,
    /// How the last run ended for each profile whose runs fail.
    failed: HashMap<Profile, ExitStatus>,
    interval: Option<Duration>,
    log: &'a dyn Log,
    /// Our own `oom_score_adj`; `None` if the kernel does not tell.
    score: Option<i32>,
    /// When to look at the processes of the gateways again.
    order_at: Instant,
    /// When the last look began.
    looked: Instant,
    /// When to read events again.
    listen_from: Instant,
    /// When to look again even without an event.
    due: Option<Instant>,
}

impl Watcher<'_> {
    fn watch(&mut self, signals: &Signals) -> Result<()> {
        loop {
            let now = Instant::now();
            while let Some(profile) = self.schedule.take(now) {
                self.start(&profile, now);
            }
            if self.score.is_some() && now >= self.order_at {
                self.order()?;
            }
            let listening = now >= self.listen_from;
            let deaf_until = (!listening && self.tree.events.fd().is_some()).then_some(self.listen_from);
            let order_at = self.score.map(|_| self.order_at);
            let wake = [self.schedule.wake(now), self.due, deaf_until, order_at].into_iter().flatten().min();
            let events = wait(signals, self.tree.events.fd().filter(|_| listening), wake)?;
            if came(&signals.end) {
                return Ok(());
            }
            self.reap(signals);
            if events {
                self.listen_from = Instant::now() + GAP;
            }
            if (events && self.tree.read()) || self.due.is_some_and(|at| Instant::now() >= at) {
                let changes = self.look()?;
                self.changed(changes);
            }
        }
    }

    /// Start nothing more, and wait for the running children.
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
            for ended in self.children.reap() {
                let again = self.report(&ended);
                self.schedule.ended(&ended.profile, again, Instant::now());
            }
        }
    }

    fn start(&mut self, profile: &Profile, now: Instant) {
        let shown = self.children.shown(profile);
        // A run that has failed is tried again for ever, and is not told of for ever.
        let quiet = self.schedule.has_failed(profile);
        match self.children.start(profile, quiet) {
            Ok(()) if quiet => {}
            Ok(()) => self.log.info(&format!("running {shown}")),
            Err(error) => {
                if !quiet {
                    self.log.warning(&format!("unable to run {shown}: {}", cause_text(&error)));
                }
                self.schedule.ended(profile, true, now);
            }
        }
    }

    /// Log how the run ended, and return whether to try again. A run that ends as the one before it is not logged. Exit
    /// code 100 means that the run will never work as asked. If the profile exists, its directory was only somewhere else
    /// at that moment, so the run is tried again.
    fn report(&mut self, ended: &Ended) -> bool {
        let Ended { profile, status, quiet } = ended;
        let shown = self.children.shown(profile);
        // The last look may be older than the profile's end, so the volume is asked again.
        let is_gone = status.code() == Some(Exit::Usage as i32) && self.home.has(profile) == Ok(false);
        let again = !status.success() && !is_gone;
        let before = if again { self.failed.insert(profile.clone(), *status) } else { self.failed.remove(profile) };
        match (status.code(), status.signal()) {
            _ if *quiet && before == Some(*status) => {}
            (Some(0), _) => self.log.info(&format!("{shown} ended")),
            // The profile vanished before its turn, and left nothing behind.
            (Some(code), _) if is_gone => self.log.info(&format!("{shown} exited {code}")),
            (Some(code), _) => self.log.warning(&format!("{shown} exited {code}")),
            (None, signal) => self.log.warning(&format!("{shown} was killed by signal {}", signal.unwrap_or(0))),
        }
        again
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

    /// Let the kernel take what a gateway has started before the gateway. The account can have any number of processes, so
    /// this takes at most a twentieth of a processor.
    fn order(&mut self) -> Result<()> {
        let start = Instant::now();
        if let Some(own) = self.score {
            self.home.act(|_| {
                order::children_first(own);
                Ok(())
            })?;
        }
        let end = Instant::now();
        self.order_at = end + ORDER.max((end - start) * REST);
        Ok(())
    }

    fn look(&mut self) -> Result<Vec<(Profile, Change)>> {
        let start = Instant::now();
        // Open the home by its path again, because another volume may be mounted there by now.
        if let Ok(home) = Home::open_as(&self.home.path, self.home.account().clone()) {
            self.home = home;
        }
        let Look { changes, failed, stale, touched, lost } = self.home.act(|home| Ok(self.tree.look(home)))?;
        let end = Instant::now();
        touched.into_iter().for_each(|profile| self.schedule.touched(profile, end));
        if lost {
            self.schedule.lost(self.looked, |profile| self.tree.has(profile), end);
        }
        self.looked = start;
        self.listen_from = end + GAP.max((end - start) * REST);
        let (interval, again) = (self.interval.map(|interval| end + interval), failed.then_some(end + AGAIN));
        let due = [interval, again, stale.then_some(self.listen_from)].into_iter().flatten().min();
        self.due = due.map(|at| at.max(self.listen_from));
        Ok(changes)
    }
}

/// The second (since the epoch) from which on a change may have been too late for the boot pass. PID 1 is as old as the
/// container. A minute is subtracted, because the clock of a file server may be behind ours.
fn boot() -> i64 {
    crate::ground::process::started(1).map_or(0, |at| at - 60)
}

/// Sleep until a signal, an event or `wake`. Returns whether it was an event.
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
