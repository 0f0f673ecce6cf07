//! The keys of `config.yaml` that decide about ports and modes. They are combined as Hermes Agent's
//! `load_gateway_config` combines them.

use super::python::Unclear;
use super::scalar::Value;
use super::yaml::{self, Path};

/// The value at each of `PATHS` in one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigYaml([Value; 14]);

/// The settings of the API server in the files.
#[derive(Debug, Default, PartialEq)]
pub struct ApiServer {
    /// The value of `api_server.enabled`, else of `platforms.api_server.enabled`.
    pub enabled: bool,
    /// The value of `platforms.api_server.extra.port`. The number need not be a valid port.
    pub extra_port: Option<i64>,
    /// The value of `platforms.api_server.port`. Hermes Agent 0.19 does not read this key by itself.
    pub port: Option<i64>,
}

/// The paths of the modes, of the switches of the API server, of its port in `extra`, and of its other port. In each
/// group the strongest path comes first. Then comes whether a profile has a gateway of its own. The last four are variables, which Hermes Agent finds only in `config.yaml`.
const PATHS: [Path; 14] = [
    &["multiplex_profiles"],
    &["gateway", "multiplex_profiles"],
    &["api_server", "enabled"],
    &["platforms", "api_server", "enabled"],
    &["gateway", "platforms", "api_server", "enabled"],
    &["platforms", "api_server", "extra", "port"],
    &["gateway", "platforms", "api_server", "extra", "port"],
    &["platforms", "api_server", "port"],
    &["gateway", "platforms", "api_server", "port"],
    &["gateway", "standalone"],
    &["API_SERVER_ENABLED"],
    &["API_SERVER_KEY"],
    &["API_SERVER_PORT"],
    &["GATEWAY_MULTIPLEX_PROFILES"],
];

/// How many of `PATHS` are no variables.
const SETTINGS: usize = 10;

impl ConfigYaml {
    /// Read the text of a file.
    ///
    /// # Errors
    /// The reason why the whole file cannot be used. Hermes Agent ignores such a file as well.
    pub fn parse(text: &str) -> Result<ConfigYaml, String> {
        yaml::read(text, PATHS).map(ConfigYaml)
    }

    /// Read the legacy `gateway.json`. Hermes Agent reads the same paths in it, except those below `gateway.platforms`.
    /// All values are unclear if the text is not JSON, because Python accepts some text that is not accepted here. They
    /// are also unclear if the JSON is not an object, because then Hermes Agent's loader fails.
    pub fn of_json(bytes: &[u8]) -> ConfigYaml {
        let Ok(top @ serde_json::Value::Object(_)) = serde_json::from_slice(bytes) else {
            return ConfigYaml(std::array::from_fn(|_| Value::Unclear));
        };
        ConfigYaml(PATHS.map(|path| match path {
            ["api_server", ..] | ["gateway", "platforms", ..] => Value::Absent,
            _ if PATHS[SETTINGS..].contains(&path) => Value::Absent,
            _ => at(&top, path),
        }))
    }

    /// Combine two files: the values of this one, and those of `other` where this one has none.
    pub fn over(&self, other: &ConfigYaml) -> ConfigYaml {
        // If the legacy file is not an object, Hermes Agent's loader fails, and `config.yaml` is not used either, except
        // for the variables.
        if other.0[..SETTINGS].iter().all(|value| *value == Value::Unclear) {
            let unclear = std::array::from_fn(|at| if at < SETTINGS { Value::Unclear } else { self.0[at].clone() });
            return ConfigYaml(unclear);
        }
        let [mode, mode2, switch, enabled, enabled2, extra, extra2, port, port2, standalone, v1, v2, v3, v4] =
            self.0.clone();
        let [_, _, _, below, _, extra_below, _, port_below, ..] = other.0.clone();
        let [mode_below, mode2_below, ..] = other.0.clone();
        ConfigYaml([
            mode,
            mode2.or(mode_below).or(mode2_below),
            switch,
            enabled,
            enabled2.or(below),
            extra,
            extra2.or(extra_below),
            port,
            port2.or(port_below),
            standalone,
            v1,
            v2,
            v3,
            v4,
        ])
    }

    /// The values of the administrator's file, and those of this one where that file has none.
    pub fn under(self, managed: &ConfigYaml) -> ConfigYaml {
        let mut own = self.0.into_iter();
        ConfigYaml(managed.0.clone().map(|value| match (value, own.next().unwrap_or_default()) {
            // Hermes Agent puts a variable in here.
            (Value::Text(text), _) if text.contains("${") => Value::Unclear,
            (value, own) => value.or(own),
        }))
    }

