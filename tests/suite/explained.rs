//! hermes-svc-status -x: what is said in each situation is so, and what is said to be typed helps. Each test brings a
//! profile into a situation, reads the explanation, mends what a person would have to mend, and types the rest.

use crate::support::{Tree, kill, needs_root, wait_until};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

/// The lines of `hermes-svc-status -x NAME`, without the manager.
#[track_caller]
fn explained(tree: &Tree, name: &str) -> Vec<String> {
    let ran = tree.tool("hermes-svc-status").args(["-x", name]).run();
    assert!(ran.lines().len() > 2, "{ran}");
    ran.lines()[1..].iter().map(|line| (*line).to_string()).collect()
}

/// Check what is said about a profile: the lines after the first one, with `*` for any part of a line.
#[track_caller]
fn says(tree: &Tree, name: &str, wanted: &[&str]) -> Vec<String> {
    let lines = explained(tree, name);
    let same = lines.len() == wanted.len() + 1
        && lines[1..].iter().zip(wanted).all(|(line, wanted)| crate::support::glob(wanted, line.trim_start()));
    assert!(same, "wanted {wanted:#?} of {lines:#?}");
    lines
}

/// Type the commands of the last line: those behind each `then: `, and the first words if they are a command.
#[track_caller]
fn typed(tree: &Tree, lines: &[String]) {
    let next = lines.last().and_then(|line| line.strip_prefix("  next: ")).expect("a next line");
    for command in next.split(", then: ").map(|command| command.split("   (").next().unwrap_or_default()) {
        if ["hermes-", "kill "].iter().any(|prog| command.starts_with(prog)) {
            let ran = tree.tool("sh").args(["-c", command]).run();
            assert_eq!(ran.code, 0, "{ran}");
        }
    }
}

#[track_caller]
fn is_well(tree: &Tree, name: &str) {
    wait_until(&format!("{name} to be well"), || {
        tree.tool("hermes-svc-status").args(["-x", name]).run().stdout.ends_with("  next: nothing: all is well\n")
    });
}

/// A tree with the profile `coder` up and ready.
fn with_coder() -> Tree {
    let tree = Tree::up();
    tree.profile("coder");
    tree.tool("hermes-svc-start").args(["-W", "coder"]).run().is(0, "profile=coder action=started\n", "");
    tree
}

/// Write into the state file of `coder`, with its gateway's own fields kept.
fn add_to_state(tree: &Tree, key: &str, value: Value) {
    let mut state = tree.profile("coder").json();
    state[key] = value;
    tree.profile("coder").state(state.to_string());
}

/// Row F2 of docs/failures.md.
#[test]
fn a_gateway_that_prints_its_error_and_exits_is_quoted_by_start_and_by_explain() {
    let tree = Tree::up();
    tree.profile("coder").stand_in("at_start() { echo 'FATAL: bad token' >&2; exit 1; }\n");
    let start = tree.tool("hermes-svc-start").args(["-W", "coder"]).run();
    let last = "which ends in \"FATAL: bad token\"\n";
    start.is(111, "", &format!("hermes-svc-start: fatal: unable to start coder: it is held; see *current, {last}"));
    let lines = says(
        &tree,
        "coder",
        &[
            "because it ended 5 times, the last time with exit 1",
            "because its log tells why: *logs/gateways/coder/current",
            "FATAL: bad token",
            "next: mend the cause, then: hermes-svc-start -W coder",
        ],
    );
    // Each death is a line of the log.
    let log = fs::read_to_string(tree.home().join("logs/gateways/coder/current")).expect("log");
    let deaths: Vec<&str> =
        log.lines().filter_map(|line| line.split_once("finish: coder ").map(|(_, how)| how)).collect();
    assert_eq!(deaths.len(), 5, "{log}");
    for (nth, how) in deaths.iter().enumerate() {
        assert!(crate::support::glob(&format!("exited with 1 after * s, {} of 5 in 60 s", nth + 1), how), "{log}");
    }
    tree.profile("coder").stand_in("");
    typed(&tree, &lines);
    is_well(&tree, "coder");
}

