//! `gateway_state.json`: the state of a profile on the volume, and the rule which gateways start (docs/DESIGN.md,
//! "Intent").

use crate::ground::beneath::{self, Content};
use crate::ground::error::{Error, Result};
use crate::ground::profile::Profile;
use crate::volume::client::Client;
use crate::volume::gateway_lock;
use crate::volume::home::Home;
use crate::volume::json_shape::Shape;
use rustix::io::Errno;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::os::fd::AsFd;

/// The name of the state file in the profile's directory.
pub const FILE: &str = "gateway_state.json";

/// The field that names the profile to which the state belongs. Our tools write it; Hermes Agent keeps it.
pub const OWNER: &str = "hermes_s6_profile";

/// The largest state file that is read, in bytes.
pub const LIMIT: usize = 1 << 20;

/// A byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The deepest nesting that counts as a state file. At a depth of a thousand Hermes Agent's own reconciler fails.
const DEPTH: usize = 512;

/// The most fields that a state file has, and the most bytes of a field that is taken apart.
const MOST_FIELDS: usize = 4096;
const LONGEST_FIELD: usize = 256 << 10;

/// The largest file about the last run that is read, in bytes. Hermes Agent writes some hundred.
const LIFECYCLE_LIMIT: usize = 64 << 10;

/// The fields of a state file, each as its JSON text. So a change of the intent keeps all other fields exactly (A14).
/// This includes numbers that no machine type holds, and halves of surrogate pairs, which Hermes Agent writes for text
/// that is not UTF-8.
pub type Fields = BTreeMap<String, Box<RawValue>>;

/// The state of a gateway before this boot, according to the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prior {
    /// The gateway was up. The gateway states `draining` and `degraded` are read as this one (A2, A3).
    Running,
    /// The operator stopped the gateway.
    Stopped,
    /// The gateway died while it started.
    Starting,
    /// The gateway could not start.
    StartupFailed,
    /// This occurs only as a `desired_state`.
    Draining,
    /// This occurs only as a `desired_state`.
    Degraded,
    /// The file says nothing about the state.
    None,
    /// The file is another profile's: somebody has copied it here (A7, A8).
    Foreign,
    /// The file, or its state, cannot be parsed (A15).
    Invalid,
}

impl Prior {
    /// Does the boot pass start the gateway?
    pub fn starts(self) -> bool {
        self == Prior::Running
    }

    /// The word for records: one of the six known states, `none`, `foreign` or `invalid`.
    pub fn as_str(self) -> &'static str {
        match self {
            Prior::Running => "running",
            Prior::Stopped => "stopped",
            Prior::Starting => "starting",
            Prior::StartupFailed => "startup_failed",
            Prior::Draining => "draining",
            Prior::Degraded => "degraded",
            Prior::None => "none",
            Prior::Foreign => "foreign",
            Prior::Invalid => "invalid",
        }
    }

    fn of(word: &str) -> Prior {
        use Prior::{Degraded, Draining, Invalid, Running, Starting, StartupFailed, Stopped};
        let known = [Running, Stopped, Starting, StartupFailed, Draining, Degraded];
        known.into_iter().find(|state| state.as_str() == word).unwrap_or(Invalid)
    }
}

/// What a gateway says about one of its platforms that is not as it should be. The texts are untrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The name of the platform, and its state: `telegram:retrying`.
    pub what: String,
    /// The error that the gateway has written down.
    pub error: String,
}

/// The most platforms, and the most characters of a text about one, that are believed.
const MOST_TROUBLES: usize = 5;
const LONGEST_TROUBLE: usize = 300;

/// The content of a state file.
#[derive(Debug)]
pub enum State {
    Absent,
    /// The file is a JSON object.
    Object(Fields),
    /// The file is something else. The text says why.
    Broken(String),
}

