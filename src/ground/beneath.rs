//! Files on the volume, which is untrusted. Every path is resolved beneath an open directory and through no symbolic
//! link. Only regular files of a bounded size are read, and a FIFO never blocks the reader (docs/DESIGN.md, "Rights on
//! the volume"; docs/failures.md, H2).
//!
//! A caller that is root calls these functions inside `Account::act`.

use crate::ground::error::cause_text;
use crate::ground::lock;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;
use std::ffi::CStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

/// How many times an open that fails with EAGAIN or EINTR is tried.
const TRIES: u32 = 16;

/// Open `path` beneath `dir` with these flags.
pub fn open(dir: impl AsFd, path: impl Arg, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    resolve(dir, path, flags, mode, ResolveFlags::empty())
}

/// As `open`, and through no mount point (`EXDEV`), because whatever is mounted below the volume belongs to another
/// owner.
pub fn open_same_mount(dir: impl AsFd, path: impl Arg, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    resolve(dir, path, flags, Mode::empty(), ResolveFlags::NO_XDEV)
}

fn resolve(
    dir: impl AsFd,
    path: impl Arg,
    flags: OFlags,
    mode: Mode,
    more: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | more;
    // Beside O_PATH, openat2 refuses O_NOCTTY and most other flags. O_PATH does not open a terminal anyway.
    let quiet = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NOCTTY };
    let flags = flags | OFlags::CLOEXEC | quiet;
    path.into_with_c_str(|path| {
        // EAGAIN has two meanings. Either a rename elsewhere raced with the resolution, and the kernel asks us to try
        // again. Or the file has a lease, which lasts 45 seconds and which the file's owner can renew without end.
        let again = |done: &rustix::io::Result<OwnedFd>| matches!(done, Err(Errno::INTR | Errno::AGAIN));
        let mut tries = (0..TRIES).map(|_| match rustix::fs::openat2(&dir, path, flags, mode, resolve) {
            // ENOSYS comes from kernels before 5.6, and ENOSYS or EPERM from a sandbox that does not know the call. The
            // walk is as safe, so where EPERM is the file system's own answer, asking again does no harm.
            Err(Errno::NOSYS | Errno::PERM) => walk(dir.as_fd(), path, flags, mode, more),
            done => done,
        });
        tries.find(|done| !again(done)).unwrap_or(Err(Errno::AGAIN))
    })
}

/// Resolve a path like openat2 does, for a kernel without openat2. Each component is opened beneath the one before, and
/// not through a link. An absolute path, or one with `..` in it, is refused, so the walk cannot leave `dir`.
fn walk(
    dir: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    mode: Mode,
    more: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let names: Vec<&[u8]> = path.to_bytes().split(|byte| *byte == b'/').collect();
    if names.contains(&&b".."[..]) || path.to_bytes().starts_with(b"/") {
        return Err(Errno::XDEV);
    }
    let names: Vec<&[u8]> = names.into_iter().filter(|name| !name.is_empty()).collect();
    let (last, above) = names.split_last().ok_or(Errno::NOENT)?;
    let mount = if more.contains(ResolveFlags::NO_XDEV) { Some(mount_id(dir)?) } else { None };
    let step = |at: BorrowedFd<'_>, name: &[u8], flags: OFlags, mode: Mode| {
        let opened = match rustix::fs::openat(at, name, flags | OFlags::NOFOLLOW, mode) {
            // With O_DIRECTORY, the kernel fails with ENOTDIR for a link.
            Err(Errno::NOTDIR) if is_link(at, name) => Err(Errno::LOOP),
            opened => opened,
        }?;
        match mount {
            Some(mount) if mount_id(opened.as_fd())? != mount => Err(Errno::XDEV),
            _ => Ok(opened),
        }
    };
    let mut at: Option<OwnedFd> = None;
    for name in above {
        let on_the_way = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        at = Some(step(at.as_ref().map_or(dir, AsFd::as_fd), name, on_the_way, Mode::empty())?);
    }
    step(at.as_ref().map_or(dir, AsFd::as_fd), last, flags, mode)
}

