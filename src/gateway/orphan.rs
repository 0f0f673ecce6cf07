//! A gateway whose supervisor was killed goes on running, and s6 calls its service down (*tried*: after `kill -9` of
//! s6-supervise the old gateway still answers). The next one ends it and takes its place, so that there are never two.

use crate::exit::{Error, Result};
use crate::gateway::lock::Holder;
use crate::message::Log;
use crate::process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::{AsFd as _, OwnedFd};

/// What the holder of a gateway lock is to us.
pub enum Standing {
    /// Ours, and nobody minds it any more: its supervisor was killed.
    Orphan(OwnedFd),
    /// It runs here under a living parent, whose descriptor comes second where there is one to be had.
    Minded(OwnedFd, Option<OwnedFd>),
    /// In another container, gone, or not to be judged from here.
    Elsewhere,
}

/// Judge the holder. Its pid is only believed in our own pid namespace and boot, and with the start time it wrote: the
/// descriptor is opened first, so a pid that is used again cannot pass for it. Only a process of the uid whose rights we have
/// is an orphan.
pub fn standing(holder: &Holder) -> Standing {
    if !holder.here {
        return Standing::Elsewhere;
    }
    let Some(pidfd) = open(holder.pid) else { return Standing::Elsewhere };
    let Some(stat) = process::stat(holder.pid).filter(|s| s.start_time == holder.start_time) else {
        return Standing::Elsewhere;
    };
    let ours = process::uid(holder.pid) == Some(rustix::process::geteuid().as_raw());
    // A child whose parent dies goes to init, or to the nearest subreaper: to somebody else than who started it.
    let left_alone = stat.parent == 1 || stat.parent != holder.parent;
    if ours && left_alone && holder.pid != process::own_pid() {
        return Standing::Orphan(pidfd);
    }
    Standing::Minded(pidfd, open(stat.parent))
}

/// End an orphan: SIGTERM, and SIGKILL after `grace_ms` milliseconds (0 = never). Returns when it has ended.
///
/// # Errors
/// 111 if it may not be signalled.
pub fn end(pidfd: &OwnedFd, pid: i32, grace_ms: u64, log: &dyn Log) -> Result<()> {
    send(pidfd, pid, Signal::TERM)?;
    let grace = (grace_ms != 0).then(|| Timespec {
        tv_sec: i64::try_from(grace_ms / 1000).unwrap_or(i64::MAX),
        tv_nsec: (grace_ms % 1000 * 1_000_000) as _,
    });
    if !wait(&[pidfd], grace.as_ref())? {
        log.warning(&format!("pid {pid} did not end within {grace_ms} ms of SIGTERM: sending SIGKILL"));
        send(pidfd, pid, Signal::KILL)?;
        wait(&[pidfd], None)?;
    }
    Ok(())
}

/// Tell the holder to end if it is an orphan; says whether it was told. Call it with the account's rights.
///
/// # Errors
/// 111 if it may not be signalled.
pub fn tell(holder: &Holder) -> Result<bool> {
    match standing(holder) {
        Standing::Orphan(pidfd) => send(&pidfd, holder.pid, Signal::TERM).map(|()| true),
        _ => Ok(false),
    }
}

/// Wait until the holder has ended, or its parent has, which may leave it an orphan.
///
/// # Errors
/// 111 if that cannot be waited for.
pub fn wait_for_change(holder: &OwnedFd, parent: Option<&OwnedFd>) -> Result<()> {
    let mut events = vec![holder];
    events.extend(parent);
    wait(&events, None).map(drop)
}

fn open(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

fn send(pidfd: &OwnedFd, pid: i32, signal: Signal) -> Result<()> {
    match pidfd_send_signal(pidfd, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(Error::system("signal", format!("pid {pid}"), errno)),
    }
}

/// Wait until one of the processes has ended; false if the time was up first.
fn wait(pidfds: &[&OwnedFd], most: Option<&Timespec>) -> Result<bool> {
    loop {
        let mut events: Vec<PollFd> =
            pidfds.iter().map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)).collect();
        match poll(&mut events, most) {
            Ok(ready) => return Ok(ready != 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::system("wait for", "a process", errno)),
        }
    }
}
