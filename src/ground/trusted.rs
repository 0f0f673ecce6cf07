//! Paths that root follows. A path is safe for root only if nobody else can replace a part of it. So each component is
//! opened by itself, checked through its descriptor, and the next component is opened from that descriptor (H2: CWE-59,
//! CWE-367).

use crate::ground::error::cause_text;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

/// The most symbolic links in one path: as many as the kernel follows.
pub(super) const LINKS: usize = 40;

/// Who may own the components of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Every component, links included, belongs to root, and only root may write to it. Then root alone decides what is
    /// there.
    RootOnly,
    /// As `RootOnly`, except that a directory on the way may be like `/tmp`: others may write to it, but its sticky bit
    /// keeps them from moving away what belongs to root.
    RootKept,
    /// Directories may belong to anybody. A link must belong to root, in a directory where only root can make links. So
    /// the owner of what is found there has not got it by pointing a link at somebody else's directory.
    RootsLinks,
}

/// Why a path was refused.
#[derive(Debug)]
pub struct Refused {
    /// The component that was refused, with the links before it resolved.
    pub path: PathBuf,
    /// The reason.
    pub why: String,
    /// True if the component could not be looked at just now. This says nothing about the component, and trying again
    /// may work.
    pub unknown: bool,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

/// What a path leads to.
#[derive(Debug)]
pub struct Found {
    /// An `O_PATH` descriptor.
    pub fd: OwnedFd,
    /// The path with all links resolved.
    pub path: PathBuf,
}

/// Follow an absolute path under a rule.
///
/// # Errors
/// The first component that the rule forbids or that cannot be opened.
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

/// As `follow`, for a directory, which is opened for reading.
///
/// # Errors
/// As `follow`, and if the path does not lead to a directory that can be read.
pub fn open_dir(path: &Path, rule: Rule) -> Result<(OwnedFd, PathBuf), Refused> {
    let found = follow(path, rule)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = openat(&found.fd, c".", flags, Mode::empty()).map_err(|e| failed(&found.path, e))?;
    Ok((dir, found.path))
}

/// Check a component against the rule. `last` says whether it is the end of the path.
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

/// The components in reverse order, so that `pop` gives the next one.
pub(super) fn words(path: &Path) -> Vec<OsString> {
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
    let unknown = !matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::NAMETOOLONG);
    Refused { unknown, ..refused(path, cause_text(&errno.into())) }
}

