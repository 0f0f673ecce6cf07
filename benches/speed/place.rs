//! A home, a scandir, a template and the tools, all of one's own.

use crate::Result;
use crate::programs::Programs;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The runtime account's uid and gid where the tools run as root. It is in no user database, so they take it from the home.
pub const ACCOUNT: u32 = 10_000;

/// Does all this run as root?
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where things live while they are measured; removed at the end.
pub struct Place {
    /// In memory.
    memory: PathBuf,
    /// Where nobody else may write, as root's template must be.
    sealed: PathBuf,
    /// The volume.
    pub home: PathBuf,
    /// Who owns the volume.
    pub owner: u32,
    svscan: Option<Child>,
}

impl Place {
    /// A home with so many profiles, `default` among them, below `volume`.
    pub fn new(programs: &Programs, volume: &Path, profiles: usize) -> Result<Place> {
        let name = format!("hermes-s6-bench.{}", std::process::id());
        let sealed = if is_root() { Path::new("/run") } else { Path::new("/dev/shm") };
        let owner = if is_root() { ACCOUNT } else { rustix::process::geteuid().as_raw() };
        let place = Place {
            memory: Path::new("/dev/shm").join(&name),
            sealed: sealed.join(format!("{name}.sealed")),
            home: volume.join(format!("{name}.home")),
            owner,
            svscan: None,
        };
        place.make(programs, profiles).map_err(|e| format!("unable to make {}: {e}", place.home.display()))?;
        Ok(place)
    }