impl State {
    /// Read the state file. The caller has the account's rights.
    ///
    /// # Errors
    /// The system's error if the file could not be read just now. Such an error says nothing about the state.
    pub fn read(profile_dir: impl AsFd) -> rustix::io::Result<State> {
        Ok(State::of(match beneath::read(profile_dir, FILE, LIMIT)? {
            Content::Bytes(mut bytes) if bytes.starts_with(MARK) => {
                let client = Client::here().map_err(|_| Errno::IO)?;
                Content::Bytes(if client.reads_byte_order_marks() { bytes.split_off(MARK.len()) } else { bytes })
            }
            content => content,
        }))
    }

    /// As `read`, for an order of the operator. An account may hold a lease on its own state file for as long as it
    /// likes, and must not be able to keep its gateway from being stopped in this way. So a leased file counts as
    /// broken.
    ///
    /// # Errors
    /// As `read`.
    pub fn read_for_order(profile_dir: impl AsFd) -> rustix::io::Result<State> {
        match State::read(profile_dir) {
            Err(Errno::AGAIN) => Ok(State::Broken("held by the lease of another process".to_string())),
            read => read,
        }
    }

    /// The state of this profile, read by `read_for_order`. If the profile does not exist, its state is `Absent`.
    ///
    /// # Errors
    /// 111 if the profile or the file could not be looked at just now.
    pub fn of_profile(home: &Home, profile: &Profile) -> Result<State> {
        let failed = |e| Error::system("read", home.shown(profile, FILE), e);
        let state = home.within(profile, |dir| State::read_for_order(dir).map_err(failed))?;
        Ok(state.unwrap_or(State::Absent))
    }

    fn of(content: Content) -> State {
        match content {
            Content::Absent => State::Absent,
            Content::Unfit(why) => State::Broken(why),
            Content::Bytes(bytes) => {
                let shape = Shape::of(&bytes);
                if shape.members > MOST_FIELDS {
                    return State::Broken(format!("of more than {MOST_FIELDS} fields"));
                }
                match serde_json::from_slice::<Fields>(&bytes) {
                    Ok(_) if shape.depth > DEPTH => State::Broken(format!("nested more than {DEPTH} deep")),
                    Ok(fields) => State::Object(fields),
                    Err(e) if e.is_data() => State::Broken("not a JSON object".to_string()),
                    Err(e) => State::Broken(format!("not JSON: {e}")),
                }
            }
        }
    }

    /// The state before this boot: `desired_state` if it is a string, else `gateway_state`, with `draining` and
    /// `degraded` read as `running`.
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

    /// Has nobody recorded an intent? A file that cannot be parsed may have had one.
    pub fn lacks_intent(&self) -> bool {
        !matches!(self, State::Broken(_)) && self.string("desired_state").is_none()
    }

    /// The state before this boot of a profile in whose directory this file is. `owner` is what `State::owner` says.
    pub fn prior_of(&self, profile: &Profile, owner: Option<&str>) -> Prior {
        match self {
            State::Object(_) if owner.is_some_and(|owner| owner != profile.as_str()) => Prior::Foreign,
            _ => self.prior(),
        }
    }

    /// The name of the profile to which the state in this directory belongs, if that can be told: what the file itself
    /// says, else the name under which a gateway last ran here. A copy of a profile names the profile that was copied.
    /// The text is untrusted. The caller has the account's rights.
    ///
    /// # Errors
    /// The system's error if the gateway lock's file could not be read just now.
    pub fn owner(&self, profile_dir: impl AsFd) -> rustix::io::Result<Option<String>> {
        match self.names() {
            Some(name) => Ok(Some(name)),
            None => Ok(gateway_lock::last_profile(profile_dir)?.map(|profile| profile.to_string())),
        }
    }

