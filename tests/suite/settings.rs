//! Our reading of `.env`, `config.yaml`, `gateway.json` and the managed files, compared with that of Hermes Agent's own loader, on
//! generated files. For each file, either both readings are the same, or ours says that the answer is not known.
//!
//! The files are like those that people write, some of them with a typing error. What is known to be read differently
//! is left out of the files. In `config.yaml`, off the paths that are read, that is text which PyYAML refuses and
//! saphyr-parser accepts: a tab between words, an anchor that occurs twice, a date that does not exist, a number
//! without digits, `=`, an unknown tag, a merge of something that is not a mapping, a key that is not a scalar, a block
//! scalar within braces, a value on its own line behind `?`, an `extra` that is not a mapping, and a key at the top that is no string. In `.env` it is two
//! variables in one line, NULs and UTF-16, escapes of control characters, and digits of other scripts.

use crate::differential::Dice;
use crate::support::{Tree, agent, wait_until};
use hermes_s6::under_test::{Account, Environment, Home, Inherited, Profile, Settings, multiplex_with};
use std::path::Path;

/// The port that a gateway is told to use if we find no pin.
const ALLOCATED: u16 = 9499;

/// A program that runs Hermes Agent's loaders on several homes. Each home comes with the port in its gateway's
/// environment.
const EACH: &str = "
import gateway, json, logging, os, pathlib, sys
logging.disable(logging.CRITICAL)
from hermes_cli.env_loader import load_hermes_dotenv
from gateway.config import load_gateway_config, Platform
from gateway.platforms.api_server import _coerce_port, DEFAULT_PORT
out, sys.stdout = sys.stdout, sys.stderr
# The part of gateway/run.py that takes variables from config.yaml.
begin, end = \"_config_path = _hermes_home / 'config.yaml'\", '        # Terminal config is nested'
run = pathlib.Path(gateway.__path__[0], 'run.py').read_text()
bridge = begin + run.split(begin, 1)[1].split(end, 1)[0] + '    except Exception: pass'
assert 'os.environ[_key] = str(_val)' in bridge
variables = dict(os.environ)
for line in sys.stdin:
    home, port = line.split()
    os.environ.clear()
    os.environ.update(variables, HERMES_HOME=home, API_SERVER_PORT=port, HERMES_MANAGED_DIR=home + '/managed')
    try:
        load_hermes_dotenv(hermes_home=home, project_env=home + '/venv/lib/python3/site-packages/.env')
        exec(bridge, {'os': os, '_hermes_home': pathlib.Path(home)})
        config = load_gateway_config()
        server = config.platforms.get(Platform.API_SERVER)
        port = server.extra.get('port') if server else None
        port = _coerce_port(os.getenv('API_SERVER_PORT', DEFAULT_PORT) if port is None else port, DEFAULT_PORT)
        said = {'enabled': bool(server and server.enabled), 'port': str(port), 'multiplex': config.multiplex_profiles}
    except Exception as e:
        said = {'raised': type(e).__name__}
    print(json.dumps(said), file=out)
";

/// A random element of the slice.
fn one<'a>(dice: &mut Dice, of: &[&'a str]) -> &'a str {
    of[dice.below(of.len())]
}

/// A port, a switch, or something similar, in a form in which people may write it in either file.
fn value(dice: &mut Dice) -> String {
    let plain = [
        "9000",
        "9001",
        "8642",
        "true",
        "yes",
        "on",
        "off",
        "No",
        "false",
        "1",
        "0",
        "True",
        "TRUE",
        "y",
        "null",
        "~",
        "",
        "9_000",
        "+9000",
        "-1",
        "0x2328",
        "021450",
        "0b11",
        "0_",
        "9000.0",
        "9e3",
        "2:30:00",
        "70000",
        "09000",
        "soon",
        "x: y",
        "1.5",
        ".inf",
        "2026-11-27",
        "[9000]",
        "{a: 1}",
        "[]",
        "{}",
        "a b",
        "9000 # mine",
        "#",
        "@x",
        "`",
        "%x",
        "*a",
        "!!int 9000",
        "!!str 9000",
        "! 9000",
        "!!bool yes",
        "!!float 1",
        "\"9000\"",
        "'9000'",
        "\"yes\"",
        "' on '",
        "\"\\x39000\"",
        "\"90\\\n  00\"",
        "'it''s'",
        "|\n    9000",
        ">-\n    9000",
        "${A}",
        "${A:-9000}",
        "${B}",
        "9000\u{a0}",
        "99999999999999999999",
        "- 9000",
    ];
    one(dice, &plain).to_string()
}

