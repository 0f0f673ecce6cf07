//! Executing a program in place of our own, with an environment that was built as a map.

use crate::ground::environment::Environment;
use crate::ground::error::{Error, Kind, cause_text};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The `PATH` for an environment that has none.
pub(super) const PATH: &str = "/command:/usr/local/bin:/usr/bin:/bin";

/// Execute `argv`, looking for the program on the `PATH` of the new environment. This returns only if it fails. The
/// error's code is 127 if there is no such program, 126 if the program cannot be executed, 100 if `argv` is empty.
pub fn exec(argv: &[OsString], mut environment: Environment) -> Error {
    let Some((program, arguments)) = argv.split_first() else {
        return Error::new(Kind::Usage, "unable to execute nothing");
    };
    if environment.get("PATH").is_none() {
        environment.set("PATH", PATH);
    }
    let path = environment.get("PATH").unwrap_or(OsStr::new(PATH)).to_string_lossy().into_owned();
    let cause = Command::new(program).args(arguments).env_clear().envs(environment.iter()).exec();
    let missing = cause.kind() == std::io::ErrorKind::NotFound;
    let text = format!("unable to execute {}: {}", program.to_string_lossy(), cause_text(&cause));
    let plain = !program.as_encoded_bytes().contains(&b'/');
    let uid = rustix::process::geteuid().as_raw();
    let hint = match (missing, plain) {
        (true, _) if let Some(there) = there(program, if plain { &path } else { "." }) => {
            format!(": {} is there, and its interpreter or what it leads to is not: install it again", there.display())
        }
        (true, true) => format!(" on the PATH {path}: install it, or correct PATH"),
        (true, false) => String::new(),
        (false, _) => format!(": uid {uid} must be able to reach, read and execute it and its interpreter"),
    };
    Error::new(if missing { Kind::NotFound } else { Kind::CannotExec }, text + &hint)
}

/// The first file of this name, which may be a link that leads nowhere.
fn there(program: &OsStr, path: &str) -> Option<PathBuf> {
    path.split(':').map(|dir| Path::new(dir).join(program)).find(|file| file.symlink_metadata().is_ok())
}