#[test]
fn a_program_that_is_not_on_the_path_is_named_by_its_own_words() {
    let tree = Tree::up();
    let (hermes, away) = (tree.bin().join("hermes"), tree.bin().join("away"));
    fs::rename(&hermes, &away).expect("rename");
    tree.profile("coder").intent("running");
    tree.tool("hermes-reconcile-all").run();
    wait_until("the hold", || tree.slot("coder").join("data/held").exists());
    tree.wait_down("coder");
    let lines = explained(&tree, "coder");
    let words = "    hermes-run-gateway: fatal: unable to execute hermes: No such file or directory on the PATH ";
    assert!(lines.iter().any(|line| line.starts_with(words)), "{lines:#?}");
    fs::rename(&away, &hermes).expect("rename");
    typed(&tree, &lines);
    is_well(&tree, "coder");
}

#[test]
fn a_config_that_hermes_agent_ignores_is_named() {
    let tree = with_coder();
    is_well(&tree, "coder");
    tree.profile("coder").file("config.yaml", "model: [1\n");
    let lines = says(
        &tree,
        "coder",
        &[
            "because *coder/config.yaml is ignored, also by Hermes Agent: *",
            "next: mend *coder/config.yaml, then: hermes-svc-restart -W coder",
        ],
    );
    let ran = tree.tool("hermes-svc-status").arg("coder").run();
    assert!(ran.lines()[2].ends_with("  bad-config"), "{ran}");
    let warning = "*: warning: *coder/config.yaml is ignored, also by Hermes Agent: *\n";
    tree.tool("hermes-svc-start").arg("coder").run().is(0, "profile=coder action=unchanged\n", warning);
    tree.tool("hermes-svc-restart").args(["-W", "coder"]).run().is(0, "profile=coder action=restarted\n", warning);
    tree.profile("coder").file("config.yaml", "model: [1]\n");
    typed(&tree, &lines);
    is_well(&tree, "coder");
}

#[test]
fn a_line_of_env_that_hermes_agent_cannot_read_is_named() {
    let tree = with_coder();
    tree.profile("coder").env("A=1\nB=\"open\n");
    let because = "because Hermes Agent cannot read line 2 of *coder/.env and passes over it: *";
    let lines = says(&tree, "coder", &[because, "next: mend *coder/.env, then: hermes-svc-restart -W coder"]);
    let ran = tree.tool("hermes-svc-status").arg("coder").run();
    assert!(ran.lines()[2].ends_with("  bad-env"), "{ran}");
    tree.profile("coder").env("A=1\nB=\"open\"\n");
    typed(&tree, &lines);
    is_well(&tree, "coder");
}

#[test]
fn a_gateway_that_does_not_get_ready_for_a_platform_is_restarted_when_that_is_mended() {
    let tree = Tree::up();
    tree.profile("coder").stand_in("never_ready=1\n");
    tree.tool("hermes-svc-start").args(["-w", "coder"]).run();
    wait_until("the state file", || tree.profile("coder").json()["gateway_state"] == "starting");
    let platforms = serde_json::json!({"api_server": {"state": "retrying", "error_message": "failed to connect"}});
    add_to_state(&tree, "platforms", platforms);
    let lines = says(
        &tree,
        "coder",
        &[
            "because it runs, and has not said that it serves",
            "because api_server is retrying: failed to connect",
            "because its log may tell why: *",
            "stand-in gateway of coder",
            "next: mend the cause, then: hermes-svc-restart -W coder",
        ],
    );
    tree.profile("coder").stand_in("");
    typed(&tree, &lines);
    is_well(&tree, "coder");
}

#[test]
fn a_platform_in_trouble_is_named_with_its_error() {
    let tree = with_coder();
    let platforms = serde_json::json!({
        "telegram": {"state": "retrying", "error_message": "connect timed out\u{1b}[2J after 30s"},
        "api_server": {"state": "connected", "error_message": null},
        "slack": {"state": "connected", "error_message": "an old one"},
    });
    add_to_state(&tree, "platforms", platforms);
    let lines = says(
        &tree,
        "coder",
        &[
            "because telegram is retrying: connect timed out\\u{1b}[2J after 30s",
            "next: mend the cause, if it does not pass, then: hermes-svc-restart -W coder",
        ],
    );
    let ran = tree.tool("hermes-svc-status").arg("coder").run();
    assert!(ran.lines()[2].ends_with("  telegram:retrying"), "{ran}");
    // What another process has written is not believed.
    add_to_state(&tree, "pid", Value::from(1));
    is_well(&tree, "coder");
    add_to_state(&tree, "pid", Value::from(tree.gateway("coder").expect("up")));
    typed(&tree, &lines);
    is_well(&tree, "coder");
}

