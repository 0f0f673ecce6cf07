//! The managed files, by which an administrator sets values for all profiles (`hermes_cli/managed_scope.py`). Their
//! `.env` overrides every other variable, and their `config.yaml` every value of the profile's own at the same path.

use super::config_yaml::ConfigYaml;
use super::dotenv::Dotenv;
use super::{Fault, LIMIT, UNCLEAR};
use crate::ground::beneath::Content;
use crate::ground::error::{Error, Result};
use crate::ground::roots_links;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The directory of the managed files, unless the variable names another one.
const DIRECTORY: &str = "/etc/hermes";
/// The variable that names another directory.
pub const VARIABLE: &str = "HERMES_MANAGED_DIR";

/// The names of the files in messages, also where the variable names another directory.
pub const DOTENV: &str = "/etc/hermes/.env";
const CONFIG: &str = "/etc/hermes/config.yaml";

/// The values in the managed files.
#[derive(Clone, Debug, Default)]
pub struct Managed {
    pub env: Dotenv,
    /// `None` if there is no such file, or Hermes Agent cannot use it.
    pub config: Option<ConfigYaml>,
    pub faults: Vec<Fault>,
}

impl Managed {
    /// Read the files in the directory that the variable names. Call this with the account's rights.
    ///
    /// # Errors
    /// 111 if the directory or a file could not be looked at just now.
    pub fn read(variable: Option<String>) -> Result<Managed> {
        let named = variable.map(|name| name.trim().to_string()).filter(|name| !name.is_empty());
        let path = named.unwrap_or_else(|| DIRECTORY.to_string());
        let mut managed = Managed::default();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(managed),
            Err(errno) => return Err(Error::system("open", path, errno)),
        };
        let mut file = |name: &str, shown: &'static str| match roots_links::read(&dir, name, LIMIT) {
            Ok(Content::Bytes(bytes)) => Ok(Some(bytes)),
            Ok(Content::Absent) => Ok(None),
            Ok(Content::Unfit(why)) => {
                managed.faults.push(Fault::unclear(shown, format!("not read: {why}")));
                Ok(None)
            }
            Err(errno) => Err(Error::system("read", format!("{path}/{name}"), errno)),
        };
        let (env, config) = (file(".env", DOTENV)?, file("config.yaml", CONFIG)?);
        if let Some(bytes) = env {
            // A variable of another file may be put in here, which is not done for all profiles.
            let is_own = !bytes.windows(2).any(|two| two == b"${");
            match Dotenv::parse(&bytes, &|_| None) {
                Ok(parsed) if is_own => managed.env = parsed,
                _ => managed.faults.push(Fault::unclear(DOTENV, UNCLEAR.to_string())),
            }
        }
        managed.config = config.and_then(|bytes| ConfigYaml::parse(std::str::from_utf8(&bytes).ok()?).ok());
        Ok(managed)
    }
}
