//! status: what s6 says beside what was intended, for people, for programs, for health checks; and who supervises.

use crate::support::{Tree, kill, start_time, wait_for, wait_until};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;

/// One gateway up, one stopped, one held, one that nobody has started.
fn in_every_state() -> Tree {
    let tree = Tree::up();
    tree.profile("default");
    tree.profile("coder").intent("running");
    tree.profile("writer").intent("stopped");
    tree.profile("broken").intent("running").stand_in("exit_at_start=78\n");
    tree.tool("hermes-reconcile-all").run();
    tree.wait_up("coder");
    wait_until("the hold", || tree.slot("broken").join("data/held").exists());
    tree.wait_down("broken");
    wait_until("readiness", || tree.svstat("coder", "ready").is_some_and(|s| s == ["true"]));
    tree
}

/// The objects of `status -j ARGS`, by profile.
#[track_caller]
fn json(tree: &Tree, args: &[&str]) -> Vec<Value> {
    let ran = tree.tool("hermes-svc-status").arg("-j").args(args).run();
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
    ran.lines().iter().map(|l| serde_json::from_str(l).expect("an object a line")).collect()
}

/// `state` and `note` of one profile.
#[track_caller]
fn state_and_note(tree: &Tree, name: &str) -> (String, String) {
    let found = json(tree, &[name]).remove(0);
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_string();
    (text("state"), text("note"))
}

#[test]
fn ports_that_cannot_be_read_hide_no_gateway() {
    use std::os::unix::fs::PermissionsExt as _;
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    tree.tool("hermes-reconcile-all").run();
    tree.wait_up("coder");
    let ports = tree.home().join("gateway_ports.json");
    fs::set_permissions(&ports, fs::Permissions::from_mode(0o000)).expect("mode");
    assert_eq!(state_and_note(&tree, "coder"), ("up".to_string(), "unreadable-ports".to_string()));
    tree.tool("hermes-svc-status").arg("-c").run().is(0, "", "");
}

#[test]
fn the_table_is_for_people() {
    let tree = in_every_state();
    let ran = tree.tool("hermes-svc-status").run();
    let rows: Vec<Vec<&str>> = ran.lines().iter().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!((ran.code, ran.stderr.as_str(), rows.len()), (0, "", 6), "{ran}");
    assert_eq!(ran.lines()[0], format!("Manager: s6 (scandir {})", tree.scandir().display()));
    let titles: Vec<String> = rows[1].iter().map(|word| word.to_lowercase()).collect();
    assert_eq!(titles, ["profile", "state", "pid", "uptime", "ready", "intent", "port", "note"], "{ran}");
    let pid = tree.gateway("coder").expect("up").to_string();
    for (row, start, intent) in [
        (&rows[2], vec!["default", "down", "-", "-"], "none"),
        (&rows[3], vec!["broken", "held", "-", "-"], "running"),
        (&rows[4], vec!["coder", "up", &pid], "running"),
        (&rows[5], vec!["writer", "down", "-", "-"], "stopped"),
    ] {
        assert_eq!(row[..start.len()], start, "{ran}");
        assert_eq!(row[5], intent, "{ran}");
    }
    assert_eq!((rows[4][4], rows[4][6], rows[5][6]), ("yes", "9530", "9685"), "{ran}");
    assert!(rows[3][7..].join(" ").contains("78"), "what holds it: {ran}");
    // Only the named ones, in the order in which they are named.
    let ran = tree.tool("hermes-svc-status").args(["writer", "coder"]).run();
    let names: Vec<&str> = ran.lines()[2..].iter().map(|l| l.split(' ').next().unwrap_or_default()).collect();
    assert_eq!((ran.code, names), (0, vec!["writer", "coder"]), "{ran}");
}

