//! Paths on the volume that may lead through links that belong to root: a profile on another disk, or a `config.yaml`
//! from a Kubernetes ConfigMap. Only root can have made such a link, even if somebody else has moved it since. Links
//! that belong to the account are not followed.
//!
//! A caller that is root calls these functions inside `Account::act`. So even behind such a link, only files are opened
//! that the account itself could open.

use crate::ground::beneath::{self, Content};
use crate::ground::trusted::{LINKS, words};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::{Errno, Result};
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// As `beneath::open`, but through links that belong to root. Nothing is created.
///
/// # Errors
/// `LOOP` for a link that does not belong to root, else the system's error.
pub fn open(dir: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd> {
    match beneath::open(&dir, path, flags, Mode::empty()) {
        Err(Errno::LOOP) => follow(dir.as_fd().try_clone_to_owned().map_err(|_| Errno::MFILE)?, path, flags),
        done => done,
    }
}

/// As `open`, for a directory that is to be read.
///
/// # Errors
/// As `open`.
pub fn open_dir(dir: impl AsFd, path: &str) -> Result<OwnedFd> {
    open(dir, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// As `beneath::read`, but through links that belong to root.
///
/// # Errors
/// As `beneath::read`.
pub fn read(dir: impl AsFd, path: &str, limit: usize) -> Result<Content> {
    beneath::content(open(dir, path, OFlags::RDONLY | OFlags::NONBLOCK), limit)
}

/// Resolve the path one name at a time, and check the owner of each link. Magic links are followed by their text, like
/// all other links.
fn follow(mut at: OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd> {
    let mut todo = words(Path::new(path));
    let mut links = 0;
    while let Some(word) = todo.pop() {
        let here = rustix::fs::openat(&at, &word, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let stat = rustix::fs::fstat(&here)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            links += 1;
            if links > LINKS || stat.st_uid != 0 {
                return Err(Errno::LOOP);
            }
            let target = rustix::fs::readlinkat(&here, c"", Vec::new())?;
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            if target.is_absolute() {
                at = rustix::fs::openat(CWD, c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            }
            todo.extend(words(&target));
        } else if todo.is_empty() && word != ".." {
            return beneath::open(&at, word, flags, Mode::empty());
        } else {
            at = here;
        }
    }
    beneath::open(&at, ".", flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::geteuid;
    use std::fs;
    use std::os::unix::fs::{lchown, symlink};

    #[test]
    fn roots_links_are_followed_and_nobody_elses() {
        let name = format!("hermes-s6-links-{}", beneath::random_suffix().unwrap());
        let top = std::env::temp_dir().canonicalize().unwrap().join(name);
        fs::create_dir_all(top.join("far/deep")).unwrap();
        fs::create_dir(top.join("dir")).unwrap();
        fs::write(top.join("far/deep/file"), "text").unwrap();
        let link = |name: &str, target: &str, uid: u32| {
            symlink(target, top.join(name)).unwrap();
            if geteuid().is_root() {
                lchown(top.join(name), Some(uid), Some(uid)).unwrap();
            }
        };
        link("dir/up", "../far", 0);
        link("dir/absolute", &top.join("far/deep/").display().to_string(), 0);
        link("dir/twice", "up/./deep/../deep", 0);
        link("dir/parent", "up/deep/..", 0);
        link("dir/file", "absolute/file", 0);
        link("dir/gone", "../nowhere", 0);
        link("dir/itself", "itself", 0);
        link("dir/theirs", "../far", 54_321);
        link("dir/through", "theirs/deep", 0);
        let dir = fs::File::open(top.join("dir")).unwrap();
        let table = [
            ("up/deep/file", Ok("text")),
            ("absolute/file", Ok("text")),
            ("twice/file", Ok("text")),
            ("parent/deep/file", Ok("text")),
            ("file", Ok("text")),
            ("gone", Err(Content::Absent)),
            ("up/none", Err(Content::Absent)),
            ("itself", Err(Content::Unfit("a symbolic link".to_string()))),
            ("theirs/deep/file", Err(Content::Unfit("a symbolic link".to_string()))),
            ("through/file", Err(Content::Unfit("a symbolic link".to_string()))),
            ("up", Err(Content::Unfit("a directory".to_string()))),
        ];
        for (path, wanted) in table {
            let wanted = wanted.map_or_else(|other| other, |text| Content::Bytes(text.into()));
            // If a plain user runs the test, all links belong to that user, and none is followed.
            if geteuid().is_root() {
                assert_eq!(read(&dir, path, 100), Ok(wanted), "{path}");
            } else {
                assert_eq!(read(&dir, path, 100), Ok(Content::Unfit("a symbolic link".to_string())), "{path}");
            }
        }
        assert_eq!(open_dir(&dir, "parent").is_ok(), geteuid().is_root());
        assert!(matches!(open_dir(&dir, "theirs"), Err(Errno::LOOP)));
        fs::remove_dir_all(&top).unwrap();
    }
}
