//! The files of one log in the order in which they were written: the rotated ones, then the current one.
//!
//! s6-log renames `current` to `previous`, begins a new file, and then links `previous` to a name that is the time in
//! TAI64N (`@4000....s`). The boot log is renamed to `container-boot.log.1`. A rotation may come at any moment, so a file is known by its inode, and it stays
//! open until it was read to its end.
//!
//! A caller that is root calls these functions inside `Account::act`.

use crate::ground::beneath;
use crate::ground::error::{Error, Kind, Result};
use crate::ground::profile::Profile;
use crate::ground::roots_links;
use crate::volume::boot_log;
use jiff::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The longest line in bytes. A longer one is read as several. s6-log's own lines are at most 8192 bytes long.
pub const LONGEST: usize = 64 * 1024;

/// The most entries of a directory of logs. s6-log keeps ten files beside the current one. The account could make any
/// number of them.
const MOST: usize = 4096;

/// How many times the directory is looked at while rotations change it.
const TRIES: u32 = 16;

/// The largest file that s6-log can write, in bytes. Of a larger one only the end is read.
const LARGEST: u64 = 268_435_455;

/// How many seconds the times in the names of files may differ from the system's clock, which does not count leap
/// seconds.
const LEAP: i64 = 60;

/// A log on the volume.
pub struct LogFiles {
    /// The directory, below the home.
    dir: String,
    /// The name of the file that is being written.
    current: &'static str,
    /// The name of the one rotated file of the boot log. `None` for a log of s6-log.
    rotated: Option<&'static str>,
    /// The rotated files that were read, or are not to be read.
    known: BTreeSet<String>,
    open: Option<Opened>,
    /// The file that was read before the open one. s6-log gives it its name some time after the new file begins, and
    /// has it under both names for a moment. It stays open, so that its inode is not given to another file.
    before: Option<Opened>,
    /// The end of the log, if it is to be read only as far as it is written now.
    end: Option<(Identity, u64)>,
    /// What was read and is not a whole line yet.
    rest: Vec<u8>,
}

/// The device and the inode of a file.
type Identity = (u64, u64);

struct Opened {
    fd: OwnedFd,
    identity: Identity,
    /// Where the next byte is read.
    at: u64,
    /// Is another file the current one, so that nothing more is written to this one?
    is_over: bool,
}

impl LogFiles {
    /// The log of this profile's gateway.
    pub fn of_gateway(profile: &Profile) -> LogFiles {
        LogFiles::new(format!("logs/gateways/{profile}"), "current", None)
    }

    /// The log of the boot passes.
    pub fn of_boot() -> LogFiles {
        LogFiles::new("logs".to_string(), boot_log::NAME, Some(boot_log::ROTATED))
    }

    fn new(dir: String, current: &'static str, rotated: Option<&'static str>) -> LogFiles {
        LogFiles {
            dir,
            current,
            rotated,
            known: BTreeSet::new(),
            open: None,
            before: None,
            end: None,
            rest: Vec::new(),
        }
    }

    /// The path of the current file, for messages.
    pub fn shown(&self, home: &Path) -> String {
        home.join(&self.dir).join(self.current).display().to_string()
    }

    /// Read no further than the log is written now.
    ///
    /// # Errors
    /// 111 if the log cannot be looked at.
    pub fn until_now(&mut self, home: &OwnedFd) -> Result<()> {
        let Some(dir) = self.directory(home)? else { return Ok(()) };
        if let Some(file) = self.open(&dir, self.current)? {
            self.end = Some((file.identity, self.size(&file)?));
        }
        Ok(())
    }

    /// Pass over the rotated files that were complete before this time.
    ///
    /// # Errors
    /// 111 if the directory cannot be looked at.
    pub fn begin_at(&mut self, home: &OwnedFd, since: Timestamp) -> Result<()> {
        let Some(dir) = self.directory(home)? else { return Ok(()) };
        let before = |name: &String| seconds_of(name).is_some_and(|s| s + LEAP < since.as_second());
        self.known = self.archives(&dir)?.into_iter().filter(before).collect();
        Ok(())
    }

    /// Begin with the last `lines` lines.
    ///
    /// # Errors
    /// 111 if the log cannot be looked at, or is rotated again and again.
    pub fn begin_with_last(&mut self, home: &OwnedFd, lines: u64) -> Result<()> {
        'again: for _ in 0..TRIES {
            let Some(dir) = self.directory(home)? else { return Ok(()) };
            // The newest file is looked for first. If it is rotated before the next look, that finds it.
            let current = self.open(&dir, self.current)?;
            let has_previous = self.has_previous(&dir)?;
            let archives = self.archives(&dir)?;
            let previous = if has_previous { self.open(&dir, PREVIOUS)? } else { None };
            if has_previous && previous.is_none() {
                continue;
            }
            let mut left = lines;
            let mut newer = None;
            if let Some(mut file) = current {
                if self.back(&mut file, &mut left)? {
                    self.known = archives.into_iter().collect();
                    (self.open, self.before) = (Some(file), previous);
                    return Ok(());
                }
                newer = Some(file.identity);
            }
            if let Some(mut file) = previous
                && newer != Some(file.identity)
            {
                if self.back(&mut file, &mut left)? {
                    self.known = archives.into_iter().collect();
                    self.open = Some(file);
                    return Ok(());
                }
                newer = Some(file.identity);
            }
            for name in archives.iter().rev() {
                let Some(mut file) = self.open(&dir, name)? else { continue 'again };
                if newer != Some(file.identity) && self.back(&mut file, &mut left)? {
                    self.known = archives.iter().filter(|other| *other <= name).cloned().collect();
                    self.open = Some(file);
                    return Ok(());
                }
            }
            return Ok(());
        }
        Err(self.restless())
    }

