//! The last step: execute a program in our place, with an environment that was built as a map.

use crate::environment::Environment;
use crate::exit::{Error, Exit, cause_text};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Where programs are looked for if nothing says so.
const PATH: &str = "/command:/usr/local/bin:/usr/bin:/bin";

/// Execute `argv`, looked for on the `PATH` of that environment. Returns only if that fails: 127 if there is no such
/// program, 126 if it cannot be executed.
pub fn exec(argv: &[OsString], mut environment: Environment) -> Error {
    let Some((program, arguments)) = argv.split_first() else {
        return Error::new(Exit::Usage, "unable to execute nothing");
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
        (true, true) => format!(" on the PATH {path}: install it, or correct PATH"),
        (true, false) => String::new(),
        (false, _) => format!(": uid {uid} must be able to reach, read and execute it and its interpreter"),
    };
    Error::new(if missing { Exit::NotFound } else { Exit::CannotExec }, text + &hint)
}
