//! Files of a gateway that does not run any more (F9).

use crate::ground::error::{Error, Result};
use crate::ground::message::Log;
use crate::volume::start_now;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// The first two files hold pids, which after a restart are those of an earlier container. The third asks for a start in
/// that container.
const FILES: [&str; 3] = ["gateway.pid", "processes.json", start_now::FILE];

/// Remove the files. The caller has made sure that no gateway of this profile runs, here or in another container, and
/// has the account's rights.
///
/// # Errors
/// 111 if a file cannot be removed just now. If the volume is read-only or the permissions forbid it, that is only a
/// warning.
pub fn remove(profile_dir: &OwnedFd, shown: &str, log: &dyn Log) -> Result<()> {
    // A read-only volume refuses to remove a file even if it does not exist.
    for name in FILES.into_iter().filter(|name| is_there(profile_dir, name) != Ok(false)) {
        let unable = |e| Error::system("remove", format!("{shown}{name}"), e);
        match rustix::fs::unlinkat(profile_dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno @ (Errno::ROFS | Errno::ISDIR | Errno::ACCESS | Errno::PERM)) => log.warning(&unable(errno).text),
            Err(errno) => return Err(unable(errno)),
        }
    }
    Ok(())
}

/// Is one of the files there? The answer is yes also if this cannot be told.
pub fn any(profile_dir: &OwnedFd) -> bool {
    FILES.iter().any(|name| is_there(profile_dir, name) != Ok(false))
}

fn is_there(profile_dir: &OwnedFd, name: &str) -> rustix::io::Result<bool> {
    match rustix::fs::statat(profile_dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}
