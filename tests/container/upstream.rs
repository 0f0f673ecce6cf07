use crate::engine::{Container, KEY, Volume, once, until};

const PYTHON: &str = "/opt/hermes/.venv/bin/python";

/// A container on this volume with these variables, whose command does nothing.
fn with_variables(volume: &Volume, variables: &[&str]) -> Container {
    let at_home = volume.at_home();
    let mut options = vec!["-v", &*at_home];
    for variable in variables {
        options.extend(["-e", variable]);
    }
    Container::start(&options, &["sleep", "infinity"])
}

/// The status code of default's API for this key.
fn answer(container: &Container, key: &str) -> String {
    let script = format!(
        "curl -s -o /dev/null -w '%{{http_code}}' --max-time 20 -H 'Authorization: Bearer {key}' \\
             http://127.0.0.1:8642/v1/models"
    );
    container.sh(&script).ok()
}

#[test]
fn the_api_key_of_the_container_is_the_one_that_serves() {
    let volume = Volume::new();
    let key = format!("API_SERVER_KEY={KEY}");
    let container = with_variables(&volume, &[&key]);
    assert_eq!(container.sh("grep -c API_SERVER_KEY= /opt/data/.env || true").ok(), "0");
    container.start_ready(&["default"]);
    assert_eq!(answer(&container, KEY), "200");
    assert_eq!(answer(&container, &KEY.replace('0', "1")), "401");
    assert!(!container.logs().contains("API_SERVER_KEY"), "{}", container.logs());
}

#[test]
fn a_key_in_the_env_file_that_beats_the_containers_is_named() {
    let volume = Volume::new();
    let made = Container::on(&volume).sh("sed -n 's/^API_SERVER_KEY=//p' /opt/data/.env").ok();
    let ours = format!("API_SERVER_KEY={KEY}");
    let logs = with_variables(&volume, &[&ours]).logs();
    let warning =
        "hermes-setup: warning: API_SERVER_KEY of the container is not in use: /opt/data/.env has another one";
    assert!(logs.contains(warning) && !logs.contains(&made), "{logs}");
    let same = format!("API_SERVER_KEY={made}");
    assert!(!with_variables(&volume, &[&same]).logs().contains("warning: API_SERVER_KEY"));
}

#[test]
fn a_gateway_and_a_new_profile_have_the_bundled_skills() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    container.start_ready(&["default"]);
    container.exec(&["hermes", "profile", "create", "coder"]).code(0);
    for home in ["/opt/data", "/opt/data/profiles/coder"] {
        let count = container.sh(&format!("find {home}/skills -name SKILL.md | wc -l")).ok();
        assert!(count.parse::<u32>().unwrap() > 50, "{home} has {count} skills");
    }
    let optional = container.sh("ls /opt/hermes/optional-skills | wc -l").ok();
    assert!(optional.parse::<u32>().unwrap() > 5, "{optional}");
}

#[test]
fn the_client_knows_that_it_is_in_an_image_and_does_not_update_it() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    assert!(container.exec(&["hermes", "--version"]).ok().contains("Install method: docker"));
    let ran = container.exec(&["hermes", "update"]).code(1);
    assert_eq!((ran.out.as_str(), ran.err.lines().count()), ("", 1), "{}", ran.err);
    assert!(ran.err.contains("an image is not updated from inside"), "{}", ran.err);
    let ran = container.exec_as("hermes", &["/opt/hermes/.venv/bin/hermes", "update"]).code(1);
    assert!(ran.out.contains("Docker"), "{}", ran.out);
}

/// Volumes of an older image. The gate of `skills` is what an operator would miss.
const OLD: &str = "umask 022; mkdir -p profiles/coder profiles/broken
    printf '_config_version: 28\\nskills:\\n  write_mode: approve\\n' | tee config.yaml >profiles/coder/config.yaml
    printf 'a: [\\n' >profiles/broken/config.yaml
    for p in coder broken; do echo I am $p >profiles/$p/SOUL.md; done";

/// The version of the schema in each configuration.
fn versions(container: &Container) -> String {
    container.sh("cd /opt/data; grep -sh '^_config_version' config.yaml profiles/coder/config.yaml || true").ok()
}