    /// The variable of this name.
    ///
    /// # Errors
    /// As for `api_server`.
    pub fn variable(&self, name: &str) -> Result<Option<String>, Unclear> {
        let at = PATHS.iter().position(|path| **path == [name]);
        at.map_or(Ok(None), |at| self.0[at].variable())
    }

    /// The settings of the API server. A value below `platforms` is stronger than the same value below
    /// `gateway.platforms`.
    ///
    /// # Errors
    /// `Unclear` if a value is written in a way that Hermes Agent may understand and that is not understood here.
    pub fn api_server(&self) -> Result<ApiServer, Unclear> {
        let [_, _, switch, enabled, enabled2, extra, extra2, port, port2, ..] = self.0.clone();
        ApiServer::of(&switch.or(enabled).or(enabled2), &extra.or(extra2), &port.or(port2))
    }

    /// The value of `multiplex_profiles`, else of `gateway.multiplex_profiles`.
    ///
    /// # Errors
    /// As for `api_server`.
    pub fn multiplex(&self) -> Result<bool, Unclear> {
        let [mode, mode2, ..] = self.0.clone();
        mode.or(mode2).is_true()
    }
}

impl ConfigYaml {
    /// The value of `gateway.standalone`; `None` if there is none.
    ///
    /// # Errors
    /// As for `api_server`.
    pub fn standalone(&self) -> Result<Option<bool>, Unclear> {
        let value = &self.0[SETTINGS - 1];
        if *value == Value::Absent { Ok(None) } else { value.is_true().map(Some) }
    }

    /// This text with `gateway.standalone: true` in it, where that can be put in as a line, and changes nothing else.
    pub fn with_standalone(text: &str) -> Option<String> {
        const KEY: &str = "standalone: true";
        let before = ConfigYaml::parse(text).ok()?;
        let has_section = yaml::read(text, [&["gateway"]]) != Ok([Value::Absent]);
        let changed = if has_section {
            let is_section = |line: &str| {
                let rest = line.strip_prefix("gateway:");
                rest.is_some_and(|rest| rest.trim().is_empty() || rest.trim_start().starts_with('#'))
            };
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            let at = lines.iter().position(|line| is_section(line))?;
            let is_of_use = |line: &&&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
            let next = lines[at + 1..].iter().find(is_of_use).copied().unwrap_or_default();
            let indent = &next[..next.len() - next.trim_start_matches(' ').len()];
            let indent = if indent.is_empty() { "  " } else { indent };
            let newline = if lines[at].ends_with('\n') { "" } else { "\n" };
            format!("{}{newline}{indent}{KEY}\n{}", lines[..=at].concat(), lines[at + 1..].concat())
        } else {
            let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            format!("{text}{newline}gateway:\n  {KEY}\n")
        };
        let mut after = ConfigYaml::parse(&changed).ok()?;
        let is_set = after.standalone() == Ok(Some(true)) && before.standalone() == Ok(None);
        after.0[SETTINGS - 1] = before.0[SETTINGS - 1].clone();
        (is_set && after == before).then_some(changed)
    }
}

/// The value at this path. If `extra` is not an object, Hermes Agent's loader fails, and `config.yaml` is not used
/// either.
fn at(value: &serde_json::Value, path: &[&str]) -> Value {
    use serde_json::Value as Json;
    match (value, path) {
        (Json::Object(members), [key, rest @ ..]) => match members.get(*key) {
            Some(Json::Object(_)) | None if rest.is_empty() => {
                members.get(*key).map_or(Value::Absent, |_| Value::Unclear)
            }
            Some(below @ Json::Object(_)) => at(below, rest),
            Some(below) if rest.is_empty() => at(below, rest),
            Some(_) if *key == "extra" => Value::Unclear,
            _ => Value::Absent,
        },
        (Json::Null, []) => Value::Null,
        (Json::Bool(flag), []) => Value::Bool(*flag),
        (Json::Number(number), []) => number.as_i64().map_or(Value::Unclear, Value::Int),
        (Json::String(text), []) => Value::Text(text.clone()),
        _ => Value::Unclear,
    }
}

