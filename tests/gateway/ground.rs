use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The account: nobody's, as on a NAS.
pub const UID: u32 = 54321;
pub const GID: u32 = 54322;

/// How long anything may take before it counts as not happening.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stand-in for the gateway: it says what it was given, writes the state file as the real one does, and stays. What a
/// profile's `mode` says is done first. `exec`, so that nothing but itself inherits the lock.
const HERMES: &str = r#"#!/bin/sh
dir=$HERMES_HOME
[ "$1" = -p ] && dir=$HERMES_HOME/profiles/$2
echo "started $$" >>"$dir/starts"
echo "hermes $*"
state() {
    read -r stat </proc/$$/stat
    set -- ${stat##*) }
    shift 19
    printf '{"pid":%s,"start_time":%s,"gateway_state":"running"}' $$ "$1" >"$dir/state.new"
    mv "$dir/state.new" "$dir/gateway_state.json"
}
[ -f "$dir/mode" ] && . "$dir/mode"
state
exec sleep 100000
"#;

/// A directory of its own for one test, gone with everything in it when the test ends.
pub struct Ground {
    pub dir: PathBuf,
    svscan: Option<Child>,
    /// The only port that there is to allocate, and that nobody uses just now.
    pub port: u16,
}

impl Ground {
    /// A home with the profile coder, owned by the account.
    pub fn new() -> Ground {
        assert!(rustix::process::geteuid().is_root(), "these tests are about dropping root's rights: run them as root");
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!("/run/hermes-s6-gateway-{}-{number}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["scandir", "bin", "home", "home/profiles"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ground = Ground { dir, svscan: None, port };
        ground.program("hermes", HERMES);
        for name in ["home", "home/profiles"] {
            chown(ground.dir.join(name), Some(UID), Some(GID)).unwrap();
        }
        ground.profile("coder");
        ground
    }

    pub fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    pub fn program(&self, name: &str, text: &str) {
        let path = self.dir.join("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Make a profile; its directory.
    pub fn profile(&self, name: &str) -> PathBuf {
        let dir = self.profile_dir(name);
        fs::create_dir(&dir).unwrap();
        chown(&dir, Some(UID), Some(GID)).unwrap();
        self.give(name, "SOUL.md", "");
        dir
    }

    pub fn profile_dir(&self, name: &str) -> PathBuf {
        if name == "default" { self.home() } else { self.home().join("profiles").join(name) }
    }

    /// A file in a profile, the account's.
    pub fn give(&self, profile: &str, name: &str, text: &str) {
        let path = self.profile_dir(profile).join(name);
        fs::write(&path, text).unwrap();
        chown(&path, Some(UID), Some(GID)).unwrap();
    }

    /// A command with the tools on its PATH and nothing else of ours in its environment.
    pub fn command(&self, program: &str) -> Command {
        let tools = Path::new(env!("CARGO_BIN_EXE_hermes-run-gateway")).parent().unwrap();
        let path = format!("{}:{}:/usr/local/bin:/usr/bin:/bin", self.dir.join("bin").display(), tools.display());
        // Under a name of its own, so that no account of the machine gets in the way.
        let user = "hermes-s6-no-such-user";
        let program = if program.starts_with("hermes-") { tools.join(program) } else { program.into() };
        let mut command = Command::new(program);
        command.env_clear().env("PATH", path).env("HERMES_HOME", self.home()).env("HERMES_USER", user);
        command.env("HERMES_PORT_RANGE", format!("{0}-{0}", self.port));
        command.current_dir(&self.dir).stdin(Stdio::null());
        command
    }

    /// Run a tool to its end: code, stdout, stderr.
    pub fn run(&self, program: &str, arguments: &[&str]) -> (i32, String, String) {
        ended(&self.command(program).args(arguments).output().unwrap())
    }

    /// Publish a slot by hand; its path.
    pub fn slot(&self, profile: &str) -> PathBuf {
        self.slot_with(profile, |_| {})
    }

    /// The same with a last touch before it is published.
    pub fn slot_with(&self, profile: &str, touch: impl Fn(&Path)) -> PathBuf {
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("template/gateway");
        let staging = self.dir.join("scandir").join(format!(".gateway-{profile}"));
        for dir in ["", "data", "log"] {
            fs::create_dir(staging.join(dir)).unwrap();
            for entry in fs::read_dir(template.join(dir)).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file() {
                    let copy = self.template_file(&entry.path(), &Path::new(dir).join(entry.file_name()));
                    symlink(copy, staging.join(dir).join(entry.file_name())).unwrap();
                }
            }
        }
        touch(&staging);
        let slot = self.dir.join("scandir").join(format!("gateway-{profile}"));
        fs::rename(staging, &slot).unwrap();
        slot
    }

    /// A copy of a file of the template, with the directories of these programs in it, as `make install` has its own.
    fn template_file(&self, from: &Path, name: &Path) -> PathBuf {
        let to = self.dir.join("template").join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let tools = Path::new(env!("CARGO_BIN_EXE_hermes-run-gateway")).parent().unwrap();
        let bin = format!("{}:{}:/command:/usr/local/bin:", self.dir.join("bin").display(), tools.display());
        fs::write(&to, fs::read_to_string(from).unwrap().replace("/command:/usr/local/bin:", &bin)).unwrap();
        fs::set_permissions(&to, fs::metadata(from).unwrap().permissions()).unwrap();
        to
    }

    /// Start s6-svscan on the scandir; what reaches the container's log is in `container.log`.
    pub fn svscan(&mut self) {
        let log = fs::File::create(self.dir.join("container.log")).unwrap();
        let mut command = self.command("s6-svscan");
        command.arg(self.dir.join("scandir")).stdout(log.try_clone().unwrap()).stderr(log);
        self.svscan = Some(command.spawn().expect("s6-svscan is needed"));
    }

    pub fn container_log(&self) -> String {
        fs::read_to_string(self.dir.join("container.log")).unwrap_or_default()
    }

    pub fn log(&self, profile: &str) -> String {
        fs::read_to_string(self.home().join("logs/gateways").join(profile).join("current")).unwrap_or_default()
    }

    pub fn starts(&self, profile: &str) -> usize {
        fs::read_to_string(self.profile_dir(profile).join("starts")).unwrap_or_default().lines().count()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let mut svscan = self.svscan.take();
        if svscan.is_some() {
            let _ = Command::new("s6-svscanctl").arg("-t").arg(self.dir.join("scandir")).status();
        }
        // Also what nobody supervises any more: it has its directory in here, and may hold a logger's pipe open.
        loop {
            let over = svscan.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|ended| ended.is_some()));
            for entry in fs::read_dir("/proc").unwrap().flatten() {
                let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
                let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                let ours = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&self.dir));
                if ours && (over || !matches!(name.trim(), "s6-svscan" | "s6-supervise" | "s6-log")) {
                    kill(pid, "KILL");
                }
            }
            if over {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub fn ended(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Wait until something is so.
pub fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "still waiting for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn kill(pid: i32, signal: &str) {
    let _ = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Is there a process of this pid that has not ended?
pub fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Fields of `s6-svstat -o`.
pub fn svstat(slot: &Path, fields: &str) -> String {
    let output = Command::new("s6-svstat").args(["-o", fields]).arg(slot).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

/// Wait until s6 says so.
pub fn until_svstat(slot: &Path, fields: &str, wanted: &str) {
    until(&format!("{fields} to be {wanted}"), || (svstat(slot, fields) == wanted).then_some(()));
}

/// The gateway's pid, once it is up and the gateway itself, not what runs before it.
pub fn gateway_pid(slot: &Path) -> i32 {
    until("the gateway", || {
        let pid: i32 = svstat(slot, "pid").parse().ok().filter(|pid| *pid > 0)?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (name.trim() == "sleep").then_some(pid)
    })
}

pub fn svc(options: &str, slot: &Path) {
    assert!(Command::new("s6-svc").arg(options).arg(slot).status().unwrap().success());
}

/// Is the gateway lock of this profile held?
pub fn is_locked(ground: &Ground, profile: &str) -> bool {
    let file = ground.profile_dir(profile).join(".hermes-s6.gateway.lock");
    file.exists() && !Command::new("flock").arg("-n").arg(file).arg("true").status().unwrap().success()
}
