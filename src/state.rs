//! `gateway_state.json`: what it says of a profile, and the one rule that follows from it (DESIGN, section 5).

use crate::beneath::{self, Content};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::os::fd::AsFd;

/// The file's name in the profile's directory.
pub const FILE: &str = "gateway_state.json";

/// More than this is not a state file. Bytes.
pub const LIMIT: usize = 1 << 20;

/// Nor is what is nested deeper: at a thousand Hermes Agent's own reconciler gives up.
const DEPTH: usize = 512;

/// The fields of a state file, as they were written: what we do not know comes through a change of the intent untouched
/// (A14), numbers that no machine type holds and halves of surrogate pairs included. Hermes Agent writes the latter for
/// whatever is not UTF-8.
pub type Fields = BTreeMap<String, Box<RawValue>>;

/// What the volume says a gateway's state was before this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prior {
    /// Up, or on its way down or half up: `draining` and `degraded` read as this (A2, A3).
    Running,
    /// The operator stopped it.
    Stopped,
    /// It died while it started.
    Starting,
    /// It could not start.
    StartupFailed,
    /// As a `desired_state` only.
    Draining,
    /// As a `desired_state` only.
    Degraded,
    /// Nothing is said.
    None,
    /// What is said cannot be understood (A15).
    Invalid,
}

impl Prior {
    /// The gateway starts if and only if this is true.
    pub fn starts(self) -> bool {
        self == Prior::Running
    }

    /// One of the six known states, `none` or `invalid`.
    pub fn as_str(self) -> &'static str {
        match self {
            Prior::Running => "running",
            Prior::Stopped => "stopped",
            Prior::Starting => "starting",
            Prior::StartupFailed => "startup_failed",
            Prior::Draining => "draining",
            Prior::Degraded => "degraded",
            Prior::None => "none",
            Prior::Invalid => "invalid",
        }
    }

    fn of(word: &str) -> Prior {
        use Prior::{Degraded, Draining, Invalid, Running, Starting, StartupFailed, Stopped};
        let known = [Running, Stopped, Starting, StartupFailed, Draining, Degraded];
        known.into_iter().find(|state| state.as_str() == word).unwrap_or(Invalid)
    }
}

/// The state file as it was found.
#[derive(Debug)]
pub enum State {
    /// There is none.
    Absent,
    /// It is a JSON object.
    Object(Fields),
    /// It is not, and why.
    Broken(String),
}

impl State {
    /// Read it, with the account's rights.
    pub fn read(profile_dir: impl AsFd) -> State {
        State::of(beneath::read(profile_dir, FILE, LIMIT))
    }

    fn of(content: Content) -> State {
        match content {
            Content::Absent => State::Absent,
            Content::Unfit(why) => State::Broken(why),
            Content::Bytes(bytes) => match serde_json::from_slice::<Fields>(&bytes) {
                Ok(_) if depth(&bytes) > DEPTH => State::Broken(format!("nested more than {DEPTH} deep")),
                Ok(fields) => State::Object(fields),
                Err(e) if e.is_data() => State::Broken("not a JSON object".to_string()),
                Err(e) => State::Broken(format!("not JSON: {e}")),
            },
        }
    }

    /// `desired_state` when it is a string, else `gateway_state` with `draining` and `degraded` read as `running`.
    pub fn prior(&self) -> Prior {
        match self {
            State::Absent => return Prior::None,
            State::Broken(_) => return Prior::Invalid,
            State::Object(_) => {}
        }
        if let Some(desired) = self.string("desired_state") {
            return Prior::of(&desired);
        }
        match (self.string("gateway_state"), self.field("gateway_state")) {
            (_, None | Some("null")) => Prior::None,
            (Some(word), _) => match Prior::of(&word) {
                Prior::Draining | Prior::Degraded => Prior::Running,
                other => other,
            },
            (None, Some(_)) => Prior::Invalid,
        }
    }

    /// A field that is a string. One that is no text, with half of a surrogate pair, is U+FFFD.
    pub fn string(&self, key: &str) -> Option<String> {
        let json = self.field(key).filter(|json| json.starts_with('"'))?;
        Some(serde_json::from_str(json).unwrap_or_else(|_| char::REPLACEMENT_CHARACTER.to_string()))
    }

    /// A field that is a whole number.
    pub fn number(&self, key: &str) -> Option<u64> {
        serde_json::from_str(self.field(key)?).ok()
    }

