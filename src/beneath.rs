//! Files on the volume, which is untrusted: every path is resolved beneath an open directory, through no symbolic link,
//! and only regular files of a bounded size are read, without ever blocking on a FIFO (DESIGN, section 5; H2).
//!
//! Who calls these as root calls them inside `Account::act`.

use rustix::fs::{FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};

/// How often an open that failed for a moment is tried.
const TRIES: u32 = 16;

/// Open `path` beneath `dir` with these flags.
pub fn open(dir: impl AsFd, path: impl Arg, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    resolve(dir, path, flags, mode, ResolveFlags::empty())
}

/// The same, and through no mount point (`EXDEV`): what is mounted below the volume belongs to somebody else.
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
    // openat2 refuses O_NOCTTY, and nearly everything else, beside O_PATH, which opens no terminal anyway.
    let quiet = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NOCTTY };
    let flags = flags | OFlags::CLOEXEC | quiet;
    path.into_with_c_str(|path| {
        // EAGAIN means two things: a rename elsewhere raced the resolution, and the kernel asks to try again; or somebody
        // has a lease on the file, which its owner can take again and again, and each one lasts 45 s.
        let again = |done: &rustix::io::Result<OwnedFd>| matches!(done, Err(Errno::INTR | Errno::AGAIN));
        let mut tries = (0..TRIES).map(|_| rustix::fs::openat2(&dir, path, flags, mode, resolve));
        tries.find(|done| !again(done)).unwrap_or(Err(Errno::AGAIN))
    })
}

/// Open a directory beneath `dir`.
pub fn open_dir(dir: impl AsFd, path: &str) -> rustix::io::Result<OwnedFd> {
    open(dir, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

/// What was found where a file was expected.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing has that name.
    Absent,
    /// The bytes of a regular file.
    Bytes(Vec<u8>),
    /// Something that is not to be read, and what it is: "a directory", "over 1048576 bytes long", "Permission denied".
    Unfit(String),
}

/// Read the regular file `path`, of at most `limit` bytes.
pub fn read(dir: impl AsFd, path: &str, limit: usize) -> Content {
    let fd = match open(dir, path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Content::Absent,
        Err(Errno::LOOP) => return Content::Unfit("a symbolic link".to_string()),
        Err(errno) => return Content::Unfit(crate::exit::cause_text(&errno.into())),
    };
    let stat = match rustix::fs::fstat(&fd) {
        Ok(stat) => stat,
        Err(errno) => return Content::Unfit(crate::exit::cause_text(&errno.into())),
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Content::Unfit("a directory".to_string()),
        FileType::Fifo => return Content::Unfit("a FIFO".to_string()),
        _ => return Content::Unfit("not a regular file".to_string()),
    }
    let Some(size) = usize::try_from(stat.st_size).ok().filter(|size| *size <= limit) else {
        return Content::Unfit(format!("over {limit} bytes long"));
    };
    // As long as it is now: one read, and no second one to see that there is no more.
    let mut bytes = Vec::with_capacity(size);
    match File::from(fd).take(size as u64).read_to_end(&mut bytes) {
        Ok(_) => Content::Bytes(bytes),
        Err(e) => Content::Unfit(crate::exit::cause_text(&e)),
    }
}

/// Replace the file `name` in `dir`, or make it: unique temporary file, fsync, rename, fsync of the directory. Whatever
/// happens in between, a reader sees the old bytes or the new ones (A15). An old regular file's mode is kept.
pub fn replace(dir: impl AsFd, name: &str, bytes: &[u8], mode: Mode) -> std::io::Result<()> {
    replace_if(dir, name, bytes, mode, || Ok(true)).map(drop)
}

/// The same if `still` agrees once the new bytes are on disk and only the rename is left; says whether it was done.
pub fn replace_if(
    dir: impl AsFd,
    name: &str,
    bytes: &[u8],
    mode: Mode,
    still: impl FnOnce() -> std::io::Result<bool>,
) -> std::io::Result<bool> {
    let dir = dir.as_fd();
    let old = rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
    let mode = match old {
        // One that its owner could not read has to become readable.
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_mode & 0o400 != 0 => {
            Mode::from_raw_mode(stat.st_mode & 0o777)
        }
        _ => mode,
    };
    let temporary = format!(".{name}.{}", random_suffix()?);
    let fd = open(dir, &temporary, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR)?;
    let mut file = File::from(fd);
    let written = (file.write_all(bytes))
        .and_then(|()| Ok(rustix::fs::fchmod(&file, mode)?))
        .and_then(|()| file.sync_all())
        .and_then(|()| still())
        .and_then(|go| {
            if go {
                rustix::fs::renameat(dir, temporary.as_str(), dir, name)?;
            }
            Ok(go)
        });
    if !matches!(written, Ok(true)) {
        let _ = rustix::fs::unlinkat(dir, temporary.as_str(), rustix::fs::AtFlags::empty());
        return written;
    }
    rustix::fs::fsync(dir)?;
    Ok(true)
}

/// What tells one version of a file from another: every writer that renames makes a new inode.
pub fn version(dir: impl AsFd, name: &str) -> Option<(u64, i64, u64, i64)> {
    let stat = rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some((stat.st_ino, stat.st_mtime, stat.st_mtime_nsec, stat.st_size))
}

/// Move what has the name `name` out of the way, to `name.bad`, so that nothing is lost.
pub fn set_aside(dir: impl AsFd, name: &str) -> rustix::io::Result<()> {
    let aside = format!("{name}.bad");
    match rustix::fs::renameat_with(&dir, name, &dir, aside.as_str(), RenameFlags::empty()) {
        // An earlier directory of that name, or a file where a directory has to go.
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR | Errno::NOTDIR) => {
            let other = format!("{aside}.{}", random_suffix().map_err(|_| Errno::IO)?);
            rustix::fs::renameat(&dir, name, &dir, other.as_str())
        }
        done => done,
    }
}

/// Six characters that nobody can guess, for unique names (`mkstemp`'s XXXXXX).
pub fn random_suffix() -> std::io::Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0u8; 6];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes.iter().map(|b| char::from(LETTERS[usize::from(b % 32)])).collect())
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
        let before = version(&dir, "file");
        let done = replace_if(&dir, "file", b"ours", Mode::from_raw_mode(0o644), || {
            std::fs::write(path.join("other"), "theirs")
                .and_then(|()| std::fs::rename(path.join("other"), path.join("file")))?;
            Ok(version(&dir, "file") == before)
        });
        assert!(!done.unwrap());
        assert_eq!(std::fs::read(path.join("file")).unwrap(), b"theirs");
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
        replace(&dir, "file", b"ours", Mode::from_raw_mode(0o644)).unwrap();
        assert_eq!(std::fs::read(path.join("file")).unwrap(), b"ours");
        std::fs::remove_dir_all(&path).unwrap();
    }
}
