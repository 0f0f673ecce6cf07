//! The settings in a profile's own files: `.env`, `config.yaml` and the legacy `gateway.json`. They are read as Hermes
//! Agent reads them (`gateway/config.py`): `.env` overrides the inherited variables, these override `config.yaml`, and
//! that overrides `gateway.json`.
//!
//! Reading has three results, which are kept apart. The files were understood; perhaps they set nothing. Or a file was
//! looked at and cannot be used, which is a `Fault`. Or a file could not be looked at just now, which is an error.
//!
//! Odd files that people do not write need not be read exactly as Hermes Agent reads them. hermes-run-gateway passes
//! the port that was found here to the gateway in `API_SERVER_PORT`, so a difference only changes the number of that
//! port.

mod config_yaml;
mod dotenv;
mod inherited;
mod python;
mod scalar;
mod yaml;

pub use inherited::Inherited;

use crate::ground::beneath::Content;
use crate::ground::environment::{boolean, is_truthy};
use crate::ground::error::{Error, Kind, Result};
use crate::ground::profile::Profile;
use crate::ground::roots_links;
use crate::volume::home::Home;
use config_yaml::{ApiServer, ConfigYaml};
use dotenv::Dotenv;
use python::Unclear;
use std::os::fd::AsFd;

/// The names of the three files.
const DOTENV: &str = ".env";
const CONFIG: &str = "config.yaml";
const LEGACY: &str = "gateway.json";

/// The most characters of a fault's text.
const LONGEST_FAULT: usize = 300;

/// The largest file that is read, in bytes.
const LIMIT: usize = 256 << 10;

/// The port of Hermes Agent's API server if no port is set, or if the setting is not a number.
pub const FALLBACK_PORT: u16 = 8642;

/// The text of a fault: Hermes Agent may understand a value that is not understood here.
const UNCLEAR: &str = "is written in a way that is not read here";

/// The settings in the files of one profile.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Does the gateway open its API server?
    pub api_server: bool,
    /// The pin, which is the port that the user chose for the API server. `None` while the API server is off (E3).
    pub pin: Option<Pin>,
    /// The faults of the files.
    pub faults: Vec<Fault>,
}

/// A pinned port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The port.
    pub port: u16,
    /// The name of the file that pins the port. `None` means the container's environment.
    pub file: Option<&'static str>,
}

/// A fault in one of the files. Its text is made for a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The name of the file. `None` means the container's environment.
    pub file: Option<&'static str>,
    /// May Hermes Agent understand something in the file that is not understood here? Then nothing of the file is used
    /// here, and Hermes Agent's own reading of it holds. If not, Hermes Agent cannot use the faulty part either.
    pub is_unclear: bool,
    /// Was the file not read at all although Hermes Agent may read it, because it is a link or too large?
    pub is_unread: bool,
    /// The text.
    pub text: String,
}

impl Settings {
    /// Was every file understood? If not, Hermes Agent may find another port in the files than the one that was found
    /// here.
    pub fn is_understood(&self) -> bool {
        !self.faults.iter().any(|fault| fault.is_unclear || fault.is_unread)
    }

