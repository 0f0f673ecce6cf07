//! The client of the container engine, and containers and volumes that are removed when they are dropped.

use crate::wait::wait_at_pace;
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// An API key of 32 hexadecimal characters, which is the form that Hermes Agent requires.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// How long one command may take, in seconds.
const PATIENCE: &str = "240";

/// The name of the image under test.
pub fn image() -> String {
    std::env::var("HERMES_S6_IMAGE").unwrap_or_else(|_| String::from("hermes-s6:test"))
}

/// The result of a command that has ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Check the exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "out: {}\nerr: {}", self.out, self.err);
        self
    }

    /// Check that the command succeeded. Returns its output without the last newline.
    #[track_caller]
    pub fn ok(self) -> String {
        self.code(0).out.trim_end().to_owned()
    }
}

/// Run a program to its end. If it takes longer than `PATIENCE`, it is killed, and the exit code is 124.
pub fn run(program: &str, arguments: &[&str]) -> Ran {
    let output = Command::new("timeout")
        .args(["-k", "5", PATIENCE, program])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("unable to run {program}: {error}"));
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The client of the engine: docker, or podman if `ENGINE` says so. Podman's takes the same words.
pub fn client() -> String {
    std::env::var("ENGINE").unwrap_or_else(|_| String::from("docker"))
}

pub fn podman() -> bool {
    client() == "podman"
}

pub fn docker(arguments: &[&str]) -> Ran {
    run(&client(), arguments)
}

/// The options that give the account of the image a `/run` of its own, as the image recommends them.
pub fn own_run() -> [&'static str; 2] {
    if podman() {
        ["--mount", "type=tmpfs,destination=/run,chown"]
    } else {
        ["--tmpfs", "/run:exec,uid=10000,gid=10000"]
    }
}

/// Remove a container at once. Podman would wait for its end first.
pub fn remove(name: &str) {
    let patience: &[&str] = if podman() { &["-t", "0"] } else { &[] };
    docker(&[&["rm", "-f", "-v"], patience, &[name]].concat());
}

/// Does this run of the suite test containers whose scandir is open? The default is sealed.
pub fn open() -> bool {
    std::env::var_os("HERMES_S6_TEST_OPEN").is_some()
}

/// The option that opens the scandir, if this run of the suite tests that.
fn mode() -> &'static [&'static str] {
    if open() { &["-e", "HERMES_OPEN_SCANDIR=1"] } else { &[] }
}

/// The label of all containers and volumes of this run of the suite. image-build/run-suite removes what has the label,
/// even if the run was interrupted.
pub fn label() -> String {
    format!("hermes-s6.test={}", std::env::var("HERMES_S6_TEST_RUN").unwrap_or_else(|_| String::from("0")))
}

