//! What root left in a profile, and what keeps the profile's account from working there. `hermes-fix-attrs` gives such
//! files back.

use crate::ground::error::{Error, Result};
use crate::ground::profile::{MARKER, Profile};
use crate::volume::gateway_lock;
use crate::volume::home::Home;
use crate::volume::state;
use rustix::fs::{Access, AtFlags, FileType};
use rustix::io::Errno;
use std::os::fd::AsFd;

/// What the account must be able to write and to read in a profile's directory.
const WRITTEN: [&str; 3] = [".", state::FILE, gateway_lock::FILE];
const READ: [&str; 3] = [MARKER, ".env", "config.yaml"];

/// The path of the first of them that belongs to root and that the account may not use. `None` also if the account is
/// root.
///
/// # Errors
/// 111 if it cannot be looked at.
pub fn find(home: &Home, profile: &Profile) -> Result<Option<String>> {
    if home.account_of(profile).uid == 0 {
        return Ok(None);
    }
    let found = home.within(profile, |dir| {
        let needs = WRITTEN.map(|name| (name, Access::READ_OK | Access::WRITE_OK)).into_iter();
        for (name, need) in needs.chain(READ.map(|name| (name, Access::READ_OK))) {
            if is_denied(dir, name, need).map_err(|e| Error::system("look at", home.shown(profile, name), e))? {
                return Ok(Some(home.shown(profile, if name == "." { "" } else { name })));
            }
        }
        Ok(None)
    })?;
    Ok(found.flatten())
}

/// Does this name belong to root, and is it refused to the caller, who has the account's rights? A link of root's is
/// left alone: root made it on purpose.
fn is_denied(dir: impl AsFd, name: &str, need: Access) -> rustix::io::Result<bool> {
    let stat = match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(errno),
    };
    if stat.st_uid != 0 || FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Ok(false);
    }
    match rustix::fs::accessat(&dir, name, need, AtFlags::EACCESS) {
        Err(Errno::ACCESS | Errno::PERM) => Ok(true),
        // EROFS has its own words, and a kernel without the call cannot tell.
        Ok(()) | Err(_) => Ok(false),
    }
}
