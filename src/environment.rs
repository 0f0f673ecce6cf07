//! The environment that a supervised program is to see, built as a map: nothing here touches the process's own.
//!
//! s6-supervise's children see next to nothing of a container's variables; s6-overlay keeps those in a directory, one
//! file a variable, and its `with-contenv` reads them with `s6-envdir -Lf`. This does the same, in the same process.

use crate::beneath::{self, Content};
use crate::exit::{Error, Exit, Result};
use crate::message::Log;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

/// Where s6-overlay keeps the container's variables.
pub const CONTAINER: &str = "/run/s6/container_environment";

/// The longest value, in bytes: a longer string is refused by `execve` (MAX_ARG_STRLEN, 32 pages).
pub const VALUE_MAX: usize = 128 * 1024;

/// More files than this are not somebody's variables.
const FILES_MAX: usize = 4096;

/// Variables by name, and which of them the slot itself gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    explicit: BTreeSet<OsString>,
}

/// What an environment directory says: a value, or that the variable goes.
pub type Changes = Vec<(OsString, Option<OsString>)>;

impl Environment {
    /// The process's own.
    pub fn inherited() -> Environment {
        Environment { variables: std::env::vars_os().collect(), explicit: BTreeSet::new() }
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Set a variable.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.insert(name.into(), value.into());
    }

    /// Take over what a directory says.
    pub fn apply(&mut self, changes: Changes) {
        for (name, value) in changes {
            match value {
                Some(value) => self.variables.insert(name, value),
                None => self.variables.remove(&name),
            };
        }
    }

    /// The same for the slot's own directory: these variables were meant for this profile, and stay (`drop_unless_explicit`).
    pub fn apply_explicit(&mut self, changes: Changes) {
        self.explicit.extend(changes.iter().map(|(name, _)| name.clone()));
        self.apply(changes);
    }

    /// Did the slot's own directory say something of it?
    pub fn is_explicit(&self, name: &str) -> bool {
        self.explicit.contains(OsStr::new(name))
    }

    /// Drop what `unwanted` names, except what the slot gave. The names of what went, sorted.
    pub fn drop_unless_explicit(&mut self, unwanted: impl Fn(&OsStr) -> bool) -> Vec<OsString> {
        let gone = |name: &&OsString| !self.explicit.contains(*name) && unwanted(name);
        let names: Vec<OsString> = self.variables.keys().filter(gone).cloned().collect();
        for name in &names {
            self.variables.remove(name);
        }
        names
    }

    /// Every variable, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.variables.iter()
    }
}

/// Read `path` as an environment directory; `None` if there is none.
///
/// # Errors
/// 111 if it cannot be read, or somebody else than root or the caller can write in it: what it says decides which account
/// we become.
pub fn read_trusted(path: &Path, log: &dyn Log) -> Result<Option<Changes>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(Error::system("open", path.display(), errno)),
    };
    if !is_trusted(&dir).map_err(|e| Error::system("read", path.display(), e))? {
        let text = format!(
            "unable to trust {}: others than root can write in it: chown it to root, chmod go-w",
            path.display()
        );
        return Err(Error::new(Exit::System, text));
    }
    read(&dir, &path.display().to_string(), log).map(Some)
}

/// Read `./env` if the current directory is a slot: a supervised service directory, it and its `env` writable by nobody
/// but root or the caller. Whatever lies about elsewhere is no business of ours: a person may type the tool anywhere.
///
/// # Errors
/// 111 if it cannot be read.
pub fn read_slot(log: &dyn Log) -> Result<Changes> {
    let failed = |e| Error::system("read", "./env", e);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(slot) = rustix::fs::open(".", flags, Mode::empty()) else { return Ok(Changes::new()) };
    if beneath::open_dir(&slot, "supervise").is_err() {
        return Ok(Changes::new());
    }
    let env = match beneath::open_dir(&slot, "env") {
        Ok(env) => env,
        Err(Errno::NOENT) => return Ok(Changes::new()),
        Err(errno) => return Err(failed(errno)),
    };
    if !is_trusted(&slot).map_err(failed)? || !is_trusted(&env).map_err(failed)? {
        log.warning("ignoring ./env: others than root can write in it");
        return Ok(Changes::new());
    }
    read(&env, "./env", log)
}

fn is_trusted(dir: &OwnedFd) -> rustix::io::Result<bool> {
    let stat = rustix::fs::fstat(dir)?;
    let owned = stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw();
    Ok(owned && stat.st_mode & 0o022 == 0)
}

