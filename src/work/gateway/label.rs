//! The profile in front of each line that a logger passes on to the container's log.

use crate::ground::error::{Error, Result};
use crate::ground::profile::Profile;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// Start a process that copies lines to our standard output with `profile | ` in front, and make a pipe to that process
/// our standard output. The process ends at the end of the pipe.
///
/// # Errors
/// 111 if there can be no pipe or no process. Then standard output is as it was.
pub fn begin(profile: &Profile) -> Result<()> {
    let failed = |verb: &'static str, object: &'static str| move |e: Errno| Error::system(verb, object, e);
    let (lines, pipe) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed("create", "a pipe"))?;
    let mut copier = Command::new("/proc/self/exe");
    copier.arg0("hermes-run-logger").args(["-L", "--", profile.as_str()]).stdin(Stdio::from(lines));
    copier.spawn().map_err(|e| Error::system("start", "hermes-run-logger -L", e))?;
    rustix::stdio::dup2_stdout(&pipe).map_err(failed("change", "standard output"))
}

/// Copy standard input to standard output, with `profile | ` in front of each line. What comes is passed on at once, also
/// where it does not end a line.
///
/// # Errors
/// 111 if something cannot be read or written.
pub fn copy(profile: &Profile) -> Result<()> {
    let label = format!("{profile} | ");
    let (stdin, mut stdout) = (std::io::stdin(), std::io::stdout().lock());
    let (mut buffer, mut labelled) = (vec![0; 16 * 1024], Vec::new());
    let mut begins = true;
    loop {
        let read = match rustix::io::read(&stdin, &mut buffer[..]) {
            Ok(0) => return Ok(()),
            Ok(read) => &buffer[..read],
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(Error::system("read", "standard input", errno)),
        };
        labelled.clear();
        for line in read.split_inclusive(|byte| *byte == b'\n') {
            if begins {
                labelled.extend_from_slice(label.as_bytes());
            }
            labelled.extend_from_slice(line);
            begins = line.ends_with(b"\n");
        }
        let written = stdout.write_all(&labelled).and_then(|()| stdout.flush());
        written.map_err(|e| Error::system("write to", "standard output", e))?;
    }
}