#[test]
fn a_frozen_gateway_is_not_well() {
    let tree = with_coder();
    let pid = tree.gateway("coder").expect("up");
    kill(pid, Signal::STOP);
    let stopped = format!("because a signal has stopped its process, pid {pid}: *");
    let next = format!("next: kill -CONT {pid}");
    wait_until("the signal", || explained(&tree, "coder").last().is_some_and(|line| line.ends_with(&next)));
    let lines = says(&tree, "coder", &[&stopped, &next]);
    let ready = || tree.tool("hermes-svc-status").args(["-r", "coder"]).run();
    ready().is(1, "", "*: warning: coder shall run and is up, and not ready: *\n");
    typed(&tree, &lines);
    is_well(&tree, "coder");
    ready().is(0, "", "");
}

#[test]
fn what_root_left_is_named_and_given_back() {
    needs_root();
    let tree = with_coder();
    let state = tree.profile_dir("coder").join("gateway_state.json");
    chown(&state, Some(0), Some(0)).expect("owner");
    fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("mode");
    let because = format!("because *coder/gateway_state.json belongs to root, and uid {} may not use it", tree.uid);
    let lines = says(&tree, "coder", &[&because, "next: hermes-fix-attrs, then: hermes-svc-status -x coder"]);
    typed(&tree, &lines);
    is_well(&tree, "coder");
    // A profile that root has made.
    let dir = tree.home().join("profiles/scout");
    fs::create_dir(&dir).expect("directory");
    fs::write(dir.join("SOUL.md"), "x\n").expect("SOUL.md");
    // Even its name says nothing to the account.
    let mode = |mode| fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("mode");
    mode(0o700);
    for command in [&["hermes-svc-start", "scout"][..], &["hermes-svc-status", "-x", "scout"]] {
        let ran = tree.tool(command[0]).args(&command[1..]).run();
        ran.fails(
            111,
            "unable to open *profiles/scout/: Permission denied (hermes-fix-attrs gives back what root left)",
        );
    }
    mode(0o755);
    let start = tree.tool("hermes-svc-start").arg("scout").run();
    assert!(start.code == 111 && start.stderr.contains("hermes-fix-attrs"), "{start}");
    tree.tool("hermes-svc-register").arg("scout").run();
    wait_until("the slot", || explained(&tree, "scout").iter().any(|line| line.contains("nobody has ever started it")));
    let because = format!("because *profiles/scout/ belongs to root, and uid {} may not use it", tree.uid);
    let wanted = [because.as_str(), "because nobody *", "next: hermes-fix-attrs, then: hermes-svc-start -W scout"];
    let lines = says(&tree, "scout", &wanted);
    typed(&tree, &lines);
    is_well(&tree, "scout");
}

#[test]
fn a_key_that_is_too_short_is_named() {
    let tree = Tree::up();
    tree.profile("coder").intent("running").env("API_SERVER_ENABLED=true\nAPI_SERVER_KEY=short\n");
    tree.tool("hermes-reconcile-all").run();
    tree.wait_up("coder");
    let lines = says(
        &tree,
        "coder",
        &[
            "because API_SERVER_KEY in *coder/.env has fewer than 16 characters, and Hermes Agent refuses it",
            "next: write a longer API_SERVER_KEY into *coder/.env (openssl rand -hex 32), then: hermes-svc-restart -W coder",
        ],
    );
    // The stand-in opens no API server, so it is ready only without one.
    tree.profile("coder").env("");
    typed(&tree, &lines);
    is_well(&tree, "coder");
}

