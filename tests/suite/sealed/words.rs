//! Hostile bytes on their way to a record or a terminal.

use super::ground::{Ground, clean, runs};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

/// Names that are not profile names. Each of them would deceive a careless reader or program.
fn odd_names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        &b"a\nreconcile: profile=default prior_state=running action=started port=1 prior_exit=clean"[..],
        b"a action=started",
        "a\u{a0}action=started\u{2003}port=1".as_bytes(),
        b"a\taction=started",
        b"'a'",
        b"\"a\"",
        b"$(touch ran-as-0)",
        b"`touch ran-as-0`",
        b";touch ran-as-0",
        b"a|b&c>d<e*?[]{}~!#",
        b"\x1b[2J\x1b]0;owned\x07",
        "\u{9b}2J\u{202e}txt.exe\u{61c}".as_bytes(),
        b"\xff\xfe",
        b"..a",
        b"-rf",
        b"--help",
        b"a\\nb",
        b"A",
        b"default",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    names.push(vec![b'x'; 255]);
    names
}

#[test]
fn a_directory_of_any_name_ends_in_no_other_record_and_no_terminal() {
    let ground = Ground::new();
    runs(&ground.tree, "coder");
    let profiles = ground.tree.home().join("profiles");
    let mut logged = 0;
    // A pass names ten entries of a kind, and counts the rest.
    for names in odd_names().chunks(10) {
        let dirs: Vec<_> = names.iter().map(|name| profiles.join(OsStr::from_bytes(name))).collect();
        for dir in &dirs {
            fs::create_dir(dir).expect("profile");
            fs::write(dir.join("SOUL.md"), "").expect("marker");
            ground.give(dir);
        }
        let ran = ground.tool("hermes-reconcile-all").is(0, &"*\n".repeat(names.len() + 3), "");
        let records: Vec<&str> = ran.stdout.lines().collect();
        for record in &records[..names.len() + 2] {
            // Python's str.split() splits at more white space than a shell does.
            let words = record.split_whitespace().skip(1);
            let keys: Vec<&str> = words.filter_map(|word| Some(word.split_once('=')?.0)).collect();
            let fields = ["profile", "prior_state", "action", "port", "prior_exit", "note"];
            assert_eq!(keys, fields[..keys.len()], "{record:?}");
            assert!(keys.len() >= 5, "{record:?}");
        }
        let started = records.iter().filter(|record| record.split_whitespace().any(|word| word == "action=started"));
        assert_eq!(started.count(), usize::from(logged == 0), "{records:?}");
        // The first line of a pass names the versions.
        logged += 1 + records.len();
        let log = fs::read_to_string(ground.tree.home().join("logs/container-boot.log")).expect("log");
        assert_eq!(log.lines().count(), logged);
        assert!(!log.chars().any(|c| c.is_control() && c != '\n'), "{log:?}");
        let json = ground.tool("hermes-reconcile-all -n -j");
        for line in json.stdout.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok_and(|v| v.is_object()), "{line}");
        }
        dirs.iter().for_each(|dir| fs::remove_dir_all(dir).expect("an odd profile"));
    }
    for name in odd_names() {
        let dir = profiles.join(OsStr::from_bytes(&name));
        fs::create_dir(&dir).expect("profile");
        ground.give(&dir);
    }
    ground.tool("hermes-svc-status");
    ground.tool("hermes-fix-attrs -v");
}

#[test]
fn a_name_of_any_bytes_on_a_command_line_is_refused_in_one_line() {
    let ground = Ground::new();
    let names = odd_names().into_iter().chain([&b"../coder"[..], b"profiles/coder", b"", b"."].map(<[u8]>::to_vec));
    for name in names.filter(|name| name != b"default") {
        for tool in [
            "hermes-svc-register",
            "hermes-svc-start",
            "hermes-reconcile-one",
            "hermes-port-alloc",
            "hermes-gateway-ready",
        ] {
            let ran = ground.run(ground.tree.tool(tool).arg("--").arg(OsStr::from_bytes(&name)));
            assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (100, "", 1), "{ran}");
        }
    }
}

/// Escape sequences that would clear a screen, set a title, and begin a new line.
const ESCAPES: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\u{9b}2Jhermes: all is well\u{202e}";

#[test]
fn what_the_volume_says_reaches_no_terminal_raw() {
    let ground = Ground::new();
    let text = format!("{ESCAPES}\nhermes-svc-start: fatal: forged");
    let json = serde_json::to_string(&text).expect("JSON");
    let profile = runs(&ground.tree, "coder")
        .stand_in("exit_at_start=78\n")
        .file("config.yaml", format!("platforms: {{api_server: {{enabled: !{ESCAPES} 1}}}}\n"))
        .env(&format!("API_SERVER_ENABLED=1\nAPI_SERVER_PORT='{ESCAPES}'\n"));
    let logs = ground.tree.home().join("logs/gateways/coder");
    ground.tool("hermes-svc-register coder");
    for dir in ["logs", "logs/gateways", "logs/gateways/coder"] {
        let _ = fs::create_dir(ground.tree.home().join(dir));
        ground.give(&ground.tree.home().join(dir));
    }
    let log = logs.join("current");
    let ran = ground.tool("hermes-svc-start -W coder");
    assert_eq!(ran.code, 111, "{ran}");
    // The account itself has written this log, and not s6-log.
    fs::write(&log, format!("{ESCAPES}\n")).expect("log");
    ground.give(&log);
    let lock = format!(
        "{{\"pid\":1,\"start_time\":1,\"pid_namespace\":{json},\"boot_id\":{json},\"host\":{json},\"parent\":1}}\n"
    );
    let profile = profile.file(".hermes-s6.gateway.lock", lock);
    let held = fs::File::options().write(true).open(profile.dir.join(".hermes-s6.gateway.lock")).expect("lock");
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).expect("lock");
    fs::write(ground.tree.home().join("gateway_ports.json"), format!("{{{json}:1,\"coder\":{json}}}")).expect("ports");
    for line in [
        "hermes-svc-status",
        "hermes-svc-status -j",
        "hermes-svc-status -x coder",
        "hermes-svc-start -w coder",
        "hermes-reconcile-all",
        "hermes-port-alloc -l",
        "hermes-port-alloc coder",
        "hermes-svc-stop -w -t 500 coder",
        "hermes-svc-unregister -t 500 coder",
    ] {
        ground.tool(line);
    }
    let profile = profile.state(format!("{{\"desired_state\":{json},\"gateway_state\":{json},\"pid\":{json}}}"));
    ground.tool("hermes-reconcile-all");
    ground.tool("hermes-svc-status -x coder");
    profile.state(format!("{{\"desired_state\": {ESCAPES}"));
    ground.tool("hermes-reconcile-all");
    ground.tool("hermes-svc-status -x coder");
}

#[test]
fn a_message_is_no_longer_than_a_person_reads() {
    let ground = Ground::without_svscan();
    let long = "x".repeat(200_000);
    runs(&ground.tree, "coder")
        .file("config.yaml", format!("api_server: !{long} 1\nplatforms: {{}}\n"))
        .file("gateway_state.json", format!("{{\"desired_state\":\"{long}\"}}"));
    let ports = format!("{{\"{long}\":1}}");
    fs::write(ground.tree.home().join("gateway_ports.json"), ports).expect("ports");
    let ran = ground.tool("hermes-reconcile-all");
    assert!(ran.stderr.len() < 20_000, "{} bytes", ran.stderr.len());
    assert!(ran.stdout.len() < 2_000, "{} bytes", ran.stdout.len());
    clean(&ran);
}
