//! Is a gateway ready? Hermes Agent does not tell its supervisor, so its state file and its API server are asked.

use crate::ground::environment::Environment;
use crate::ground::error::{Error, Result};
use crate::ground::process;
use crate::ground::profile::Profile;
use crate::volume::gateway_lock::{self, Holding};
use crate::volume::home::Home;
use crate::volume::settings::{FALLBACK_PORT, Inherited, Settings};
use crate::volume::state::{self, State};
use crate::work::gateway::listener;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::{ClockId, clock_gettime};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Why a gateway is not ready.
pub struct No {
    pub why: String,
}

impl No {
    pub fn because(why: &str) -> No {
        No { why: why.to_string() }
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
        let dir = home.profile_dir(root, profile)?;
        let unable = |e| Error::system("read", home.shown(profile, state::FILE), e);
        let state = dir.map_or(Ok(State::Absent), State::read).map_err(unable)?;
        match says_running(&state, pid)? {
            Ok(()) => Ok(answers(root, profile, pid)?.map_err(|why| No { why })),
            Err(why) => Ok(Err(No { why })),
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

/// The shortest and the longest sleep between two looks while the start has its time, and the sleep after that. The first
/// ones grow with the time that was waited. The looks use no inotify instance: as many gateways may start at a time as
/// the account likes, and root's instances are shared with the root of every other container.
const SOON: Duration = Duration::from_millis(20);
const SLOW: Duration = Duration::from_millis(250);
const SLOWER: Duration = Duration::from_secs(3);

/// How long another container has to serve the profile before the start gives up its time.
const ELSEWHERE: Duration = Duration::from_secs(1);

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
    let (mut starts, mut elsewhere) = (true, None::<Instant>);
    loop {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        if start_time.is_none() || process::stat(pid)?.map(|stat| stat.start_time) != start_time {
            return Ok(false);
        }
        // What cannot be looked at just now is looked at again.
        if matches!(look(home, profile, pid), Ok(Ok(()))) {
            return Ok(true);
        }
        // A gateway that has just taken the lock has not written its identity yet. So one look is not enough.
        let is_elsewhere = starts && is_held_elsewhere(home, profile, pid);
        elsewhere = if is_elsewhere { elsewhere.or_else(|| Some(Instant::now())) } else { None };
        let waits = elsewhere.is_some_and(|since| since.elapsed() >= ELSEWHERE);
        if starts && (begun.elapsed() >= time || waits) {
            starts = false;
            done();
        }
        let nap = if starts { (begun.elapsed() / 16).clamp(SOON, SLOW) } else { SLOWER };
        let used = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime) - used).unwrap_or_default();
        sleep(end.as_ref(), nap.max(used * SHARE))?;
    }
}

/// Does a gateway of this profile that we know run in place of this process, in another container?
fn is_held_elsewhere(home: &Home, profile: &Profile, pid: i32) -> bool {
    let lock = gateway_lock::holder(home, profile);
    lock.is_ok_and(|lock| matches!(lock, Holding::Held(Some(_))) && lock.is_held_beside(Some(pid)))
}

/// Sleep for so long, or until the process ends.
fn sleep(end: Option<&OwnedFd>, time: Duration) -> Result<()> {
    let mut fds: Vec<PollFd> = end.into_iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    match poll(&mut fds, Timespec::try_from(time).ok().as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(Error::system("wait for", "the gateway", errno)),
    }
}
