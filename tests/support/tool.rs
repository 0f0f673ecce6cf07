//! Running a tool, and reporting how it ended.

use super::glob;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// The longest time that a tool may run. It is far above the longest wait that a test asks for.
const CEILING: Duration = Duration::from_secs(300);

/// How many bytes of a tool's stderr are shown if its test fails.
const SHOWN: usize = 64 * 1024;

/// A command to run in a tree's environment.
pub struct Tool {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    input: Option<Vec<u8>>,
    directory: PathBuf,
    account: Option<(u32, u32)>,
}

impl Tool {
    /// The command `program`, with only `env` in its environment.
    pub fn new(program: PathBuf, env: &[(&str, &OsStr)], directory: &Path) -> Tool {
        let env = env.iter().map(|(k, v)| (OsString::from(k), v.to_os_string())).collect();
        Tool { program, args: Vec::new(), env, input: None, directory: directory.to_path_buf(), account: None }
    }

    /// Add an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Tool {
        self.args.push(arg.as_ref().to_os_string());
        self
    }

    /// Add arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Tool {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_os_string()));
        self
    }

    /// Set a variable.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Tool {
        self.env.push((key.into(), value.as_ref().to_os_string()));
        self
    }

    /// Pass these bytes on stdin, which is otherwise /dev/null.
    pub fn input(mut self, bytes: impl AsRef<[u8]>) -> Tool {
        self.input = Some(bytes.as_ref().to_vec());
        self
    }

    /// Set the working directory.
    pub fn directory(mut self, directory: impl AsRef<Path>) -> Tool {
        self.directory = directory.as_ref().to_path_buf();
        self
    }

    /// Run as this uid and gid, without supplementary groups.
    pub fn account(mut self, uid: u32, gid: u32) -> Tool {
        self.account = Some((uid, gid));
        self
    }

    /// The command line, for messages.
    pub fn line(&self) -> String {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        std::iter::once(name).chain(self.args.iter().map(|a| format!("{a:?}"))).collect::<Vec<_>>().join(" ")
    }

    /// The tool as a `Command`, for a test that starts it in another way.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().current_dir(&self.directory);
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some((uid, gid)) = self.account {
            // std also drops the supplementary groups here.
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Start the tool and let it run. Its output is discarded.
    #[track_caller]
    pub fn spawn(self) -> Child {
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap_or_else(|e| panic!("unable to run {}: {e}", self.line()))
    }

    /// Start the tool, to be waited for later.
    #[track_caller]
    pub fn start(self) -> Running {
        let line = self.line();
        let mut command = self.command();
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("unable to run {line}: {e}"));
        let pid = child.id();
        let (sender, ended) = mpsc::channel();
        let input = self.input;
        let said = Arc::new(Mutex::new(Vec::new()));
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let keep = Arc::clone(&said);
        let errors = std::thread::spawn(move || stderr.map_or(Ok(()), |pipe| collect(pipe, &keep)));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            if let (Some(mut stdin), Some(bytes)) = (stdin, input) {
                // It is no error here if a program does not read its input.
                let _ = std::io::Write::write_all(&mut stdin, &bytes);
            }
            let mut out = Vec::new();
            let read = stdout.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut out));
            let read = read.and(errors.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into())));
            let status = read.and(child.wait());
            let stderr = heard.lock().map(|said| said.clone()).unwrap_or_default();
            let _ = sender.send(status.map(|status| Output { status, stdout: out, stderr }));
        });
        Running { line, pid, said, ended }
    }

    /// Run the tool to its end.
    #[track_caller]
    pub fn run(self) -> Ran {
        self.start().wait()
    }
}

/// A running tool.
pub struct Running {
    line: String,
    pub pid: u32,
    said: Arc<Mutex<Vec<u8>>>,
    ended: mpsc::Receiver<std::io::Result<Output>>,
}

impl Running {
    /// Is the tool still running?
    pub fn is_running(&self) -> bool {
        super::start_time(self.pid).is_some()
    }

    /// Does the tool have an inotify descriptor? The tools use one when they wait.
    pub fn waits_for_events(&self) -> bool {
        self.instances() > 0
    }

    /// How many inotify instances the tool has.
    pub fn instances(&self) -> usize {
        super::instances(self.pid)
    }

    /// Wait until the tool has ended.
    #[track_caller]
    pub fn wait(self) -> Ran {
        let Ok(output) = self.ended.recv_timeout(CEILING) else {
            super::kill(self.pid, rustix::process::Signal::KILL);
            panic!("{} still ran after {CEILING:?}", self.line);
        };
        let output = output.unwrap_or_else(|e| panic!("unable to wait for {}: {e}", self.line));
        Ran::new(self.line.clone(), &output)
    }
}

impl Drop for Running {
    /// Show what the tool has said, if the test has failed while it ran.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(said) = self.said.lock()
        {
            let from = said.len().saturating_sub(SHOWN);
            let said = String::from_utf8_lossy(&said[from..]);
            eprintln!("---- the end of the stderr of {}\n{said}----", self.line);
        }
    }
}

/// Read `pipe` to its end, and add what comes to `kept` at once.
fn collect(mut pipe: impl Read, kept: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => kept.lock().map_err(|_| std::io::ErrorKind::Other)?.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// How a command ended. The code is 128 + N if signal N killed it.
#[derive(Clone, Debug)]
pub struct Ran {
    pub line: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The result of the command with this line.
    pub fn new(line: String, output: &Output) -> Ran {
        Ran {
            line,
            code: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(127)),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Exit code, stdout and stderr, for a comparison.
    pub fn triple(self) -> (i32, String, String) {
        (self.code, self.stdout, self.stderr)
    }

    /// Check the exit code, stdout and stderr. `*` stands for any part of a line.
    #[track_caller]
    pub fn is(self, code: i32, stdout: &str, stderr: &str) -> Ran {
        let same = self.code == code && glob(stdout, &self.stdout) && glob(stderr, &self.stderr);
        assert!(same, "{self}wanted: exit {code}\n---- stdout\n{stdout}\n---- stderr\n{stderr}\n----");
        self
    }

    /// Check that stdout is empty, and that stderr is one `fatal:` line that matches this text.
    #[track_caller]
    pub fn fails(self, code: i32, fatal: &str) -> Ran {
        let prog = self.line.split(' ').next().unwrap_or_default();
        let stderr = format!("{prog}: fatal: {fatal}\n");
        self.is(code, "", &stderr)
    }

    /// The lines of stdout.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ran { line, code, stdout, stderr } = self;
        writeln!(f, "{line}: exit {code}\n---- stdout\n{stdout}\n---- stderr\n{stderr}\n----")
    }
}