    /// A field's JSON.
    fn field(&self, key: &str) -> Option<&str> {
        match self {
            State::Object(fields) => fields.get(key).map(|value| value.get()),
            _ => None,
        }
    }
}

/// How deep arrays and objects are nested in what is JSON.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut string, mut escaped) = (0, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => string = !string,
            b'[' | b'{' if !string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !string => depth -= 1,
            _ => {}
        }
    }
    deepest
}

/// How the gateway's last life ended, by `state/gateway.lifecycle.json`: `clean`, `unclean` or `unknown`.
pub fn prior_exit(profile_dir: impl AsFd) -> &'static str {
    let Content::Bytes(bytes) = beneath::read(profile_dir, "state/gateway.lifecycle.json", LIMIT) else {
        return "unknown";
    };
    match serde_json::from_slice::<Value>(&bytes).ok().as_ref().and_then(|v| v.get("phase")?.as_str()) {
        Some("running") => "unclean",
        Some("exited") => "clean",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prior(json: &str) -> (&'static str, bool) {
        let prior = State::of(Content::Bytes(json.as_bytes().to_vec())).prior();
        (prior.as_str(), prior.starts())
    }

    #[test]
    fn only_running_starts() {
        for (json, word, starts) in [
            (r#"{"desired_state":"running"}"#, "running", true),
            (r#"{"desired_state":"stopped"}"#, "stopped", false),
            // The intent wins over what the gateway last said (A1).
            (r#"{"desired_state":"running","gateway_state":"stopped"}"#, "running", true),
            (r#"{"desired_state":"stopped","gateway_state":"running"}"#, "stopped", false),
            (r#"{"gateway_state":"running"}"#, "running", true),
            // A2, A3
            (r#"{"gateway_state":"draining"}"#, "running", true),
            (r#"{"gateway_state":"degraded"}"#, "running", true),
            // An intent is taken at its word.
            (r#"{"desired_state":"draining"}"#, "draining", false),
            (r#"{"desired_state":"degraded","gateway_state":"running"}"#, "degraded", false),
            (r#"{"gateway_state":"starting"}"#, "starting", false),
            (r#"{"gateway_state":"startup_failed"}"#, "startup_failed", false),
            (r#"{"gateway_state":"stopped"}"#, "stopped", false),
            (r#"{"gateway_state":"Running"}"#, "invalid", false),
            (r#"{"gateway_state":""}"#, "invalid", false),
            (r#"{"gateway_state":7}"#, "invalid", false),
            (r#"{"desired_state":7,"gateway_state":"running"}"#, "running", true),
            (r#"{"desired_state":null,"gateway_state":"running"}"#, "running", true),
            (r#"{"desired_state":["running"]}"#, "none", false),
            // What Python calls text and Unicode does not; a number for no machine.
            (r#"{"desired_state":"running","error":"\udcff"}"#, "running", true),
            (r#"{"desired_state":"\udcff","gateway_state":"running"}"#, "invalid", false),
            (r#"{"desired_state":"running","x":1e400}"#, "running", true),
            (r#"{"\u0064esired_state":"r\u0075nning"}"#, "running", true),
            (r#"{"desired_state":"stopped","desired_state":"running"}"#, "running", true),
            (r#"{}"#, "none", false),
            (r#"[]"#, "invalid", false),
            (r#""running""#, "invalid", false),
            (r#""#, "invalid", false),
            (r#"{"desired_state":"run"#, "invalid", false),
            ("\u{feff}{\"desired_state\":\"running\"}", "invalid", false),
        ] {
            assert_eq!(prior(json), (word, starts), "{json}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(prior(&deep), ("invalid", false));
        let within = |depth: usize| {
            format!("{{\"desired_state\":\"running\",\"x\":{}\"[\"{}}}", "[".repeat(depth), "]".repeat(depth))
        };
        assert_eq!(prior(&within(DEPTH - 1)), ("running", true));
        for depth in [DEPTH, 100_000] {
            assert_eq!(prior(&within(depth)), ("invalid", false));
        }
        assert_eq!(State::of(Content::Bytes(b"{\"desired_state\":\"running\xe9\"}".to_vec())).prior(), Prior::Invalid);
        assert_eq!(State::of(Content::Absent).prior(), Prior::None);
        assert_eq!(State::of(Content::Unfit("a FIFO".into())).prior(), Prior::Invalid);
    }
}
