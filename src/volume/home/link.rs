//! A link where a profile, or the directory of the profiles, is looked for. Root's links are followed, and the account's
//! are not.

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use rustix::path::Arg;
use std::os::fd::OwnedFd;

/// Why a link does not lead to a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// It belongs to this uid, and only root's links are followed.
    Foreign(u32),
    /// It is root's, and there is no profile at its other end.
    Empty,
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Link::Foreign(uid) => write!(f, "a link of uid {uid}: only links of root's are followed"),
            Link::Empty => f.write_str("a link of root's that leads to nothing usable: is its volume mounted?"),
        }
    }
}

/// The link of this name, if it is one.
///
/// # Errors
/// The system's error if the name cannot be looked at.
pub fn link_at(dir: &OwnedFd, name: impl Arg) -> rustix::io::Result<Option<Link>> {
    let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    Ok(match (FileType::from_raw_mode(stat.st_mode), stat.st_uid) {
        (FileType::Symlink, 0) => Some(Link::Empty),
        (FileType::Symlink, uid) => Some(Link::Foreign(uid)),
        _ => None,
    })
}
