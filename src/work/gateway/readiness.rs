//! Is a gateway ready? Hermes Agent does not tell its supervisor, so its state file and its API server are asked.

use crate::ground::environment::Environment;
use crate::ground::error::{Error, Result};
use crate::ground::process;
use crate::ground::profile::Profile;
use crate::volume::gateway_lock::{self, Holding};
use crate::volume::home::{Home, profile_dir};
use crate::volume::settings::{FALLBACK_PORT, Inherited, Settings};
use crate::volume::state::{self, State};
use crate::work::gateway::listener;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::{ClockId, clock_gettime};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

/// Why a gateway is not ready.
pub struct No {
    pub why: String,
    /// Does only the API server not answer yet? It sends no event when it does.
    is_soon: bool,
}

impl No {
    pub fn because(why: &str) -> No {
        No { why: why.to_string(), is_soon: false }
    }
}

/// `Ok` if the gateway is ready.
pub type Answer = std::result::Result<(), No>;

/// Is this process the ready gateway of this profile?
///
/// # Errors
/// 111 if the process or the volume cannot be looked at.
pub fn look(home: &Home, profile: &Profile, pid: i32) -> Result<Answer> {
    // The request to the API server is made with the account's rights as well.
    home.act_for(profile, |root| {
        let dir = profile_dir(root, profile).map_err(|e| Error::system("open", home.shown(profile, ""), e))?;
        let unable = |e| Error::system("read", home.shown(profile, state::FILE), e);
        let state = dir.map_or(Ok(State::Absent), State::read).map_err(unable)?;
        match says_running(&state, pid)? {
            Ok(()) => Ok(answers(root, profile, pid)?.map_err(|why| No { why, is_soon: true })),
            Err(why) => Ok(Err(No { why, is_soon: false })),
        }
    })
}

/// Does the state file say that this process is running? A file that an earlier gateway left names another process.
fn says_running(state: &State, pid: i32) -> Result<std::result::Result<(), String>> {
    let start_time = process::stat(pid)?.map(|stat| stat.start_time);
    if state.number("pid") != u64::try_from(pid).ok() || state.number("start_time") != start_time {
        return Ok(Err(format!("gateway_state.json is not by pid {pid}")));
    }
    Ok(match state.string("gateway_state").as_deref() {
        Some("running" | "degraded") => Ok(()),
        other => Err(format!("its state is {}", other.unwrap_or("unknown"))),
    })
}

/// If the API server is enabled, does it answer? The environment that the gateway was started with decides, overridden
/// by the profile's own `.env`.
fn answers(root: &OwnedFd, profile: &Profile, pid: i32) -> Result<std::result::Result<(), String>> {
    let Ok(variables) = process::environment(pid) else {
        return Ok(Err(format!("the environment of pid {pid} cannot be read")));
    };
    let started_with = Environment::of(variables);
    let exported = started_with.get("API_SERVER_PORT").and_then(|value| value.to_str()?.parse().ok());
    let settings = Settings::read(root, profile, &Inherited::given(started_with))?;
    if !settings.api_server {
        return Ok(Ok(()));
    }
    let port = settings.pin.map(|pin| pin.port).or(exported).unwrap_or(FALLBACK_PORT);
    Ok(match listener::address(pid, port) {
        Some(at) => listener::is_healthy(at),
        None => Err(format!("pid {pid} does not listen on port {port}")),
    })
}

/// The longest sleep between two looks, while the start has its time and later.
const SLOW: Duration = Duration::from_secs(1);
const SLOWER: Duration = Duration::from_secs(3);

/// The shortest sleep between two looks.
const SOON: Duration = Duration::from_millis(20);

/// A look may use so much of the processor: one part in so many. The account decides what there is to look at.
const SHARE: u32 = 20;

/// Wait until this process is the ready gateway of this profile, without an end; `false` if it has ended before. `done`
/// is called when the start has had `time`, or waits for a gateway in another container.
///
/// # Errors
/// 111 if the kernel refuses to wait.
pub fn wait(home: &Home, profile: &Profile, pid: i32, time: Duration, mut done: impl FnMut()) -> Result<bool> {
    let begun = Instant::now();
    let start_time = process::stat(pid)?.map(|stat| stat.start_time);
    let end = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let mut changes = Some(Changes::of(home, profile));
    let (mut soon, mut elsewhere) = (SOON, None::<Instant>);
    loop {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        if start_time.is_none() || process::stat(pid)?.map(|stat| stat.start_time) != start_time {
            return Ok(false);
        }
        // What cannot be looked at just now is looked at again.
        let no = match look(home, profile, pid) {
            Ok(Ok(())) => return Ok(true),
            Ok(Err(no)) => Some(no),
            Err(_) => None,
        };
        // A gateway that has just taken the lock has not written its identity yet. So one look is not enough.
        let is_elsewhere = changes.is_some() && is_held_elsewhere(home, profile, pid);
        elsewhere = if is_elsewhere { elsewhere.or_else(|| Some(Instant::now())) } else { None };
        let waits = elsewhere.is_some_and(|since| since.elapsed() >= SLOW);
        if changes.is_some() && (begun.elapsed() >= time || waits) {
            // After its time a start costs root a look now and then, and no instance of inotify.
            changes = None;
            done();
        }
        let most = if changes.is_some() { SLOW } else { SLOWER };
        let nap = if no.is_some_and(|no| no.is_soon) { soon } else { most };
        soon = (soon * 2).min(most);
        let used = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime) - used).unwrap_or_default();
        // The process has to end at once with the gateway, so the events of the volume wait and its end does not.
        if sleep(end.as_ref(), None, (used * SHARE).max(SOON))? {
            sleep(end.as_ref(), changes.as_ref(), nap)?;
        }
    }
}

/// Does a gateway of this profile that we know run in place of this process, in another container?
fn is_held_elsewhere(home: &Home, profile: &Profile, pid: i32) -> bool {
    let lock = gateway_lock::holder(home, profile);
    lock.is_ok_and(|lock| matches!(lock, Holding::Held(Some(_))) && lock.is_held_beside(Some(pid)))
}

/// Sleep for so long, or until the process ends or something changes. Returns whether the time is over.
fn sleep(end: Option<&OwnedFd>, changes: Option<&Changes>, time: Duration) -> Result<bool> {
    let inotify = changes.and_then(|changes| changes.inotify.as_ref());
    let mut fds: Vec<PollFd> = end.into_iter().chain(inotify).map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let ready = match poll(&mut fds, Timespec::try_from(time).ok().as_ref()) {
        Err(rustix::io::Errno::INTR) => 0,
        ready => ready.map_err(|e| Error::system("wait for", "the gateway", e))?,
    };
    if let Some(inotify) = inotify {
        // The events only say that something has changed.
        let mut buffer = [MaybeUninit::uninit(); 4096];
        while rustix::io::read(inotify, &mut buffer[..]).is_ok_and(|(read, _)| !read.is_empty()) {}
    }
    Ok(ready == 0)
}

/// A wake-up for the changes of a profile's directory. Without an inotify instance there is none, and the looks go on.
struct Changes {
    inotify: Option<OwnedFd>,
}

impl Changes {
    fn of(home: &Home, profile: &Profile) -> Changes {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        let Some(fd) = &inotify else { return Changes { inotify } };
        let added = home.within(profile, |dir| {
            let what = WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE | WatchFlags::ONLYDIR;
            Ok(inotify::add_watch(fd, format!("/proc/self/fd/{}", dir.as_raw_fd()), what).is_ok())
        });
        Changes { inotify: inotify.filter(|_| added == Ok(Some(true))) }
    }
}
