//! The template: a plain s6 service directory, of which every slot is a copy made of links (docs/DESIGN.md, A slot).

use crate::ground::error::{Error, Kind, Result, cause_text};
use crate::ground::parameter;
use crate::ground::trusted::{self, Rule};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Where `make install` puts the template, seen from the directory above that of the executable.
const INSTALLED: &str = "lib/hermes-s6/gateway";

/// The link in a slot that leads to the slot's home.
pub const HOME: &str = "home";

/// Entries of a template that are ignored: a slot and its logger have their own.
const OWN: [&str; 5] = ["supervise", "event", "down", "env", HOME];
const OWN_OF_LOGGER: [&str; 2] = ["supervise", "event"];

/// A template that was checked: a slot made of it can be supervised.
#[derive(Debug)]
pub struct Template {
    /// The absolute path.
    pub path: PathBuf,
    /// The directories, as relative paths, parents first.
    pub dirs: Vec<String>,
    /// The files, as relative paths, each with its absolute path.
    pub files: BTreeMap<String, PathBuf>,
}

impl Template {
    /// Load the template of `-T`, else of `$HERMES_SLOT_TEMPLATE`, else the installed one.
    ///
    /// # Errors
    /// 100 if the template cannot be supervised, or, if the caller is root, if others than root could change what root
    /// would run. 111 if the template cannot be looked at just now.
    pub fn load(option: Option<&OsStr>) -> Result<Template> {
        let path = match parameter::given(option, "HERMES_SLOT_TEMPLATE") {
            Some(path) => path,
            None => installed()?,
        };
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

    /// Does the template have a logger? This is its shape, which a running slot cannot change: s6-svscan looks for a
    /// logger only when it first sees a slot.
    pub fn has_logger(&self) -> bool {
        self.dirs.iter().any(|d| d == "log")
    }

    fn walk(&mut self, below: &str) -> Result<()> {
        let dir = self.path.join(below);
        for entry in std::fs::read_dir(&dir).map_err(|e| failed(&dir, e))? {
            let entry = entry.map_err(|e| failed(&dir, e))?;
            let path = entry.path();
            let Some(name) = entry.file_name().to_str().map(str::to_string) else {
                return Err(refused(&path, "its name is not UTF-8"));
            };
            let own = match below {
                "" => OWN.contains(&name.as_str()),
                "log" => OWN_OF_LOGGER.contains(&name.as_str()),
                _ => false,
            };
            if own || name.starts_with('.') {
                continue;
            }
            let relative = if below.is_empty() { name } else { format!("{below}/{name}") };
            if geteuid().is_root() {
                // A link in the template may lead to any path. Other users must not be able to change that path,
                // because root runs what is there.
                require_root_only(&path)?;
            }
            // A link to a directory counts as a file, because the directories of a slot must be real.
            if entry.file_type().map_err(|e| failed(&path, e))?.is_dir() {
                self.walk(&relative)?;
                self.dirs.push(relative);
            } else {
                self.files.insert(relative, path);
            }
        }
        Ok(())
    }
}

/// The template that was installed with this executable. It is looked for beside the executable, so one build serves
/// every prefix. The kernel tells the executable's own path, with all links resolved.
fn installed() -> Result<PathBuf> {
    let executable = std::env::current_exe().map_err(|e| Error::system("find", "the path of this executable", e))?;
    let prefix = executable.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    Ok(prefix.join(INSTALLED))
}

/// The error of a template that could not be read. Only if it cannot be looked at just now may trying again work (111).
fn failed(path: &Path, e: std::io::Error) -> Error {
    match Errno::from_io_error(&e) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::NAMETOOLONG) => {
            refused(path, &cause_text(&e))
        }
        _ => Error::system("read template", path.display(), e),
    }
}

fn refused(path: &Path, why: &str) -> Error {
    Error::new(Kind::Usage, format!("unable to use template {}: {why}", path.display()))
}

fn require_root_only(path: &Path) -> Result<()> {
    let found = trusted::follow(path, Rule::RootOnly);
    found.map(drop).map_err(|wrong| match wrong.path == path {
        _ if wrong.unknown => Error::new(Kind::System, format!("unable to check template {wrong}")),
        true => refused(path, &wrong.why),
        false => refused(path, &wrong.to_string()),
    })
}

fn require_executable(run: &Path) -> Result<()> {
    let meta = std::fs::metadata(run).map_err(|e| failed(run, e))?;
    if !meta.is_file() {
        return Err(refused(run, "not a regular file"));
    }
    if meta.permissions().mode() & 0o111 == 0 {
        return Err(refused(run, "not executable"));
    }
    Ok(())
}