    fn make(&self, programs: &Programs, profiles: usize) -> std::io::Result<()> {
        for dir in [&self.memory, &self.sealed, &self.bin()] {
            fs::create_dir(dir)?;
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        copy_template(&source.join("template/gateway"), &self.template())?;
        fs::copy(&programs.tools, self.bin().join("hermes-s6"))?;
        for tool in tools()? {
            symlink("hermes-s6", self.bin().join(tool))?;
        }
        let stand_in = self.bin().join("hermes");
        fs::write(&stand_in, "#!/bin/sh\nexec sleep 1000000\n")?;
        fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755))?;
        self.profile(&self.home, true)?;
        for dir in ["profiles", "logs"] {
            fs::create_dir(self.home.join(dir))?;
            chown(self.home.join(dir), Some(self.owner), Some(self.owner))?;
        }
        for number in 1..profiles {
            self.profile(&self.home.join("profiles").join(profile(number)), number % 2 == 0)?;
        }
        self.empty_scandir(self.owner)
    }

    /// What a profile of Hermes Agent's has that a boot pass reads. Half of them are to run.
    fn profile(&self, dir: &Path, up: bool) -> std::io::Result<()> {
        let state = if up { "running" } else { "stopped" };
        let status = format!(
            r#"{{"pid":4242,"kind":"hermes-gateway","argv":["hermes","gateway","run"],"start_time":123456,"desired_state":"{state}","gateway_state":"{state}","exit_reason":null,"restart_requested":false,"active_agents":0,"platforms":{{"telegram":{{"state":"connected","error_code":null}}}},"updated_at":"2026-01-01T00:00:00+00:00"}}"#
        );
        fs::create_dir(dir)?;
        fs::create_dir(dir.join("state"))?;
        for (name, text) in [
            ("SOUL.md", "I am a profile.\n"),
            ("gateway_state.json", &status),
            ("state/gateway.lifecycle.json", r#"{"phase":"exited"}"#),
            (".env", "TELEGRAM_BOT_TOKEN=123456:abcdefghijklmnopqrstuvwxyz\nOPENROUTER_API_KEY=sk-or-v1-0123456789\n"),
            ("config.yaml", "model:\n  default: some/model\n  provider: openrouter\nterminal:\n  backend: local\n"),
        ] {
            fs::write(dir.join(name), text)?;
            chown(dir.join(name), Some(self.owner), Some(self.owner))?;
        }
        chown(dir.join("state"), Some(self.owner), Some(self.owner))?;
        chown(dir, Some(self.owner), Some(self.owner))
    }

    /// The tools.
    pub fn bin(&self) -> PathBuf {
        self.sealed.join("bin")
    }

    /// The template.
    pub fn template(&self) -> PathBuf {
        self.sealed.join("template")
    }

    /// The scandir.
    pub fn scandir(&self) -> PathBuf {
        self.memory.join("scandir")
    }

    /// A new scandir that belongs to this uid.
    pub fn empty_scandir(&self, uid: u32) -> std::io::Result<()> {
        let scandir = self.scandir();
        if scandir.exists() {
            fs::remove_dir_all(&scandir)?;
        }
        fs::create_dir(&scandir)?;
        fs::set_permissions(&scandir, fs::Permissions::from_mode(0o755))?;
        chown(&scandir, Some(uid), Some(uid))
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        let entries = fs::read_dir(self.scandir()).map(|dir| dir.flatten().collect::<Vec<_>>()).unwrap_or_default();
        entries.iter().filter(|e| e.file_name().to_string_lossy().starts_with("gateway-")).count()
    }

    /// Forget what earlier passes left on the volume, as if this were the first one.
    pub fn forget(&self, profiles: usize) {
        let left =
            ["gateway_ports.json", ".hermes-s6.ports.lock", "logs/container-boot.log"].map(|f| self.home.join(f));
        let dirs = (1..profiles).map(|number| self.home.join("profiles").join(profile(number)));
        let locks = dirs.chain([self.home.clone()]).map(|dir| dir.join(".hermes-s6.intent.lock"));
        for path in left.into_iter().chain(locks) {
            // Not there before the first one.
            let _ = fs::remove_file(path);
        }
    }

    /// A program with the environment of a container that has room for all of them.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear().current_dir("/");
        command.env("PATH", format!("{}:/command:/usr/bin:/bin:/usr/sbin:/sbin", self.bin().display()));
        command.env("HERMES_HOME", &self.home).env("HERMES_USER", "no-such-user");
        command.env("S6_PROFILE_GATEWAY_SCANDIR", self.scandir()).env("HERMES_SLOT_TEMPLATE", self.template());
        command.env("HERMES_PORT_RANGE", "10000-60000").env("HERMES_MAX_SERVICES", "10000");
        command
    }

    /// One of the tools.
    pub fn tool(&self, name: &str) -> Command {
        self.command(self.bin().join(name))
    }

    /// Start an s6-svscan here and wait until it listens.
    pub fn supervise(&mut self) -> Result<()> {
        let mut command = self.command("s6-svscan");
        command.arg(self.scandir()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.svscan = Some(command.spawn().map_err(|e| format!("unable to run s6-svscan: {e}"))?);
        for _ in 0..1000 {
            if self.command("s6-svscanctl").arg(self.scandir()).status().is_ok_and(|s| s.success()) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err("s6-svscan does not listen".to_string())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut svscan) = self.svscan.take() {
            // Services are brought down, loggers too, and then it ends.
            let _ = self.command("s6-svscanctl").arg("-t").arg(self.scandir()).status();
            let _ = svscan.wait();
        }
        for dir in [&self.memory, &self.sealed, &self.home] {
            let _ = fs::remove_dir_all(dir);
        }
    }
}

/// The name of a profile; 0 is `default`.
pub fn profile(number: usize) -> String {
    if number == 0 { "default".to_string() } else { format!("p{number:04}") }
}

/// The tools by name.
pub fn tools() -> std::io::Result<Vec<String>> {
    let bins = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin"))?;
    let names = bins.flatten().filter_map(|e| e.file_name().to_string_lossy().strip_suffix(".rs").map(str::to_string));
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

fn copy_template(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(from)?.flatten() {
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_template(&source, &copy)?;
        } else {
            fs::copy(&source, &copy)?;
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}