    /// The next line without its newline, or `None` if the log has no further whole line now. What follows the last
    /// newline is a line if nothing more will be written behind it.
    ///
    /// # Errors
    /// 111 if the log cannot be read.
    pub fn line(&mut self, home: &OwnedFd) -> Result<Option<Vec<u8>>> {
        loop {
            let found = self.rest.iter().take(LONGEST).position(|byte| *byte == b'\n');
            if let Some(length) = found.or_else(|| (self.rest.len() >= LONGEST).then_some(LONGEST)) {
                let mut line: Vec<u8> = self.rest.drain(..(length + 1).min(self.rest.len())).collect();
                if found.is_some() {
                    line.pop();
                }
                return Ok(Some(line));
            }
            let mut buffer = [0; 8192];
            let read = self.read(&mut buffer)?;
            if read > 0 {
                self.rest.extend_from_slice(&buffer[..read]);
                continue;
            }
            match &self.open {
                Some(file) if self.is_end(file) => return Ok(self.last()),
                Some(file) if !file.is_over => {
                    let over = self.is_rotated(home, file)?;
                    match &mut self.open {
                        // It may have been written to until it was rotated, so it is read once more.
                        Some(file) if over => file.is_over = true,
                        _ => return Ok(None),
                    }
                }
                _ => {
                    let last = self.last();
                    if !self.next(home)? || last.is_some() {
                        return Ok(last);
                    }
                }
            }
        }
    }