/// A name that no other test, process or run uses.
pub fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("hermes-s6-test-{what}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Wait until `condition` is true, for at most this many seconds.
#[track_caller]
pub fn until(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    // The pace is slow, because each look may start a process in a container.
    let (pace, ceiling) = (Duration::from_millis(200), Duration::from_secs(seconds));
    wait_at_pace(what, pace, ceiling, || condition().then_some(()));
}

/// Run a container to its end (`docker run --rm`), with these arguments for the image. Podman would say on stderr that it
/// has no systemd for the health check.
pub fn once(options: &[&str], command: &[&str]) -> Ran {
    let (label, image) = (label(), image());
    let mut arguments = vec!["run", "--rm", "--no-healthcheck", "--label", &label];
    arguments.extend(mode());
    arguments.extend(options);
    arguments.push(&image);
    arguments.extend(command);
    docker(&arguments)
}

/// A named volume, which is removed when this value is dropped.
pub struct Volume(String);

impl Volume {
    pub fn new() -> Self {
        let name = unique("volume");
        docker(&["volume", "create", "--label", &label(), &name]).ok();
        Self(name)
    }

    /// A volume with these profiles, made by the account of the image.
    pub fn with_profiles(names: &[&str]) -> Self {
        let volume = Self::new();
        volume.script(&profiles_script(names));
        volume
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    /// The value of `-v` that mounts the volume at the home.
    pub fn at_home(&self) -> String {
        format!("{}:/opt/data", self.0)
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}:{path}", self.0)
    }

    /// Run a shell script as the account in the directory of the volume, without booting s6.
    pub fn script(&self, script: &str) -> String {
        self.script_as("hermes", script)
    }

    pub fn script_as(&self, user: &str, script: &str) -> String {
        once(&["--user", user, "-v", &self.at_home(), "-w", "/opt/data", "--entrypoint", "/bin/sh"], &["-ec", script])
            .ok()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        docker(&["volume", "rm", "-f", &self.0]);
    }
}

/// A shell script that makes profiles whose API server is enabled and has no port of its own.
pub fn profiles_script(names: &[&str]) -> String {
    let mut script = String::from("umask 022; home=${HERMES_HOME:-/opt/data}\n");
    for name in names {
        let directory = if *name == "default" { String::from("$home") } else { format!("$home/profiles/{name}") };
        let _ = writeln!(
            script,
            "mkdir -p {directory}; echo 'You are the {name}.' >{directory}/SOUL.md
             (umask 077; printf 'API_SERVER_ENABLED=true\\nAPI_SERVER_KEY={KEY}\\n' >{directory}/.env)"
        );
    }
    script
}

/// A running container, which is removed when this value is dropped.
pub struct Container {
    pub name: String,
}

impl Container {
    /// Start a container, and wait until its boot pass is over.
    pub fn start(options: &[&str], command: &[&str]) -> Self {
        let container = Self::launch(options, command);
        container.wait_for_boot(1);
        container
    }

    /// Start a container on this volume whose command does nothing.
    pub fn on(volume: &Volume) -> Self {
        Self::start(&["-v", &volume.at_home()], &["sleep", "infinity"])
    }

    /// Start a container without waiting for its boot pass.
    pub fn launch(options: &[&str], command: &[&str]) -> Self {
        Self::of(&image(), options, command)
    }

    /// As `launch`, for another image than the one under test.
    pub fn of(image: &str, options: &[&str], command: &[&str]) -> Self {
        let (name, label) = (unique("container"), label());
        let mut arguments = vec!["run", "-d", "--name", &name, "--label", &label];
        arguments.extend(mode());
        arguments.extend(options);
        arguments.push(image);
        arguments.extend(command);
        let container = Self { name: name.clone() };
        docker(&arguments).code(0);
        container
    }

    /// Wait until the boot pass has printed its `done` line this many times since the container was made.
    #[track_caller]
    pub fn wait_for_boot(&self, times: usize) {
        until(&format!("boot {times} of the container is over; its log: {}", self.logs()), 90, || {
            self.logs().matches("reconcile: done").count() >= times && self.exec(&["hermes-svc-list"]).code == 0
        });
    }

    /// Start the container again after a stop, and wait for its boot pass.
    #[track_caller]
    pub fn revive(&self) {
        let boots = self.logs().matches("reconcile: done").count();
        docker(&["start", &self.name]).code(0);
        self.wait_for_boot(boots + 1);
    }

    /// The container's log, stdout and stderr.
    pub fn logs(&self) -> String {
        let ran = docker(&["logs", &self.name]);
        ran.out + &ran.err
    }

    #[track_caller]
    pub fn wait_for_log(&self, what: &str) {
        until(&format!("the log says {what:?}: {}", self.logs()), 60, || self.logs().contains(what));
    }

    pub fn exec(&self, command: &[&str]) -> Ran {
        self.exec_with(&[], command)
    }

    pub fn exec_as(&self, user: &str, command: &[&str]) -> Ran {
        self.exec_with(&["--user", user], command)
    }

    pub fn exec_with(&self, options: &[&str], command: &[&str]) -> Ran {
        let mut arguments = vec!["exec"];
        arguments.extend(options);
        arguments.push(&self.name);
        arguments.extend(command);
        docker(&arguments)
    }

    /// Start a program in the container without waiting for its end.
    pub fn detach_as(&self, user: &str, command: &[&str]) {
        let mut arguments = vec!["exec", "-d", "--user", user, &self.name];
        arguments.extend(command);
        docker(&arguments).code(0);
    }

    /// Run a shell script as root.
    pub fn sh(&self, script: &str) -> Ran {
        self.exec(&["sh", "-ec", script])
    }

    /// Run a shell script as the account.
    pub fn sh_as_hermes(&self, script: &str) -> Ran {
        self.exec_as("hermes", &["sh", "-ec", script])
    }

    pub fn make_profiles(&self, names: &[&str]) {
        self.sh_as_hermes(&profiles_script(names)).code(0);
        for name in names {
            self.exec(&["hermes-reconcile-one", name]).code(0);
        }
    }

    /// Start the gateways of these profiles, and wait until each is ready and answers on its port.
    #[track_caller]
    pub fn start_ready(&self, profiles: &[&str]) {
        let mut command = vec!["hermes-svc-start", "-W", "-t", "180000"];
        command.extend(profiles);
        self.exec(&command).code(0);
    }

    pub fn port(&self, profile: &str) -> String {
        self.exec(&["hermes-port-alloc", profile]).ok()
    }

    /// Does a server answer `/health` on this profile's port?
    pub fn healthy(&self, profile: &str) -> bool {
        let url = format!("http://127.0.0.1:{}/health", self.port(profile));
        let ran = self.exec(&["curl", "-sf", "--max-time", "5", &url]);
        ran.code == 0 && ran.out.contains("\"ok\"")
    }

    /// One field of the profile's record in `hermes-svc-status -j`.
    pub fn status(&self, profile: &str, field: &str) -> serde_json::Value {
        let ran = self.exec(&["hermes-svc-status", "-j", profile]);
        let record = ran
            .out
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .find(|record| record["profile"] == profile);
        record.map_or(serde_json::Value::Null, |record| record[field].clone())
    }

    pub fn state(&self, profile: &str) -> String {
        self.status(profile, "state").as_str().unwrap_or_default().to_owned()
    }

    /// The recorded intent of a profile.
    pub fn intent(&self, profile: &str) -> String {
        self.status(profile, "intent").as_str().unwrap_or_default().to_owned()
    }

    /// The result of this template in `docker inspect`.
    pub fn inspect(&self, template: &str) -> String {
        docker(&["inspect", "-f", template, &self.name]).ok()
    }

    pub fn exit_code(&self) -> i32 {
        self.inspect("{{.State.ExitCode}}").parse().unwrap_or(-1)
    }

    /// Stop the container, with this grace in seconds. Returns how long the stop took.
    pub fn stop(&self, seconds: u32) -> Duration {
        let start = Instant::now();
        docker(&["stop", "-t", &seconds.to_string(), &self.name]).code(0);
        start.elapsed()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of {}\n{}---", self.name, self.logs());
        }
        remove(&self.name);
    }
}
