//! A private home, scandir, template and set of tools for one measurement.

use crate::Result;
use crate::programs::Programs;
use crate::support::{GID, Svscan, UID, copy_template, executable, is_root};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The directories of one measurement. They are removed when this value is dropped.
pub struct Place {
    /// A directory in memory, for the scandir.
    memory: PathBuf,
    /// The directory of the template and the tools. Nobody else may write there, because root's tools trust no other
    /// template.
    sealed: PathBuf,
    /// The home.
    pub home: PathBuf,
    /// The uid that owns the home.
    pub owner: u32,
    /// The gid that owns the home.
    pub group: u32,
    svscan: Option<Svscan>,
}

impl Place {
    /// Make a home below `volume` with this number of profiles, one of which is `default`.
    pub fn new(programs: &Programs, volume: &Path, profiles: usize) -> Result<Place> {
        let name = format!("hermes-s6-bench.{}", std::process::id());
        let sealed = if is_root() { Path::new("/run") } else { Path::new("/dev/shm") };
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let (owner, group) = if is_root() { (UID, GID) } else { own };
        let place = Place {
            memory: Path::new("/dev/shm").join(&name),
            sealed: sealed.join(format!("{name}.sealed")),
            home: volume.join(format!("{name}.home")),
            owner,
            group,
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
        copy_template(&self.template(), &self.bin());
        fs::copy(&programs.tools, self.bin().join("hermes-s6"))?;
        for tool in tools()? {
            symlink("hermes-s6", self.bin().join(tool))?;
        }
        executable(&self.bin().join("hermes"), "#!/bin/sh\nexec sleep 1000000\n");
        self.profile(&self.home, true)?;
        for dir in ["profiles", "logs"] {
            fs::create_dir(self.home.join(dir))?;
            chown(self.home.join(dir), Some(self.owner), Some(self.group))?;
        }
        for number in 1..profiles {
            self.profile(&self.home.join("profiles").join(profile(number)), number % 2 == 0)?;
        }
        self.empty_scandir(self.owner)
    }

    /// Write the files of a profile that a boot pass reads. `up` says whether the profile's intent is to run.
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
            chown(dir.join(name), Some(self.owner), Some(self.group))?;
        }
        chown(dir.join("state"), Some(self.owner), Some(self.group))?;
        chown(dir, Some(self.owner), Some(self.group))
    }

    /// The directory of the tools.
    pub fn bin(&self) -> PathBuf {
        self.sealed.join("bin")
    }

    /// The directory of the template.
    pub fn template(&self) -> PathBuf {
        self.sealed.join("template")
    }

    /// The path of the scandir.
    pub fn scandir(&self) -> PathBuf {
        self.memory.join("scandir")
    }

    /// Make a new, empty scandir that belongs to this uid.
    pub fn empty_scandir(&self, uid: u32) -> std::io::Result<()> {
        let scandir = self.scandir();
        if scandir.exists() {
            fs::remove_dir_all(&scandir)?;
        }
        fs::create_dir(&scandir)?;
        fs::set_permissions(&scandir, fs::Permissions::from_mode(0o755))?;
        chown(&scandir, Some(uid), Some(if uid == self.owner { self.group } else { uid }))
    }

    /// The number of slots in the scandir.
    pub fn slots(&self) -> usize {
        let entries = fs::read_dir(self.scandir()).map(|dir| dir.flatten().collect::<Vec<_>>()).unwrap_or_default();
        entries.iter().filter(|e| e.file_name().to_string_lossy().starts_with("gateway-")).count()
    }

    /// Remove what earlier passes left on the volume, so that the next pass is like a first one.
    pub fn forget(&self, profiles: usize) {
        let left =
            ["gateway_ports.json", ".hermes-s6.ports.lock", "logs/container-boot.log"].map(|f| self.home.join(f));
        let dirs = (1..profiles).map(|number| self.home.join("profiles").join(profile(number)));
        let locks = dirs.chain([self.home.clone()]).map(|dir| dir.join(".hermes-s6.intent.lock"));
        for path in left.into_iter().chain(locks) {
            // Before the first pass the file does not exist.
            let _ = fs::remove_file(path);
        }
    }

    /// A command for this program, in an environment that sets the home, the scandir and the template, and allows
    /// enough services for all profiles.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear().current_dir("/");
        command.env("PATH", format!("{}:/command:/usr/bin:/bin:/usr/sbin:/sbin", self.bin().display()));
        command.env("HERMES_HOME", &self.home).env("HERMES_USER", format!("{}:{}", self.owner, self.group));
        command.env("S6_PROFILE_GATEWAY_SCANDIR", self.scandir()).env("HERMES_SLOT_TEMPLATE", self.template());
        command.env("HERMES_PORT_RANGE", "10000-60000").env("HERMES_MAX_SERVICES", "10000");
        command
    }

    /// A command for this tool.
    pub fn tool(&self, name: &str) -> Command {
        self.command(self.bin().join(name))
    }

    /// Start an s6-svscan on the scandir, and wait until it listens.
    pub fn supervise(&mut self) {
        let mut command = self.command("s6-svscan");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.svscan = Some(Svscan::start(command, &self.scandir()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(svscan) = self.svscan.take() {
            svscan.end();
        }
        for dir in [&self.memory, &self.sealed, &self.home] {
            let _ = fs::remove_dir_all(dir);
        }
    }
}

/// The name of a profile by its number. Number 0 is `default`.
pub fn profile(number: usize) -> String {
    if number == 0 { "default".to_string() } else { format!("p{number:04}") }
}

/// The names of all tools.
pub fn tools() -> std::io::Result<Vec<String>> {
    let bins = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin"))?;
    let names = bins.flatten().filter_map(|e| e.file_name().to_string_lossy().strip_suffix(".rs").map(str::to_string));
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}
