//! Which variables of the container's environment belong to `default` alone.
//!
//! A gateway switches a platform on as soon as it sees that platform's credentials, whatever its profile's
//! configuration says. So with the container's environment, every named profile would open the API server of `default`
//! (D5) and log in as its bots (D6), and the platform would throw out one of the two again and again. A named profile
//! has its own credentials in its `.env`.
//!
//! So a rule drops what identifies `default` to a platform, and what opens a port. A list of names would age with every
//! new platform. Policy stays (`*_ALLOWED_USERS`, `*_HOME_CHANNEL`, `*_REQUIRE_MENTION`, proxies), because a profile
//! with its own bot may share it, and so do the keys of models and tools, and what the operator's own programs need.
//! `tests/suite/gateway/shared.rs` reads every name out of the installed Hermes Agent and holds the rule against it.

use crate::ground::environment::Environment;
use std::ffi::{OsStr, OsString};

/// What begins like this configures a server or an account of `default`, and is dropped whole.
const SERVERS: [&str; 9] = [
    "API_SERVER_",
    "BUZZ_",
    "GATEWAY_PROXY_",
    "GATEWAY_RELAY_",
    "HERMES_DASHBOARD_",
    "MSGRAPH_",
    "TWILIO_",
    "WEBHOOK_",
    "WECOM_CALLBACK_",
];

/// The platforms of Hermes Agent. Of their variables those with an ending of `PRIVATE` are dropped.
const PLATFORMS: [&str; 23] = [
    "BLUEBUBBLES_",
    "DINGTALK_",
    "DISCORD_",
    "EMAIL_",
    "FEISHU_",
    "GOOGLE_CHAT_",
    "HASS_",
    "IRC_",
    "LINE_",
    "MATRIX_",
    "MATTERMOST_",
    "NTFY_",
    "PHOTON_",
    "QQ_",
    "RAFT_",
    "SIMPLEX_",
    "SLACK_",
    "TEAMS_",
    "TELEGRAM_",
    "WECOM_",
    "WEIXIN_",
    "WHATSAPP_",
    "YUANBAO_",
];

/// How a platform's credentials, identities and listeners end.
const PRIVATE: [&str; 12] = [
    "_BIND",
    "_ENABLED",
    "_EVENTS_URL",
    "_HOST",
    "_ID",
    "_JSON",
    "_KEY",
    "_PASSWORD",
    "_PORT",
    "_PUBLIC_URL",
    "_SECRET",
    "_TOKEN",
];

/// Endings that are a bot's own on every platform, also on one that this table does not know.
const BOTS: [&str; 12] = [
    "_APP_SECRET",
    "_APP_TOKEN",
    "_BOT_SECRET",
    "_BOT_TOKEN",
    "_CHANNEL_ACCESS_TOKEN",
    "_CHANNEL_SECRET",
    "_SIGNING_SECRET",
    "_VERIFY_TOKEN",
    "_WEBHOOK_HOST",
    "_WEBHOOK_PORT",
    "_WEBHOOK_SECRET",
    "_WEBHOOK_URL",
];

/// Variables that the endings do not show, sorted.
const NAMES: [&str; 19] = [
    // With this, every Google service takes the gateway for `default`. For the models of Vertex there is
    // VERTEX_CREDENTIALS_PATH, which stays.
    "GOOGLE_APPLICATION_CREDENTIALS",
    // These open the stores of secrets that `default` reads its own from.
    "BWS_ACCESS_TOKEN",
    "OP_CONNECT_TOKEN",
    "OP_SERVICE_ACCOUNT_TOKEN",
    // With this, the agent of a profile can become root.
    "SUDO_PASSWORD",
    // These are the supervisor's of the container's own command.
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    // These identify an account, or name the channel that a bot sits in.
    "EMAIL_ADDRESS",
    "GOOGLE_CHAT_SUBSCRIPTION",
    "GOOGLE_CHAT_SUBSCRIPTION_NAME",
    "IRC_CHANNEL",
    "IRC_NICKNAME",
    "NTFY_PUBLISH_TOPIC",
    "NTFY_TOPIC",
    "RAFT_PROFILE",
    "SIGNAL_ACCOUNT",
    "SIMPLEX_WS_URL",
    "TEAMS_INCOMING_WEBHOOK_URL",
    "WHATSAPP_CLOUD_WABA_ID",
];

