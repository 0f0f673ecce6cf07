//! The settings in a profile's own files: `.env`, `config.yaml` and the legacy `gateway.json`. They are read as Hermes
//! Agent reads them (`hermes_cli/env_loader.py`, `gateway/config.py`): `.env` overrides the inherited variables, these
//! override the variables that are keys at the top of `config.yaml`, then comes the rest of `config.yaml`, and that
//! overrides `gateway.json`. The managed files override all of them. The `.env` in the directory of Hermes Agent's own code
//! comes behind the inherited variables, and before them if the profile has no `.env`.
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
mod managed;
mod project;
mod python;
mod scalar;
mod yaml;

pub use inherited::Inherited;

use crate::ground::beneath::{self, Content};
use crate::ground::environment::{boolean, is_truthy};
use crate::ground::error::{Error, Kind, Result};
use crate::ground::profile::Profile;
use crate::ground::roots_links;
use crate::volume::home::Home;
use config_yaml::{ApiServer, ConfigYaml};
use dotenv::Dotenv;
use managed::Managed;
use project::Project;
use python::Unclear;
use rustix::fs::Mode;
use std::os::fd::AsFd;

/// The names of the files.
const DOTENV: &str = ".env";
/// A file for the token of a secret store. Hermes Agent also takes any other variable from it that is not set.
const OP_ENV: &str = ".op.env";
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

impl Fault {
    /// A fault in a file in which Hermes Agent may understand something that is not understood here.
    fn unclear(file: &'static str, text: String) -> Fault {
        Fault { file: Some(file), is_unclear: true, is_unread: false, text }
    }
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
        let managed = inherited.managed()?;
        let env = files.variables(inherited, managed, &["API_SERVER_"])?;
        let variable = |name: &str| env.get(profile, name);
        if let Some(pin) = files.decided(&NAMES.map(variable)) {
            return Ok(Settings { api_server: true, pin, faults: files.faults });
        }
        let legacy = files.legacy()?;
        let own = files.config(managed, &["api_server", "API_SERVER_"])?;
        let config = own.unwrap_or_default().over(&legacy);
        let mut unclear = None;
        let variables = NAMES.map(|name| match (variable(name), config.variable(name)) {
            (Some(set), _) => Some(set),
            (None, Ok(value)) => value.map(|value| (value, Some(CONFIG))),
            (None, Err(Unclear)) => {
                unclear.get_or_insert(name);
                None
            }
        });
        if let Some(name) = unclear {
            files.fault(Some(CONFIG), true, format!("{name} {UNCLEAR}: set it in {DOTENV}"));
        }
        if let Some(pin) = files.decided(&variables) {
            return Ok(Settings { api_server: true, pin, faults: files.faults });
        }
        let by_variable = enables(&variables);
        let in_env = variables[2].as_ref().map(|(value, file)| (python::int(value), *file));
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

/// The variables of the API server: the switch, the key, and the port.
const NAMES: [&str; 3] = ["API_SERVER_ENABLED", "API_SERVER_KEY", PORT];
const PORT: &str = "API_SERVER_PORT";

/// Does one of `words` occur in this text? UTF-16 text has NULs between its letters, so words cannot be found in it.
fn has_any(bytes: &[u8], words: &[&str]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    bytes.contains(&0) || words.iter().any(|word| text.contains(word))
}

/// The value of a variable, and the file that sets it; `None` for the container's environment.
type Set = (String, Option<&'static str>);

/// Do these variables, in the order of `NAMES`, enable the API server?
fn enables([enabled, key, _]: &[Option<Set>; 3]) -> bool {
    let is_on = |set: &Option<Set>, test: fn(&str) -> bool| set.as_ref().is_some_and(|(value, _)| test(value));
    is_on(enabled, is_truthy) || is_on(key, |key| !key.is_empty())
}

/// The variables of a profile's gateway, but for those in `config.yaml`.
struct Variables<'a> {
    managed: &'a Dotenv,
    own: Dotenv,
    /// Does the profile have a `.env`?
    has_own: bool,
    project: &'a Project,
    inherited: &'a Inherited,
}

impl Variables<'_> {
    fn get(&self, profile: &Profile, name: &str) -> Option<Set> {
        let managed = self.managed.get(name).map(|value| (value.to_string(), Some(managed::DOTENV)));
        let own = || self.own.get(name).map(|value| (value.to_string(), Some(DOTENV)));
        let project = || self.project.env.get(name).map(|value| (value.to_string(), Some(self.project.file)));
        let inherited = || self.inherited.get(profile, name).map(|value| (value, None));
        let set = managed.or_else(own);
        match self.has_own {
            false => set.or_else(project).or_else(inherited),
            // hermes-run-gateway always hands a port over, and then this file does not change it.
            true if name == PORT => set.or_else(inherited),
            true => set.or_else(inherited).or_else(project),
        }
    }
}