/// A random value for this key, in a form in which people may write it.
fn value_of(dice: &mut Dice, key: &str) -> String {
    match key.trim_matches(['\'', '#', ' ']) {
        _ if dice.below(3) == 0 => value(dice),
        "enabled" | "multiplex_profiles" | "API_SERVER_ENABLED" | "GATEWAY_MULTIPLEX_PROFILES" => {
            one(dice, &["true", "true", "yes", "on", "1", "false", "'true'", "\"on\""]).to_string()
        }
        "port" | "API_SERVER_PORT" => one(dice, &["9000", "9001", "'9002'", "\"9003\""]).to_string(),
        _ => one(dice, &["abc", "a/b", "5", "[1, 2]", "{k: v}", "'it''s'", "~"]).to_string(),
    }
}

/// A random `.env` of a few lines.
fn dotenv(dice: &mut Dice) -> String {
    let names = [
        "API_SERVER_PORT",
        "API_SERVER_PORT",
        "API_SERVER_ENABLED",
        "API_SERVER_ENABLED",
        "API_SERVER_KEY",
        "A",
        "B",
        "GATEWAY_MULTIPLEX_PROFILES",
        "OPENAI_API_KEY",
        "'API_SERVER_PORT'",
        "# API_SERVER_PORT",
        "",
    ];
    let mut text = if dice.below(20) == 0 { "\u{feff}".to_string() } else { String::new() };
    for _ in 0..1 + dice.below(6) {
        let before = one(dice, &["", "", "", "", "export ", " ", "\t", "export\t"]);
        let equals = one(dice, &["=", "=", "=", "=", "=", "=", "=", "=", "=", "=", "=", " = ", "= ", "", " ", "=="]);
        let after = one(dice, &["", "", "", " ", " # mine", "# mine", "'", "\"", "\\"]);
        let end =
            one(dice, &["\n", "\n", "\n", "\n", "\n", "\n", "\n", "\n", "\n", "\n", "\n", "\r\n", "\r", "\n\n", " \n"]);
        let name = one(dice, &names);
        text += &format!("{before}{name}{equals}{}{after}{end}", value_of(dice, name));
    }
    text
}

/// A random mapping in block style at this depth, with the right keys and others.
fn mapping(dice: &mut Dice, depth: usize, keys: &[&str]) -> String {
    let mut text = String::new();
    for _ in 0..1 + dice.below(4) {
        let odd = ["1", "on", "\"q\"", "!!str y"];
        let key = match dice.below(24) {
            0 if depth > 0 => one(dice, &odd),
            1..5 => one(dice, &["model", "x", "telegram"]),
            _ => one(dice, keys),
        };
        let quoted = match dice.below(16) {
            0 => format!("'{key}'"),
            1 => format!("\"{key}\""),
            _ => key.to_string(),
        };
        let below: &[&str] = match key {
            "gateway" => &["platforms", "platforms", "multiplex_profiles"],
            "platforms" => &["api_server", "api_server", "api_server"],
            "api_server" => &["enabled", "enabled", "port", "extra", "extra"],
            "extra" => &["port", "port", "host"],
            "telegram" if depth > 0 && dice.below(2) == 0 => &["enabled", "extra"],
            _ => &[],
        };
        let mark = match dice.below(20) {
            0 => one(dice, &["!!map ", "! "]),
            _ => "",
        };
        let indent = "  ".repeat(depth);
        text += &match dice.below(40) {
            0..2 if key != "extra" => format!("{indent}{quoted}: {}\n", value(dice)),
            2..4 if key != "extra" => format!(
                "{indent}{quoted}: {}\n",
                one(dice, &["*a", "*b", "{<<: *a}", "{<<: [*a, *b]}", "null", "[*a]"])
            ),
            4..10 if !below.is_empty() => format!("{indent}{quoted}: {mark}{}\n", flow(dice, below)),
            _ if !below.is_empty() => {
                format!("{indent}{quoted}: {}\n{}", mark.trim_end(), mapping(dice, depth + 1, below))
            }
            _ => format!("{indent}{quoted}: {}\n", value_of(dice, key)),
        };
    }
    text
}