/// Variables that stay although a rule above covers them.
const SHARED: [&str; 15] = [
    // Servers that a gateway calls. It opens no port for them.
    "EMAIL_IMAP_HOST",
    "EMAIL_IMAP_PORT",
    "EMAIL_SMTP_HOST",
    "EMAIL_SMTP_PORT",
    "IRC_PORT",
    "PHOTON_DASHBOARD_HOST",
    "PHOTON_SPECTRUM_HOST",
    "QQ_PORTAL_HOST",
    // Policy: whose mail is believed, and where a message goes.
    "EMAIL_AUTHSERV_ID",
    "TEAMS_CHANNEL_ID",
    "TEAMS_CHAT_ID",
    "TEAMS_TEAM_ID",
    "TEAMS_TENANT_ID",
    "TELEGRAM_CRON_THREAD_ID",
    // The key of a model that understands speech.
    "QQ_STT_API_KEY",
];

/// Drop from a named profile's environment the variables that belong to `default`. Variables from the slot's `env/`
/// stay. Returns the names of those that were dropped.
pub fn scrub(environment: &mut Environment) -> Vec<OsString> {
    environment.drop_unless_explicit(belongs_to_default)
}

fn belongs_to_default(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let begins = |table: &[&str]| table.iter().any(|prefix| name.starts_with(prefix));
    let ends = |table: &[&str]| table.iter().any(|ending| name.ends_with(ending));
    // The room that a platform's messages go to by default (`*_HOME_CHANNEL_THREAD_ID`), and who may write to it.
    let policy = ["_HOME_", "_ALLOW"].iter().any(|word| name.contains(word));
    let private = begins(&SERVERS) || begins(&PLATFORMS) && ends(&PRIVATE) || ends(&BOTS);
    NAMES.contains(&name) || private && !policy && !SHARED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows D5, D6 of docs/failures.md.
    #[test]
    fn credentials_and_listeners_go_and_policy_stays() {
        let gone = [
            "API_SERVER_ENABLED",
            "API_SERVER_KEY",
            "API_SERVER_PORT",
            "BUZZ_PRIVATE_KEY",
            "BWS_ACCESS_TOKEN",
            "DISCORD_BOT_TOKEN",
            "EMAIL_PASSWORD",
            "FEISHU_WEBHOOK_PORT",
            "GATEWAY_PROXY_KEY",
            "GATEWAY_PROXY_URL",
            "GATEWAY_RELAY_SECRET",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "HERMES_DASHBOARD_BASIC_AUTH_PASSWORD",
            "LINE_HOST",
            "MATRIX_ACCESS_TOKEN",
            "MSGRAPH_CLIENT_SECRET",
            "NEWCHAT_APP_SECRET",
            "NEWCHAT_BOT_TOKEN",
            "NEWCHAT_WEBHOOK_URL",
            "NTFY_TOPIC",
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
            "BUZZ_ALLOWED_USERS",
            "DATABASE_PASSWORD",
            "DISCORD_REQUIRE_MENTION",
            "EMAIL_IMAP_HOST",
            "GATEWAY_ALLOWED_USERS",
            "GITHUB_TOKEN",
            "HERMES_HOME",
            "HTTPS_PROXY",
            "NOTION_TOKEN",
            "OPENROUTER_API_KEY",
            "PATH",
            "QQ_STT_API_KEY",
            "SIGNAL_HTTP_URL",
            "TELEGRAM_ALLOWED_USERS",
            "TELEGRAM_HOME_CHANNEL",
            "TELEGRAM_HOME_CHANNEL_THREAD_ID",
            "VERTEX_CREDENTIALS_PATH",
            "WECOM_CALLBACK_ALLOWED_USERS",
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
