//! Turns: so many gateways of a scandir start at a time, and the others wait in line.
//!
//! The directory `.hermes-s6.turns` of the scandir has a file for each place, which is taken by a `flock`, and a ticket
//! for each slot that waits: a FIFO with the profile's name, which the one who waits has open for reading. The kernel
//! closes both when their process ends, in whatever way. So nothing has to be cleared away, and no process has to live
//! for the others to get their turns. Whether anybody waits with a ticket, opening the FIFO for writing tells.

use crate::ground::beneath::random_suffix;
use crate::ground::error::{Error, Result};
use crate::ground::profile::Profile;
use crate::s6::scandir::Scandir;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RawDir};
use rustix::io::Errno;
use rustix::process::{Gid, geteuid};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

const DIR: &str = ".hermes-s6.turns";

/// The file that is there while the first in line waits for memory.
const MEMORY: &str = ".memory";

/// The turns of one scandir.
pub struct Turns {
    dir: OwnedFd,
}

/// A ticket. Dropping it gives it up.
pub struct Ticket<'a> {
    turns: &'a Turns,
    name: String,
    /// The reading end, which shows the others that we wait.
    _reader: OwnedFd,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let _ = rustix::fs::unlinkat(&self.turns.dir, &self.name, AtFlags::empty());
    }
}

/// The one who is next before us in line.
pub struct Ahead {
    writer: OwnedFd,
}

impl Ahead {
    /// Sleep until that one has got a place or has ended, at most for `most`.
    pub fn sleep(&self, most: Duration) {
        // The writing end of a FIFO without a reader has an error.
        let mut fds = [PollFd::new(&self.writer, PollFlags::empty())];
        let _ = poll(&mut fds, Timespec::try_from(most).ok().as_ref());
    }
}

impl Turns {
    /// The turns of the scandir whose slot is the working directory. The directory is made where it is missing.
    ///
    /// # Errors
    /// 111 if the directory can be neither made nor opened, or others than the caller can write there.
    pub fn of_slot() -> Result<Turns> {
        let unable = |e| Error::system("open", format!("../{DIR}"), e);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let scandir = rustix::fs::open("..", flags, Mode::empty()).map_err(unable)?;
        match rustix::fs::mkdirat(&scandir, DIR, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::system("make", format!("../{DIR}"), errno)),
        }
        Turns::open(&scandir).map_err(unable)?.ok_or_else(|| unable(Errno::NOENT))
    }

    /// The turns of this scandir, to look at; `None` if nobody has ever waited there.
    ///
    /// # Errors
    /// 111 if the directory cannot be opened.
    pub fn find(scandir: &Scandir) -> Result<Option<Turns>> {
        Turns::open(&scandir.dir).map_err(|e| Error::system("open", scandir.path.join(DIR).display(), e))
    }

    fn open(scandir: impl AsFd) -> rustix::io::Result<Option<Turns>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match rustix::fs::openat(scandir, DIR, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened?,
        };
        let stat = rustix::fs::fstat(&dir)?;
        let owned = stat.st_uid == 0 || stat.st_uid == geteuid().as_raw();
        // In an open scandir the directory may be the account's own.
        if owned && stat.st_mode & 0o022 == 0 { Ok(Some(Turns { dir })) } else { Err(Errno::PERM) }
    }

    /// Stand in line. The members of the group can see that we do.
    ///
    /// # Errors
    /// 111 if the ticket cannot be made.
    pub fn ticket(&self, profile: &Profile, group: u32) -> Result<Ticket<'_>> {
        let name = profile.as_str().to_string();
        let unable = |e| Error::system("make", format!("../{DIR}/{profile}"), e);
        // The FIFO gets its name when it has its reader. Without one it would not count.
        let new = format!(".{name}.{}", random_suffix().map_err(unable)?);
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(&self.dir, &new, FileType::Fifo, mode, 0).map_err(unable)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.dir, &new, flags, Mode::empty()).and_then(|reader| {
            let given = rustix::fs::fchown(&reader, None, Some(Gid::from_raw(group)));
            // Whoever may write there can tell that we wait, and no more: nobody reads what they write.
            given.and_then(|()| rustix::fs::fchmod(&reader, mode | Mode::WGRP))?;
            rustix::fs::renameat(&self.dir, &new, &self.dir, &name)?;
            Ok(reader)
        });
        if opened.is_err() {
            let _ = rustix::fs::unlinkat(&self.dir, &new, AtFlags::empty());
        }
        Ok(Ticket { turns: self, name, _reader: opened.map_err(unable)? })
    }

    /// The profiles that wait, in no order. One that was killed may be among them.
    ///
    /// # Errors
    /// 111 if the directory cannot be read.
    pub fn names(&self) -> Result<Vec<Profile>> {
        let unable = |e| Error::system("read", format!("../{DIR}"), e);
        // A descriptor has one position for all its readers, so the directory is opened again.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let again = rustix::fs::openat(&self.dir, ".", flags, Mode::empty()).map_err(unable)?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut entries = RawDir::new(&again, &mut buffer);
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            names.extend(Profile::from_bytes(entry.map_err(unable)?.file_name().to_bytes()));
        }
        Ok(names)
    }

    /// Does somebody wait with the ticket of this profile? If that cannot be told, nobody does.
    pub fn is_waiting(&self, profile: &Profile) -> bool {
        matches!(self.writer(profile), Ok(Some(_)))
    }

    fn writer(&self, profile: &Profile) -> Result<Option<OwnedFd>> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.dir, profile.as_str(), flags, Mode::empty()) {
            Ok(writer) => Ok(Some(writer)),
            Err(Errno::NXIO | Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::system("open", format!("../{DIR}/{profile}"), errno)),
        }
    }

    /// The last of those before us, who are given in the order of the line. `None` if none of them waits any more.
    ///
    /// # Errors
    /// 111 if that cannot be told.
    pub fn ahead(&self, before: &[Profile]) -> Result<Option<Ahead>> {
        let mut writers = before.iter().rev().map(|profile| self.writer(profile));
        let found = writers.find_map(Result::transpose).transpose()?;
        Ok(found.map(|writer| Ahead { writer }))
    }

    /// Take one of so many places, if one is free. The place is free again when the last copy of the descriptor is
    /// closed.
    ///
    /// # Errors
    /// 111 if the places cannot be had.
    pub fn place(&self, places: usize) -> Result<Option<OwnedFd>> {
        let unable = |e| Error::system("lock", format!("../{DIR}"), e);
        // Others must not be able to open the file: an open file can be locked.
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for number in 1..=places {
            let name = format!(".place.{number}");
            let file = rustix::fs::openat(&self.dir, &name, flags, Mode::RUSR | Mode::WUSR).map_err(unable)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(file)),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(errno) => return Err(unable(errno)),
            }
        }
        Ok(None)
    }

    /// Show, or no longer show, that the first in line waits for memory. It is only for people.
    pub fn show_memory(&self, short: bool) {
        if short {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let _ = rustix::fs::openat(&self.dir, MEMORY, flags, Mode::RUSR | Mode::WUSR);
        } else {
            let _ = rustix::fs::unlinkat(&self.dir, MEMORY, AtFlags::empty());
        }
    }

    /// Does the first in line wait for memory?
    pub fn is_memory_short(&self) -> bool {
        rustix::fs::statat(&self.dir, MEMORY, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }
}