/// A random mapping in flow style, one level deep.
fn flow(dice: &mut Dice, keys: &[&str]) -> String {
    let entries: Vec<String> = (0..dice.below(4))
        .map(|_| {
            let colon = one(dice, &[": ", ": ", ": ", ": ", ": ", ": ", ":", " : "]);
            let key = one(dice, keys);
            let value = match key {
                "api_server" => flow(dice, &["port", "enabled", "enabled", "extra"]),
                "extra" => flow(dice, &["port", "host"]),
                _ => value_of(dice, key).trim_start_matches(['|', '>', '-', '\n', ' ']).to_string(),
            };
            format!("{key}{colon}{value}")
        })
        .collect();
    format!("{{{}}}", entries.join(one(dice, &[", ", ",", " ,\n   "])))
}

fn config(dice: &mut Dice) -> String {
    let before = one(
        dice,
        &[
            "",
            "",
            "",
            "",
            "---\n",
            "%YAML 1.1\n---\n",
            "\u{feff}",
            "# mine\n",
            "a: &a {port: 1}\n",
            "a: &a {port: 1}\nb: &b {enabled: true, x: [*a]}\n",
        ],
    );
    let after = one(dice, &["", "", "", "", "...\n", "---\n", "\n\n", "# end"]);
    let keys = [
        "gateway",
        "gateway",
        "platforms",
        "platforms",
        "platforms",
        "api_server",
        "multiplex_profiles",
        "multiplex_profiles",
        "API_SERVER_ENABLED",
        "API_SERVER_PORT",
        "GATEWAY_MULTIPLEX_PROFILES",
    ];
    format!("{before}{}{after}", mapping(dice, 0, &keys))
}

/// A random legacy `gateway.json`.
fn legacy(dice: &mut Dice) -> String {
    let value = |dice: &mut Dice, of: &[&str]| {
        if dice.below(8) == 0 {
            one(dice, &["null", "[]", "{}", "\"x\"", "1.5", "0"]).to_string()
        } else {
            one(dice, of).to_string()
        }
    };
    let port = value(dice, &["9004", "9005", "\"9006\"", "{\"port\": 1}"]);
    let extra = if dice.below(3) == 0 {
        "{}".to_string()
    } else {
        value(dice, &[&format!("{{\"port\": {port}, \"host\": \"::1\"}}")])
    };
    let enabled = value(dice, &["true", "true", "\"on\"", "1", "false"]);
    let server = value(
        dice,
        &[
            &format!("{{\"enabled\": {enabled}, \"port\": {port}, \"extra\": {extra}}}"),
            &format!("{{\"extra\": {extra}}}"),
        ],
    );
    let platforms = value(dice, &[&format!("{{\"api_server\": {server}}}")]);
    let mode = value(dice, &["true", "false", "\"yes\""]);
    match dice.below(12) {
        0 => one(dice, &["", "[]", "[1]", "null", "{}", "{\"x\": NaN}", "\u{feff}{}"]).to_string(),
        1 => format!("{{\"gateway\": {{\"multiplex_profiles\": {mode}}}, \"platforms\": {platforms}}}"),
        2 => format!("{{\"gateway\": {{\"platforms\": {platforms}}}, \"api_server\": {server}}}"),
        3 => format!("{{\"multiplex_profiles\": {mode}, \"platforms\": {platforms}, \"platforms\": {platforms}}}"),
        _ => format!("{{\"platforms\": {platforms}, \"x\": \"\\u00e9\"}}"),
    }
}