    /// The profile that the file names: in our own field, else in the arguments of the gateway that wrote it.
    pub fn names(&self) -> Option<String> {
        self.string(OWNER).or_else(|| {
            let argv: Vec<String> = serde_json::from_str(self.short("argv")?).ok()?;
            let mut words = argv.iter();
            words
                .find_map(|word| match word.as_str() {
                    "-p" | "--profile" => Some(None),
                    word => word.strip_prefix("--profile=").map(|name| Some(name.to_string())),
                })?
                .or_else(|| words.next().cloned())
        })
    }

    /// A field that is a string. A string that is not valid Unicode, because it has half of a surrogate pair, becomes
    /// U+FFFD.
    pub fn string(&self, key: &str) -> Option<String> {
        let json = self.field(key).filter(|json| json.starts_with('"'))?;
        Some(serde_json::from_str(json).unwrap_or_else(|_| char::REPLACEMENT_CHARACTER.to_string()))
    }

    /// The platforms that have an error. Hermes Agent clears the error of a platform when it connects.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.troubles_beneath("")
    }

    /// As `troubles`, of another profile that the gateway serves: its platforms are called `PROFILE:PLATFORM`.
    pub fn troubles_of(&self, profile: &Profile) -> Vec<Trouble> {
        self.troubles_beneath(&format!("{profile}:"))
    }

    fn troubles_beneath(&self, prefix: &str) -> Vec<Trouble> {
        let platforms: BTreeMap<String, Value> =
            self.short("platforms").and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        let short = |text: &str| text.chars().take(LONGEST_TROUBLE).collect::<String>();
        let trouble = |(name, platform): (String, Value)| {
            let text = |key: &str| platform.get(key).and_then(Value::as_str).filter(|t| !t.is_empty());
            let (error, state) = (text("error_message")?, text("state").unwrap_or("unknown"));
            let name = name.strip_prefix(prefix)?;
            (state != "connected").then(|| Trouble { what: short(&format!("{name}:{state}")), error: short(error) })
        };
        platforms.into_iter().filter_map(trouble).take(MOST_TROUBLES).collect()
    }

    /// A field of any type.
    pub fn value(&self, key: &str) -> Option<Value> {
        serde_json::from_str(self.short(key)?).ok()
    }

    /// The JSON text of a field, unless it is too long to be taken apart.
    fn short(&self, key: &str) -> Option<&str> {
        self.field(key).filter(|json| json.len() <= LONGEST_FIELD)
    }

    /// A field that is a whole number and not negative.
    pub fn number(&self, key: &str) -> Option<u64> {
        serde_json::from_str(self.field(key)?).ok()
    }

    /// The JSON text of a field.
    fn field(&self, key: &str) -> Option<&str> {
        match self {
            State::Object(fields) => fields.get(key).map(|value| value.get()),
            _ => None,
        }
    }
}