/// What Hermes Agent complains of in the files of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaints {
    /// Why Hermes Agent cannot read `config.yaml`. It then ignores all of it.
    pub config: Option<String>,
    /// The first line of `.env` that Hermes Agent cannot read. It then passes over that line.
    pub env_line: Option<usize>,
    /// Has the `API_SERVER_KEY` in `.env` so few characters that Hermes Agent does not start its API server?
    pub short_key: bool,
}

/// The fewest characters of a key with which Hermes Agent starts its API server
/// (`gateway/platforms/api_server.py`, `_api_key_passes_startup_guard`).
const SHORTEST_KEY: usize = 16;

impl Complaints {
    /// Read the files of this profile beneath the open home. Call this with the account's rights.
    ///
    /// # Errors
    /// 111 if a file could not be looked at just now.
    pub fn read(home: impl AsFd, profile: &Profile, inherited: &Inherited) -> Result<Complaints> {
        let mut files = Files { home, profile, faults: Vec::new() };
        files.config(&Managed::default(), &[""])?;
        let config = files.faults.drain(..).find(|fault| fault.file == Some(CONFIG)).map(|fault| fault.text);
        let (env, _) = files.dotenv(inherited, &[""])?;
        let key = env.get("API_SERVER_KEY").map(|key| key.trim().chars().count());
        let short_key = key.is_some_and(|length| (1..SHORTEST_KEY).contains(&length));
        Ok(Complaints { config, env_line: env.bad_line, short_key })
    }

    /// The complaints about the files of this profile in words, one sentence each.
    pub fn words(&self, home: &Home, profile: &Profile) -> Vec<String> {
        let config = self.config.as_ref().map(|why| format!("{} is {why}", home.shown(profile, CONFIG)));
        let env = home.shown(profile, DOTENV);
        let line = self.env_line.map(|line| {
            format!(
                "Hermes Agent cannot read line {line} of {env} and passes over it: perhaps a quotation mark is missing"
            )
        });
        let key = self.short_key.then(|| {
            format!("API_SERVER_KEY in {env} has fewer than {SHORTEST_KEY} characters, and Hermes Agent refuses it")
        });
        config.into_iter().chain(line).chain(key).collect()
    }
}

/// The files of a profile, and the faults that were found in them so far.
struct Files<'a, H> {
    home: H,
    profile: &'a Profile,
    faults: Vec<Fault>,
}