/// Change the text in a place or two, as a slip of a hand would. Two lines never become one.
fn slip(dice: &mut Dice, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..dice.below(3) {
        if chars.is_empty() {
            break;
        }
        let at = dice.below(chars.len());
        let odd = ['\n', ' ', ':', '#', '\'', '"', '{', '}', '[', ']', ',', '-', 'é', '$', '%'];
        match dice.below(4) {
            0 | 1 if matches!(chars[at], '\n' | '\r') => {}
            0 => drop(chars.remove(at)),
            1 => chars[at] = odd[dice.below(odd.len())],
            2 => chars.insert(at, odd[dice.below(odd.len())]),
            _ => chars.truncate(at),
        }
    }
    chars.into_iter().collect()
}

/// Our reading of a home. `None` means that we do not know.
#[derive(Debug)]
struct Ours {
    /// Is the API server enabled, and on which port will it listen? The port is `None` if no server could listen on it.
    server: Option<(bool, Option<u16>)>,
    /// The port that the gateway is told to use.
    told: u16,
    multiplex: Option<bool>,
    faults: Vec<String>,
}

fn ours(path: &Path, account: &Account) -> Ours {
    let default = Profile::default_profile();
    let home = Home::open_as(path, account.clone()).expect("home");
    let at = |name: &str| path.join(name).into_os_string();
    let variables = [("HERMES_MANAGED_DIR".into(), at("managed")), ("PATH".into(), at("venv/bin"))];
    let inherited = Inherited::given(Environment::of(variables));
    let said = home.act(|dir| Settings::read(dir, &default, &inherited)).expect("settings");
    let is_unclear = !said.is_understood();
    let is_no_port = said.faults.iter().any(|fault| fault.text.starts_with("there is no port"));
    let told = said.pin.map_or(ALLOCATED, |pin| pin.port);
    Ours {
        server: (!is_unclear).then_some((said.api_server, (!is_no_port).then_some(told))),
        told,
        multiplex: multiplex_with(&home, &inherited).ok(),
        faults: said.faults.into_iter().map(|fault| format!("{:?}: {}", fault.file, fault.text)).collect(),
    }
}