/// How the gateway's last run ended according to `state/gateway.lifecycle.json`: `clean`, `unclean` or `unknown`.
pub fn prior_exit(profile_dir: impl AsFd) -> &'static str {
    let file = "state/gateway.lifecycle.json";
    let Ok(Content::Bytes(bytes)) = beneath::read(profile_dir, file, LIFECYCLE_LIMIT) else {
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

    /// Rows A1, A2, A3, A15 of docs/failures.md.
    #[test]
    fn only_running_starts() {
        for (json, word, starts) in [
            (r#"{"desired_state":"running"}"#, "running", true),
            (r#"{"desired_state":"stopped"}"#, "stopped", false),
            // The intent wins over the gateway's last state (A1).
            (r#"{"desired_state":"running","gateway_state":"stopped"}"#, "running", true),
            (r#"{"desired_state":"stopped","gateway_state":"running"}"#, "stopped", false),
            (r#"{"gateway_state":"running"}"#, "running", true),
            // `draining` and `degraded` are read as `running` (A2, A3).
            (r#"{"gateway_state":"draining"}"#, "running", true),
            (r#"{"gateway_state":"degraded"}"#, "running", true),
            // An intent is read as it stands.
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
            // A string that is valid in Python and not in Unicode, and a number that no machine type holds.
            (r#"{"desired_state":"running","error":"\udcff"}"#, "running", true),
            (r#"{"desired_state":"\udcff","gateway_state":"running"}"#, "invalid", false),
            (r#"{"desired_state":"running","x":1e400}"#, "running", true),
            (r#"{"\u0064esired_state":"r\u0075nning"}"#, "running", true),
            (r#"{"desired_state":"stopped","desired_state":"running"}"#, "running", true),
            (r#"{"gateway_state":null}"#, "none", false),
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

    /// Rows A7, A8 of docs/failures.md.
    #[test]
    fn a_state_names_its_profile_in_our_field_or_in_the_arguments_of_its_gateway() {
        for (json, names, prior) in [
            (r#"{"desired_state":"running"}"#, None, Prior::Running),
            (r#"{"desired_state":"running","hermes_s6_profile":"coder"}"#, Some("coder"), Prior::Running),
            (r#"{"desired_state":"running","hermes_s6_profile":"writer"}"#, Some("writer"), Prior::Foreign),
            (r#"{"desired_state":"stopped","hermes_s6_profile":""}"#, Some(""), Prior::Foreign),
            (r#"{"gateway_state":"running","hermes_s6_profile":7}"#, None, Prior::Running),
            (r#"{"gateway_state":"running","argv":["hermes","gateway","run"]}"#, None, Prior::Running),
            (
                r#"{"gateway_state":"running","argv":["hermes","-p","writer","gateway"]}"#,
                Some("writer"),
                Prior::Foreign,
            ),
            (r#"{"gateway_state":"running","argv":["--profile","coder","run"]}"#, Some("coder"), Prior::Running),
            (r#"{"gateway_state":"running","argv":["--profile=writer"]}"#, Some("writer"), Prior::Foreign),
            (r#"{"gateway_state":"running","argv":["gateway","-p"]}"#, None, Prior::Running),
            (r#"{"gateway_state":"running","argv":"-p writer"}"#, None, Prior::Running),
            (
                r#"{"desired_state":"running","hermes_s6_profile":"coder","argv":["-p","writer"]}"#,
                Some("coder"),
                Prior::Running,
            ),
        ] {
            let state = State::of(Content::Bytes(json.as_bytes().to_vec()));
            let coder = Profile::from_bytes(b"coder").unwrap();
            assert_eq!(state.names().as_deref(), names, "{json}");
            assert_eq!(state.prior_of(&coder, names), prior, "{json}");
        }
    }

    #[test]
    fn a_broken_file_says_why() {
        for (json, why) in [
            ("[]", "not a JSON object"),
            ("7", "not a JSON object"),
            ("{", "not JSON: EOF while parsing an object at line 1 column 1"),
        ] {
            match State::of(Content::Bytes(json.as_bytes().to_vec())) {
                State::Broken(said) => assert_eq!(said, why, "{json}"),
                other => panic!("{json}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_intent_is_lacking_where_none_is_recorded_and_none_can_have_been() {
        let object = |json: &str| State::of(Content::Bytes(json.as_bytes().to_vec()));
        for (state, lacks) in [
            (State::Absent, true),
            (object(r#"{}"#), true),
            (object(r#"{"gateway_state":"running"}"#), true),
            (object(r#"{"desired_state":null}"#), true),
            (object(r#"{"desired_state":"stopped"}"#), false),
            (object(r#"{"desired_state":"?"}"#), false),
            (State::Broken("not JSON".to_string()), false),
        ] {
            assert_eq!(state.lacks_intent(), lacks, "{state:?}");
        }
    }

    #[test]
    fn a_platform_is_in_trouble_while_it_has_an_error_and_is_not_connected() {
        let troubles = |platforms: &str| {
            let json = format!("{{\"platforms\":{platforms}}}");
            let troubles = State::of(Content::Bytes(json.into_bytes())).troubles();
            troubles.into_iter().map(|trouble| (trouble.what, trouble.error)).collect::<Vec<_>>()
        };
        let one = |what: &str, error: &str| vec![(what.to_string(), error.to_string())];
        for (platforms, found) in [
            (r#"{"telegram":{"state":"retrying","error_message":"bad token"}}"#, one("telegram:retrying", "bad token")),
            (r#"{"telegram":{"error_message":"bad token"}}"#, one("telegram:unknown", "bad token")),
            (r#"{"telegram":{"state":"","error_message":"bad token"}}"#, one("telegram:unknown", "bad token")),
            (r#"{"telegram":{"state":"connected","error_message":"old"}}"#, vec![]),
            (r#"{"telegram":{"state":"retrying","error_message":""}}"#, vec![]),
            (r#"{"telegram":{"state":"retrying","error_message":7}}"#, vec![]),
            (r#"{"telegram":"retrying"}"#, vec![]),
            ("[]", vec![]),
        ] {
            assert_eq!(troubles(platforms), found, "{platforms}");
        }
        let platform = |n: usize| format!("\"{n}\":{{\"error_message\":\"{}\"}}", "é".repeat(LONGEST_TROUBLE + n));
        let many: Vec<String> = (0..=MOST_TROUBLES).map(platform).collect();
        let found = troubles(&format!("{{{}}}", many.join(",")));
        assert_eq!(found.len(), MOST_TROUBLES);
        assert!(found.iter().all(|(_, error)| *error == "é".repeat(LONGEST_TROUBLE)));
    }

    #[test]
    fn a_field_is_what_its_json_says() {
        let state = |json: &str| State::of(Content::Bytes(json.as_bytes().to_vec()));
        for (json, number, string) in [
            ("7", Some(7), None),
            ("18446744073709551615", Some(u64::MAX), None),
            ("18446744073709551616", None, None),
            ("-1", None, None),
            ("7.0", None, None),
            ("1e3", None, None),
            ("true", None, None),
            ("null", None, None),
            ("[7]", None, None),
            (r#""7""#, None, Some("7")),
            (r#""""#, None, Some("")),
            (r#""caf\u00e9""#, None, Some("café")),
            (r#""\udcff""#, None, Some("\u{fffd}")),
            (r#"{"x":"7"}"#, None, None),
        ] {
            let state = state(&format!("{{\"x\":{json}}}"));
            assert_eq!((state.number("x"), state.string("x").as_deref()), (number, string), "{json}");
            assert_eq!((state.number("y"), state.string("y")), (None, None), "{json}");
        }
        for other in [State::Absent, State::Broken("x".to_string())] {
            assert_eq!((other.number("x"), other.string("x")), (None, None));
        }
    }

    #[test]
    fn how_the_last_life_ended_is_what_the_lifecycle_file_says() {
        let top = std::env::temp_dir().join(format!("hermes-s6-state-{}", beneath::random_suffix().unwrap()));
        std::fs::create_dir_all(top.join("state")).unwrap();
        let dir = std::fs::File::open(&top).unwrap();
        assert_eq!(prior_exit(&dir), "unknown");
        for (json, exit) in [
            (r#"{"phase":"running"}"#, "unclean"),
            (r#"{"phase":"exited","x":1e400}"#, "unknown"),
            (r#"{"phase":"exited","x":1}"#, "clean"),
            (r#"{"phase":"Running"}"#, "unknown"),
            (r#"{"phase":7}"#, "unknown"),
            (r#"{"other":"running"}"#, "unknown"),
            (r#"["running"]"#, "unknown"),
            (r#"{"phase":"run"#, "unknown"),
            ("", "unknown"),
        ] {
            std::fs::write(top.join("state/gateway.lifecycle.json"), json).unwrap();
            assert_eq!(prior_exit(&dir), exit, "{json}");
        }
        std::fs::remove_dir_all(&top).unwrap();
    }
}