/// Row G6 of docs/failures.md.
#[test]
fn a_gateway_that_another_container_serves_is_not_said_to_be_taken_down() {
    let tree = with_coder();
    tree.tool("hermes-svc-stop").args(["-w", "coder"]).run().is(0, "profile=coder action=stopped\n", "");
    // The other container records the intent, and its gateway holds the lock.
    tree.profile("coder").intent("running");
    let lock = tree.profile_dir("coder").join(".hermes-s6.gateway.lock");
    let text = "{\"pid\":7,\"start_time\":1,\"parent\":1,\"pid_namespace\":\"pid:[1]\",\"boot_id\":\"x\",\"host\":\"other\"}\n";
    fs::write(&lock, text).expect("lock");
    let mut holder = tree.tool_as_account("flock").arg("-x").arg(&lock).args(["sleep", "1000"]).spawn();
    wait_until("the lock to be held", || tree.tool("flock").arg("-n").arg(&lock).arg("true").run().code == 1);
    let who = "because pid 7 in another container (other) serves it, and it is down here";
    says(&tree, "coder", &[who, "next: nothing: to take over when that one goes, hermes-svc-start coder"]);
    for option in ["-c", "-r"] {
        tree.tool("hermes-svc-status").arg(option).run().is(0, "", "");
    }
    let ran = tree.tool("hermes-svc-status").arg("coder").run();
    assert!(ran.lines()[2].contains("served by pid 7 in another container (other)"), "{ran}");
    assert!(!ran.stdout.contains("wanted-but-down"), "{ran}");
    tree.processes().iter().filter(|p| p.comm == "sleep").for_each(|p| kill(p.pid, Signal::KILL));
    holder.wait().expect("wait");
    let lines = explained(&tree, "coder");
    typed(&tree, &lines);
    is_well(&tree, "coder");
}