#[test]
fn either_we_read_the_settings_as_hermes_agent_does_or_we_say_that_we_do_not_know() {
    let tree = Tree::new();
    // SETTINGS_SEED chooses other files, for a longer search.
    let seed = std::env::var("SETTINGS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20);
    let count = std::env::var("SETTINGS_COUNT").ok().and_then(|s| s.parse().ok()).unwrap_or(300);
    let mut dice = Dice(seed);
    let account = Account { name: None, uid: tree.uid, gid: tree.gid, groups: vec![tree.gid], directory: None };
    let mut cases = Vec::new();
    for at in 0..count {
        let mut files = Vec::new();
        if dice.below(4) > 0 {
            files.push(("config.yaml", config(&mut dice)));
        }
        if dice.below(3) == 0 || files.is_empty() {
            files.push((".env", dotenv(&mut dice)));
        }
        if dice.below(4) == 0 {
            files.push(("gateway.json", legacy(&mut dice)));
        }
        match dice.below(16) {
            0 => files.push((".op.env", dotenv(&mut dice))),
            1 => files.push(("managed/.env", dotenv(&mut dice))),
            2 => files.push(("managed/config.yaml", config(&mut dice))),
            3 => files.push(("venv/lib/python3/site-packages/.env", dotenv(&mut dice))),
            _ => {}
        }
        let profile = tree.profile(&format!("p{at:05}"));
        let dir = profile.dir.clone();
        let mut profile = profile;
        if files.iter().any(|(name, _)| name.starts_with("managed/")) {
            profile = profile.directory("managed");
        }
        if files.iter().any(|(name, _)| name.starts_with("venv/")) {
            let made = "mkdir -p venv/bin venv/lib/python3/site-packages/hermes_cli; touch venv/bin/hermes";
            tree.tool_as_account("sh").directory(&dir).args(["-ec", made]).run().is(0, "", "");
        }
        for (name, text) in &mut files {
            // A typing error in a tag or an alias would make text that is left out of these files.
            if dice.below(3) == 0 && !text.contains(['!', '*']) {
                *text = slip(&mut dice, text);
            }
            profile = profile.file(name, text.as_bytes());
        }
        let ours = ours(&dir, &account);
        cases.push((dir, files, ours));
    }
    let input: String = cases.iter().map(|(dir, _, ours)| format!("{} {}\n", dir.display(), ours.told)).collect();
    let peer = agent::python(&tree, ["-c", EACH]).env("HOME", tree.scratch()).input(input).run();
    assert_eq!((peer.code, peer.lines().len()), (0, cases.len()), "{peer}");

    let (mut wrong, mut known, mut enabled, mut modes) = (Vec::new(), 0, 0, 0);
    for ((dir, files, ours), line) in cases.iter().zip(peer.lines()) {
        let said: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let port: Option<u16> = said["port"].as_str().and_then(|port| port.parse().ok()).filter(|port| *port != 0);
        let is_alike = match ours.server {
            // If the loader raises an exception, there is no gateway.
            _ if said.get("raised").is_some() => true,
            None => true,
            Some((false, _)) => said["enabled"] == false,
            Some((true, Some(told))) => said["enabled"] == true && port == Some(told),
            Some((true, None)) => said["enabled"] == true && port.is_none_or(|port| port == ALLOCATED),
        };
        let is_mode_alike = ours.multiplex.is_none_or(|mode| said["multiplex"] == mode || said.get("raised").is_some());
        known += usize::from(ours.server.is_some());
        enabled += usize::from(ours.server.is_some_and(|(on, _)| on));
        modes += usize::from(ours.multiplex == Some(true));
        if !is_alike || !is_mode_alike {
            let texts: String = files.iter().map(|(name, text)| format!("--- {name}: {text:?}\n{text}\n")).collect();
            let faults = ours.faults.join("; ");
            wrong.push(format!("{}\n{texts}=== ours {ours:?}, {faults}\n=== theirs {line}\n", dir.display()));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
    // The comparison is worth something only if neither side gives one answer nearly always.
    let enough = known * 4 > count * 3 && enabled * 20 > count && modes * 50 > count;
    assert!(enough, "of {count}: {known} known, {enabled} enabled, {modes} multiplexed");
}

/// Hold a write lease on these files, as their owner may. Then nobody else can open them.
fn lease(tree: &Tree, files: &[&Path]) -> u32 {
    let take = r#"open my $f, "+<", $_ or die; fcntl $f, 1024, 1 or die "$!"; push @f, $f"#;
    let program = format!(r#"$SIG{{IO}} = "IGNORE"; for (@ARGV) {{ {take} }} open my $r, ">", "leased"; sleep 1000"#);
    let perl = tree.tool_as_account("perl").args(["-e", &program]).args(files).start();
    wait_until("the lease", || tree.scratch().join("leased").exists());
    perl.pid
}

fn let_go(tree: &Tree, pid: u32) {
    crate::support::kill(pid, rustix::process::Signal::KILL);
    wait_until("the lease to be let go", || crate::support::start_time(pid).is_none());
    std::fs::remove_file(tree.scratch().join("leased")).expect("leased");
}

#[test]
fn no_port_is_recorded_for_a_profile_whose_pin_cannot_be_read_just_now() {
    let tree = Tree::new();
    let text = "API_SERVER_ENABLED=true\nAPI_SERVER_PORT=9000\n";
    for file in [".env", "config.yaml"] {
        let coder = tree.profile("coder").env(text).file("config.yaml", "a: 1\n");
        tree.profile("writer");
        let pid = lease(&tree, &[&coder.dir.join(file)]);
        let alloc = |name: &str| tree.tool("hermes-port-alloc").arg(name).run();
        let is_decided = file == "config.yaml";
        let why = "unable to read profiles/coder/.env: Resource temporarily unavailable";
        // A pin in .env holds whatever config.yaml says.
        if is_decided {
            alloc("coder").is(0, "9000\n", "")
        } else {
            alloc("coder").fails(111, why)
        };
        alloc("writer").is(0, "9685\n", "");
        let recorded = std::fs::read_to_string(tree.home().join("gateway_ports.json")).expect("ports");
        assert_eq!(recorded, "{\"writer\":9685}\n");
        let_go(&tree, pid);
        alloc("coder").is(0, "9000\n", "");
    }
}

#[test]
fn no_named_gateway_is_started_while_the_mode_cannot_be_told() {
    let tree = Tree::up();
    let running = r#"{"desired_state":"running"}"#;
    let default = tree.profile("default").state(running).file("config.yaml", "multiplex_profiles: false\n");
    let coder = tree.profile("coder").state(running);
    let pid = lease(&tree, &[&default.dir.join("config.yaml")]);
    let why = "unable to read ./config.yaml: Resource temporarily unavailable";
    let failed = |why: &str| {
        let ran = tree.tool("hermes-reconcile-all").run();
        assert_eq!(ran.code, 111, "{ran}");
        assert!(ran.stderr.contains(&format!("hermes-reconcile-all: warning: coder: {why}\n")), "{ran}");
        assert_eq!((tree.slots(), coder.starts()), (vec!["default".to_string()], 0), "{ran}");
    };
    failed(why);
    tree.tool("hermes-svc-start").arg("coder").run().fails(111, why);
    assert_eq!(coder.starts(), 0);
    let status = tree.tool("hermes-svc-status").run();
    assert!(status.stdout.contains("unreadable-mode"), "{status}");
    let_go(&tree, pid);

    // Hermes Agent may read this value as true.
    let default = default.file("config.yaml", "x: &x true\nmultiplex_profiles: *x\n");
    let file = default.dir.join("config.yaml");
    let why = format!(
        "unable to tell the mode: {} is written in a way that is not read here: \
         set GATEWAY_MULTIPLEX_PROFILES to true or false in .env",
        file.display()
    );
    failed(&why);
    default.env("GATEWAY_MULTIPLEX_PROFILES=false\n");
    tree.tool("hermes-reconcile-all").run().is(0, "**", "**");
    tree.wait_up("coder");
}

#[test]
fn a_port_is_pinned_by_managed_files_and_by_a_variable_in_config_yaml() {
    let mut tree = Tree::new();
    let managed = tree.scratch().join("managed");
    tree.env.push(("HERMES_MANAGED_DIR".to_string(), managed.display().to_string()));
    let pin = "API_SERVER_ENABLED: true\nAPI_SERVER_PORT: 9000\n";
    tree.profile("coder").file("config.yaml", pin);
    tree.profile("writer").env("API_SERVER_ENABLED=true\nAPI_SERVER_PORT=9001\n").file("config.yaml", pin);
    let alloc = |name: &str| tree.tool("hermes-port-alloc").arg(name).run();
    alloc("coder").is(0, "9000\n", "");
    alloc("writer").is(0, "9001\n", "");
    std::fs::create_dir(&managed).expect("managed");
    std::fs::write(managed.join("config.yaml"), "API_SERVER_PORT: 9002\n").expect("config.yaml");
    alloc("coder").is(0, "9002\n", "");
    alloc("writer").is(0, "9001\n", "");
    std::fs::write(managed.join(".env"), "API_SERVER_PORT=9003\n").expect(".env");
    let ran = alloc("writer");
    assert!(ran.code == 100 && ran.stderr.contains("9003") && ran.stderr.contains("coder"), "{ran}");
    std::fs::remove_file(managed.join(".env")).expect(".env");
    // A directory that cannot be looked at is no answer.
    let locked = tree.root().join("locked");
    std::fs::create_dir(&locked).expect("locked");
    std::fs::set_permissions(&locked, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("mode");
    let ran = tree.tool("hermes-port-alloc").env("HERMES_MANAGED_DIR", locked.join("x")).arg("coder").run();
    assert_eq!((ran.code, ran.stdout.as_str()), (111, ""), "{ran}");
}
