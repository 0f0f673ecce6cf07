//! What a named profile gets of the container's environment, held against every name in the installed Hermes Agent.

use super::ground::Ground;
use crate::support::agent;
use std::collections::BTreeSet;
use std::fs;

/// How the names of secrets and of listeners end.
const SENSITIVE: [&str; 9] =
    ["_BIND", "_CREDENTIALS", "_CREDENTIALS_FILE", "_HOST", "_KEY", "_PASSWORD", "_PORT", "_SECRET", "_TOKEN"];

/// Names that end like this and reach a named profile all the same, each group for one reason.
const SHARED: [(&str, &[&str]); 4] = [
    (
        "models, tools and memory, which serve every profile",
        &[
            "ANTHROPIC_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "AZURE_ANTHROPIC_KEY",
            "AZURE_CLIENT_SECRET",
            "CLAUDE_CODE_OAUTH_TOKEN",
            "COPILOT_GITHUB_TOKEN",
            "FAL_KEY",
            "GH_TOKEN",
            "GITHUB_TOKEN",
            "HERMES_GEMINI_CLIENT_SECRET",
            "HERMES_LANGFUSE_PUBLIC_KEY",
            "HERMES_LANGFUSE_SECRET_KEY",
            "HERMES_MEET_REALTIME_KEY",
            "HF_TOKEN",
            "HUGGINGFACE_HUB_TOKEN",
            "HUGGINGFACE_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "LANGFUSE_PUBLIC_KEY",
            "LANGFUSE_SECRET_KEY",
            "MODAL_TOKEN_SECRET",
            "TERMINAL_SSH_KEY",
            "TOOL_GATEWAY_USER_TOKEN",
            "VOICE_TOOLS_OPENAI_KEY",
        ],
    ),
    (
        "servers that a gateway calls",
        &[
            "COPILOT_GH_HOST",
            "EMAIL_IMAP_HOST",
            "EMAIL_IMAP_PORT",
            "EMAIL_SMTP_HOST",
            "EMAIL_SMTP_PORT",
            "HERMES_HONCHO_HOST",
            "IRC_PORT",
            "MEM0_HOST",
            "OP_CONNECT_HOST",
            "PHOTON_DASHBOARD_HOST",
            "PHOTON_SPECTRUM_HOST",
            "QQ_PORTAL_HOST",
            "TERMINAL_SSH_HOST",
            "TERMINAL_SSH_PORT",
        ],
    ),
    ("set by Hermes Agent for its own children", &["CAMOFOX_SESSION_KEY", "HERMES_RPC_TOKEN", "HERMES_SESSION_KEY"]),
    (
        "words of its code, and no variables",
        &[
            "API_KEY",
            "AUTH_BIND",
            "AUTH_JWT_SECRET",
            "CHARS_PER_TOKEN",
            "COMPRESSED_SUMMARY_METADATA_KEY",
            "CONFIG_KEY",
            "CREDITS_USAGE_KEY",
            "DEFAULT_BROWSER_CDP_PORT",
            "DEFAULT_DASHBOARD_HOST",
            "DEFAULT_HOST",
            "DEFAULT_PORT",
            "DEFAULT_SPECTRUM_HOST",
            "DIALOG_BRIDGE_HOST",
            "KIND_SECRET",
            "LOOPBACK_HOST",
            "LOOPBACK_PORT",
            "MISSING_CREDENTIALS",
            "PORTAL_HOST",
            "SILENT_REPLY_TOKEN",
            "TASK_KEY",
        ],
    ),
];

/// Every name in the sources of the installed Hermes Agent that ends like a secret or a listener: quoted in Python, or
/// declared in a `plugin.yaml`.
fn sensitive_names(ground: &Ground) -> BTreeSet<String> {
    let libraries = agent::hermes().ancestors().nth(2).expect("a virtual environment").join("lib");
    let packages: Vec<_> = fs::read_dir(libraries).expect("lib").flatten().map(|python| python.path()).collect();
    let parts = ["agent", "cron", "gateway", "hermes_cli", "plugins", "providers", "tools"];
    let parts = packages.iter().flat_map(|python| parts.map(|part| python.join("site-packages").join(part)));
    let pattern = format!("(\"|'|: )[A-Z][A-Z0-9_]*({})(\"|'|$)", SENSITIVE.join("|"));
    let grep = ground.tool("grep").args(["-rhoE", "--include=*.py", "--include=*.yaml", &pattern]);
    let ran = grep.args(parts.filter(|part| part.is_dir())).run();
    let name = |line: &str| line.trim_matches(['"', '\'', ':', ' ']).to_string();
    let names: BTreeSet<_> = ran.stdout.lines().map(name).collect();
    assert!(names.contains("TELEGRAM_BOT_TOKEN") && names.contains("OPENROUTER_API_KEY"), "{ran}");
    names
}

/// Rows D5, D6 of docs/failures.md. A new release of Hermes Agent may bring names that the rule does not know. Then this
/// test names them, and somebody decides: `src/work/gateway/scrub.rs`, or `SHARED` above.
#[test]
fn a_named_profile_gets_no_secret_and_no_listener_of_default() {
    let ground = Ground::new();
    let names = sensitive_names(&ground);
    let set = |profile: &str| {
        let tool = ground.tool("hermes-run-gateway").args(["-P", profile, "env"]);
        let ran = names.iter().fold(tool, |tool, name| tool.env(name, "of-default")).run();
        assert_eq!(ran.code, 0, "{ran}");
        let left: BTreeSet<_> = ran.stdout.lines().filter_map(|line| line.strip_suffix("=of-default")).collect();
        left.into_iter().map(str::to_string).collect::<BTreeSet<_>>()
    };
    assert_eq!(set("default"), names);
    let shared = |name: &str| name.ends_with("_API_KEY") || SHARED.iter().any(|(_, group)| group.contains(&name));
    let leaked: Vec<_> = set("coder").into_iter().filter(|name| !shared(name)).collect();
    assert_eq!(leaked, Vec::<String>::new());
}