#[test]
fn json_has_every_field_in_a_fixed_order() {
    let tree = in_every_state();
    let pid = tree.gateway("coder").expect("up");
    let want = |profile: &str, rest: &str| format!("{{\"profile\":\"{profile}\",{rest}*}}\n");
    let row = |name: &str| tree.tool("hermes-svc-status").args(["-j", name]).run();
    let up = format!(
        "\"state\":\"up\",\"pid\":{pid},\"uptime\":*,\"ready\":true,\"intent\":\"running\",\"port\":9530,\"note\":null"
    );
    row("coder").is(0, &want("coder", &up), "");
    let down = "\"state\":\"down\",\"pid\":null,\"uptime\":null,\"ready\":false,\"intent\":\"stopped\",\"port\":9685,\"note\":null";
    row("writer").is(0, &want("writer", down), "");
    let held = "\"state\":\"held\",\"pid\":null,\"uptime\":null,\"ready\":false,\"intent\":\"running\",\"port\":*,\"note\":\"*78*\"";
    row("broken").is(0, &want("broken", held), "");
    let all = json(&tree, &[]);
    assert_eq!(
        all.iter().map(|o| o["profile"].as_str().unwrap_or_default()).collect::<Vec<_>>(),
        ["default", "broken", "coder", "writer"]
    );
    assert!(all[2]["uptime"].is_u64());
}

#[test]
fn quiet_is_yes_only_if_every_named_profile_is_up() {
    let tree = in_every_state();
    let quiet = |names: &[&str]| tree.tool("hermes-svc-status").arg("-q").args(names).run();
    quiet(&["coder"]).is(0, "", "");
    quiet(&["writer"]).is(1, "", "");
    quiet(&["coder", "writer"]).is(1, "", "");
    quiet(&["broken"]).is(1, "", "");
    quiet(&[]).is(1, "", "");
    tree.tool("hermes-svc-start").args(["default", "writer"]).run();
    tree.profile("broken").stand_in("");
    tree.tool("hermes-svc-start").arg("broken").run();
    ["default", "writer", "broken"].iter().for_each(|name| _ = tree.wait_up(name));
    quiet(&[]).is(0, "", "");
    quiet(&["coder", "nobody"]).fails(102, "*nobody*");
}

#[test]
fn check_is_no_only_if_something_wanted_is_not_served() {
    // H9: the image's HEALTHCHECK.
    let tree = in_every_state();
    let check = || tree.tool("hermes-svc-status").arg("-c").run();
    let ran = check();
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran}");
    assert!(ran.stderr.lines().count() == 1 && ran.stderr.contains("broken"), "{ran}");
    // A stopped gateway is healthy, and so is one that nobody wants yet.
    tree.tool("hermes-svc-stop").arg("broken").run();
    check().is(0, "", "");
    tree.tool("s6-svc").arg("-d").arg(tree.slot("coder")).run();
    tree.wait_down("coder");
    assert_eq!(check().code, 1);
    tree.tool("s6-svc").arg("-u").arg(tree.slot("coder")).run();
    tree.wait_up("coder");
    check().is(0, "", "");
    // No slot for what is wanted is not served either.
    tree.profile("new").intent("running");
    assert_eq!(check().code, 1);
}

#[test]
fn what_differs_from_the_intent_has_a_note() {
    let tree = in_every_state();
    assert_eq!(state_and_note(&tree, "coder"), ("up".into(), String::new()));
    assert_eq!(state_and_note(&tree, "writer"), ("down".into(), String::new()));
    tree.tool("s6-svc").arg("-d").arg(tree.slot("coder")).run();
    tree.tool("s6-svc").arg("-u").arg(tree.slot("writer")).run();
    tree.wait_down("coder");
    tree.wait_up("writer");
    assert_eq!(state_and_note(&tree, "coder"), ("down".into(), "wanted-but-down".into()));
    assert_eq!(state_and_note(&tree, "writer"), ("up".into(), "drifting".into()));
    let other = tree.template().join("log");
    fs::rename(&other, tree.scratch().join("log")).expect("rename");
    let (state, note) = state_and_note(&tree, "writer");
    assert!(state == "up" && note.contains("stale-template"), "{note}");
}

