//! What a profile's own files say about its gateway: `.env` and `config.yaml`, read as Hermes Agent reads them
//! (`gateway/config.py`): `.env` overrides what is inherited, and that overrides `config.yaml`.

mod config_yaml;
mod dotenv;
mod inherited;
mod python;
mod scalar;
mod yaml;

pub use inherited::Inherited;
pub use python::truthy as is_truthy;

use crate::beneath::{self, Content};
use crate::home::Home;
use crate::profile::Profile;
use config_yaml::ConfigYaml;
use dotenv::Dotenv;
use std::os::fd::AsFd;

/// The two files.
const DOTENV: &str = ".env";
const CONFIG: &str = "config.yaml";

/// The largest file of either kind that is read, in bytes.
const LIMIT: usize = 256 << 10;

/// Where Hermes Agent's API server listens if it cannot read the port that it is given.
const FALLBACK_PORT: i64 = 8642;

/// What the files of one profile say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Will the gateway open its API server?
    pub api_server: bool,
    /// The port that it will then listen on because its user said so: a pin. `None` while the API server is off (E3).
    pub pin: Option<Pin>,
    /// What is wrong with the files.
    pub faults: Vec<Fault>,
}

/// A pinned port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The port.
    pub port: u16,
    /// The file in the profile that pins it; `None` is the container's environment.
    pub file: Option<&'static str>,
}

/// Something wrong in one of the files, in words for a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file's name in the profile.
    pub file: &'static str,
    /// What is wrong.
    pub text: String,
}

impl Settings {
    /// Read the files of this profile beneath the open home. Call it with the account's rights.
    pub fn read(home: impl AsFd, profile: &Profile, inherited: &Inherited) -> Settings {
        let mut settings = Settings::default();
        let home = home.as_fd();
        let env = settings.file(home, profile, DOTENV, "API_SERVER_").unwrap_or_default();
        let env = Dotenv::parse(&env, &|name| inherited.get(profile, name));
        let config = settings.config(home, profile, "api_server");

        let variable = |name: &str| match env.get(name) {
            Some(value) => Some((value.to_string(), Some(DOTENV))),
            None => inherited.get(profile, name).map(|value| (value, None)),
        };
        let set = |name: &str| variable(name).map(|(value, _)| value).unwrap_or_default();
        let by_variable = python::truthy(&set("API_SERVER_ENABLED")) || !set("API_SERVER_KEY").is_empty();
        settings.api_server = by_variable || config.api_server;
        if !settings.api_server {
            return settings;
        }
        let in_env = variable("API_SERVER_PORT").map(|(value, file)| (python::int(&value), file));
        settings.pin = match (in_env, config.extra_port) {
            // The variables reach the configuration only where they enable the server.
            (Some((Some(port), file)), _) if by_variable => settings.checked(port, file),
            (_, Some(port)) => settings.port_or_fallback(port, CONFIG),
            (Some((port, Some(file))), None) => settings.port_or_fallback(port, file),
            // Inherited rubbish does no harm: hermes-run-gateway puts the allocated port in its place.
            (Some((Some(port), None)), None) => settings.checked(port, None),
            (Some((None, None)) | None, None) => config.port.and_then(|port| match port {
                Some(port) => settings.checked(port, Some(CONFIG)),
                None => settings.fault(CONFIG, "the port is no number".to_string()),
            }),
        };
        settings
    }

    /// A pin, if it is a port at all.
    fn checked(&mut self, port: i64, file: Option<&'static str>) -> Option<Pin> {
        match u16::try_from(port) {
            Ok(port) if port != 0 => Some(Pin { port, file }),
            _ => self.fault(file.unwrap_or("the container's environment"), format!("there is no port {port}")),
        }
    }

    /// Hermes Agent takes its own default where it cannot read a port that it was given, so that is what is pinned.
    fn port_or_fallback(&mut self, port: Option<i64>, file: &'static str) -> Option<Pin> {
        if port.is_none() {
            let text = format!("the API server's port is no number, so Hermes Agent takes {FALLBACK_PORT}");
            let _: Option<Pin> = self.fault(file, text);
        }
        self.checked(port.unwrap_or(FALLBACK_PORT), Some(file))
    }

    fn fault<T>(&mut self, file: &'static str, text: String) -> Option<T> {
        self.faults.push(Fault { file, text });
        None
    }

    /// The bytes of a file in the profile, if it mentions `word` at all: most do not, and are not parsed.
    fn file(&mut self, home: impl AsFd, profile: &Profile, file: &'static str, word: &str) -> Option<Vec<u8>> {
        match beneath::read(home, &format!("{}/{file}", profile.path()), LIMIT) {
            Content::Absent => None,
            Content::Bytes(bytes) => String::from_utf8_lossy(&bytes).contains(word).then_some(bytes),
            Content::Unfit(why) => self.fault(file, format!("not read: {why}")),
        }
    }

    fn config(&mut self, home: impl AsFd, profile: &Profile, word: &str) -> ConfigYaml {
        let Some(bytes) = self.file(home, profile, CONFIG, word) else { return ConfigYaml::default() };
        let parsed = match std::str::from_utf8(&bytes) {
            Ok(text) => ConfigYaml::parse(text),
            Err(_) => Err("not UTF-8".to_string()),
        };
        parsed.unwrap_or_else(|why| {
            let _: Option<()> = self.fault(CONFIG, format!("ignored, as Hermes Agent will: {why}"));
            ConfigYaml::default()
        })
    }
}

/// Does one gateway, `default`'s, serve all profiles? `GATEWAY_MULTIPLEX_PROFILES` in the environment of that gateway (its
/// `.env`, then what it inherits), else `config.yaml` of the home (I1).
pub fn multiplex(home: &Home) -> bool {
    const SWITCH: &str = "GATEWAY_MULTIPLEX_PROFILES";
    let default = Profile::default_profile();
    let inherited = Inherited::here();
    let mut settings = Settings::default();
    let read = home.act(|home| {
        let env = settings.file(home, &default, DOTENV, SWITCH).unwrap_or_default();
        let env = Dotenv::parse(&env, &|name| inherited.get(&default, name));
        let value = (env.get(SWITCH).map(str::to_string))
            .or_else(|| std::env::var(SWITCH).ok())
            .or_else(|| inherited.get(&default, SWITCH));
        // Blank or unknown is as good as unset: it must not shadow the file.
        Ok(match value.as_deref().and_then(python::boolean) {
            Some(said) => said,
            None => settings.config(home, &default, "multiplex_profiles").multiplex,
        })
    });
    read.unwrap_or(false)
}