    /// The directory of the log, to be watched.
    ///
    /// # Errors
    /// 111 if it cannot be opened.
    pub fn directory(&self, home: &OwnedFd) -> Result<Option<OwnedFd>> {
        match roots_links::open_dir(home, &self.dir) {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::system("open", &self.dir, errno)),
        }
    }

    fn last(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.rest)).filter(|rest| !rest.is_empty())
    }

    fn is_end(&self, file: &Opened) -> bool {
        self.end.is_some_and(|(identity, size)| identity == file.identity && file.at >= size)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let end = self.end;
        let Some(file) = &mut self.open else { return Ok(0) };
        let size = rustix::fs::fstat(&file.fd).map_err(|e| Error::system("stat", &self.dir, e))?.st_size as u64;
        if size < file.at {
            // Somebody has emptied the file.
            file.at = 0;
        }
        let size = end.filter(|(identity, _)| *identity == file.identity).map_or(size, |(_, end)| end.min(size));
        let most = usize::try_from(size.saturating_sub(file.at)).unwrap_or(usize::MAX).min(buffer.len());
        let read = rustix::io::pread(&file.fd, &mut buffer[..most], file.at);
        let read = read.map_err(|e| Error::system("read", &self.dir, e))?;
        file.at += read as u64;
        Ok(read)
    }

    /// Open the file that was written after the open one. `false` if there is none.
    fn next(&mut self, home: &OwnedFd) -> Result<bool> {
        let read = |file: &Opened, log: &LogFiles| {
            [&log.open, &log.before].into_iter().flatten().any(|other| other.identity == file.identity)
        };
        'again: for _ in 0..TRIES {
            let Some(dir) = self.directory(home)? else { return Ok(false) };
            // The newest file is looked for first. If it is rotated before the next look, that finds it.
            let current = self.open(&dir, self.current)?;
            let has_previous = self.has_previous(&dir)?;
            let mut names: Vec<String> = self.archives(&dir)?;
            names.retain(|name| !self.known.contains(name));
            names.extend(has_previous.then(|| PREVIOUS.to_string()));
            let mut found = None;
            for name in names {
                let Some(file) = self.open(&dir, &name)? else { continue 'again };
                if name != PREVIOUS {
                    self.known.insert(name);
                }
                if !read(&file, self) {
                    found = Some(file);
                    break;
                }
            }
            let Some(file) = found.or(current.filter(|file| !read(file, self))) else { return Ok(false) };
            self.before = self.open.replace(file);
            return Ok(true);
        }
        Err(self.restless())
    }

    fn restless(&self) -> Error {
        Error::new(Kind::System, format!("unable to read {}: it is rotated again and again", self.dir))
    }

    /// Is the file that was the current one not that any more?
    fn is_rotated(&self, home: &OwnedFd, file: &Opened) -> Result<bool> {
        let Some(dir) = self.directory(home)? else { return Ok(false) };
        match rustix::fs::statat(&dir, self.current, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok((stat.st_dev, stat.st_ino) != file.identity),
            // In the middle of a rotation there is none.
            Err(Errno::NOENT) => Ok(true),
            Err(errno) => Err(Error::system("stat", format!("{}/{}", self.dir, self.current), errno)),
        }
    }

    /// Is there a `previous`, the file that was the current one until a moment ago?
    fn has_previous(&self, dir: &OwnedFd) -> Result<bool> {
        match rustix::fs::statat(dir, PREVIOUS, AtFlags::SYMLINK_NOFOLLOW) {
            _ if self.rotated.is_some() => Ok(false),
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(Error::system("stat", format!("{}/{PREVIOUS}", self.dir), errno)),
        }
    }

    /// The names of the rotated files, the oldest first. A rename during the listing may hide a file, so the directory is
    /// listed until two lists agree.
    fn archives(&self, dir: &OwnedFd) -> Result<Vec<String>> {
        if let Some(name) = self.rotated {
            return Ok(self.open(dir, name)?.map(|_| name.to_string()).into_iter().collect());
        }
        let mut before = self.list(dir)?;
        for _ in 0..TRIES {
            let now = self.list(dir)?;
            if now == before {
                return Ok(now);
            }
            before = now;
        }
        Err(self.restless())
    }

    fn list(&self, dir: &OwnedFd) -> Result<Vec<String>> {
        let unable = |errno| Error::system("list", &self.dir, errno);
        let mut names = Vec::new();
        for (count, entry) in Dir::read_from(dir).map_err(unable)?.enumerate() {
            if count >= MOST {
                return Err(Error::new(Kind::System, format!("unable to read {}: over {MOST} files", self.dir)));
            }
            let name = entry.map_err(unable)?.file_name().to_string_lossy().into_owned();
            names.extend(seconds_of(&name).map(|_| name));
        }
        names.sort();
        Ok(names)
    }

    /// Open a file of the log, at its beginning. `None` if it is not there.
    fn open(&self, dir: &OwnedFd, name: &str) -> Result<Option<Opened>> {
        let shown = || format!("{}/{name}", self.dir);
        let fd = match beneath::open(dir, name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                return Err(Error::new(Kind::System, format!("unable to open {}: it is a symbolic link", shown())));
            }
            Err(errno) => return Err(Error::system("open", shown(), errno)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|e| Error::system("stat", shown(), e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::new(Kind::System, format!("unable to read {}: it is not a regular file", shown())));
        }
        let at = (stat.st_size as u64).saturating_sub(LARGEST);
        let is_over = name != self.current;
        Ok(Some(Opened { fd, identity: (stat.st_dev, stat.st_ino), at, is_over }))
    }

    fn size(&self, file: &Opened) -> Result<u64> {
        let stat = rustix::fs::fstat(&file.fd).map_err(|e| Error::system("stat", &self.dir, e))?;
        Ok(stat.st_size as u64)
    }

    /// Go back from the end of a file by `left` lines. If the file has fewer lines, they are taken from `left`, and the
    /// answer is `false`. At most `LONGEST` bytes are read for a line.
    fn back(&self, file: &mut Opened, left: &mut u64) -> Result<bool> {
        let size = self.size(file)?;
        let (first, mut at, mut line_end) = (file.at, size, size);
        if *left == 0 {
            file.at = size;
            return Ok(true);
        }
        let mut buffer = [0; 8192];
        while at > first {
            let block = (at - first).min(buffer.len() as u64);
            at -= block;
            let block = &mut buffer[..block as usize];
            let read = rustix::io::pread(&file.fd, &mut *block, at).map_err(|e| Error::system("read", &self.dir, e))?;
            for (offset, byte) in block[..read].iter().enumerate().rev() {
                let behind = at + offset as u64 + 1;
                // The newline at the very end of the file ends the last line.
                let is_between = *byte == b'\n' && behind < size;
                if is_between || line_end - behind >= LONGEST as u64 {
                    *left -= 1;
                    line_end = behind;
                    if *left == 0 {
                        file.at = behind;
                        return Ok(true);
                    }
                }
            }
        }
        *left -= u64::from(size > first);
        file.at = first;
        Ok(*left == 0)
    }
}

/// The file that s6-log has just rotated, until it gets its name.
const PREVIOUS: &str = "previous";

/// The seconds since 1970 in the name of a file that s6-log has rotated: `@`, a time in TAI64N, and `.s` or `.u`.
fn seconds_of(name: &str) -> Option<i64> {
    let label = name.strip_suffix(".s").or(name.strip_suffix(".u"))?;
    tai64n(label).map(Timestamp::as_second)
}

/// A time in TAI64N, as s6 writes it, in the system's clock.
pub fn tai64n(label: &str) -> Option<Timestamp> {
    let digits = label.strip_prefix('@').filter(|d| d.len() == 24 && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let seconds = u64::from_str_radix(&digits[..16], 16).ok()?;
    let nanoseconds = i32::from_str_radix(&digits[16..], 16).ok()?;
    // 1970 is 2^62 + 10 in TAI.
    let seconds = i64::try_from(seconds).ok()?.checked_sub((1 << 62) + 10)?;
    Timestamp::new(seconds, nanoseconds).ok()
}