#[test]
fn s6_is_believed_over_the_volume() {
    // A8, H8: a state file of another machine, or of the last life.
    let tree = Tree::up();
    let foreign = r#"{"gateway_state":"running","pid":1,"start_time":1,"desired_state":"stopped"}"#;
    tree.profile("coder").state(foreign);
    tree.profile("writer").intent("running");
    tree.tool("hermes-reconcile-all").run();
    let pid = tree.wait_up("writer");
    tree.profile("writer").stand_in("").state(r#"{"gateway_state":"stopped","pid":1,"desired_state":"running"}"#);
    let [_, coder, writer] = &json(&tree, &[])[..] else { panic!("three") };
    assert_eq!((&coder["state"], &coder["pid"]), (&Value::from("down"), &Value::Null));
    assert_eq!((&writer["state"], &writer["pid"]), (&Value::from("up"), &Value::from(pid)));
    tree.tool("hermes-gateway-ready").arg("writer").run().is(1, "", "");
}

#[test]
fn a_gateway_that_drains_says_so() {
    let tree = Tree::up();
    tree.profile("coder").intent("running").stand_in("drain_ms=20000\n");
    tree.tool("hermes-reconcile-one").arg("coder").run();
    tree.wait_up("coder");
    tree.tool("hermes-svc-stop").arg("coder").run().is(0, "profile=coder action=stopped\n", "");
    assert_eq!(state_and_note(&tree, "coder").0, "draining");
    tree.tool("hermes-svc-status").args(["-q", "coder"]).run().is(1, "", "");
}

#[test]
fn a_gateway_that_waits_for_another_container_says_so_and_is_healthy() {
    let tree = Tree::up();
    let profile = tree.profile("coder").intent("running");
    // Another container's gateway: it holds the lock, and its pid means nothing here.
    let lock = profile.dir.join(".hermes-s6.gateway.lock");
    fs::write(&lock, "{\"pid\":7,\"start_time\":1,\"parent\":1,\"pid_namespace\":\"pid:[1]\",\"boot_id\":\"x\",\"host\":\"other\"}\n").expect("lock");
    std::os::unix::fs::chown(&lock, Some(tree.uid), Some(tree.gid)).expect("owner");
    let mut holder = tree.tool_as_account("flock").arg("-x").arg(&lock).args(["sleep", "1000"]).spawn();
    wait_until("the lock to be held", || tree.tool("flock").arg("-n").arg(&lock).arg("true").run().code == 1);
    tree.tool("hermes-reconcile-one").arg("coder").run().is(0, "reconcile: profile=coder * action=started *\n", "");
    let (state, note) =
        wait_for("the wait", || Some(state_and_note(&tree, "coder")).filter(|(state, _)| state == "waiting"));
    assert!(state == "waiting" && note.contains("other"), "{note}");
    tree.tool("hermes-svc-status").arg("-c").run().is(0, "", "");
    tree.tool("hermes-svc-status").args(["-q", "coder"]).run().is(1, "", "");
    assert_eq!(profile.starts(), 0);
    // It takes over when the other one goes.
    tree.processes().iter().filter(|p| p.comm == "sleep").for_each(|p| kill(p.pid, Signal::KILL));
    holder.wait().expect("wait");
    tree.wait_up("coder");
    assert_eq!(profile.starts(), 1);
    assert_eq!(state_and_note(&tree, "coder").0, "up");
}

#[test]
fn an_orphan_is_not_called_down() {
    let tree = Tree::up();
    tree.profile("coder").intent("running").stand_in("ignore_term=1\n");
    tree.tool("hermes-reconcile-one").arg("coder").run();
    let pid = tree.wait_up("coder");
    kill(tree.svscan_pid(), Signal::STOP);
    kill(tree.supervisor(&tree.slot("coder")).expect("supervisor"), Signal::KILL);
    wait_until("the supervisor to be gone", || tree.supervisor(&tree.slot("coder")).is_none());
    assert!(start_time(pid).is_some());
    let (state, note) = state_and_note(&tree, "coder");
    assert!(state != "down" && note.contains(&pid.to_string()), "{state} {note}");
}

#[test]
fn who_supervises_is_the_first_line() {
    let tree = Tree::new();
    tree.profile("coder");
    let ran = tree.tool("hermes-svc-status").run();
    ran.is(102, "Manager: none (no s6 supervisor)\n", "");
    tree.svscan();
    tree.tool("hermes-reconcile-all").run();
    let first = format!("Manager: s6 (scandir {})\n**", tree.scandir().display());
    tree.tool("hermes-svc-status").run().is(0, &first, "");
    tree.kill_hard();
    tree.tool("hermes-svc-status").run().is(102, "Manager: none (no s6 supervisor)\n", "");
    for option in ["-q", "-c", "-j"] {
        tree.tool("hermes-svc-status").arg(option).run().fails(102, "no s6-svscan is running on *");
    }
}

#[test]
fn s6_is_detected_where_it_is_process_1_of_s6_overlay_and_nowhere_else() {
    crate::needs_root!();
    let tree = Tree::up();
    let detect = "hermes-detect-supervisor";
    let overlay = "mkdir -p /run/s6/basedir";
    tree.in_a_container(overlay, detect).is(0, "s6\nexit 0\n", "");
    tree.in_a_container(overlay, "hermes-detect-supervisor -q").is(0, "exit 0\n", "");
    // C1, C2, C4: the name alone does not do, nor does a file of that name.
    tree.in_a_container("mkdir -p /run/s6", detect).is(0, "none\nexit 1\n", "");
    tree.in_a_container("mkdir /run/s6; : > /run/s6/basedir", detect).is(0, "none\nexit 1\n", "");
    tree.in_a_container(overlay, "hermes-svc-status").is(0, "Manager: s6 (container supervisor)\n**exit 0\n", "");
    // Beside it, an s6-svscan that is not process 1.
    tree.tool(detect).run().is(1, "none\n", "");
    tree.tool(detect).arg("-q").run().is(1, "", "");
}

#[test]
fn follow_prints_each_change() {
    let tree = Tree::up();
    tree.profile("coder");
    tree.tool("hermes-svc-register").arg("coder").run();
    let script = tree.script("follow", "#!/bin/sh\nexec hermes-svc-status -F -j coder > followed 2>&1\n");
    let mut following = tree.tool("sh").arg(&script).spawn();
    let seen = |state: &str| {
        let text = fs::read_to_string(tree.scratch().join("followed")).unwrap_or_default();
        text.lines().any(|l| serde_json::from_str::<Value>(l).is_ok_and(|o| o["state"] == state))
    };
    wait_until("the first look", || seen("down"));
    tree.tool("hermes-svc-start").arg("coder").run();
    wait_until("up", || seen("up"));
    let pid = tree.wait_up("coder");
    tree.profile("coder").stand_in("exit_at_start=78\n");
    kill(pid, Signal::KILL);
    wait_until("held", || seen("held"));
    following.kill().expect("kill");
    following.wait().expect("wait");
}

#[test]
fn explain_ends_with_the_next_command_to_type() {
    let tree = in_every_state();
    let next = |name: &str, want: &str| {
        let ran = tree.tool("hermes-svc-status").args(["-x", name]).run();
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
        assert!(ran.stdout.contains(name) && ran.lines().last().is_some_and(|l| l.contains(want)), "{ran}");
        ran
    };
    let broken = next("broken", "hermes-svc-start");
    assert!(broken.stdout.contains("78") && broken.stdout.contains("logs/gateways/broken/current"), "{broken}");
    next("writer", "hermes-svc-start");
    next("coder", "nothing");
}

#[test]
fn what_the_agent_wrote_reaches_no_terminal_raw() {
    let tree = Tree::up();
    let evil = r#"{"desired_state":"\u001b[2Jrunning","gateway_state":"\u202eup","port":"\u001b"}"#;
    tree.profile("coder").state(evil).stand_in("printf '\\033]0;owned\\007\\n' >&2\nexit_at_start=78\nsilent=1\n");
    tree.tool("hermes-svc-register").args(["-u", "coder"]).run();
    wait_until("the hold", || tree.slot("coder").join("data/held").exists());
    for args in [&["coder"][..], &["-j", "coder"], &["-x", "coder"], &["-c"]] {
        let ran = tree.tool("hermes-svc-status").args(args).run();
        let raw = |text: &str| text.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}');
        assert!(!raw(&ran.stdout) && !raw(&ran.stderr), "{ran}");
    }
}
