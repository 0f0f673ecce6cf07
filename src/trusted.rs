//! Paths that root follows. A path is safe for root only as long as nobody else can put something else in its place, so
//! each component is opened by itself, looked at through that very descriptor, and followed from there (H2: CWE-59, CWE-367).

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows.
const LINKS: usize = 40;

/// Whom the components of a path may belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Root's, links and all, and writable by nobody else: what is there is root's own.
    RootOnly,
    /// The same, except that a directory on the way may be like `/tmp`: who else may write there can, by its sticky bit,
    /// not move away what is root's.
    RootKept,
    /// Directories may be anybody's. A link must be one of root's, in a directory where nobody else can make one: what is
    /// there is somebody's own, and not what that somebody points at.
    RootsLinks,
}

/// What is wrong with a path: with which of its components, and why.
#[derive(Debug)]
pub struct Refused {
    /// The component, without links before it.
    pub path: PathBuf,
    /// In words.
    pub why: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

/// What a path leads to.
#[derive(Debug)]
pub struct Found {
    /// An `O_PATH` descriptor of it.
    pub fd: OwnedFd,
    /// Its path without links.
    pub path: PathBuf,
}

/// Follow an absolute path under a rule.
///
/// # Errors
/// The first component that the rule forbids, or that cannot be opened.
pub fn follow(path: &Path, rule: Rule) -> Result<Found, Refused> {
    let mut todo: Vec<OsString> = words(path);
    let mut at = root()?;
    let mut links = 0;
    check(&at, rule, false)?;
    while let Some(word) = todo.pop() {
        let path = match word.to_str() {
            Some("..") => at.path.parent().unwrap_or(&at.path).to_path_buf(),
            _ => at.path.join(&word),
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&at.fd, &word, flags, Mode::empty()).map_err(|e| failed(&path, e))?;
        let next = Found { fd, path };
        if kind(&next)? != FileType::Symlink {
            check(&next, rule, todo.is_empty())?;
            at = next;
            continue;
        }
        let (link, dir) = (stat(&next)?, stat(&at)?);
        links += 1;
        if links > LINKS {
            return Err(failed(&next.path, Errno::LOOP));
        }
        if link.st_uid != 0 {
            return Err(refused(&next.path, format!("a link that belongs to uid {}", link.st_uid)));
        }
        if dir.st_uid != 0 || is_wide(&dir) {
            return Err(refused(&next.path, "a link where others than root can make links".to_string()));
        }
        let target = readlinkat(&next.fd, c"", Vec::new()).map_err(|e| failed(&next.path, e))?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            at = root()?;
        }
        todo.extend(words(&target));
    }
    Ok(at)
}

/// The same for a directory, opened for reading.
///
/// # Errors
/// As `follow`.
pub fn open_dir(path: &Path, rule: Rule) -> Result<(OwnedFd, PathBuf), Refused> {
    let found = follow(path, rule)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = openat(&found.fd, c".", flags, Mode::empty()).map_err(|e| failed(&found.path, e))?;
    Ok((dir, found.path))
}

/// A component, the `last` one or one on the way.
fn check(found: &Found, rule: Rule, last: bool) -> Result<(), Refused> {
    if rule == Rule::RootsLinks {
        return Ok(());
    }
    let stat = stat(found)?;
    if stat.st_uid != 0 {
        return Err(refused(&found.path, format!("it belongs to uid {}", stat.st_uid)));
    }
    let kept = rule == Rule::RootKept && !last && stat.st_mode & 0o1000 != 0;
    if is_wide(&stat) && !kept {
        let mode = stat.st_mode & 0o7777;
        return Err(refused(&found.path, format!("its mode is {mode:04o}: others than root may write there")));
    }
    Ok(())
}

fn is_wide(stat: &Stat) -> bool {
    stat.st_mode & 0o022 != 0
}

/// The components, the first one at the end.
fn words(path: &Path) -> Vec<OsString> {
    let names = path.components().filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir));
    names.rev().map(|c| OsStr::to_os_string(c.as_os_str())).collect()
}

fn root() -> Result<Found, Refused> {
    let path = PathBuf::from("/");
    let fd = openat(CWD, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(|e| failed(&path, e))?;
    Ok(Found { fd, path })
}

fn stat(found: &Found) -> Result<Stat, Refused> {
    fstat(&found.fd).map_err(|e| failed(&found.path, e))
}

fn kind(found: &Found) -> Result<FileType, Refused> {
    stat(found).map(|stat| FileType::from_raw_mode(stat.st_mode))
}

fn failed(path: &Path, errno: Errno) -> Refused {
    refused(path, crate::exit::cause_text(&errno.into()))
}

fn refused(path: &Path, why: String) -> Refused {
    Refused { path: path.to_path_buf(), why }
}