fn refused(path: &Path, why: String) -> Refused {
    Refused { path: path.to_path_buf(), why, unknown: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::geteuid;
    use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};

    /// The uid of a user other than root.
    const OTHER: u32 = 54_321;

    /// A directory for a test, in the directory for temporary files. It is removed when this value is dropped.
    struct Ground(PathBuf);

    impl Ground {
        fn new() -> Ground {
            let name = format!("hermes-s6-trusted-{}", crate::ground::beneath::random_suffix().unwrap());
            let top = std::env::temp_dir().canonicalize().unwrap().join(name);
            std::fs::create_dir(&top).unwrap();
            let ground = Ground(top);
            ground.mode("", 0o755);
            ground
        }

        fn dir(&self, name: &str, mode: u32, uid: u32) {
            std::fs::create_dir(self.0.join(name)).unwrap();
            self.mode(name, mode);
            self.own(name, uid);
        }

        fn link(&self, name: &str, target: &str, uid: u32) {
            symlink(target, self.0.join(name)).unwrap();
            self.own(name, uid);
        }

        fn mode(&self, name: &str, mode: u32) {
            std::fs::set_permissions(self.0.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }

        fn own(&self, name: &str, uid: u32) {
            if geteuid().is_root() {
                lchown(self.0.join(name), Some(uid), Some(uid)).unwrap();
            }
        }

        /// The path that `name` leads to, relative to the test's directory, or the reason why it was refused.
        fn follow(&self, name: &str, rule: Rule) -> Result<String, String> {
            let shown = |path: &Path| path.strip_prefix(&self.0).unwrap_or(path).display().to_string();
            match follow(&self.0.join(name), rule) {
                Ok(found) => Ok(shown(&found.path)),
                Err(wrong) => {
                    let said = wrong.to_string().replace(&format!("{}/", self.0.display()), "");
                    Err(if wrong.unknown { format!("unknown: {said}") } else { said })
                }
            }
        }
    }

    impl Drop for Ground {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// The paths that root follows, and those that root refuses. The path of the test's directory goes through `/tmp`,
    /// which is accepted because of its sticky bit.
    #[test]
    fn root_follows_what_nobody_else_can_put_in_the_way() {
        let ground = Ground::new();
        if !geteuid().is_root() {
            // A plain user cannot make a directory that belongs to root.
            let why = format!("it belongs to uid {}", geteuid().as_raw());
            return assert!(ground.follow("", Rule::RootKept).is_err_and(|wrong| wrong.ends_with(&why)));
        }
        ground.dir("roots", 0o755, 0);
        ground.dir("roots/deep", 0o755, 0);
        ground.dir("sticky", 0o1777, 0);
        ground.dir("sticky/inner", 0o755, 0);
        ground.dir("wide", 0o757, 0);
        ground.dir("group", 0o775, 0);
        ground.dir("others", 0o755, OTHER);
        ground.dir("others/inner", 0o755, 0);
        ground.link("to-roots", "roots/deep", 0);
        ground.link("up", "roots/../roots", 0);
        ground.link("absolute", &ground.0.join("roots").display().to_string(), 0);
        ground.link("foreign", "roots", OTHER);
        ground.link("sticky/planted", "../roots", 0);
        ground.link("others/planted", "../roots", 0);
        ground.link("loop", "loop", 0);
        ground.link("dangling", "nowhere", 0);
        let wide = |mode: &str| format!("its mode is {mode}: others than root may write there");
        let kept = Rule::RootKept;
        let table: &[(&str, Rule, Result<&str, String>)] = &[
            ("roots/deep", kept, Ok("roots/deep")),
            ("roots/./deep/..", kept, Ok("roots")),
            ("to-roots", kept, Ok("roots/deep")),
            ("up/deep", kept, Ok("roots/deep")),
            ("absolute", kept, Ok("roots")),
            ("sticky/inner", kept, Ok("sticky/inner")),
            ("sticky", kept, Err(format!("sticky: {}", wide("1777")))),
            ("wide", kept, Err(format!("wide: {}", wide("0757")))),
            ("group", kept, Err(format!("group: {}", wide("0775")))),
            ("others", kept, Err(format!("others: it belongs to uid {OTHER}"))),
            ("others/inner", kept, Err(format!("others: it belongs to uid {OTHER}"))),
            ("foreign", kept, Err(format!("foreign: a link that belongs to uid {OTHER}"))),
            ("sticky/planted", kept, Err("sticky/planted: a link where others than root can make links".to_string())),
            ("nowhere", kept, Err("nowhere: No such file or directory".to_string())),
            ("dangling", kept, Err("nowhere: No such file or directory".to_string())),
            ("loop", kept, Err("loop: Too many levels of symbolic links".to_string())),
            // Under this rule, directories may belong to anybody, and links must belong to root.
            ("others/inner", Rule::RootsLinks, Ok("others/inner")),
            ("sticky", Rule::RootsLinks, Ok("sticky")),
            ("wide", Rule::RootsLinks, Ok("wide")),
            ("to-roots", Rule::RootsLinks, Ok("roots/deep")),
            ("foreign", Rule::RootsLinks, Err(format!("foreign: a link that belongs to uid {OTHER}"))),
            (
                "others/planted",
                Rule::RootsLinks,
                Err("others/planted: a link where others than root can make links".to_string()),
            ),
        ];
        for (name, rule, wanted) in table {
            assert_eq!(ground.follow(name, *rule), wanted.clone().map(str::to_string), "{name} {rule:?}");
        }
        // Under the strict rule, a sticky bit does not help.
        let only = ground.follow("sticky/inner", Rule::RootOnly);
        assert!(only.as_ref().is_err_and(|why| why.contains("others than root may write there")), "{only:?}");
        assert!(follow(Path::new("/usr/bin"), Rule::RootOnly).is_ok());
        // At most forty links are followed.
        for n in 0..41 {
            ground.link(&format!("l{n}"), &if n == 0 { "roots".to_string() } else { format!("l{}", n - 1) }, 0);
        }
        assert_eq!(ground.follow("l39", kept), Ok("roots".to_string()));
        assert_eq!(ground.follow("l40", kept), Err("l0: Too many levels of symbolic links".to_string()));
    }

    /// Root does not follow a path through a directory of a plain user. If root runs the test, the directory belongs to
    /// another user.
    #[test]
    fn what_a_plain_user_owns_is_refused() {
        let ground = Ground::new();
        let uid = if geteuid().is_root() { OTHER } else { geteuid().as_raw() };
        ground.dir("dir", 0o755, uid);
        ground.link("link", "dir", uid);
        for rule in [Rule::RootKept, Rule::RootOnly] {
            assert!(ground.follow("dir", rule).is_err(), "{rule:?}");
        }
        assert_eq!(ground.follow("dir", Rule::RootsLinks), Ok("dir".to_string()));
        for rule in [Rule::RootKept, Rule::RootsLinks] {
            assert!(ground.follow("link", rule).is_err_and(|why| why.contains(&format!("belongs to uid {uid}"))));
        }
        assert_eq!(ground.follow("none", Rule::RootsLinks), Err("none: No such file or directory".to_string()));
    }

    #[test]
    fn only_what_the_system_says_for_sure_is_a_no() {
        for (errno, unknown) in [
            (Errno::NOENT, false),
            (Errno::NOTDIR, false),
            (Errno::LOOP, false),
            (Errno::ACCESS, false),
            (Errno::NAMETOOLONG, false),
            (Errno::IO, true),
            (Errno::MFILE, true),
            (Errno::NOMEM, true),
            (Errno::STALE, true),
        ] {
            assert_eq!(failed(Path::new("/x"), errno).unknown, unknown, "{errno}");
        }
    }

    #[test]
    fn a_path_is_its_names_the_first_one_last() {
        for (path, names) in [("/", &[][..]), ("/a/./b/../c/", &["c", "..", "b", "a"]), ("a//b", &["b", "a"])] {
            assert_eq!(words(Path::new(path)), names);
        }
    }
}