fn is_link(dir: BorrowedFd<'_>, name: &[u8]) -> bool {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// The number of the mount through which this descriptor was opened (proc_pid_fdinfo(5)). The device number would not
/// be enough, because a bind mount of the same file system has the same one.
fn mount_id(fd: BorrowedFd<'_>) -> rustix::io::Result<u64> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let text = std::fs::read_to_string(path).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or(Errno::IO)
}

pub fn open_dir(dir: impl AsFd, path: &str) -> rustix::io::Result<OwnedFd> {
    open(dir, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

/// What `read` found under the name of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    Absent,
    Bytes(Vec<u8>),
    /// Not a readable regular file. The text says what it is: "a directory", "over 1048576 bytes long", "Permission
    /// denied".
    Unfit(String),
}

/// Read the regular file `path`, of at most `limit` bytes.
///
/// # Errors
/// The system's error if the file could not be read just now: no descriptor left, no memory, a disk or a file server
/// that does not answer. Such an error says nothing about the file. A file that the account may not read is `Unfit`.
pub fn read(dir: impl AsFd, path: &str, limit: usize) -> rustix::io::Result<Content> {
    content(open(dir, path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()), limit)
}

/// As `read`, for a file that the caller has opened, or failed to open, without waiting.
///
/// # Errors
/// As `read`.
pub fn content(opened: rustix::io::Result<OwnedFd>, limit: usize) -> rustix::io::Result<Content> {
    let unfit = |what: &str| Ok(Content::Unfit(what.to_string()));
    let fd = match opened {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Content::Absent),
        Err(Errno::LOOP) => return unfit("a symbolic link"),
        Err(Errno::NXIO) => return unfit("not a regular file"),
        Err(errno @ (Errno::ACCESS | Errno::PERM)) => return unfit(&cause_text(&errno.into())),
        Err(errno) => return Err(errno),
    };
    let stat = rustix::fs::fstat(&fd)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return unfit("a directory"),
        FileType::Fifo => return unfit("a FIFO"),
        _ => return unfit("not a regular file"),
    }
    let Some(size) = usize::try_from(stat.st_size).ok().filter(|size| *size <= limit) else {
        return unfit(&format!("over {limit} bytes long"));
    };
    // The buffer has the size of the file, so one read is enough.
    let mut bytes = Vec::with_capacity(size);
    match File::from(fd).take(size as u64).read_to_end(&mut bytes) {
        Ok(_) => Ok(Content::Bytes(bytes)),
        Err(e) => Err(Errno::from_io_error(&e).unwrap_or(Errno::IO)),
    }
}

/// Replace or create the file `name` in `dir`: write a temporary file, fsync it, rename it, fsync the directory. If the
/// process or the machine dies in between, a reader sees the old bytes or the new ones, never a mixture (A15). The mode
/// of an old regular file is kept.
///
/// # Errors
/// The system's error. The new bytes are in place only if the last step, the fsync of the directory, failed.
pub fn replace(dir: impl AsFd, name: &str, bytes: &[u8], mode: Mode) -> std::io::Result<()> {
    replace_if(dir, name, bytes, mode, || Ok(true)).map(drop)
}

/// As `replace`, but call `still` when only the rename is left, and rename only if `still` returns true. Returns
/// whether the file was replaced.
///
/// # Errors
/// As `replace`, and the error of `still`.
pub fn replace_if(
    dir: impl AsFd,
    name: &str,
    bytes: &[u8],
    mode: Mode,
    still: impl FnOnce() -> std::io::Result<bool>,
) -> std::io::Result<bool> {
    let dir = dir.as_fd();
    let mode = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        // If the owner could not read the old file, the new one gets the mode that was asked for.
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_mode & 0o400 != 0 => {
            Mode::from_raw_mode(stat.st_mode & 0o777)
        }
        Ok(_) | Err(Errno::NOENT) => mode,
        Err(errno) => return Err(errno.into()),
    };
    let (mut file, temporary) = temporary(dir, name)?;
    let written = (file.write_all(bytes))
        .and_then(|()| Ok(set_mode(&file, mode)?))
        .and_then(|()| Ok(sync_file(&file)?))
        .and_then(|()| still())
        .and_then(|go| {
            if go {
                rustix::fs::renameat(dir, temporary.as_str(), dir, name)?;
            }
            Ok(go)
        });
    if !matches!(written, Ok(true)) {
        let _ = rustix::fs::unlinkat(dir, temporary.as_str(), AtFlags::empty());
        return written;
    }
    sync(dir)?;
    Ok(true)
}

/// Set the mode of a new file. Some volumes do not let modes be changed (TrueNAS with ACLs, CIFS, exFAT). There the
/// file keeps the mode that the volume gives it.
fn set_mode(file: &File, mode: Mode) -> rustix::io::Result<()> {
    match rustix::fs::fchmod(file, mode) {
        Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        set => set,
    }
}

/// Make an empty temporary file beside `name`. Returns the file and its name. The usual name is the same each time, so
/// that the next run reuses a file that a killed run has left. The writer keeps the file locked while the file is open.
/// If another writer has the lock, or something that is not our file has the usual name, the temporary file gets a name
/// that nobody can guess.
fn temporary(dir: BorrowedFd<'_>, name: &str) -> rustix::io::Result<(File, String)> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK;
    let own = Mode::RUSR | Mode::WUSR;
    let usual = format!(".{name}.new");
    match open(dir, &usual, flags, own) {
        Ok(fd) => match lock_for_writing(dir, &usual, &fd) {
            Ok(true) => return Ok((File::from(fd), usual)),
            Ok(false) => {}
            Err(errno) => {
                let _ = rustix::fs::unlinkat(dir, usual.as_str(), AtFlags::empty());
                // If the file system has no locks, no writer uses the usual name.
                if !lock::is_refused(errno) {
                    return Err(errno);
                }
            }
        },
        Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO | Errno::ACCESS | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    let other = format!(".{name}.{}", random_suffix()?);
    Ok((File::from(open(dir, &other, flags | OFlags::EXCL, own)?), other))
}

/// Lock and empty a temporary file. Returns `false` if another writer has the lock, the file has lost its name, or it
/// is not a regular file with one link.
fn lock_for_writing(dir: BorrowedFd<'_>, name: &str, fd: &OwnedFd) -> rustix::io::Result<bool> {
    match rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(false),
        Err(errno) => return Err(errno),
    }
    let held = rustix::fs::fstat(fd)?;
    let named = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => (named.st_dev, named.st_ino),
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(errno),
    };
    let regular = FileType::from_raw_mode(held.st_mode) == FileType::RegularFile && held.st_nlink == 1;
    if !regular || named != (held.st_dev, held.st_ino) {
        return Ok(false);
    }
    rustix::fs::ftruncate(fd, 0)?;
    Ok(true)
}

