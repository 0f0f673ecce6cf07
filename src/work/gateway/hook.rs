//! Running the operator's program for an event of a gateway (`HERMES_ON_EVENT`). Whoever calls this has become the
//! runtime account for good, so nothing here happens with root's rights.

use crate::ground::deadline::Deadline;
use crate::ground::environment::Environment;
use crate::ground::error::{Error, Kind, Result, cause_text};
use crate::ground::message::Log;
use crate::work::gateway::exec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

/// The longest sleep between two looks.
const NAP: Duration = Duration::from_millis(100);

/// A line of the program's output is cut here, in bytes.
const LINE: usize = 1000;

/// An event, as the program gets it.
pub struct Event<'a> {
    /// The arguments of the program.
    pub arguments: [&'a str; 2],
    /// The line on its standard input.
    pub line: String,
}

/// Run this program, which has `ms` milliseconds (0 = no limit), and log its output line by line. In a slot, one program
/// runs at a time, and the next one waits as long for it.
///
/// # Errors
/// 99 if the program is killed, or not run because another one still runs. 126 or 127 if it cannot be executed. 111 if
/// it fails.
pub fn run(program: &Path, event: &Event, mut environment: Environment, ms: u64, log: &dyn Log) -> Result<()> {
    let _turn = take_turn(Deadline::after_ms(ms))?;
    let shown = &program.display();
    let unable = |e: Errno| Error::system("run", shown, e);
    if environment.get("PATH").is_none() {
        environment.set("PATH", exec::PATH);
    }
    let (input, line) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(unable)?;
    let (output, said) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(unable)?;
    // The line is short, so the pipe has room for it.
    rustix::io::write(&line, event.line.as_bytes()).map_err(unable)?;
    drop(line);
    let mut command = Command::new(program);
    command.args(event.arguments).env_clear().envs(environment.iter()).current_dir("/").process_group(0);
    command.stdin(input).stdout(said.try_clone().map_err(|e| Error::system("run", shown, e))?).stderr(said);
    let mut child = command.spawn().map_err(|e| {
        let kind = if e.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::CannotExec };
        Error::new(kind, format!("unable to execute {shown}: {}", cause_text(&e)))
    })?;
    // The command has the ends of the pipes that belong to the program.
    drop(command);
    let deadline = Deadline::after_ms(ms);
    let ended = copy(&output, deadline, log).and_then(|()| wait(&mut child, deadline));
    if ended.is_err() {
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        let _ = child.wait();
    }
    match ended? {
        status if status.success() => Ok(()),
        status => Err(Error::new(Kind::System, format!("{shown} failed: {status}"))),
    }
}

/// Wait for the program of the last event of this slot. The lock is on a directory of the slot, and is kept as long as
/// the result. Outside of a slot there is none.
fn take_turn(deadline: Deadline) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(dir) = rustix::fs::open("data", flags, Mode::empty()) else { return Ok(None) };
    while let Err(Errno::WOULDBLOCK) = rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
        std::thread::sleep(deadline.patience(NAP, "the program of the last event to end")?);
    }
    Ok(Some(dir))
}

/// Log what comes until the end of the output.
fn copy(output: &OwnedFd, deadline: Deadline, log: &dyn Log) -> Result<()> {
    let unable = |e: Errno| Error::system("read", "the program's output", e);
    let (mut line, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let nap = deadline.patience(NAP, "the program to end")?;
        match poll(&mut [PollFd::new(output, PollFlags::IN)], Timespec::try_from(nap).ok().as_ref()) {
            Ok(0) | Err(Errno::INTR) => continue,
            polled => polled.map_err(unable)?,
        };
        let read = rustix::io::read(output, &mut piece).map_err(unable)?;
        for byte in &piece[..read] {
            if *byte != b'\n' {
                line.push(*byte);
            }
            if *byte == b'\n' || line.len() >= LINE {
                log.info(&String::from_utf8_lossy(&line));
                line.clear();
            }
        }
        if read == 0 {
            if !line.is_empty() {
                log.info(&String::from_utf8_lossy(&line));
            }
            return Ok(());
        }
    }
}

fn wait(child: &mut Child, deadline: Deadline) -> Result<std::process::ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => std::thread::sleep(deadline.patience(Duration::from_millis(10), "the program to end")?),
            Err(error) => return Err(Error::system("wait for", "the program", error)),
        }
    }
}
