//! Which variables of the container's environment belong to `default` alone.
//!
//! A gateway switches a platform on as soon as it sees that platform's credentials, whatever its profile's
//! configuration says. So with the container's environment, every named profile would open the API server of `default`
//! (D5) and log in as its bots (D6), and the platform would throw out one of the two again and again. A named profile
//! has its own credentials in its `.env`.
//!
//! A variable is dropped if it switches a platform on, identifies the user there, or opens a port. Variables for
//! preferences and policy stay (`*_ALLOWED_USERS`, `*_HOME_CHANNEL`, `*_REQUIRE_MENTION`, proxies), because a profile
//! with its own bot may share them. The lists follow `gateway/config.py` and `plugins/platforms/*/plugin.yaml` of
//! Hermes Agent 0.19.

use crate::ground::environment::Environment;
use std::ffi::{OsStr, OsString};

/// Prefixes of variables that are dropped.
const PREFIXES: [&str; 7] = [
    "API_SERVER_",
    "BLUEBUBBLES_WEBHOOK_",
    "GATEWAY_RELAY_",
    "MSGRAPH_WEBHOOK_",
    "TWILIO_",
    "WEBHOOK_",
    "WECOM_CALLBACK_",
];

/// Suffixes of variables that are dropped. Bots have these on every platform, also on future ones.
const SUFFIXES: [&str; 3] = ["_BOT_TOKEN", "_WEBHOOK_HOST", "_WEBHOOK_PORT"];

/// Other variables that are dropped, sorted.
const NAMES: [&str; 66] = [
    "BLUEBUBBLES_PASSWORD",
    "DINGTALK_CLIENT_ID",
    "DINGTALK_CLIENT_SECRET",
    "DINGTALK_WEBHOOK_URL",
    "EMAIL_ADDRESS",
    "EMAIL_PASSWORD",
    "FEISHU_APP_ID",
    "FEISHU_APP_SECRET",
    "FEISHU_BOT_OPEN_ID",
    "FEISHU_BOT_USER_ID",
    "FEISHU_ENCRYPT_KEY",
    "FEISHU_VERIFICATION_TOKEN",
    "GOOGLE_CHAT_HTTP_EVENTS_URL",
    "GOOGLE_CHAT_SERVICE_ACCOUNT_JSON",
    "GOOGLE_CHAT_SUBSCRIPTION",
    "GOOGLE_CHAT_SUBSCRIPTION_NAME",
    "HASS_TOKEN",
    "IRC_CHANNEL",
    "IRC_NICKNAME",
    "IRC_NICKSERV_PASSWORD",
    "IRC_SERVER_PASSWORD",
    "LINE_CHANNEL_ACCESS_TOKEN",
    "LINE_CHANNEL_SECRET",
    "LINE_PORT",
    "LINE_PUBLIC_URL",
    "MATRIX_ACCESS_TOKEN",
    "MATRIX_DEVICE_ID",
    "MATRIX_PASSWORD",
    "MATRIX_RECOVERY_KEY",
    "MATRIX_USER_ID",
    "MATTERMOST_TOKEN",
    "NTFY_TOKEN",
    "NTFY_TOPIC",
    "PHOTON_DASHBOARD_PROJECT_ID",
    "PHOTON_PROJECT_ID",
    "PHOTON_PROJECT_SECRET",
    "PHOTON_SIDECAR_PORT",
    "PHOTON_SIDECAR_TOKEN",
    "QQ_APP_ID",
    "QQ_CLIENT_SECRET",
    "RAFT_PROFILE",
    "SIGNAL_ACCOUNT",
    "SIMPLEX_WS_URL",
    "SLACK_APP_TOKEN",
    "SLACK_SIGNING_SECRET",
    "TEAMS_CLIENT_ID",
    "TEAMS_CLIENT_SECRET",
    "TEAMS_GRAPH_ACCESS_TOKEN",
    "TEAMS_INCOMING_WEBHOOK_URL",
    "TEAMS_PORT",
    "TELEGRAM_WEBHOOK_SECRET",
    "TELEGRAM_WEBHOOK_URL",
    "WECOM_BOT_ID",
    "WECOM_SECRET",
    "WEIXIN_ACCOUNT_ID",
    "WEIXIN_TOKEN",
    "WHATSAPP_CLOUD_ACCESS_TOKEN",
    "WHATSAPP_CLOUD_APP_ID",
    "WHATSAPP_CLOUD_APP_SECRET",
    "WHATSAPP_CLOUD_PHONE_NUMBER_ID",
    "WHATSAPP_CLOUD_VERIFY_TOKEN",
    "WHATSAPP_ENABLED",
    "YUANBAO_APP_ID",
    "YUANBAO_APP_KEY",
    "YUANBAO_APP_SECRET",
    "YUANBAO_BOT_ID",
];

/// Drop from a named profile's environment the variables that belong to `default`. Variables from the slot's `env/`
/// stay. Returns the names of those that were dropped.
pub fn scrub(environment: &mut Environment) -> Vec<OsString> {
    environment.drop_unless_explicit(belongs_to_default)
}

fn belongs_to_default(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    PREFIXES.iter().any(|p| name.starts_with(p))
        || SUFFIXES.iter().any(|s| name.ends_with(s))
        || NAMES.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(NAMES.is_sorted());
    }

    /// Rows D5, D6 of docs/failures.md.
    #[test]
    fn credentials_and_listeners_go_and_policy_stays() {
        let gone = [
            "API_SERVER_ENABLED",
            "API_SERVER_KEY",
            "API_SERVER_PORT",
            "DISCORD_BOT_TOKEN",
            "EMAIL_PASSWORD",
            "FEISHU_WEBHOOK_PORT",
            "GATEWAY_RELAY_SECRET",
            "MATRIX_ACCESS_TOKEN",
            "NEWCHAT_BOT_TOKEN",
            "SLACK_APP_TOKEN",
            "SLACK_BOT_TOKEN",
            "SMS_WEBHOOK_PORT",
            "TELEGRAM_BOT_TOKEN",
            "TELEGRAM_WEBHOOK_URL",
            "TWILIO_AUTH_TOKEN",
            "WEBHOOK_ENABLED",
            "WECOM_CALLBACK_TOKEN",
            "WHATSAPP_ENABLED",
        ];
        let stays = [
            "ANTHROPIC_API_KEY",
            "DISCORD_REQUIRE_MENTION",
            "GATEWAY_ALLOWED_USERS",
            "GITHUB_TOKEN",
            "HERMES_HOME",
            "HTTPS_PROXY",
            "OPENROUTER_API_KEY",
            "PATH",
            "SIGNAL_HTTP_URL",
            "TELEGRAM_ALLOWED_USERS",
            "TELEGRAM_HOME_CHANNEL",
        ];
        for name in gone {
            assert!(belongs_to_default(OsStr::new(name)), "{name}");
        }
        for name in stays {
            assert!(!belongs_to_default(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn what_the_slot_gives_a_profile_is_its_own() {
        let mut environment = Environment::default();
        let set = |name: &str, value: &str| (name.into(), Some(value.into()));
        environment.apply(vec![set("API_SERVER_KEY", "theirs"), set("TELEGRAM_BOT_TOKEN", "theirs")]);
        environment.apply_explicit(vec![set("TELEGRAM_BOT_TOKEN", "own")]);
        assert_eq!(scrub(&mut environment), ["API_SERVER_KEY"]);
        assert_eq!(environment.get("TELEGRAM_BOT_TOKEN"), Some(OsStr::new("own")));
    }
}