    /// Read the files of this profile beneath the open home. Call this with the account's rights.
    ///
    /// # Errors
    /// 111 if a file could not be looked at just now.
    pub fn read(home: impl AsFd, profile: &Profile, inherited: &Inherited) -> Result<Settings> {
        let mut files = Files { home: home.as_fd(), profile, faults: Vec::new() };
        let env = files.dotenv(inherited, "API_SERVER_")?;
        let variable = |name: &str| match env.get(name) {
            Some(value) => Some((value.to_string(), Some(DOTENV))),
            None => inherited.get(profile, name).map(|value| (value, None)),
        };
        let set = |name: &str| variable(name).map(|(value, _)| value).unwrap_or_default();
        let by_variable = is_truthy(&set("API_SERVER_ENABLED")) || !set("API_SERVER_KEY").is_empty();
        let in_env = variable("API_SERVER_PORT").map(|(value, file)| (python::int(&value), file));
        // Hermes Agent uses the port of the environment only if a variable also enables the API server.
        if let (true, Some((port @ Some(_), file))) = (by_variable, in_env) {
            let pin = files.pin(port, file);
            return Ok(Settings { api_server: true, pin, faults: files.faults });
        }
        let legacy = files.legacy()?;
        let config = files.config("api_server")?.unwrap_or_default().over(&legacy);
        let config = config.api_server().unwrap_or_else(|Unclear| {
            let file = if legacy.api_server().is_err() { LEGACY } else { CONFIG };
            files.fault(Some(file), true, format!("api_server {UNCLEAR}: pin the port in {DOTENV}"));
            ApiServer::default()
        });
        let api_server = by_variable || config.enabled;
        let pin = match (config.extra_port, in_env, config.port) {
            _ if !api_server => None,
            (Some(port), _, _) => files.pin(Some(port), Some(CONFIG)),
            // An inherited port that is not a number does no harm, because hermes-run-gateway replaces it by the
            // allocated port.
            (None, Some((None, None)) | None, port) => port.and_then(|port| files.pin(Some(port), Some(CONFIG))),
            (None, Some((port, file)), _) => files.pin(port, file),
        };
        Ok(Settings { api_server, pin, faults: files.faults })
    }
}

/// What Hermes Agent complains of in the files of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaints {
    /// Why Hermes Agent cannot read `config.yaml`. It then ignores all of it.
    pub config: Option<String>,
    /// Has the `API_SERVER_KEY` in `.env` so few characters that Hermes Agent does not start its API server?
    pub short_key: bool,
}

/// The fewest characters of a key with which Hermes Agent starts its API server
/// (`gateway/platforms/api_server.py`, `_api_key_passes_startup_guard`).
pub const SHORTEST_KEY: usize = 16;

impl Complaints {
    /// Read the files of this profile beneath the open home. Call this with the account's rights.
    ///
    /// # Errors
    /// 111 if a file could not be looked at just now.
    pub fn read(home: impl AsFd, profile: &Profile, inherited: &Inherited) -> Result<Complaints> {
        let mut files = Files { home, profile, faults: Vec::new() };
        files.config("")?;
        let config = files.faults.drain(..).find(|fault| fault.file == Some(CONFIG)).map(|fault| fault.text);
        let env = files.dotenv(inherited, "API_SERVER_KEY")?;
        let key = env.get("API_SERVER_KEY").map(|key| key.trim().chars().count());
        Ok(Complaints { config, short_key: key.is_some_and(|length| (1..SHORTEST_KEY).contains(&length)) })
    }
}

/// The files of a profile, and the faults that were found in them so far.
struct Files<'a, H> {
    home: H,
    profile: &'a Profile,
    faults: Vec<Fault>,
}