#[test]
fn the_configuration_of_an_older_image_is_migrated_before_the_gateways() {
    let volume = Volume::new();
    volume.script(OLD);
    let container = Container::on(&volume);
    let latest = container.sh("sed -n 's/^_config_version: //p' /opt/hermes/docker/seed/config.yaml").ok();
    assert_eq!(versions(&container), format!("_config_version: {latest}\n_config_version: {latest}"));
    for home in ["/opt/data", "/opt/data/profiles/coder"] {
        let script = "import tools.write_approval as w; print(w.write_approval_enabled('skills'))";
        let home = format!("HERMES_HOME={home}");
        assert_eq!(container.exec_with(&["-u", "hermes", "-e", &home], &[PYTHON, "-c", script]).ok(), "True");
    }
    let logs = container.logs();
    for name in ["default", "coder"] {
        let line = format!("hermes-setup: info: configuration migrated from version 28 to {latest}");
        assert!(logs.lines().any(|l| l.starts_with(&line) && l.contains(&format!("profile={name}"))), "{logs}");
    }
    let failed = logs.lines().find(|line| line.contains("unable to migrate the configuration"));
    assert!(failed.is_some_and(|line| line.contains("profile=broken: hermes -p broken config migrate")), "{logs}");
    // The first pass names the client that the gateways run.
    container.sh("grep -m 1 -q 'begin .* client=[0-9]' /opt/data/logs/container-boot.log").code(0);
    // The boot pass came after it.
    container.sh("cd /opt/data; [ logs/container-boot.log -nt .hermes-s6.migrated ]").code(0);
    assert_eq!(container.sh("cat /opt/data/profiles/broken/config.yaml").ok(), "a: [");
    let found =
        "cd /opt/data; find . ! -user hermes; grep -h _config config.yaml.bak-* profiles/coder/config.yaml.bak-*";
    assert_eq!(container.sh(found).ok(), "_config_version: 28\n_config_version: 28");
}

#[test]
fn a_volume_that_this_image_has_seen_is_not_looked_at_again() {
    let volume = Volume::new();
    drop(Container::on(&volume));
    // Were Python started, it would migrate these.
    volume.script(OLD);
    let container = Container::on(&volume);
    assert_eq!(versions(&container), "_config_version: 28\n_config_version: 28");
    assert!(!container.logs().contains("migrate"), "{}", container.logs());
    // Another image.
    container.sh("echo 0.18.0 >/opt/data/.hermes-s6.migrated").code(0);
    drop(container);
    let container = with_variables(&volume, &["HERMES_SKIP_CONFIG_MIGRATION=1"]);
    assert_eq!(versions(&container), "_config_version: 28\n_config_version: 28");
    drop(container);
    assert!(!versions(&Container::on(&volume)).contains("28"));
}

#[test]
fn a_new_home_has_the_newest_configuration_and_nothing_is_migrated() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    let said = container.exec_as("hermes", &["hermes", "doctor"]);
    assert!(!said.out.contains("Config version outdated"), "{}", said.out);
    assert!(!container.logs().contains("migrated"), "{}", container.logs());
}

#[test]
fn the_programs_and_packages_of_hermes_agents_own_image_are_there() {
    let modules = "import mcp, acp, olm, mautrix.crypto, anthropic, boto3, azure.identity, hindsight_client
import telegram, discord, slack_bolt, googleapiclient, youtube_transcript_api, simple_term_menu";
    once(&["--entrypoint", PYTHON], &["-c", modules]).code(0);
    let programs = "uv --version; uvx --version; npx --version; npm --version; docker --version; hermes-acp --version";
    once(&["--entrypoint", "/bin/sh"], &["-ec", programs]).code(0);
    once(&["--entrypoint", "/bin/sh"], &["-ec", "cd /opt/hermes; grep -q MIT LICENSE; ls /usr/share/doc/hermes-s6"])
        .code(0);
}

