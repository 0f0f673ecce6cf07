//! The walk down the tree, which the account may rearrange at the same time. It uses one descriptor and one buffer a
//! level, and its depth is bounded. No list of entries is kept, so a directory may have any number of them.

use super::{GiveBack, look, shown};
use crate::ground::beneath;
use crate::ground::error::Result;
use rustix::fs::{FileType, OFlags, RawDir};
use std::ffi::CStr;
use std::os::fd::OwnedFd;

/// The directories of a home below which everything is looked at. What is in other directories, only Hermes Agent
/// knows.
const BELOW: [&[u8]; 5] = [b"profiles", b"logs", b"cron", b"pairing", b"platforms"];

/// Files that Hermes Agent or these tools keep at the top of a home. A home may be a directory of the host with other
/// files of root's in it, and what root alone may read, the account must not get.
const AT_THE_TOP: [&[u8]; 16] = [
    b".env",
    b".gateway-planned-stop.json",
    b".gateway-takeover.json",
    b".hermes_history",
    b".update_check",
    b"SOUL.md",
    b"active_profile",
    b"auth.json",
    b"auth.lock",
    b"channel_directory.json",
    b"config.yaml",
    b"errors.log",
    b"gateway-starts.log",
    b"gateway.lock",
    b"gateway.pid",
    b"processes.json",
];

/// The same, with endings of their own: locks, and the files of a database.
const BEGINNINGS: [&[u8]; 6] =
    [b".hermes-s6.", b"gateway_state.json", b"hermes_state.db", b"kanban.db", b"response_store.db", b"state.db"];

/// Is what belongs to root given back, if it is at the top of the home and has this name?
fn is_hermes_agents(kind: FileType, name: &[u8]) -> bool {
    match kind {
        FileType::Directory => BELOW.contains(&name),
        _ => AT_THE_TOP.contains(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)),
    }
}

/// The deepest level, counted from the home. A directory below it is left to root. Root leaves nothing that deep, and
/// the account could nest directories without end.
const DEEPEST: usize = 200;

/// How many bytes of directory entries are read at once.
const BUFFER: usize = 32768;

impl GiveBack<'_> {
    /// Give back an open directory, which is `depth` levels below the home, and walk through its entries. `path` is its
    /// path relative to the home.
    ///
    /// # Errors
    /// The error of `updated`.
    pub(super) fn directory(&mut self, dir: &OwnedFd, path: &mut Vec<u8>, depth: usize) -> Result<()> {
        self.outcome.checked += 1;
        if depth > 0 || self.former.is_none() {
            self.hand_over(dir, &|| shown(path, b""))?;
        }
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            if self.deadline.passed() {
                self.outcome.stopped_in.get_or_insert_with(|| shown(path, b""));
                break;
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => {
                    self.failed("read", &shown(path, b""), errno);
                    break;
                }
            };
            let name = entry.file_name();
            let (mut kind, mut uid) = (entry.file_type(), None);
            let formers = self.former.is_some() && kind != FileType::Directory;
            if formers || matches!(kind, FileType::RegularFile | FileType::Unknown) {
                // For a file that belongs to the account already, this is the only system call.
                match look(dir, name) {
                    Ok(seen) => (kind, uid) = (seen.0, Some(seen.1)),
                    Err(errno) => self.failed("stat", &shown(path, name.to_bytes()), errno),
                }
            }
            if depth == 0 {
                self.roots_too = is_hermes_agents(kind, name.to_bytes());
            }
            match kind {
                FileType::Directory if matches!(name.to_bytes(), b"." | b"..") => {}
                FileType::Directory if self.roots_too || self.former.is_some() => {
                    self.subdirectory(dir, name, path, depth + 1)?;
                }
                FileType::RegularFile => {
                    self.outcome.checked += 1;
                    if uid.is_some_and(|uid| self.is_to_change(uid)) {
                        self.file(dir, path, name)?;
                    }
                }
                FileType::Directory => {}
                _ if uid.is_some() && uid == self.former => self.file(dir, path, name)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn subdirectory(&mut self, parent: &OwnedFd, name: &CStr, path: &mut Vec<u8>, depth: usize) -> Result<()> {
        if self.levels.is_some_and(|levels| depth > levels) {
            return Ok(());
        }
        if depth > DEEPEST {
            self.too_deep(&shown(path, name.to_bytes()), DEEPEST);
            return Ok(());
        }
        let end = path.len();
        if end > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        let done = match beneath::open_same_mount(parent, name, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(dir) => self.directory(&dir, path, depth),
            Err(errno) => {
                self.failed("open", &shown(path, b""), errno);
                Ok(())
            }
        };
        path.truncate(end);
        done
    }

    fn file(&mut self, dir: &OwnedFd, base: &[u8], name: &CStr) -> Result<()> {
        let path = || shown(base, name.to_bytes());
        match beneath::open_same_mount(dir, name, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(file) => self.hand_over(&file, &path),
            Err(errno) => {
                self.failed("open", &path(), errno);
                Ok(())
            }
        }
    }
}