fn read(dir: &OwnedFd, shown: &str, log: &dyn Log) -> Result<Changes> {
    let failed = |e| Error::system("read", shown, e);
    let mut changes = Changes::new();
    for entry in rustix::fs::Dir::read_from(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_owned();
        let bytes = name.to_bytes();
        if bytes.starts_with(b".") || bytes.contains(&b'=') {
            continue;
        }
        if changes.len() == FILES_MAX {
            log.warning(&format!("ignoring the rest of {shown}: it has more than {FILES_MAX} files"));
            break;
        }
        let Ok(utf8) = name.to_str() else {
            log.warning(&format!("ignoring {shown}/{}: the name is not UTF-8", name.to_string_lossy()));
            continue;
        };
        match beneath::read(dir, utf8, VALUE_MAX) {
            Content::Bytes(bytes) => changes.push((utf8.into(), value(bytes))),
            Content::Absent => {}
            Content::Unfit(why) => log.warning(&format!("ignoring {shown}/{utf8}: it is {why}")),
        }
    }
    Ok(changes)
}

/// What `s6-envdir -Lf` makes of a file: nothing for an empty one; else all of it without one last newline, and with a
/// newline for every NUL.
fn value(mut bytes: Vec<u8>) -> Option<OsString> {
    if bytes.is_empty() {
        return None;
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    for byte in &mut bytes {
        if *byte == 0 {
            *byte = b'\n';
        }
    }
    Some(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Silent;
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    use std::path::PathBuf;
    use std::process::Command;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Scratch {
            let path = std::env::temp_dir().join(format!("hermes-s6-env-{}", beneath::random_suffix().unwrap()));
            std::fs::DirBuilder::new().mode(0o755).create(&path).unwrap();
            Scratch(path)
        }

        fn file(&self, name: &str, bytes: &[u8]) {
            std::fs::write(self.0.join(name), bytes).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_directory_means_what_s6_envdir_takes_it_for() {
        let dir = Scratch::new();
        let files: [(&str, &[u8]); 17] = [
            ("PLAIN", b"a"),
            ("ONE_NL", b"a\n"),
            ("THREE_NL", b"a\n\n\n"),
            ("TWO_LINES", b"a\nb\n"),
            ("BLANKS", b" a \t\n"),
            ("ONLY_NL", b"\n"),
            ("ONLY_BLANKS", b" \t\n"),
            ("EMPTY", b""),
            ("GONE", b""),
            ("CR", b"a\r\n"),
            ("NUL", b"a\0b"),
            ("NUL_LAST", b"a\0"),
            ("NUL_NL", b"a\0\n"),
            ("EQUALS", b"x=y=z\n"),
            ("HIGH", b"\xff\xfe\n"),
            (".dot", b"a"),
            ("A=B", b"a"),
        ];
        for (name, bytes) in files {
            dir.file(name, bytes);
        }
        dir.file("LONG", &[b'x'; 100_000]);
        let before = [("PATH", "/usr/bin:/bin"), ("GONE", "here"), ("PLAIN", "old"), ("KEPT", "yes")];

        let mut ours = Environment::default();
        ours.apply(before.iter().map(|(n, v)| (n.into(), Some(v.into()))).collect());
        ours.apply(read_trusted(&dir.0, &Silent).unwrap().unwrap());

        let real =
            Command::new("s6-envdir").arg("-Lf").arg(&dir.0).args(["env", "-0"]).env_clear().envs(before).output();
        let real = real.expect("s6-envdir is needed");
        assert!(real.status.success(), "{real:?}");
        let mut theirs = BTreeMap::new();
        for pair in real.stdout.split(|b| *b == 0).filter(|pair| !pair.is_empty()) {
            let equals = pair.iter().position(|b| *b == b'=').unwrap();
            let (name, value) = (pair[..equals].to_vec(), pair[equals + 1..].to_vec());
            theirs.insert(OsString::from_vec(name), OsString::from_vec(value));
        }
        assert_eq!(ours.variables, theirs);
    }

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let dir = Scratch::new();
        dir.file("GOOD", b"1");
        dir.file("LONG", &vec![b'x'; VALUE_MAX + 1]);
        std::fs::create_dir(dir.0.join("DIR")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", dir.0.join("LINK")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, dir.0.join("FIFO"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(read_trusted(&dir.0, &Silent), Ok(Some(vec![("GOOD".into(), Some("1".into()))])));
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let dir = Scratch::new();
        dir.file("HERMES_USER", b"root");
        std::fs::set_permissions(&dir.0, std::fs::Permissions::from_mode(0o775)).unwrap();
        assert!(read_trusted(&dir.0, &Silent).unwrap_err().text.starts_with("unable to trust "));
        assert_eq!(read_trusted(&dir.0.join("absent"), &Silent), Ok(None));
    }

    #[test]
    fn what_the_slot_gives_is_not_dropped() {
        let mut environment = Environment::default();
        environment.apply(vec![("A_X".into(), Some("1".into())), ("A_Y".into(), Some("2".into()))]);
        environment.apply_explicit(vec![("A_Y".into(), Some("3".into()))]);
        let gone = environment.drop_unless_explicit(|name| name.as_encoded_bytes().starts_with(b"A_"));
        assert_eq!(gone, ["A_X"]);
        assert_eq!(environment.get("A_Y"), Some(OsStr::new("3")));
    }
}
