//! The environment of a supervised program. It is built as a map, and the process's own environment is not changed.
//!
//! s6-supervise does not pass the container's variables on. s6-overlay keeps them in a directory, one file for each
//! variable, and its `with-contenv` reads that directory with `s6-envdir -Lf`. This module reads it in the same way,
//! without another program.

use crate::ground::beneath::{self, Content};
use crate::ground::error::{Error, Kind, Result};
use crate::ground::message::{Log, Silent};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// The directory in which s6-overlay keeps the container's variables.
pub const CONTAINER: &str = "/run/s6/container_environment";

/// The longest value that is read, in bytes. `execve` refuses a longer string (MAX_ARG_STRLEN, 32 pages).
pub const VALUE_MAX: usize = 128 * 1024;

/// Variables, and the names of those that the slot's own `env/` has set or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    explicit: BTreeSet<OsString>,
}

/// The content of an environment directory. `None` means that the variable is removed.
pub type Changes = Vec<(OsString, Option<OsString>)>;

impl Environment {
    /// The environment of this process.
    pub fn inherited() -> Environment {
        Environment::of(std::env::vars_os())
    }

    /// The variables that every gateway of this container inherits: the container's environment, or without s6-overlay
    /// our own environment.
    ///
    /// If an agent types our commands, our own environment is that of the agent's gateway. It has the port of that
    /// gateway, which must not be taken for a port that the container sets. So such an environment is not used.
    ///
    /// # Errors
    /// 111 if the container's environment exists and cannot be read, or other users can write to it.
    pub fn of_gateways() -> Result<Environment> {
        let mut environment = Environment::default();
        // Warnings are dropped here, because hermes-run-gateway prints them.
        let changes = read_trusted(Path::new(CONTAINER), &Silent);
        match changes.map_err(|e| Error::new(Kind::System, e.text))? {
            Some(changes) => environment.apply(changes),
            None if std::env::var_os("HERMES_S6_SUPERVISED_CHILD").is_some() => {}
            None => environment = Environment::inherited(),
        }
        Ok(environment)
    }

    /// The PATH of a program that gets these variables. Without one it is our own.
    pub fn path(&self) -> OsString {
        self.var("PATH").map(OsStr::to_os_string).or_else(|| std::env::var_os("PATH")).unwrap_or_default()
    }

    /// The value of a variable. A variable that is set to nothing has an empty value.
    pub fn var(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// The value of a variable that is not empty.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.var(name).filter(|value| !value.is_empty())
    }

    /// An environment of exactly these variables.
    pub fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
        Environment { variables: variables.into_iter().collect(), explicit: BTreeSet::new() }
    }

    /// Set a variable.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.insert(name.into(), value.into());
    }

    /// Make the changes of an environment directory.
    pub fn apply(&mut self, changes: Changes) {
        for (name, value) in changes {
            match value {
                Some(value) => self.variables.insert(name, value),
                None => self.variables.remove(&name),
            };
        }
    }

    /// Make the changes of the slot's own `env/`. Its variables were set for this one profile, so
    /// `drop_unless_explicit` keeps them.
    pub fn apply_explicit(&mut self, changes: Changes) {
        self.explicit.extend(changes.iter().map(|(name, _)| name.clone()));
        self.apply(changes);
    }

    /// Has the slot's own `env/` set or removed this variable?
    pub fn is_explicit(&self, name: &str) -> bool {
        self.explicit.contains(OsStr::new(name))
    }

    /// Drop the variables for which `unwanted` returns true, except those of the slot's own `env/`. Returns the names
    /// of the dropped variables, sorted.
    pub fn drop_unless_explicit(&mut self, unwanted: impl Fn(&OsStr) -> bool) -> Vec<OsString> {
        let gone = |name: &&OsString| !self.explicit.contains(*name) && unwanted(name);
        let names: Vec<OsString> = self.variables.keys().filter(gone).cloned().collect();
        for name in &names {
            self.variables.remove(name);
        }
        names
    }

    /// All variables, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.variables.iter()
    }
}

/// Read the environment directory at `path`. `None` if it does not exist.
///
/// # Errors
/// 78 if it is not a directory, if the caller may not read it, or if other users than root and the caller can write to
/// it: its variables choose the account that the caller becomes. 111 if it cannot be read just now.
pub fn read_trusted(path: &Path, log: &dyn Log) -> Result<Option<Changes>> {
    let failed = |errno| Error::system("read", path.display(), errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno @ (Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::ACCESS)) => {
            return Err(Error::new(Kind::Config, failed(errno).text));
        }
        Err(errno) => return Err(failed(errno)),
    };
    if !is_trusted(&dir).map_err(failed)? {
        let text = format!(
            "unable to trust {}: others than root can write in it: chown it to root, chmod go-w",
            path.display()
        );
        return Err(Error::new(Kind::Config, text));
    }
    read(&dir, &path.display().to_string(), log).map(Some)
}

