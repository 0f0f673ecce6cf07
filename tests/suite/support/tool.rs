//! Running a tool, and saying what was wrong with how it ended.

use super::glob;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// No tool may hang a test run; the longest wait that a test asks for is far below.
const CEILING: Duration = Duration::from_secs(120);

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
    /// `program` with nothing but `env` in its environment.
    pub fn new(program: PathBuf, env: &[(&str, &OsStr)], directory: &Path) -> Tool {
        let env = env.iter().map(|(k, v)| (OsString::from(k), v.to_os_string())).collect();
        Tool { program, args: Vec::new(), env, input: None, directory: directory.to_path_buf(), account: None }
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Tool {
        self.args.push(arg.as_ref().to_os_string());
        self
    }

    /// More arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Tool {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_os_string()));
        self
    }

    /// With this variable.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Tool {
        self.env.push((key.into(), value.as_ref().to_os_string()));
        self
    }

    /// With these bytes on stdin, which else is /dev/null.
    pub fn input(mut self, bytes: impl AsRef<[u8]>) -> Tool {
        self.input = Some(bytes.as_ref().to_vec());
        self
    }

    /// In this directory.
    pub fn directory(mut self, directory: impl AsRef<Path>) -> Tool {
        self.directory = directory.as_ref().to_path_buf();
        self
    }

    /// As this uid and gid, without supplementary groups.
    pub fn account(mut self, uid: u32, gid: u32) -> Tool {
        self.account = Some((uid, gid));
        self
    }

    /// The command line, for messages.
    pub fn line(&self) -> String {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        std::iter::once(name).chain(self.args.iter().map(|a| format!("{a:?}"))).collect::<Vec<_>>().join(" ")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().current_dir(&self.directory);
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some((uid, gid)) = self.account {
            // std drops the supplementary groups with it.
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Start it and let it run; nobody reads what it says.
    #[track_caller]
    pub fn spawn(self) -> Child {
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap_or_else(|e| panic!("unable to run {}: {e}", self.line()))
    }

    /// Start it, to be waited for later.
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
        std::thread::spawn(move || {
            if let (Some(mut stdin), Some(bytes)) = (child.stdin.take(), input) {
                // A program that does not read its input is the test's business, not this writer's.
                let _ = std::io::Write::write_all(&mut stdin, &bytes);
            }
            let _ = sender.send(child.wait_with_output());
        });
        Running { line, pid, ended }
    }

    /// Run it to its end.
    #[track_caller]
    pub fn run(self) -> Ran {
        self.start().wait()
    }
}

/// A tool that is running.
pub struct Running {
    line: String,
    pub pid: u32,
    ended: mpsc::Receiver<std::io::Result<std::process::Output>>,
}

impl Running {
    /// Has it not ended yet?
    pub fn is_running(&self) -> bool {
        super::start_time(self.pid).is_some()
    }

    /// Has it an inotify descriptor, with which the tools wait?
    pub fn waits_for_events(&self) -> bool {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).into_iter().flatten().flatten();
        descriptors
            .filter_map(|d| std::fs::read_link(d.path()).ok())
            .any(|target| target == Path::new("anon_inode:inotify"))
    }

    /// Wait for its end.
    #[track_caller]
    pub fn wait(self) -> Ran {
        let Ok(output) = self.ended.recv_timeout(CEILING) else {
            super::kill(self.pid, rustix::process::Signal::KILL);
            panic!("{} still ran after {CEILING:?}", self.line);
        };
        let output = output.unwrap_or_else(|e| panic!("unable to wait for {}: {e}", self.line));
        Ran {
            line: self.line,
            code: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(127)),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// How a command ended: 128+N if signal N killed it.
#[derive(Clone, Debug)]
pub struct Ran {
    pub line: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Exit code, stdout and stderr are these; `*` stands for any part of a line.
    #[track_caller]
    pub fn is(self, code: i32, stdout: &str, stderr: &str) -> Ran {
        let same = self.code == code && glob(stdout, &self.stdout) && glob(stderr, &self.stderr);
        assert!(same, "{self}wanted: exit {code}\n---- stdout\n{stdout}\n---- stderr\n{stderr}\n----");
        self
    }

    /// It said nothing on stdout and one `fatal:` line on stderr, which matches this.
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