#[test]
fn a_session_that_the_container_brings_is_written_once() {
    let volume = Volume::new();
    let container = with_variables(&volume, &["HERMES_AUTH_JSON_BOOTSTRAP={\"version\":1}"]);
    assert_eq!(
        container.sh("cd /opt/data; stat -c '%U %a' auth.json; cat auth.json").ok(),
        "hermes 600\n{\"version\":1}"
    );
    drop(container);
    let container = with_variables(&volume, &["HERMES_AUTH_JSON_BOOTSTRAP={\"version\":2}"]);
    assert_eq!(container.sh("cat /opt/data/auth.json").ok(), "{\"version\":1}");
}

#[test]
fn a_session_is_not_written_through_a_link() {
    let volume = Volume::new();
    volume.script("ln -s backup/auth.json auth.json; mkdir backup");
    let container = with_variables(&volume, &["HERMES_AUTH_JSON_BOOTSTRAP={\"version\":1}"]);
    assert_eq!(container.sh("cd /opt/data; readlink auth.json; ls backup").ok(), "backup/auth.json");
}

#[test]
fn a_blank_volume_starts_its_gateway_if_the_container_says_so_and_a_used_one_does_not() {
    let volume = Volume::new();
    let container = with_variables(&volume, &["HERMES_GATEWAY_BOOTSTRAP_STATE=running"]);
    until("default is up", 60, || container.state("default") == "up");
    until("its log is there", 60, || container.sh("[ -s /opt/data/logs/gateways/default/current ]").code == 0);
    container.exec(&["hermes-svc-stop", "-w", "default"]).code(0);
    drop(container);
    let container = with_variables(&volume, &["HERMES_GATEWAY_BOOTSTRAP_STATE=running"]);
    assert_eq!(container.state("default"), "down");
}

#[test]
fn the_agent_writes_below_its_home_wherever_that_is() {
    let container = Container::start(&["-e", "HERMES_HOME=/srv/agent"], &["sh", "-c", "env >/tmp/env; sleep infinity"]);
    until("the command runs", 60, || container.sh("grep -q SAFE_ROOT /tmp/env").code == 0);
    assert_eq!(container.sh("grep SAFE_ROOT /tmp/env").ok(), "HERMES_WRITE_SAFE_ROOT=/srv/agent");
    let denied = "from agent.file_safety import get_write_denied_error as d; print(d('/srv/x'), d('/opt/data/x'))";
    let said = once(&["--user", "hermes", "--entrypoint", PYTHON], &["-c", denied]).ok();
    assert!(said.contains("HERMES_WRITE_SAFE_ROOT") && said.ends_with(" None"), "{said}");
}

#[test]
fn an_env_file_that_is_open_to_others_is_closed_at_every_start() {
    let volume = Volume::with_profiles(&["default"]);
    volume.script("chmod 644 .env");
    let container = Container::on(&volume);
    assert_eq!(container.sh("stat -c '%U %a' /opt/data/.env").ok(), "hermes 600");
    // The file of a link is somebody else's business.
    container.sh_as_hermes("cd /opt/data; mv .env there; chmod 644 there; ln -s there .env").code(0);
    drop(container);
    assert_eq!(Container::on(&volume).sh("stat -c %a /opt/data/there").ok(), "644");
}

/// What root has at the top of the home and is not Hermes Agent's may be what root alone can read.
#[test]
fn root_gives_back_hermes_agents_files_and_keeps_its_own() {
    let volume = Volume::new();
    volume.script_as(
        "root",
        "umask 077; mkdir -p platforms/pairing pairing sessions; chown 10000:10000 platforms
         echo secret >host_secret.json; echo X=1 >.env; echo {} >auth.json
         echo {} >platforms/pairing/telegram.json; echo {} >pairing/slack.json",
    );
    let container = Container::on(&volume);
    let owners = "cd /opt/data; stat -c '%U %n' host_secret.json .env auth.json platforms/pairing/telegram.json pairing/slack.json";
    assert_eq!(
        container.sh(owners).ok(),
        "root host_secret.json\nhermes .env\nhermes auth.json\nhermes platforms/pairing/telegram.json\nhermes pairing/slack.json"
    );
    container.sh_as_hermes("! cat /opt/data/host_secret.json").code(0);
}