/// Read `./env` if the current directory is a slot: a supervised service directory to which only root or the caller can
/// write. The same must be true of `env`. In any other directory `env` is ignored, because a person may type the tool
/// anywhere.
///
/// # Errors
/// 111 if the directories cannot be looked at, or `env` cannot be read.
pub fn read_slot(log: &dyn Log) -> Result<Changes> {
    let failed = |e| Error::system("read", "./env", e);
    let Some(slot) = supervised(".")? else { return Ok(Changes::new()) };
    // A run that was killed while it replaced `env` has left the old one, which the next run restores.
    let env = match beneath::open_dir(&slot, "env").or_else(|_| beneath::open_dir(&slot, &beneath::aside("env"))) {
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

/// The home of a slot, according to the slot's link `home`.
#[derive(Debug, PartialEq, Eq)]
pub struct SlotHome {
    /// The target of the link.
    pub path: PathBuf,
    /// Could only root or the caller make the link? If not, the path may only be compared with another one.
    pub is_trusted: bool,
}

/// The home of the slot in the current directory. In the directory of a slot's logger, it is the home of that slot.
/// `None` if the directory is neither of the two, or the slot has no link `home`.
///
/// # Errors
/// 111 if the directories or the link cannot be looked at.
pub fn slot_home() -> Result<Option<SlotHome>> {
    for at in [".", ".."] {
        let failed = |e| Error::system("read", format!("{at}/home"), e);
        let Some(slot) = supervised(at)? else { return Ok(None) };
        match rustix::fs::readlinkat(&slot, "home", Vec::new()) {
            Ok(link) => {
                let path = OsString::from_vec(link.into_bytes()).into();
                return Ok(Some(SlotHome { path, is_trusted: is_trusted(&slot).map_err(failed)? }));
            }
            Err(Errno::NOENT | Errno::INVAL) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(None)
}

/// Is the current directory a slot that only root or the caller can have made, in a scandir of which the same is true?
/// With `open`, others may write to the scandir.
///
/// # Errors
/// 111 if the directories cannot be looked at.
pub fn is_trusted_slot(open: bool) -> Result<bool> {
    let failed = |e| Error::system("read", "the slot and its scandir", e);
    let Some(slot) = supervised(".")? else { return Ok(false) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let scandir = rustix::fs::open("..", flags, Mode::empty()).map_err(failed)?;
    Ok(is_trusted(&slot).map_err(failed)? && (open || is_trusted(&scandir).map_err(failed)?))
}

/// Open the directory `at`, if it is a supervised service directory.
fn supervised(at: &str) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(at, flags, Mode::empty());
    let Some(service) = if_there(opened).map_err(|e| Error::system("open", at, e))? else { return Ok(None) };
    let supervise = if_there(beneath::open_dir(&service, "supervise"));
    let supervise = supervise.map_err(|e| Error::system("open", format!("{at}/supervise"), e))?;
    Ok(supervise.map(|_| service))
}

/// `None` if there is no directory that the caller may enter. Such a directory is not a slot.
fn if_there(opened: rustix::io::Result<OwnedFd>) -> rustix::io::Result<Option<OwnedFd>> {
    match opened {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => Ok(None),
        Err(errno) => Err(errno),
    }
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
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().to_str() else {
            log.warning(&format!("ignoring {shown}/{}: the name is not UTF-8", entry.file_name().to_string_lossy()));
            continue;
        };
        if name.starts_with('.') || name.contains('=') {
            continue;
        }
        // An error for a variable that cannot be read just now: the variable must not look as if it were not set.
        let content = beneath::read(dir, name, VALUE_MAX);
        match content.map_err(|e| Error::system("read", format_args!("{shown}/{name}"), e))? {
            Content::Bytes(bytes) => changes.push((name.into(), value(&bytes))),
            Content::Absent => {}
            Content::Unfit(why) => log.warning(&format!("ignoring {shown}/{name}: it is {why}")),
        }
    }
    Ok(changes)
}

/// The value in a file, as `s6-envdir -Lf` reads it. An empty file removes the variable. Otherwise one newline at the
/// end is dropped, and each NUL becomes a newline.
fn value(bytes: &[u8]) -> Option<OsString> {
    let one = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let text = one.iter().map(|byte| if *byte == 0 { b'\n' } else { *byte }).collect();
    (!bytes.is_empty()).then(|| OsString::from_vec(text))
}

/// Does this value switch something on? The same as `is_truthy_value` of Hermes Agent for a string.
pub fn is_truthy(text: &str) -> bool {
    boolean(text) == Some(true)
}

/// Parse a word for true or false in Hermes Agent's settings. `None` for any other word, which Hermes Agent ignores.
pub fn boolean(text: &str) -> Option<bool> {
    match text.trim_matches(is_space).to_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Python's `str.isspace()`: the white space of Unicode, and the four separator characters of ASCII.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::message::Silent;
    use std::os::unix::ffi::OsStrExt as _;
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
        let files: [(&str, &[u8]); 11] = [
            ("PLAIN", b"a"),
            ("ONE_NL", b"a\n"),
            ("BLANKS", b" a \t\n"),
            ("ONLY_NL", b"\n"),
            ("EMPTY", b""),
            ("GONE", b""),
            ("NUL", b"a\0b"),
            ("NUL_NL", b"a\0\n"),
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
        let theirs: BTreeSet<&[u8]> = real.stdout.split(|b| *b == 0).filter(|pair| !pair.is_empty()).collect();
        let ours: Vec<Vec<u8>> = ours.iter().map(|(n, v)| [n.as_bytes(), v.as_bytes()].join(&b'=')).collect();
        assert_eq!(ours.iter().map(Vec::as_slice).collect::<BTreeSet<_>>(), theirs);
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
        let error = read_trusted(&dir.0, &Silent).unwrap_err();
        assert!(error.kind == Kind::Config && error.text.starts_with("unable to trust "), "{error:?}");
        assert_eq!(read_trusted(&dir.0.join("absent"), &Silent), Ok(None));
    }

    #[test]
    fn words_for_true_and_false_are_hermes_agents() {
        for (text, value) in
            [("1", Some(true)), (" Yes\n", Some(true)), ("\u{1f}true", Some(true)), ("off", Some(false)), ("", None)]
        {
            assert_eq!((boolean(text), is_truthy(text)), (value, value == Some(true)), "{text:?}");
        }
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