/// Row E8 of docs/failures.md.
#[test]
fn a_gateway_that_is_refused_for_its_port_is_not_said_to_be_taken_down() {
    let tree = Tree::up();
    let port = crate::support::free_port();
    let pin = format!("API_SERVER_ENABLED=true\nAPI_SERVER_PORT={port}\n");
    tree.profile("coder").intent("running").env(&pin);
    tree.tool("hermes-reconcile-all").run();
    tree.wait_up("coder");
    tree.profile("writer").intent("running").env(&pin);
    tree.tool("hermes-svc-register").arg("writer").run();
    let lines = explained(&tree, "writer");
    assert!(lines.iter().any(|line| line.contains("coder") && line.contains(&port.to_string())), "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains("taken down")), "{lines:#?}");
    tree.profile("writer").env("");
    typed(&tree, &lines);
    is_well(&tree, "writer");
}

/// Row C12 of docs/failures.md.
#[test]
fn a_killed_svscan_hides_no_gateway() {
    let tree = with_coder();
    let svscan = tree.svscan_pid();
    kill(svscan, Signal::KILL);
    let gone = format!("Manager: none (the s6-svscan of {} is gone; 1 supervisors live on)", tree.scandir().display());
    wait_until("the end of s6-svscan", || tree.tool("hermes-svc-status").run().stdout.starts_with(&gone));
    let ran = tree.tool("hermes-svc-status").run();
    ran.is(102, &format!("{gone}\nPROFILE *\ndefault *\ncoder * up *\n"), "");
    let lines = says(
        &tree,
        "coder",
        &["because the s6-svscan of * is gone: what ends is not supervised again", "next: s6-svscan * (as before)"],
    );
    let command =
        lines.last().and_then(|line| line.strip_prefix("  next: ")?.strip_suffix(" (as before)")).expect("next");
    let mut again = tree.tool("sh").args(["-c", &format!("exec {command}")]).spawn();
    is_well(&tree, "coder");
    again.kill().expect("kill");
    again.wait().expect("wait");
}

#[test]
fn an_svscan_that_is_stopped_by_a_signal_is_named() {
    let tree = with_coder();
    tree.tool("hermes-svc-unregister").arg("coder").run();
    let svscan = tree.svscan_pid();
    kill(svscan, Signal::STOP);
    let stopped = format!("because s6-svscan, pid {svscan}, is stopped by a signal: it takes up no slot");
    wait_until("the signal", || explained(&tree, "coder").iter().any(|line| line.contains(&stopped)));
    let next = format!("next: kill -CONT {svscan}, then: hermes-*");
    let lines = says(&tree, "coder", &[&stopped, "because it has no slot: *", &next]);
    typed(&tree, &lines);
}

#[test]
fn in_the_first_second_of_a_container_s6_is_starting() {
    needs_root();
    let tree = Tree::new();
    tree.profile("coder").intent("running");
    let dir = tree.scratch().join("s6-overlay");
    fs::create_dir(&dir).expect("directory");
    let init = dir.join("init");
    crate::support::executable(&init, "#!/bin/sh\nhermes-svc-status; hermes-svc-status -x coder\nexit 0\n");
    let ran = tree.tool("unshare").args(["--mount", "--pid", "--fork", "--mount-proc"]).arg(&init).run();
    let manager = "Manager: none (s6 is starting)\n";
    let because = "  because s6 is starting: the container has just been started\n  next: the same again in a second\n";
    let stdout = format!("{manager}{manager}coder is down, and its intent is running\n{because}");
    assert_eq!(ran.stdout, stdout, "{ran}");
}

#[test]
fn before_the_boot_pass_nobody_is_blamed() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    let lines = says(
        &tree,
        "coder",
        &[
            "because it has no slot: the boot pass has not registered any gateway yet",
            "next: hermes-reconcile-all   (*)",
        ],
    );
    assert!(lines[0].starts_with("coder is down"), "{lines:#?}");
    tree.tool("hermes-reconcile-all").run();
    is_well(&tree, "coder");
}

#[test]
fn a_slot_that_is_missing_is_made_as_it_was_wanted() {
    let tree = with_coder();
    tree.tool("hermes-reconcile-all").run();
    tree.tool("hermes-svc-unregister").arg("coder").run();
    // A wanted profile is not said to be left down by a command that starts it.
    let lines = says(&tree, "coder", &["because it has no slot: *", "next: hermes-svc-start coder"]);
    typed(&tree, &lines);
    is_well(&tree, "coder");
}

#[test]
fn a_drain_says_when_it_is_killed() {
    let tree = Tree::up();
    tree.profile("coder").stand_in("ignore_term=1\n");
    tree.tool("hermes-svc-start").args(["-w", "coder"]).run();
    tree.wait_up("coder");
    tree.tool("hermes-svc-stop").arg("coder").run();
    says(
        &tree,
        "coder",
        &["because it was told to end and finishes its work; it is killed in *s", "next: hermes-svc-stop -w coder"],
    );
    let ran = tree.tool("hermes-svc-status").args(["-j", "coder"]).run();
    let status: Value = serde_json::from_str(&ran.stdout).expect("an object");
    let (since, left) = (status["since"].as_u64().expect("since"), status["drain_left"].as_u64().expect("left"));
    // The template gives a gateway a minute. Both numbers are rounded down.
    assert!((58..=60).contains(&(since + left)), "{ran}");
    let table = tree.tool("hermes-svc-status").arg("coder").run();
    assert!(table.lines()[2].contains("killed in "), "{table}");
}

/// Row F2 of docs/failures.md.
#[test]
fn a_death_leaves_a_line_and_is_counted() {
    let tree = with_coder();
    let log = || fs::read_to_string(tree.home().join("logs/gateways/coder/current")).unwrap_or_default();
    let status = || {
        let ran = tree.tool("hermes-svc-status").args(["-j", "coder"]).run();
        serde_json::from_str::<Value>(&ran.stdout).expect("an object")
    };
    assert_eq!((&status()["deaths"], &status()["last_death"]), (&Value::from(0), &Value::Null));
    for nth in 1..=2 {
        kill(tree.wait_up("coder"), Signal::KILL);
        let line = format!("finish: coder died of SIGKILL after * s, {nth} of 5 in 60 s");
        let said = |line: &str| log().lines().any(|l| crate::support::glob(&format!("*{line}"), l));
        wait_until("the line of the death", || said(&line));
        wait_until("the next start", || status()["state"] == "up" && status()["ready"] == true);
        assert_eq!((&status()["deaths"], &status()["last_death"]), (&Value::from(nth), &Value::from("SIGKILL")));
    }
    let ran = tree.tool("hermes-svc-status").arg("coder").run();
    assert!(ran.lines()[2].ends_with("  2 deaths"), "{ran}");
    says(
        &tree,
        "coder",
        &[
            "because s6-supervise started it again: it died 2 times, the last time with SIGKILL",
            "next: nothing: all is well",
        ],
    );
    // A wish to be restarted is no death, and an order begins a new count.
    kill(tree.wait_up("coder"), Signal::USR1);
    wait_until("the line of the wish", || log().contains("finish: coder exited with 75 after "));
    wait_until("the next start", || status()["state"] == "up");
    assert_eq!(status()["deaths"], 2);
    tree.tool("hermes-svc-restart").args(["-W", "coder"]).run().is(0, "profile=coder action=restarted\n", "");
    assert_eq!(status()["deaths"], 0);
    tree.tool_as_account("hermes-svc-status").arg("coder").run().is(0, "Manager: *\nPROFILE *\ncoder * up *\n", "");
}

#[test]
fn a_line_of_an_earlier_run_is_not_quoted() {
    let tree = Tree::up();
    tree.profile("coder").stand_in("at_start() { echo 'an old error' >&2; }\n");
    tree.tool("hermes-svc-start").args(["-W", "coder"]).run();
    tree.profile("coder").stand_in("never_ready=1\nat_start() { exec 2> /dev/null; }\n");
    tree.tool("hermes-svc-restart").args(["-w", "coder"]).run();
    wait_until("the second start", || tree.profile("coder").starts() == 2);
    says(
        &tree,
        "coder",
        &[
            "because it runs, and has not said that it serves",
            "because of something of which its log says nothing since the last start: *logs/gateways/coder/current",
            "next: hermes-svc-start -W coder",
        ],
    );
}

#[test]
fn an_explanation_is_also_json() {
    let tree = Tree::up();
    tree.profile("coder").stand_in("exit_at_start=78\n");
    tree.tool("hermes-svc-start").args(["-W", "coder"]).run();
    let ran = tree.tool("hermes-svc-status").args(["-x", "-j", "coder"]).run();
    let found: Value = serde_json::from_str(&ran.stdout).expect("an object");
    assert_eq!((ran.code, &found["profile"], &found["state"]), (0, &Value::from("coder"), &Value::from("held")));
    assert_eq!(found["because"][0], "it ended with exit 78, a permanent error", "{ran}");
    assert_eq!(found["log"], serde_json::json!(["stand-in gateway of coder"]), "{ran}");
    assert_eq!(found["next"], "mend the cause, then: hermes-svc-start -W coder", "{ran}");
    tree.tool("hermes-svc-status").args(["-j", "coder"]).run().is(0, "{*\"manager\":\"*\"}\n", "");
    assert!(Path::new(&tree.slot("coder")).join("data/started").exists());
}

/// On a terminal a long wait says what it waits for and what Ctrl-C leaves behind, and in a pipe it says nothing.
#[test]
fn a_long_wait_says_on_a_terminal_what_it_waits_for() {
    let tree = Tree::up();
    tree.profile("coder").stand_in("never_ready=1\n");
    let script = "exec python3 -c 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)' \
                  hermes-svc-start -W -t 0 coder > terminal 2>&1";
    let start = tree.tool("sh").args(["-c", script]).start();
    let said = || fs::read_to_string(tree.scratch().join("terminal")).unwrap_or_default();
    let line = "\r\u{1b}[Kwaiting for coder: readiness, ";
    wait_until("the line", || said().matches(line).count() >= 2);
    let leaves = " s (Ctrl-C ends the wait; the start is recorded and goes on)\r";
    assert!(said().contains(leaves), "{:?}", said());
    tree.tool("hermes-svc-stop").arg("coder").run().is(0, "profile=coder action=stopped\n", "");
    assert_eq!(start.wait().code, 111);
    // The line is gone when the next words come.
    assert!(said().contains("\r\u{1b}[Khermes-svc-start: fatal: unable to start coder: "), "{:?}", said());
}