#[test]
fn the_entrypoints_of_older_compose_files_start_the_image() {
    for (entrypoint, words) in [
        ("/usr/bin/tini", &["-g", "--"][..]),
        ("/usr/bin/tini", &["-s", "-vv", "-p", "SIGTERM", "--", "/opt/hermes/docker/entrypoint.sh"]),
        ("/usr/bin/tini", &["--", "/init", "/opt/hermes/docker/main-wrapper.sh"]),
    ] {
        let command = [words, &["sh", "-c", "id -un; cat /proc/1/comm"]].concat();
        let ran = once(&["--entrypoint", entrypoint], &command).code(0);
        assert!(ran.out.contains("hermes\ns6-svscan"), "{} {}", ran.out, ran.err);
    }
}

#[test]
fn the_account_has_the_groups_of_the_container_and_of_the_docker_socket() {
    let script = "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/run/docker.sock\")'
        chgrp 64000 /run/docker.sock; chmod 660 /run/docker.sock
        exec /init /opt/hermes/docker/main-wrapper.sh sleep infinity";
    let options = ["--group-add", "64001", "--group-add", "audio", "--entrypoint", "/bin/sh"];
    let container = Container::start(&options, &["-c", script]);
    let groups = container.exec(&["s6-setuidgid", "hermes", "id", "-G"]).ok();
    let mut groups: Vec<_> = groups.split(' ').collect();
    groups.sort_unstable();
    assert_eq!(groups, ["10000", "29", "64000", "64001"]);
    container.exec(&["s6-setuidgid", "hermes", "test", "-w", "/run/docker.sock"]).code(0);
    // A gateway has them too.
    container.exec(&["hermes-svc-start", "-w", "default"]).code(0);
    let pid = container.status("default", "pid");
    let groups = container.sh(&format!("grep ^Groups: /proc/{pid}/status")).ok();
    assert!(groups.contains("64000") && groups.contains("64001"), "{groups}");
}

#[test]
fn root_s_group_is_not_the_accounts_even_if_the_socket_has_it() {
    let script = "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/run/docker.sock\")'
        exec /init /opt/hermes/docker/main-wrapper.sh sleep infinity";
    let container = Container::start(&["--entrypoint", "/bin/sh"], &["-c", script]);
    assert_eq!(container.exec(&["s6-setuidgid", "hermes", "id", "-G"]).ok(), "10000");
    assert!(container.logs().contains("warning: /run/docker.sock belongs to group 0"), "{}", container.logs());
}

#[test]
fn a_command_of_the_client_that_is_also_a_program_is_the_clients() {
    let said = once(&[], &["login", "--help"]).code(0).out;
    assert!(said.contains("usage: hermes login"), "{said}");
    let said = once(&[], &["mcp", "list"]).code(0).out;
    assert!(said.contains("No MCP servers configured"), "{said}");
    // These are the only ones.
    let help = once(&[], &["--help"]).code(0).out;
    let list = help.split_once('{').and_then(|(_, rest)| rest.split_once('}')).expect("a list of commands").0;
    let script = format!("for c in {}; do ! which $c || :; done", list.replace(',', " "));
    let shadowed = once(&["--entrypoint", "/bin/sh"], &["-c", &script]).code(0).out;
    assert!(
        shadowed.lines().all(|program| ["login", "mcp"].iter().any(|known| program.ends_with(known))),
        "{shadowed}"
    );
}

#[test]
fn an_alias_that_the_client_made_is_found_by_the_accounts_login_shell() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    let said = container.exec(&["hermes", "profile", "create", "coder"]).ok();
    assert!(said.contains("/opt/data/.local/bin/coder"), "{said}");
    let ran = container.exec_as("hermes", &["bash", "-lc", "coder --version"]);
    assert!(ran.code(0).out.contains("Hermes Agent v"));
    // Root runs nothing of the account's.
    container.exec(&["bash", "-lc", "! which coder"]).code(0);
}

#[test]
fn without_a_command_and_a_terminal_one_line_says_what_to_do() {
    let ran = once(&[], &[]).code(100);
    let said: Vec<_> = ran.err.lines().filter(|line| line.starts_with("hermes-s6: ")).collect();
    assert_eq!(said.len(), 1, "{}", ran.err);
    assert!(said[0].contains("'gateway run'") && said[0].contains("-it"), "{}", said[0]);
}
