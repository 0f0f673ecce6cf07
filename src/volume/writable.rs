//! A volume to which nothing can be written. No gateway gets ready there, and its last log line is older than the cause.

use crate::ground::error::{Error, Result};
use crate::ground::profile::Profile;
use crate::volume::home::Home;
use rustix::fs::{StatVfs, StatVfsMountFlags, fstatvfs};

/// Why nothing can be written, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hindrance {
    /// The note of a status.
    pub note: &'static str,
    pub why: &'static str,
    pub remedy: &'static str,
}

/// What keeps everybody from writing into this profile's directory, if the file system says so. A quota is not seen.
///
/// # Errors
/// 111 if the file system could not be asked.
pub fn hindrance(home: &Home, profile: &Profile) -> Result<Option<Hindrance>> {
    let failed = |e| Error::system("ask for the room on", home.path.display(), e);
    let found = home.within(profile, |dir| fstatvfs(dir).map_err(failed).map(|stat| of(&stat)))?;
    Ok(found.flatten())
}

fn of(stat: &StatVfs) -> Option<Hindrance> {
    // A file system that does not count blocks or files has zero of them in all.
    let full = stat.f_blocks != 0 && stat.f_bavail == 0 || stat.f_files != 0 && stat.f_favail == 0;
    if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
        let why = "the volume is mounted read-only, and a gateway writes there";
        return Some(Hindrance { note: "volume-read-only", why, remedy: "mount it without :ro" });
    }
    let why = "no space is left on the volume";
    full.then_some(Hindrance { note: "volume-full", why, remedy: "make room there" })
}
