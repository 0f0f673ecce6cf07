//! Does an s6-supervise run on a service directory, and does it take orders?
//!
//! The caller may be about to delete the directory, or to report that its work is done. So a look that fails is an
//! error here, and never a "no".

use crate::ground::error::{Error, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, fcntl_getlk};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Does an s6-supervise hold this service directory? We ask whether a *read* lock would be refused, so that a process
/// that only has a read lock on `supervise/lock` does not count as a supervisor.
///
/// # Errors
/// 111 if the lock cannot be looked at.
pub fn is_held(service: &Path) -> Result<bool> {
    let lock = service.join("supervise/lock");
    match writer(&lock) {
        Ok(writer) => Ok(writer.is_some()),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(Error::system("check", lock.display(), errno)),
    }
}

/// The pid of the process that has the write lock on this file; 0 if that process is outside of our pid namespace.
///
/// # Errors
/// The system's error if the file cannot be opened or asked.
pub fn writer(lock: &Path) -> rustix::io::Result<Option<i32>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let lock = rustix::fs::open(lock, flags, Mode::empty())?;
    let held = fcntl_getlk(&lock, &Flock::from(FlockType::ReadLock))?;
    Ok(held.map(|held| held.pid.map_or(0, |pid| pid.as_raw_nonzero().get())))
}

/// The service directory, and the directory of its logger if it has one. Each of them has a supervisor.
///
/// # Errors
/// 111 if `log` cannot be looked at.
pub fn with_logger(service: &Path) -> Result<Vec<PathBuf>> {
    let log = service.join("log");
    let mut both = vec![service.to_path_buf()];
    match rustix::fs::statat(CWD, &log, AtFlags::empty()) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => both.push(log),
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
        Err(errno) => return Err(Error::system("stat", log.display(), errno)),
    }
    Ok(both)
}

/// The directories of this service, logger included, that a supervisor holds.
///
/// # Errors
/// 111 if they cannot be looked at.
pub fn held(service: &Path) -> Result<Vec<PathBuf>> {
    let mut held = Vec::new();
    for dir in with_logger(service)? {
        if is_held(&dir)? {
            held.push(dir);
        }
    }
    Ok(held)
}

/// Does a supervisor hold the service directory or its logger's?
///
/// # Errors
/// 111 if they cannot be looked at.
pub fn any_held(service: &Path) -> Result<bool> {
    Ok(!held(service)?.is_empty())
}

/// Is each of them, the service and its logger, held by a supervisor that reads its control FIFO and has written the
/// status that `s6-svstat` reads? A new s6-supervise needs up to 40 ms from taking its lock to that point.
///
/// # Errors
/// 111 if they cannot be looked at.
pub fn is_usable(service: &Path) -> Result<bool> {
    for dir in with_logger(service)? {
        if !is_held(&dir)? || !has_control_reader(&dir)? || !has_status(&dir)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How long ago the status of this service last changed: an order, a start, a death, its readiness. s6-svstat tells only
/// since when the service is up or down. `None` if there is no status, or the clock was set back.
pub fn last_change(service: &Path) -> Option<Duration> {
    let changed = std::fs::symlink_metadata(service.join("supervise/status")).ok()?.modified().ok()?;
    changed.elapsed().ok()
}

/// Has s6-supervise written `supervise/status`? Only the file is looked at. Running `s6-svstat` for the service and for
/// its logger would be a tenth of the time until a new slot is usable.
fn has_status(service: &Path) -> Result<bool> {
    let status = service.join("supervise/status");
    match rustix::fs::statat(CWD, &status, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(stat.st_size > 0),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(Error::system("stat", status.display(), errno)),
    }
}

/// Does the control FIFO have a reader? Opening the FIFO for writing tells. If the caller may not write to it, the
/// answer is yes.
fn has_control_reader(service: &Path) -> Result<bool> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let control = service.join("supervise/control");
    match rustix::fs::open(&control, flags, Mode::empty()) {
        Ok(_) | Err(Errno::ACCESS) => Ok(true),
        Err(Errno::NXIO | Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(Error::system("open", control.display(), errno)),
    }
}
