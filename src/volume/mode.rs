//! Which profiles the gateway of `default` serves, and which have gateways of their own (docs/DESIGN.md, "One gateway for
//! several profiles").

use crate::ground::environment::{Environment, is_truthy};
use crate::ground::error::{Error, Kind, Result};
use crate::ground::message::Log;
use crate::ground::profile::Profile;
use crate::volume::client::Client;
use crate::volume::home::Home;
use crate::volume::settings;
use crate::volume::state::State;
use serde_json::Value;

/// The operator's word that every profile has a gateway of its own, also where Hermes Agent would serve all from one.
const EACH: &str = "HERMES_GATEWAY_PER_PROFILE";

/// Which profiles the gateway of `default` serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Itself.
    Itself,
    /// All, because `multiplex_profiles` is on.
    All,
    /// All but those with `gateway.standalone: true`: Hermes Agent 0.21.4 and later.
    Others,
}

impl Mode {
    /// The mode of this home, for the Hermes Agent that is installed.
    ///
    /// # Errors
    /// 111 if that cannot be told.
    pub fn of(home: &Home) -> Result<Mode> {
        match Mode::by_release(&home.account().act(Client::here)?) {
            Mode::Itself if settings::multiplex(home)? => Ok(Mode::All),
            mode => Ok(mode),
        }
    }

    /// `Others` or `Itself`, by the release alone.
    pub fn by_release(client: &Client) -> Mode {
        if client.serves_others() { Mode::Others } else { Mode::Itself }
    }

    /// Does the gateway of `default` serve this other profile?
    ///
    /// # Errors
    /// 111 if that cannot be told.
    pub fn serves(self, home: &Home, profile: &Profile) -> Result<bool> {
        Ok(!profile.is_default()
            && match self {
                Mode::Itself => false,
                Mode::All => true,
                Mode::Others => settings::standalone(home, profile)? != Some(true),
            })
    }

    /// As `serves`. But if the operator wants a gateway for every profile, and the profile itself says nothing, write
    /// that into its `config.yaml`, where the gateway of `default` sees it.
    ///
    /// # Errors
    /// As `serves`. If the file cannot be changed, that is a warning, and `default` serves the profile.
    pub fn settle(self, home: &Home, profile: &Profile, dry_run: bool, log: &dyn Log) -> Result<bool> {
        if self != Mode::Others || profile.is_default() || !each() {
            return self.serves(home, profile);
        }
        match settings::standalone(home, profile)? {
            Some(said) => Ok(!said),
            None if dry_run => Ok(false),
            None => match settings::make_standalone(home, profile) {
                Ok(()) => {
                    log.info(&format!("{profile}: gateway.standalone: true is in its config.yaml now ({EACH})"));
                    Ok(false)
                }
                Err(error) => {
                    log.warning(&format!("{EACH}: {}", error.text));
                    Ok(true)
                }
            },
        }
    }

    /// The refusal to start a gateway for a profile that the gateway of `default` serves (I2).
    pub fn refusal(self, home: &Home, profile: &Profile) -> Error {
        let text = match self {
            Mode::Others => format!(
                "{profile} is served by the gateway of default: start that one, or give {profile} its own: {}",
                remedy(home, profile)
            ),
            _ => format!("{profile} is served by the gateway of default (multiplex_profiles): start that one"),
        };
        Error::new(Kind::WrongState, text)
    }
}

/// How to give a profile a gateway of its own.
pub fn remedy(home: &Home, profile: &Profile) -> String {
    format!("gateway.standalone: true in {}, or {EACH}=1 for all", home.shown(profile, "config.yaml"))
}

fn each() -> bool {
    Environment::inherited().get(EACH).is_some_and(|value| is_truthy(&value.to_string_lossy()))
}

/// Does the gateway that wrote this state of `default` say that it serves the profile?
pub fn lists(state: &State, profile: &Profile) -> bool {
    let served = state.value("served_profiles");
    served.as_ref().and_then(Value::as_array).is_some_and(|served| {
        let name = |served: &Value| {
            let said = served.as_str().or_else(|| served.get("profile_id")?.as_str());
            said == Some(profile.as_str())
        };
        served.iter().any(name)
    })
}
