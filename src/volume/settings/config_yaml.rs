//! The keys of `config.yaml` that decide about ports and modes. They are combined as Hermes Agent's
//! `load_gateway_config` combines them.

use super::python::Unclear;
use super::scalar::Value;
use super::yaml::{self, Path};

/// The value at each of `PATHS` in one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigYaml([Value; 13]);

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
/// group the strongest path comes first. The last four are variables, which Hermes Agent finds only in `config.yaml`.
const PATHS: [Path; 13] = [
    &["multiplex_profiles"],
    &["gateway", "multiplex_profiles"],
    &["api_server", "enabled"],
    &["platforms", "api_server", "enabled"],
    &["gateway", "platforms", "api_server", "enabled"],
    &["platforms", "api_server", "extra", "port"],
    &["gateway", "platforms", "api_server", "extra", "port"],
    &["platforms", "api_server", "port"],
    &["gateway", "platforms", "api_server", "port"],
    &["API_SERVER_ENABLED"],
    &["API_SERVER_KEY"],
    &["API_SERVER_PORT"],
    &["GATEWAY_MULTIPLEX_PROFILES"],
];

/// How many of `PATHS` are no variables.
const SETTINGS: usize = 9;

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
        let [mode, mode2, switch, enabled, enabled2, extra, extra2, port, port2, v1, v2, v3, v4] = self.0.clone();
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
