//! The few keys of `config.yaml` that decide about ports and modes, combined as Hermes Agent's `load_gateway_config` does.

use super::python::{coerce_bool, int_of};
use super::yaml::{self, Value};

/// What the file says; nothing, if it is empty.
#[derive(Debug, Default, PartialEq)]
pub struct ConfigYaml {
    /// `platforms.api_server.enabled`, or the same below `gateway`, or `api_server.enabled`, which is the strongest.
    pub api_server: bool,
    /// `platforms.api_server.extra.port`; `Some(None)` is one that is no number.
    pub extra_port: Option<Option<i64>>,
    /// `platforms.api_server.port`, which this release of Hermes Agent does not read by itself.
    pub port: Option<Option<i64>>,
    /// `multiplex_profiles`, else `gateway.multiplex_profiles`.
    pub multiplex: bool,
}

impl ConfigYaml {
    /// Read the text of a file.
    ///
    /// # Errors
    /// Why the file cannot be used as a whole: then Hermes Agent ignores it as well.
    pub fn parse(text: &str) -> Result<ConfigYaml, String> {
        let root = yaml::load(text, &["api_server", "gateway", "multiplex_profiles", "platforms"])?;
        let mut config = ConfigYaml::default();
        match &root {
            Value::Map(_) => {}
            Value::Null => return Ok(config),
            _ => return Err("not a mapping".to_string()),
        }
        let gateway = root.get("gateway");
        let multiplex = root.get("multiplex_profiles").or_else(|| gateway?.get("multiplex_profiles"));
        config.multiplex = multiplex.is_some_and(coerce_bool);

        let mut enabled = None;
        let below_gateway = gateway.and_then(|g| g.get("platforms"));
        for platforms in [below_gateway, root.get("platforms")].into_iter().flatten() {
            let Some(block) = platforms.get("api_server").filter(|b| b.is_map()) else { continue };
            let extra = block.get("extra");
            if extra.is_some_and(|e| !e.is_map()) {
                // Hermes Agent's merge fails here and leaves what it has so far.
                config.api_server = enabled.is_some_and(coerce_bool);
                return Ok(config);
            }
            enabled = block.get("enabled").or(enabled);
            config.extra_port = port(extra.and_then(|e| e.get("port")), config.extra_port);
            config.port = port(block.get("port"), config.port);
        }
        enabled = root.get("api_server").and_then(|block| block.get("enabled")).or(enabled);
        config.api_server = enabled.is_some_and(coerce_bool);
        Ok(config)
    }
}

/// A `null` overrides what an earlier block said, as any other value does, and counts as absent.
fn port(value: Option<&Value>, earlier: Option<Option<i64>>) -> Option<Option<i64>> {
    match value {
        None => earlier,
        Some(Value::Null) => None,
        Some(value) => Some(int_of(value)),
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
            ("platforms: {api_server: {enabled: yes}}", true),
            ("platforms: {api_server: {enabled: 'on'}}", true),
            ("platforms: {api_server: {enabled: 'enabled'}}", false),
            ("platforms: {api_server: {enabled: 1}}", true),
            ("platforms: {api_server: {enabled: null}}", false),
            ("platforms: {api_server: {}}", false),
            ("platforms: {api_server: true}", false),
            ("gateway: {platforms: {api_server: {enabled: true}}}", true),
            ("gateway: {platforms: {api_server: {enabled: true}}}\nplatforms: {api_server: {enabled: false}}", false),
            ("platforms: {api_server: {enabled: true}}\napi_server: {enabled: false}", false),
            ("api_server: {enabled: true}", true),
            ("platforms: {api_server: {enabled: true, extra: null}}", false),
            ("platforms: {telegram: {enabled: true}}", false),
            ("platforms: [api_server]", false),
            ("", false),
        ] {
            assert_eq!(parse(text).api_server, enabled, "{text:?}");
        }
    }

    #[test]
    fn a_port_is_read_as_pyyaml_and_int_read_it() {
        for (text, port) in [
            ("9000", Some(Some(9000))),
            ("'9000'", Some(Some(9000))),
            ("9_000", Some(Some(9000))),
            ("0x2328", Some(Some(9000))),
            ("021450", Some(Some(9000))),
            ("150:00", Some(Some(9000))),
            ("9000.7", Some(Some(9000))),
            ("yes", Some(Some(1))),
            ("word", Some(None)),
            ("[9000]", Some(None)),
            ("null", None),
        ] {
            let config = parse(&format!("platforms: {{api_server: {{extra: {{port: {text}}}}}}}"));
            assert_eq!((config.extra_port, config.port), (port, None), "{text:?}");
            let config = parse(&format!("platforms: {{api_server: {{port: {text}}}}}"));
            assert_eq!((config.extra_port, config.port), (None, port), "{text:?}");
        }
    }

    #[test]
    fn the_mode_at_the_top_level_wins() {
        for (text, multiplex) in [
            ("multiplex_profiles: true", true),
            ("gateway: {multiplex_profiles: 'yes'}", true),
            ("gateway: {multiplex_profiles: true}\nmultiplex_profiles: false", false),
            ("gateway: {multiplex_profiles: true}\nmultiplex_profiles:", false),
            ("gateway: true", false),
            ("multiplex_profiles: [1]", true),
        ] {
            assert_eq!(parse(text).multiplex, multiplex, "{text:?}");
        }
    }

    #[test]
    fn a_file_that_hermes_agent_cannot_use_is_an_error() {
        for text in ["platforms: {", "- platforms", "platforms", "a: 1\n---\nb: 2"] {
            assert!(ConfigYaml::parse(text).is_err(), "{text:?}");
        }
    }
}
