//! The programs that are measured, and their paths.

use crate::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The paths of the programs.
pub struct Programs {
    /// The static executable that all tools are links to.
    pub tools: PathBuf,
    /// The executable of `benches/minimal.rs`, built with the same flags as the tools.
    pub minimal: PathBuf,
    /// A Python that has Hermes Agent, if there is one.
    pub python: Option<PathBuf>,
}

impl Programs {
    /// Let make build the programs as they are installed.
    pub fn build() -> Result<Programs> {
        // This program's own path is `target/release/deps/speed-...`.
        let own = std::env::current_exe().map_err(|e| e.to_string())?;
        let target = own.ancestors().nth(3).ok_or("this program is not where cargo puts it")?;
        let mut make = Command::new("make");
        make.args(["--no-print-directory", "bench-programs"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        let made = make.env("CARGO_TARGET_DIR", target).status().map_err(|e| format!("unable to run make: {e}"))?;
        if !made.success() {
            return Err(format!("make bench-programs: {made}"));
        }
        let python = python();
        match &python {
            Some(python) => println!("Hermes Agent's reconciler: {} -m hermes_cli.container_boot", python.display()),
            None => println!("Hermes Agent's reconciler: MISSING, and left out: scripts/hermes-venv installs it"),
        }
        Ok(Programs { tools: target.join("static/hermes-s6"), minimal: target.join("static/minimal"), python })
    }
}

/// The Python of the virtual environment that `scripts/hermes-venv` makes. The script itself is not run here, because
/// it may have to download Hermes Agent first.
fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/hermes-venv");
    let places =
        [std::env::var_os("HERMES_VENV").map(PathBuf::from), Some(own), Some("/var/cache/hermes-s6/venv".into())];
    places.into_iter().flatten().find(|venv| venv.join("bin/hermes").exists()).map(|venv| venv.join("bin/python"))
}
