//! Files of a gateway that is not running any more (F9).

use crate::message::Log;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// They hold process numbers of an earlier container.
const FILES: [&str; 2] = ["gateway.pid", "processes.json"];

/// Remove them. The caller knows that no gateway of this profile runs: not here, and not in another container.
/// Call it with the account's rights.
pub fn remove(profile_dir: &OwnedFd, shown: &str, log: &dyn Log) {
    // A read-only volume would refuse to remove what is not there, too.
    for name in FILES.iter().copied().filter(|f| is_there(profile_dir, f)) {
        match rustix::fs::unlinkat(profile_dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => log.warning(&crate::exit::Error::system("remove", format!("{shown}{name}"), e).text),
        }
    }
}

/// Is there one?
pub fn any(profile_dir: &OwnedFd) -> bool {
    FILES.iter().any(|f| is_there(profile_dir, f))
}

fn is_there(profile_dir: &OwnedFd, name: &str) -> bool {
    rustix::fs::statat(profile_dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
