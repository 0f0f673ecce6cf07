//! The template: a plain s6 service directory that every slot is an instance of (DESIGN, section 4).

use crate::exit::{Error, Exit, Result};
use crate::trusted::{self, Rule};
use rustix::process::geteuid;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Where `make install` puts it.
const INSTALLED: &str = "/usr/local/lib/hermes-s6/gateway";

/// What a slot has of its own, whatever the template holds.
const OWN: [&str; 4] = ["supervise", "event", "down", "env"];

/// A template, looked over: a slot made of it can be supervised.
#[derive(Debug)]
pub struct Template {
    /// Its path, absolute.
    pub path: PathBuf,
    /// Its directories, relative, parents first.
    pub dirs: Vec<String>,
    /// Its files, relative, and where they are.
    pub files: BTreeMap<String, PathBuf>,
}

impl Template {
    /// The template of `-T`, else `$HERMES_SLOT_TEMPLATE`, else the installed one.
    ///
    /// # Errors
    /// 100 if it cannot be supervised, or, for root, if somebody else could change what root would run.
    pub fn load(option: Option<&OsStr>) -> Result<Template> {
        let path = crate::cli::choose(option, "HERMES_SLOT_TEMPLATE", INSTALLED);
        let mut template = Template { path: path.clone(), dirs: Vec::new(), files: BTreeMap::new() };
        if geteuid().is_root() {
            require_root_only(&path)?;
        }
        template.walk("")?;
        template.dirs.sort();
        for run in ["run", "log/run"] {
            if run == "run" || template.has_logger() {
                require_executable(&path.join(run))?;
            }
        }
        Ok(template)
    }

    /// Does it have a logger? That is its shape: s6-svscan looks at it only when it first sees a slot.
    pub fn has_logger(&self) -> bool {
        self.dirs.iter().any(|d| d == "log")
    }

    fn walk(&mut self, below: &str) -> Result<()> {
        let dir = self.path.join(below);
        for entry in std::fs::read_dir(&dir).map_err(|e| refused(&dir, &cause(&e)))? {
            let entry = entry.map_err(|e| refused(&dir, &cause(&e)))?;
            let path = entry.path();
            let Some(name) = entry.file_name().to_str().map(str::to_string) else {
                return Err(refused(&path, "its name is not UTF-8"));
            };
            if OWN.contains(&name.as_str()) || name.starts_with('.') {
                continue;
            }
            let relative = if below.is_empty() { name } else { format!("{below}/{name}") };
            if geteuid().is_root() {
                // Whoever may write on the way to what a link leads to decides what it leads to.
                require_root_only(&path)?;
            }
            // A link to a directory is a file here: a slot's own directories must be real.
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                self.walk(&relative)?;
                self.dirs.push(relative);
            } else {
                self.files.insert(relative, path);
            }
        }
        Ok(())
    }
}

fn cause(e: &std::io::Error) -> String {
    crate::exit::cause_text(e)
}

fn refused(path: &Path, why: &str) -> Error {
    Error::new(Exit::Usage, format!("unable to use template {}: {why}", path.display()))
}

fn require_root_only(path: &Path) -> Result<()> {
    let found = trusted::follow(path, Rule::RootOnly);
    found.map(drop).map_err(|wrong| match wrong.path == path {
        true => refused(path, &wrong.why),
        false => refused(path, &wrong.to_string()),
    })
}

fn require_executable(run: &Path) -> Result<()> {
    let meta = std::fs::metadata(run).map_err(|e| refused(run, &cause(&e)))?;
    if !meta.is_file() {
        return Err(refused(run, "not a regular file"));
    }
    if meta.permissions().mode() & 0o111 == 0 {
        return Err(refused(run, "not executable"));
    }
    Ok(())
}
