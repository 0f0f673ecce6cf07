//! Which Hermes Agent is installed, and what its release means here. No other file knows releases.
//!
//! | since | what Hermes Agent does | what follows here |
//! |---|---|---|
//! | 0.15.0 | one gateway for each profile, all of them where `multiplex_profiles` is on | `Mode::Itself`, `Mode::All` |
//! | 0.20.0 | reads its state files with or without a byte order mark | so do we |
//! | 0.20.0 | `profiles/.deleted/NAME` says that a directory of this name is no profile | no slot |
//! | 0.21.4 | the gateway of `default` serves every profile whose `config.yaml` has no `gateway.standalone: true`, whatever `multiplex_profiles` says | `Mode::Others` |
//! | 0.21.4 | refuses the gateway of a named profile without `--force`, and `--replace` ends the gateway that serves a profile, whichever it is | `--force` in place of `--replace`: our own lock has decided who may run |
//! | 0.20.0 | its own `finish` takes exit code 0 for an intended stop | nothing: a SIGTERM in the first seconds ends with 0 as well, so three within 300 seconds hold a gateway, as before |

use crate::ground::environment::Environment;
use crate::ground::error::{Error, Result};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many entries of a directory are looked at.
const MOST: usize = 4096;

/// For how long an answer counts.
const FRESH: Duration = Duration::from_secs(1);

/// Where Hermes Agent's image has it. The `hermes` on the PATH may be a shim that executes this one.
const IMAGE: &str = "/opt/hermes/.venv/bin";

/// The installed Hermes Agent. If none is found, it counts as an old one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Its version, as its metadata has it.
    pub version: Option<String>,
}

impl Client {
    /// The client that the gateways of this container execute. A boot script and an agent have another PATH than the
    /// gateways. The answer counts for a second, because the account can make any number of files about which this is
    /// asked. Call this with the account's rights.
    ///
    /// # Errors
    /// 111 if the container's environment or a directory could not be looked at just now.
    pub fn here() -> Result<Client> {
        static LAST: Mutex<Option<(Instant, Client)>> = Mutex::new(None);
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(client.clone());
        }
        let client = Client::on(&Environment::of_gateways()?.path())?;
        *last = Some((Instant::now(), client.clone()));
        Ok(client)
    }

    /// The first `hermes` on this PATH, and then in the image, beside which Hermes Agent is installed, by the name of its
    /// metadata. The PATH may name directories in which the account can make links: call this with the account's rights.
    ///
    /// # Errors
    /// 111 if a directory could not be looked at just now.
    pub fn on(path: &OsStr) -> Result<Client> {
        for packages in packages(path)? {
            let versions = names(&packages)?.into_iter().filter_map(|name| {
                let version = name.strip_suffix(".dist-info")?.strip_prefix("hermes_agent-")?;
                version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_string())
            });
            let version = versions.max_by_key(|version| numbers(version));
            if version.is_some() {
                return Ok(Client { version });
            }
        }
        Ok(Client::default())
    }

    /// Does it read a state file that begins with a byte order mark?
    pub fn reads_byte_order_marks(&self) -> bool {
        self.is_since([0, 20, 0])
    }

    /// Does it mark the profiles that it has deleted?
    pub fn marks_the_deleted(&self) -> bool {
        self.is_since([0, 20, 0])
    }

    /// Does its gateway of `default` serve the other profiles as well?
    pub fn serves_others(&self) -> bool {
        self.is_since([0, 21, 4])
    }

    fn is_since(&self, release: [u64; 3]) -> bool {
        self.version.as_deref().is_some_and(|version| numbers(version) >= release)
    }
}

/// The first three numbers of a version.
fn numbers(version: &str) -> [u64; 3] {
    let mut parts = version.split('.').map(|part| {
        let digits = part.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        digits.parse().unwrap_or(0)
    });
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

/// The directories of Python packages beside each `hermes` on this PATH and in the image, in this order.
fn packages(path: &OsStr) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for dir in std::env::split_paths(path).chain([PathBuf::from(IMAGE)]) {
        let program = match dir.join("hermes").canonicalize() {
            Ok(program) => program,
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(Error::system("look for", dir.join("hermes").display(), error)),
        };
        let Some(lib) = program.parent().and_then(Path::parent).map(|prefix| prefix.join("lib")) else { continue };
        let pythons = names(&lib)?.into_iter().filter(|name| name.starts_with("python"));
        found.extend(pythons.map(|python| lib.join(python).join("site-packages")));
    }
    Ok(found)
}

/// The directory that has the code of the first `hermes` on this PATH: the one of its packages, or the source tree in
/// which its virtual environment lies. Call this with the account's rights.
///
/// # Errors
/// 111 if a directory could not be looked at just now.
pub fn code(path: &OsStr) -> Result<Option<PathBuf>> {
    let of = |packages: PathBuf| {
        let source = packages.ancestors().nth(4).map(Path::to_path_buf);
        [Some(packages), source].into_iter().flatten().find(|dir| dir.join("hermes_cli").is_dir())
    };
    Ok(packages(path)?.into_iter().find_map(of))
}

/// The names in a directory, in their order. There are none if it does not exist.
fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(Error::system("read", dir.display(), error)),
    };
    let mut names = Vec::new();
    for entry in entries.take(MOST) {
        let entry = entry.map_err(|error| Error::system("read", dir.display(), error))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Is there nothing that this account could execute or read? An exec passes over such a directory of the PATH as well.
fn is_absent(error: &std::io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::ACCESS, Errno::NAMETOOLONG];
    Errno::from_io_error(error).is_some_and(|errno| gone.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::Client;

    #[test]
    fn a_release_means_what_the_table_says() {
        for (version, marks, serves) in [
            (None, false, false),
            (Some("0.9.30"), false, false),
            (Some("0.19.0"), false, false),
            (Some("0.20.0"), true, false),
            (Some("0.21.3"), true, false),
            (Some("0.21.4"), true, true),
            (Some("0.21.10rc1"), true, true),
            (Some("0.22"), true, true),
            (Some("1.0.dev3+gabc"), true, true),
        ] {
            let client = Client { version: version.map(str::to_string) };
            let said = (client.marks_the_deleted(), client.reads_byte_order_marks(), client.serves_others());
            assert_eq!(said, (marks, marks, serves), "{version:?}");
        }
    }
}
