//! The variables that a gateway inherits. The profile's `.env` overrides them, and they override `config.yaml`.

use super::managed::{self, Managed};
use super::project::Project;
use crate::ground::environment::Environment;
use crate::ground::error::{Error, Result};
use crate::ground::profile::Profile;
use std::cell::OnceCell;

/// The inherited variables.
#[derive(Debug)]
pub struct Inherited {
    environment: Environment,
    /// Was this environment made for one profile? Then no variable in it belongs to another profile.
    is_own: bool,
    /// The managed files. They are read once, when the first profile is asked for.
    managed: OnceCell<Result<Managed>>,
    /// The `.env` of Hermes Agent's own directory, read in the same way.
    project: OnceCell<Result<Project>>,
}

impl Inherited {
    /// The variables that every gateway of this container inherits.
    ///
    /// # Errors
    /// As `Environment::of_gateways`.
    pub fn here() -> Result<Inherited> {
        Ok(Inherited { is_own: false, ..Inherited::given(Environment::of_gateways()?) })
    }

    /// The environment of one gateway, as the gateway was started with it.
    pub fn given(environment: Environment) -> Inherited {
        Inherited { environment, is_own: true, managed: OnceCell::new(), project: OnceCell::new() }
    }

    /// The variables themselves, also those that belong to `default`.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The managed files. Call this with the account's rights.
    ///
    /// # Errors
    /// As `Managed::read`.
    pub fn managed(&self) -> Result<&Managed> {
        let named = || self.environment.var(managed::VARIABLE).map(|dir| dir.to_string_lossy().into_owned());
        self.managed.get_or_init(|| Managed::read(named())).as_ref().map_err(Error::clone)
    }

    /// The `.env` of Hermes Agent's own directory. Call this with the account's rights.
    ///
    /// # Errors
    /// As `Project::read`.
    pub fn project(&self) -> Result<&Project> {
        self.project.get_or_init(|| Project::read(&self.environment.path())).as_ref().map_err(Error::clone)
    }

    /// The value of this variable that the profile's gateway inherits. Bytes that are not UTF-8 are replaced. The
    /// container's `API_SERVER_*` and `WEBHOOK_*` belong to `default`, so other profiles do not inherit them (D5).
    pub fn get(&self, profile: &Profile, name: &str) -> Option<String> {
        let of_default = name.starts_with("API_SERVER_") || name.starts_with("WEBHOOK_");
        if of_default && !self.is_own && !profile.is_default() {
            return None;
        }
        self.environment.var(name).map(|value| value.to_string_lossy().into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn the_containers_api_server_is_inherited_by_default_only() {
        let environment =
            Environment::of([("API_SERVER_PORT", "8642"), ("BASE", "9000")].map(|(n, v)| (n.into(), v.into())));
        let default = Profile::default_profile();
        let coder = Profile::parse(OsStr::new("coder")).unwrap();
        let own = Inherited::given(environment.clone());
        let inherited = Inherited { is_own: false, ..Inherited::given(environment) };
        assert_eq!(inherited.get(&default, "API_SERVER_PORT").as_deref(), Some("8642"));
        assert_eq!(inherited.get(&coder, "API_SERVER_PORT"), None);
        assert_eq!(inherited.get(&coder, "BASE").as_deref(), Some("9000"));
        assert_eq!(own.get(&coder, "API_SERVER_PORT").as_deref(), Some("8642"));
    }
}
