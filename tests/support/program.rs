//! Executable files.

use std::io::{Error, Result};
use std::path::Path;
use std::process::{Command, Stdio};

/// Make an executable file with this text.
///
/// Another process writes the file. If we had it open for writing, a process that another test starts at this moment
/// would inherit the descriptor, and until its exec nobody could execute the file ("Text file busy").
#[track_caller]
pub fn executable(path: &Path, text: &str) {
    write(path, text).unwrap_or_else(|e| panic!("unable to write {}: {e}", path.display()));
}

/// Can programs in this directory be executed? They cannot if it is mounted `noexec`.
pub fn can_execute_in(dir: &Path) -> bool {
    let probe = dir.join(format!("hermes-s6-test.probe.{}", std::process::id()));
    let status = write(&probe, "#!/bin/sh\n").and_then(|()| Command::new(&probe).status());
    let _ = std::fs::remove_file(&probe);
    status.is_ok_and(|status| status.success())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-ec", "printf %s \"$1\" > \"$0\"; chmod 755 \"$0\""]).arg(path).arg(text).stderr(Stdio::null());
    if shell.status()?.success() { Ok(()) } else { Err(Error::other("the shell cannot")) }
}