/// Fsync a directory, so that renames in it survive a crash. A file system that cannot fsync a directory (FUSE, CIFS,
/// 9p) says EINVAL, and that counts as done.
///
/// # Errors
/// The system's error, except those that mean that the file system cannot fsync a directory.
pub fn sync(dir: impl AsFd) -> rustix::io::Result<()> {
    match sync_file(dir) {
        Err(Errno::BADF | Errno::ROFS) => Ok(()),
        synced => synced,
    }
}

/// Fsync a file. A file system that cannot do this says so, and that counts as done. EROFS does not: a file system that has
/// become read-only after an error says it, and then what was written is lost.
fn sync_file(fd: impl AsFd) -> rustix::io::Result<()> {
    match rustix::fs::fsync(fd) {
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        synced => synced,
    }
}

/// A file's version: inode, modification time in seconds and nanoseconds, size. Every writer that renames a new file
/// into place changes the inode. `None` if there is no such file.
pub type Version = Option<(u64, i64, u64, i64)>;

/// The version of this file now.
///
/// # Errors
/// The system's error if the file could not be looked at.
pub fn version(dir: impl AsFd, name: &str) -> rustix::io::Result<Version> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some((stat.st_ino, stat.st_mtime, stat.st_mtime_nsec, stat.st_size))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Rename `name` to `name.bad`, so that its content is kept. If that name is taken by a directory that is in the way,
/// the new name gets a random suffix.
pub fn set_aside(dir: impl AsFd, name: &str) -> rustix::io::Result<()> {
    let aside = format!("{name}.bad");
    match rustix::fs::renameat(&dir, name, &dir, aside.as_str()) {
        // `name.bad` is a directory that is not empty, or only one of the two is a directory.
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR | Errno::NOTDIR) => {
            let other = format!("{aside}.{}", random_suffix()?);
            rustix::fs::renameat(&dir, name, &dir, other.as_str())
        }
        done => done,
    }
}

/// Six characters that nobody can guess, for unique names (`mkstemp`'s XXXXXX).
///
/// # Errors
/// The system's error if it gives no random bytes.
pub fn random_suffix() -> rustix::io::Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0u8; 6];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes.iter().map(|b| char::from(LETTERS[usize::from(b % 32)])).collect())
}

/// The name of which this one is a temporary name, `.NAME.XXXXXX`.
pub fn of_temporary(name: &[u8]) -> Option<&[u8]> {
    let (name, suffix) = name.strip_prefix(b".")?.split_last_chunk::<7>()?;
    (suffix[0] == b'.' && suffix[1..].iter().all(u8::is_ascii_alphanumeric)).then_some(name)
}

/// The hidden name of the old directory while a directory is exchanged without renameat2. `random_suffix` never makes
/// this suffix.
pub fn aside(name: &str) -> String {
    format!(".{name}.aside0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_meanwhile_is_not_replaced_and_nothing_is_left() {
        let path = std::env::temp_dir().join(format!("hermes-s6-beneath.{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("file"), "old").unwrap();
        let dir = rustix::fs::open(&path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let before = version(&dir, "file").unwrap();
        let done = replace_if(&dir, "file", b"ours", Mode::from_raw_mode(0o644), || {
            std::fs::write(path.join("other"), "theirs")
                .and_then(|()| std::fs::rename(path.join("other"), path.join("file")))?;
            Ok(version(&dir, "file")? == before)
        });
        assert!(!done.unwrap());
        assert_eq!(std::fs::read(path.join("file")).unwrap(), b"theirs");
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
        std::fs::write(path.join(".file.new"), "what a killed run had written").unwrap();
        replace(&dir, "file", b"ours", Mode::from_raw_mode(0o644)).unwrap();
        assert_eq!(std::fs::read(path.join("file")).unwrap(), b"ours");
        std::os::unix::fs::symlink("file", path.join(".file.new")).unwrap();
        replace(&dir, "file", b"again", Mode::from_raw_mode(0o644)).unwrap();
        assert_eq!(std::fs::read(path.join("file")).unwrap(), b"again");
        std::fs::remove_file(path.join(".file.new")).unwrap();
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
        std::fs::remove_dir_all(&path).unwrap();
    }
}
