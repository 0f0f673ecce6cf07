//! Orphans. When the supervisor of a gateway is killed, the gateway goes on running, and s6 shows its service as down.
//! The next gateway of that profile ends the orphan and takes its place, so that there are never two.

use crate::ground::error::{Error, Result};
use crate::ground::message::Log;
use crate::ground::process;
use crate::volume::gateway_lock::Holder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The holder of a gateway lock, if it is an orphan: its supervisor was killed, and its uid is our effective one. The
/// pid in the lock file counts only if it is of our own pid namespace and boot. The pidfd is opened before the start
/// time is compared with the recorded one, so a process that reuses the pid is not taken for the holder.
///
/// # Errors
/// 111 if the holder could not be looked at.
pub fn find(holder: &Holder) -> Result<Option<OwnedFd>> {
    let pid = Pid::from_raw(holder.pid).filter(|_| holder.here && holder.pid != process::own_pid());
    let Some(pid) = pid else { return Ok(None) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        // The pid is a thread's in a file that the account wrote (EINVAL, or ENOENT on newer kernels), or nobody's.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
        // A kernel before 5.3 or a sandbox without the call: a process that may be another one by now is not signalled.
        Err(Errno::NOSYS | Errno::PERM) => return Ok(None),
        Err(errno) => return Err(Error::system("look at", format!("pid {pid}", pid = holder.pid), errno)),
    };
    let Some(stat) = process::stat(holder.pid)?.filter(|s| s.start_time == holder.start_time) else { return Ok(None) };
    let ours = process::uid(holder.pid)? == Some(rustix::process::geteuid().as_raw());
    // When a parent dies, its child goes to init or to the nearest subreaper. Neither has started the child.
    let left_alone = stat.parent == 1 || stat.parent != holder.parent;
    Ok((ours && left_alone).then_some(pidfd))
}

/// End an orphan with SIGTERM, and with SIGKILL after `grace_ms` milliseconds (0 = never). Returns when it has ended.
///
/// # Errors
/// 111 if we may not signal the orphan, or cannot wait for it.
pub fn end(pidfd: &OwnedFd, pid: i32, grace_ms: u64, log: &dyn Log) -> Result<()> {
    send(pidfd, pid, Signal::TERM)?;
    let grace = (grace_ms != 0).then(|| Timespec::try_from(Duration::from_millis(grace_ms)).ok()).flatten();
    if !ended(pidfd, grace.as_ref())? {
        log.warning(&format!("pid {pid} did not end within {grace_ms} ms of SIGTERM: sending SIGKILL"));
        send(pidfd, pid, Signal::KILL)?;
        ended(pidfd, None)?;
    }
    Ok(())
}

/// Send SIGTERM to the holder if it is an orphan. Returns whether it is one. The caller has the account's rights.
///
/// # Errors
/// 111 if the holder could not be looked at, or we may not signal the orphan.
pub fn tell(holder: &Holder) -> Result<bool> {
    match find(holder)? {
        Some(pidfd) => send(&pidfd, holder.pid, Signal::TERM).map(|()| true),
        None => Ok(false),
    }
}

fn send(pidfd: &OwnedFd, pid: i32, signal: Signal) -> Result<()> {
    match pidfd_send_signal(pidfd, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(Error::system("signal", format!("pid {pid}"), errno)),
    }
}

/// Wait until the process has ended; false if `most` passed first.
fn ended(pidfd: &OwnedFd, most: Option<&Timespec>) -> Result<bool> {
    loop {
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], most) {
            Ok(ready) => return Ok(ready != 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::system("wait for", "a process", errno)),
        }
    }
}