impl<H: AsFd> Files<'_, H> {
    /// The variables. `words` occur in the names of those that the caller asks for.
    fn variables<'a>(
        &mut self,
        inherited: &'a Inherited,
        managed: &'a Managed,
        words: &[&str],
    ) -> Result<Variables<'a>> {
        self.faults.extend(managed.faults.iter().cloned());
        let (own, has_own) = self.dotenv(inherited, &[words, &[managed::VARIABLE]].concat())?;
        let project = inherited.project()?;
        self.faults.extend(project.fault.clone());
        if own.get(managed::VARIABLE).is_some() {
            self.fault(Some(DOTENV), true, format!("{} is not followed here", managed::VARIABLE));
        }
        if self.file(OP_ENV, words)?.is_some() {
            self.fault(Some(OP_ENV), true, format!("has variables that are not read here: set them in {DOTENV}"));
        }
        Ok(Variables { managed: &managed.env, own, has_own, project, inherited })
    }

    /// The pin, if these variables decide alone: Hermes Agent uses the port of the environment only if a variable also
    /// enables the API server.
    fn decided(&mut self, variables: &[Option<Set>; 3]) -> Option<Option<Pin>> {
        let (port, file) = variables[2].as_ref()?;
        let port = python::int(port).filter(|_| enables(variables))?;
        Some(self.pin(Some(port), *file))
    }

    /// The variables in `.env`, and whether there is such a file. There are no variables if none of `words` occurs in it.
    fn dotenv(&mut self, inherited: &Inherited, words: &[&str]) -> Result<(Dotenv, bool)> {
        let (is_there, bytes) = match self.content(DOTENV)? {
            Content::Absent => (false, None),
            Content::Bytes(bytes) => (true, has_any(&bytes, words).then_some(bytes)),
            Content::Unfit(_) => (true, None),
        };
        let parse = |bytes: Vec<u8>| Dotenv::parse(&bytes, &|name| inherited.get(self.profile, name));
        let env = bytes.map_or_else(|| Ok(Dotenv::default()), parse).unwrap_or_else(|Unclear| {
            let text = "not read: Hermes Agent mends it first, or it grows too large";
            self.fault(Some(DOTENV), true, text.to_string());
            Dotenv::default()
        });
        Ok((env, is_there))
    }

    /// The settings in `config.yaml`, overridden by the managed ones. `None` if the file does not exist, if Hermes Agent
    /// cannot use it, or if none of `words` occurs in it.
    fn config(&mut self, managed: &Managed, words: &[&str]) -> Result<Option<ConfigYaml>> {
        // Without a file of the profile's own, Hermes Agent does not use the managed one either.
        let words = if managed.config.is_some() { &[""] } else { words };
        let Some(bytes) = self.file(CONFIG, words)? else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).map_err(|_| "not UTF-8".to_string());
        let ignored = |why: String| self.fault(Some(CONFIG), false, format!("ignored, also by Hermes Agent: {why}"));
        let own = text.and_then(ConfigYaml::parse).map_err(ignored).ok();
        Ok(match &managed.config {
            Some(managed) => own.map(|own| own.under(managed)),
            None => own,
        })
    }

    /// The settings in the legacy `gateway.json`.
    fn legacy(&mut self) -> Result<ConfigYaml> {
        let bytes = self.file(LEGACY, &[""])?;
        Ok(bytes.map_or_else(ConfigYaml::default, |bytes| ConfigYaml::of_json(&bytes)))
    }

    /// The bytes of a file. `None` if the file does not exist, or none of `words` occurs in it. Most files have none of
    /// the words, and need not be parsed.
    fn file(&mut self, file: &'static str, words: &[&str]) -> Result<Option<Vec<u8>>> {
        match self.content(file)? {
            Content::Bytes(bytes) => Ok(has_any(&bytes, words).then_some(bytes)),
            Content::Absent | Content::Unfit(_) => Ok(None),
        }
    }

    /// The content of a file. One that is there and cannot be read is a fault.
    fn content(&mut self, file: &'static str) -> Result<Content> {
        let path = format!("{}/{file}", self.profile.path());
        let content = roots_links::read(&self.home, &path, LIMIT).map_err(|e| Error::system("read", &path, e))?;
        if let Content::Unfit(why) = &content {
            // Hermes Agent cannot read a directory either, so it finds nothing there that is not found here.
            let (is_unread, text) = (*why != "a directory", format!("not read: {why}"));
            self.faults.push(Fault { file: Some(file), is_unclear: false, is_unread, text });
        }
        Ok(content)
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

/// Does `config.yaml` of this profile say whether it has a gateway of its own (`gateway.standalone`)? `None` if it says
/// nothing, or if Hermes Agent cannot read it either.
///
/// # Errors
/// 111 if the file could not be looked at just now, or Hermes Agent may understand something in it that is not understood
/// here.
pub fn standalone(home: &Home, profile: &Profile) -> Result<Option<bool>> {
    home.act_for(profile, |dir| {
        let mut files = Files { home: dir, profile, faults: Vec::new() };
        let config = files.config(&Managed::default(), &["standalone"])?.unwrap_or_default();
        let why = match (files.faults.iter().find(|fault| fault.is_unread), config.standalone()) {
            (None, Ok(said)) => return Ok(said),
            (Some(fault), _) => format!("is {}", fault.text),
            (None, Err(Unclear)) => UNCLEAR.to_string(),
        };
        let shown = home.shown(profile, CONFIG);
        Err(Error::new(Kind::System, format!("unable to tell whether {profile} is standalone: {shown} {why}")))
    })
}

/// Write `gateway.standalone: true` into `config.yaml` of this profile, which says nothing about it.
///
/// # Errors
/// 111 if the file cannot be read or written, or the key cannot be put in as a line.
pub fn make_standalone(home: &Home, profile: &Profile) -> Result<()> {
    let shown = home.shown(profile, CONFIG);
    let by_hand = |why: &str| {
        Error::new(Kind::System, format!("unable to change {shown}: {why}: write gateway.standalone: true there"))
    };
    home.act_for(profile, |root| {
        let dir = roots_links::open_dir(root, &profile.path())
            .map_err(|e| Error::system("open", home.shown(profile, ""), e))?;
        let version = beneath::version(&dir, CONFIG).map_err(|e| Error::system("look at", &shown, e))?;
        let bytes = match beneath::read(&dir, CONFIG, LIMIT).map_err(|e| Error::system("read", &shown, e))? {
            Content::Absent => Vec::new(),
            Content::Bytes(bytes) => bytes,
            Content::Unfit(why) => return Err(by_hand(&format!("it is {why}"))),
        };
        let changed = std::str::from_utf8(&bytes).ok().and_then(ConfigYaml::with_standalone);
        let changed = changed.ok_or_else(|| by_hand("the key cannot be put in as a line"))?;
        let still = || Ok(beneath::version(&dir, CONFIG)? == version);
        let mode = Mode::RUSR | Mode::WUSR;
        match beneath::replace_if(&dir, CONFIG, changed.as_bytes(), mode, still) {
            Ok(true) => Ok(()),
            Ok(false) => Err(by_hand("somebody else writes it")),
            Err(error) => Err(Error::system("write", &shown, error)),
        }
    })
}

/// Does the gateway of `default` serve all profiles? `GATEWAY_MULTIPLEX_PROFILES` in the environment of that gateway
/// decides: first in its `.env`, then in the inherited variables. If it is not set, `config.yaml` of the home decides
/// (I1).
///
/// # Errors
/// 111 if a file could not be looked at just now, or Hermes Agent may understand something in it that is not understood
/// here.
pub fn multiplex(home: &Home) -> Result<bool> {
    multiplex_with(home, &Inherited::here()?)
}

/// As `multiplex`, for a gateway that inherits these variables.
///
/// # Errors
/// As `multiplex`.
pub fn multiplex_with(home: &Home, inherited: &Inherited) -> Result<bool> {
    const SWITCH: &str = "GATEWAY_MULTIPLEX_PROFILES";
    let profile = Profile::default_profile();
    let unclear = |file: &str| {
        let text = format!("{} {UNCLEAR}", home.shown(&profile, file));
        Error::new(Kind::System, format!("unable to tell the mode: {text}: set {SWITCH} to true or false in {DOTENV}"))
    };
    home.act(|dir| {
        let mut files = Files { home: dir, profile: &profile, faults: Vec::new() };
        let managed = inherited.managed()?;
        let env = files.variables(inherited, managed, &[SWITCH])?;
        if let Some(fault) = files.faults.iter().find(|fault| fault.is_unclear) {
            return Err(unclear(fault.file.unwrap_or(DOTENV)));
        }
        let value = env.get(&profile, SWITCH).map(|(value, _)| value);
        // A blank or unknown value counts as not set, so it must not override the file.
        match value.as_deref().and_then(boolean) {
            Some(said) => Ok(said),
            None => {
                let legacy = files.legacy()?;
                let own = files.config(managed, &["multiplex_profiles", SWITCH])?;
                let config = own.unwrap_or_default().over(&legacy);
                // A variable that is set, even to a blank, hides the one in config.yaml.
                let variable = if value.is_none() { config.variable(SWITCH) } else { Ok(None) };
                let variable = variable.map_err(|Unclear| unclear(CONFIG))?;
                if let Some(said) = variable.as_deref().and_then(boolean) {
                    return Ok(said);
                }
                config.multiplex().map_err(|_| unclear(if legacy.multiplex().is_err() { LEGACY } else { CONFIG }))
            }
        }
    })
}
