//! The variables that a gateway inherits, below its own `.env` and above its `config.yaml`.

use crate::profile::Profile;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Where s6-overlay keeps the container's variables; hermes-run-gateway reads them there.
const CONTAINER: &str = "/run/s6/container_environment";

/// The longest value that is looked at, in bytes.
const LONGEST: u64 = 64 * 1024;

/// Where those variables come from.
#[derive(Debug)]
pub enum Inherited {
    /// A directory in the manner of `s6-dumpenv`.
    Directory(PathBuf),
    /// Our own process: where there is no s6-overlay, that is as near as one can get.
    Process,
    /// Exactly these.
    Given(HashMap<String, String>),
}

impl Inherited {
    /// What gateways inherit here: the container's environment.
    ///
    /// Inside a gateway (an agent that types our commands) the process's own variables are that gateway's, with its port
    /// among them; taken for the container's they would move other profiles' ports.
    pub fn here() -> Inherited {
        if Path::new(CONTAINER).is_dir() {
            return Inherited::Directory(PathBuf::from(CONTAINER));
        }
        match std::env::var_os("HERMES_S6_SUPERVISED_CHILD") {
            Some(_) => Inherited::Given(HashMap::new()),
            None => Inherited::Process,
        }
    }

    /// Exactly these: for hermes-run-gateway, which has put the gateway's environment together.
    pub fn given(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Inherited {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Inherited::Given(variables.into_iter().filter_map(text).collect())
    }

    /// The value that this profile's gateway inherits. The container's `API_SERVER_*` and `WEBHOOK_*` belong to
    /// `default`: hermes-run-gateway drops them for the others (D5).
    pub fn get(&self, profile: &Profile, name: &str) -> Option<String> {
        if let Inherited::Given(variables) = self {
            return variables.get(name).cloned();
        }
        let of_default = name.starts_with("API_SERVER_") || name.starts_with("WEBHOOK_");
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name || (of_default && !profile.is_default()) {
            return None;
        }
        match self {
            Inherited::Directory(dir) => {
                let mut value = String::new();
                let file = std::fs::File::open(dir.join(name)).ok()?;
                file.take(LONGEST).read_to_string(&mut value).ok()?;
                Some(value.trim_end_matches('\n').to_string())
            }
            _ => std::env::var(name).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn the_containers_api_server_is_inherited_by_default_only() {
        let dir = std::env::temp_dir().join(format!("hermes-s6-inherited-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("API_SERVER_PORT"), "8642\n").unwrap();
        std::fs::write(dir.join("BASE"), "9000").unwrap();
        let inherited = Inherited::Directory(dir.clone());
        let default = Profile::default_profile();
        let coder = Profile::parse(OsStr::new("coder")).unwrap();
        assert_eq!(inherited.get(&default, "API_SERVER_PORT").as_deref(), Some("8642"));
        assert_eq!(inherited.get(&coder, "API_SERVER_PORT"), None);
        assert_eq!(inherited.get(&coder, "BASE").as_deref(), Some("9000"));
        assert_eq!(inherited.get(&coder, "../BASE"), None);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