impl ApiServer {
    fn of(enabled: &Value, extra_port: &Value, port: &Value) -> Result<ApiServer, Unclear> {
        Ok(ApiServer { enabled: enabled.is_true()?, extra_port: extra_port.number()?, port: port.number()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ConfigYaml {
        ConfigYaml::parse(text).unwrap()
    }

    #[test]
    fn the_api_server_is_enabled_where_hermes_agent_enables_it() {
        for (text, enabled) in [
            ("platforms: {api_server: {enabled: true}}", true),
            ("platforms: {api_server: {enabled: 'on'}}", true),
            ("gateway: {platforms: {api_server: {enabled: true}}}", true),
            ("gateway: {platforms: {api_server: {enabled: true}}}\nplatforms: {api_server: {enabled: false}}", false),
            ("platforms: {api_server: {enabled: true}}\napi_server: {enabled: false}", false),
            ("api_server: {enabled: true}", true),
        ] {
            assert_eq!(parse(text).api_server().unwrap().enabled, enabled, "{text:?}");
        }
    }

    #[test]
    fn a_port_is_read_as_pyyaml_and_int_read_it() {
        for (text, port) in [
            ("9000", Ok(Some(9000))),
            ("'9_000'", Ok(Some(9000))),
            ("null", Ok(None)),
            ("word", Err(Unclear)),
            ("9000.7", Err(Unclear)),
        ] {
            let said = parse(&format!("platforms: {{api_server: {{extra: {{port: {text}}}}}}}")).api_server();
            assert_eq!(said, port.map(|extra_port| ApiServer { extra_port, ..ApiServer::default() }), "{text:?}");
            let said = parse(&format!("platforms: {{api_server: {{port: {text}}}}}")).api_server();
            assert_eq!(said, port.map(|port| ApiServer { port, ..ApiServer::default() }), "{text:?}");
        }
    }

    #[test]
    fn the_lower_block_counts_where_the_upper_one_says_nothing() {
        let lower = "gateway: {platforms: {api_server: {enabled: true, port: 1, extra: {port: 2}}}}";
        for (upper, port, extra_port) in [
            ("", Some(1), Some(2)),
            ("platforms: {api_server: {port: null}}", None, Some(2)),
            ("platforms: {api_server: {extra: {port: 3}}}", Some(1), Some(3)),
        ] {
            let wanted = ApiServer { enabled: true, extra_port, port };
            assert_eq!(parse(&format!("{lower}\n{upper}")).api_server(), Ok(wanted), "{upper:?}");
        }
    }

    #[test]
    fn a_profile_is_given_its_own_gateway_where_that_is_one_more_line() {
        for (text, changed) in [
            ("", Some("gateway:\n  standalone: true\n")),
            ("model: x", Some("model: x\ngateway:\n  standalone: true\n")),
            (
                "a: 1\ngateway:  # mine\n\n    # more\n    port: 1\n",
                Some("a: 1\ngateway:  # mine\n    standalone: true\n\n    # more\n    port: 1\n"),
            ),
            ("gateway:", Some("gateway:\n  standalone: true\n")),
            ("gateway:\nb: 1\n", Some("gateway:\n  standalone: true\nb: 1\n")),
            ("gateway: {standalone: true}", None),
            ("gateway:\n  standalone: false\n", None),
            ("gateway: {port: 1}\n", None),
            ("{gateway: }", None),
            ("{a: 1}", None),
            ("'gateway':\n  x: 1\n", None),
            ("a: &a {gateway: 1}\n<<: *a\n", None),
            ("gateway:\n- a\n", None),
            ("a: 1\n...\n", None),
            ("a: [\n", None),
        ] {
            assert_eq!(ConfigYaml::with_standalone(text).as_deref(), changed, "{text:?}");
        }
        for (text, said) in [
            ("standalone: 'yes'", Ok(Some(true))),
            ("standalone: no", Ok(Some(false))),
            ("standalone: !x 1", Err(Unclear)),
            ("x: 1", Ok(None)),
        ] {
            assert_eq!(parse(&format!("gateway: {{{text}}}")).standalone(), said, "{text:?}");
        }
    }

    /// Row I1 of docs/failures.md.
    #[test]
    fn the_mode_at_the_top_level_wins() {
        for (text, multiplex) in [
            ("gateway: {multiplex_profiles: 'yes'}", Ok(true)),
            ("gateway: {multiplex_profiles: true}\nmultiplex_profiles:", Ok(false)),
            ("gateway: true", Ok(false)),
            ("x: &x {}\nplatforms: {api_server: *x}", Ok(false)),
            ("x: &x true\nmultiplex_profiles: *x", Err(Unclear)),
        ] {
            assert_eq!(parse(text).multiplex(), multiplex, "{text:?}");
        }
    }
}