impl<H: AsFd> Files<'_, H> {
    /// The variables in `.env`. There are none if `word` does not occur in the file.
    fn dotenv(&mut self, inherited: &Inherited, word: &str) -> Result<Dotenv> {
        let Some(bytes) = self.file(DOTENV, word)? else { return Ok(Dotenv::default()) };
        Ok(Dotenv::parse(&bytes, &|name| inherited.get(self.profile, name)).unwrap_or_else(|Unclear| {
            let text = "not read: Hermes Agent mends it first, or it grows too large";
            self.fault(Some(DOTENV), true, text.to_string());
            Dotenv::default()
        }))
    }

    /// The settings in `config.yaml`. `None` if the file does not exist, if Hermes Agent cannot use it, or if `word`
    /// does not occur in it.
    fn config(&mut self, word: &str) -> Result<Option<ConfigYaml>> {
        let Some(bytes) = self.file(CONFIG, word)? else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).map_err(|_| "not UTF-8".to_string());
        let ignored = |why: String| self.fault(Some(CONFIG), false, format!("ignored, as Hermes Agent will: {why}"));
        Ok(text.and_then(ConfigYaml::parse).map_err(ignored).ok())
    }

    /// The settings in the legacy `gateway.json`.
    fn legacy(&mut self) -> Result<ConfigYaml> {
        let bytes = self.file(LEGACY, "")?;
        Ok(bytes.map_or_else(ConfigYaml::default, |bytes| ConfigYaml::of_json(&bytes)))
    }

    /// The bytes of a file. `None` if the file does not exist, or `word` does not occur in it. Most files do not have
    /// the word, and need not be parsed.
    fn file(&mut self, file: &'static str, word: &str) -> Result<Option<Vec<u8>>> {
        let path = format!("{}/{file}", self.profile.path());
        match roots_links::read(&self.home, &path, LIMIT).map_err(|e| Error::system("read", &path, e))? {
            Content::Absent => Ok(None),
            // UTF-16 text has NULs between its letters, so the word cannot be found in it.
            Content::Bytes(bytes) => {
                let is_of_use = bytes.contains(&0) || String::from_utf8_lossy(&bytes).contains(word);
                Ok(is_of_use.then_some(bytes))
            }
            Content::Unfit(why) => {
                // Hermes Agent cannot read a directory either, so it finds nothing there that is not found here.
                let is_unread = why != "a directory";
                let text = format!("not read: {why}");
                self.faults.push(Fault { file: Some(file), is_unclear: false, is_unread, text });
                Ok(None)
            }
        }
    }

    /// The pin that a number in this file makes. If the setting is not a number (`None`), Hermes Agent uses its own
    /// default port.
    fn pin(&mut self, number: Option<i64>, file: Option<&'static str>) -> Option<Pin> {
        let Some(number) = number else {
            let text = format!("the API server's port is no number, so Hermes Agent takes {FALLBACK_PORT}");
            self.fault(file, false, text);
            return Some(Pin { port: FALLBACK_PORT, file });
        };
        let port = u16::try_from(number).ok().filter(|port| *port != 0);
        if port.is_none() {
            self.fault(file, false, format!("there is no port {number}"));
        }
        port.map(|port| Pin { port, file })
    }

    /// Keep a fault, with its text cut to the limit. A parser may quote nearly the whole file, and a pass keeps the
    /// faults of thousands of profiles, so the text is cut here and not when it is printed.
    fn fault(&mut self, file: Option<&'static str>, is_unclear: bool, text: String) {
        let text = text.chars().take(LONGEST_FAULT).collect();
        self.faults.push(Fault { file, is_unclear, is_unread: false, text });
    }
}

/// Does the gateway of `default` serve all profiles? `GATEWAY_MULTIPLEX_PROFILES` in the environment of that gateway
/// decides: first in its `.env`, then in the inherited variables. If it is not set, `config.yaml` of the home decides
/// (I1).
///
/// # Errors
/// 111 if a file could not be looked at just now, or Hermes Agent may understand something in it that is not understood
/// here.
pub fn multiplex(home: &Home) -> Result<bool> {
    const SWITCH: &str = "GATEWAY_MULTIPLEX_PROFILES";
    let profile = Profile::default_profile();
    let inherited = Inherited::here()?;
    let unclear = |file: &str| {
        let text = format!("{} {UNCLEAR}", home.shown(&profile, file));
        Error::new(Kind::System, format!("unable to tell the mode: {text}: set {SWITCH} to true or false in {DOTENV}"))
    };
    home.act(|dir| {
        let mut files = Files { home: dir, profile: &profile, faults: Vec::new() };
        let env = files.dotenv(&inherited, SWITCH)?;
        if files.faults.iter().any(|fault| fault.is_unclear) {
            return Err(unclear(DOTENV));
        }
        let value = env.get(SWITCH).map(str::to_string).or_else(|| inherited.get(&profile, SWITCH));
        // A blank or unknown value counts as not set, so it must not override the file.
        match value.as_deref().and_then(boolean) {
            Some(said) => Ok(said),
            None => {
                let legacy = files.legacy()?;
                let config = files.config("multiplex_profiles")?.unwrap_or_default().over(&legacy);
                config.multiplex().map_err(|_| unclear(if legacy.multiplex().is_err() { LEGACY } else { CONFIG }))
            }
        }
    })
}
