use crate::support::{Tree, kill, wait_for, wait_until};
use rustix::process::Signal;
use std::fs;
use std::path::PathBuf;

/// Lines of the stand-in: it starts when its profile has the file `go`.
const GATE: &str = "at_start() { while [ ! -e \"$dir/go\" ]; do sleep 0.02; done; }\n";

/// A tree where one gateway starts at a time, and the one of `gate` does at this moment: it waits for its `go`.
fn gated(variables: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (name, value) in [("HERMES_START_LIMIT", "1"), ("HERMES_START_TIMEOUT", "600")].iter().chain(variables) {
        tree.env.push((name.to_string(), value.to_string()));
    }
    tree.svscan();
    tree.profile("gate").intent("running").stand_in(GATE);
    tree.tool("hermes-reconcile-one").arg("gate").run();
    wait_until("the gate to start", || tree.profile("gate").starts() == 1 && tree.pollers().len() == 1);
    tree
}

/// Publish the slot of this profile, up, and wait until it stands in line.
fn wait_in_line(tree: &Tree, name: &str) {
    let profile = tree.profile(name);
    if profile.desired().is_none() {
        profile.intent("running");
    }
    tree.tool("hermes-reconcile-one").arg(name).run();
    wait_until("it to stand in line", || note(tree, name).starts_with("waits for its turn"));
}

/// The note of this profile.
fn note(tree: &Tree, name: &str) -> String {
    let ran = tree.tool("hermes-svc-status").args(["-j", name]).run();
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).expect("a record");
    json["note"].as_str().unwrap_or_default().to_string()
}

fn go(tree: &Tree, name: &str) {
    drop(tree.profile(name).file("go", ""));
}

fn ticket(tree: &Tree, name: &str) -> PathBuf {
    tree.scandir().join(".hermes-s6.turns").join(name)
}

#[track_caller]
fn ready(tree: &Tree, name: &str) {
    wait_until(&format!("{name} to be ready"), || tree.svstat(name, "ready").is_some_and(|s| s == ["true"]));
}

fn is_ready(tree: &Tree, name: &str) -> bool {
    tree.svstat(name, "ready").is_some_and(|s| s == ["true"])
}

/// Row H4 of docs/failures.md.
#[test]
fn gateways_start_one_after_another_in_the_order_of_the_line() {
    let tree = gated(&[("HERMES_START_ORDER", "d, gone ../x,c")]);
    // Each start says so if another one is under way.
    let starts = tree.scratch().join("starts");
    let (log, busy) = (starts.display(), tree.scratch().join("busy"));
    let lines = format!(
        "at_start() {{ echo \"$profile\" >>{log}; mkdir {0} || echo twice >>{log}; sleep 0.1; rmdir {0}; }}\n",
        busy.display()
    );
    for name in ["a", "b", "c", "d", "default"] {
        drop(tree.profile(name).intent("running").stand_in(&lines));
        wait_in_line(&tree, name);
    }
    for (before, name) in ["default", "d", "c", "a", "b"].iter().enumerate() {
        assert_eq!(note(&tree, name), format!("waits for its turn ({before} before it)"));
    }
    let ran = tree.tool("hermes-svc-status").args(["-x", "a"]).run();
    ran.is(
        0,
        "*\na is waiting, and its intent is running\n  because it waits for its turn to start, 3 before it\n  next: *\n",
        "",
    );
    tree.tool("hermes-svc-status").arg("-c").run().is(0, "", "");
    assert!(!starts.exists());
    go(&tree, "gate");
    ["gate", "default", "d", "c", "a", "b"].iter().for_each(|name| ready(&tree, name));
    assert_eq!(fs::read_to_string(&starts).expect("starts"), "default\nd\nc\na\nb\n");
    assert_eq!(note(&tree, "a"), "");
    wait_until("nobody to wait", || tree.pollers().is_empty());
}

/// Row H4 of docs/failures.md.
#[test]
fn without_a_limit_as_many_start_at_a_time_as_there_are_processors() {
    let mut tree = Tree::new();
    tree.env.push(("HERMES_START_TIMEOUT".to_string(), "600".to_string()));
    tree.svscan();
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("processors");
    let one = allowed.trim().split([',', '-']).next().expect("a processor");
    let ran = tree.tool("taskset").args(["-pc", one, &tree.svscan_pid().to_string()]).run();
    assert_eq!(ran.code, 0, "{ran}");
    tree.profile("gate").intent("running").stand_in(GATE);
    tree.tool("hermes-reconcile-one").arg("gate").run();
    wait_until("the gate to start", || tree.profile("gate").starts() == 1 && tree.pollers().len() == 1);
    wait_in_line(&tree, "a");
    go(&tree, "gate");
    ["gate", "a"].iter().for_each(|name| ready(&tree, name));
}

#[test]
fn a_start_that_an_operator_asks_for_waits_for_nobody() {
    let tree = gated(&[]);
    // One that stands in line, one that is down, and one that has no slot.
    for name in ["a", "b"] {
        wait_in_line(&tree, name);
    }
    tree.profile("down");
    tree.tool("hermes-svc-register").arg("down").run();
    tree.profile("new");
    tree.tool_as_account("hermes-svc-start").args(["-W", "b"]).run().is(0, "profile=b action=unchanged\n", "");
    tree.tool_as_account("hermes-svc-start").args(["-W", "down"]).run().is(0, "profile=down action=started\n", "");
    tree.tool("hermes-svc-start").args(["-W", "new"]).run().is(0, "profile=new action=started\n", "");
    tree.tool("hermes-svc-restart").args(["-W", "down"]).run().is(0, "profile=down action=restarted\n", "");
    // To register with -u is to ask for a start.
    tree.tool("hermes-svc-stop").args(["-w", "down"]).run().is(0, "profile=down action=stopped\n", "");
    for name in ["registered", "down"] {
        tree.profile(name);
        tree.tool("hermes-svc-register").args(["-u", name]).run().is(
            0,
            &format!("profile={name} action=* port=*\n"),
            "",
        );
        ready(&tree, name);
    }
    assert_eq!(note(&tree, "a"), "waits for its turn (0 before it)");
    for name in ["b", "down", "new", "registered"] {
        assert!(!tree.profile_dir(name).join(".hermes-s6.start-now").exists());
    }
    // A start of all goes in turn.
    tree.profile("c").intent("running");
    tree.tool("hermes-svc-start").arg("-a").run();
    wait_until("c to stand in line", || note(&tree, "c") == "waits for its turn (1 before it)");
    go(&tree, "gate");
    ["gate", "a", "c"].iter().for_each(|name| ready(&tree, name));
}

#[test]
fn a_place_is_free_when_its_start_has_ended_in_whatever_way() {
    for how in ["the gateway dies", "the one that waits for it is killed", "it is stopped"] {
        let tree = gated(&[]);
        wait_in_line(&tree, "a");
        match how {
            "the gateway dies" => kill(tree.gateway("gate").expect("a gateway"), Signal::KILL),
            "it is stopped" => _ = tree.tool("hermes-svc-stop").arg("gate").run(),
            _ => kill(tree.pollers()[0], Signal::KILL),
        }
        ready(&tree, "a");
    }
}

#[test]
fn a_start_that_has_had_its_time_gives_its_place_up_and_is_ready_later() {
    let tree = gated(&[("HERMES_START_TIMEOUT", "1")]);
    tree.profile("a").intent("running");
    tree.tool("hermes-reconcile-one").arg("a").run();
    ready(&tree, "a");
    assert!(!is_ready(&tree, "gate"));
    go(&tree, "gate");
    ready(&tree, "gate");
}

#[test]
fn one_that_waits_can_be_stopped_and_killed_and_the_line_goes_on() {
    let tree = gated(&[]);
    for name in ["a", "b", "c"] {
        wait_in_line(&tree, name);
    }
    tree.tool("hermes-svc-stop").args(["-w", "a"]).run().is(0, "profile=a action=stopped\n", "");
    // The ticket of one that was killed is no longer in the line.
    kill(tree.gateway("b").expect("a process"), Signal::STOP);
    kill(tree.supervisor(&tree.slot("b")).expect("a supervisor"), Signal::STOP);
    kill(tree.gateway("b").expect("a process"), Signal::KILL);
    wait_until("c to be next", || note(&tree, "c") == "waits for its turn (0 before it)");
    assert!(ticket(&tree, "b").exists());
    go(&tree, "gate");
    ["gate", "c"].iter().for_each(|name| ready(&tree, name));
    assert_eq!(tree.profile("a").starts() + tree.profile("b").starts(), 0);
    kill(tree.supervisor(&tree.slot("b")).expect("a supervisor"), Signal::CONT);
    ready(&tree, "b");
}

#[test]
fn a_wait_for_the_turn_does_not_count_as_uptime() {
    let tree = gated(&[]);
    wait_in_line(&tree, "a");
    let number = |key: &str| {
        let ran = tree.tool("hermes-svc-status").args(["-j", "a"]).run();
        serde_json::from_str::<serde_json::Value>(&ran.stdout).expect("a record")[key].as_u64()
    };
    assert_eq!(number("uptime"), None);
    wait_until("four seconds in line", || number("since").is_some_and(|since| since >= 4));
    go(&tree, "gate");
    ready(&tree, "a");
    let (uptime, since) = (number("uptime").expect("up"), number("since").expect("up"));
    let of_s6: u64 = tree.svstat("a", "updownfor").expect("a supervisor")[0].parse().expect("seconds");
    assert!(uptime + 2 <= of_s6 && since + 2 <= of_s6, "{uptime}, {since}, {of_s6}");
    // The line of its death does not count the wait either.
    let run: u64 =
        fs::read_to_string(tree.slot("a").join("data/started")).expect("run").trim().parse().expect("a time");
    kill(tree.gateway("a").expect("a gateway"), Signal::KILL);
    let log = tree.home().join("logs/gateways/a/current");
    let lived: u64 = wait_for("the line of the death", || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        log.split_once("died of SIGKILL after ")?.1.split_once(" s, ")?.0.parse().ok()
    });
    let now = std::time::UNIX_EPOCH.elapsed().expect("the time").as_secs();
    assert!(lived + 2 <= now - run, "{lived} of {}", now - run);
}

#[test]
fn one_whose_supervisor_was_killed_leaves_the_line_to_the_next() {
    let tree = gated(&[]);
    wait_in_line(&tree, "a");
    let old = tree.gateway("a").expect("a process");
    kill(tree.supervisor(&tree.slot("a")).expect("a supervisor"), Signal::KILL);
    let new = wait_for("another one to wait", || tree.gateway("a").filter(|pid| *pid != old));
    wait_until("the old one to be gone", || crate::support::start_time(old).is_none());
    go(&tree, "gate");
    ready(&tree, "a");
    assert_eq!((tree.gateway("a"), tree.profile("a").starts()), (Some(new), 1));
}

#[test]
fn a_value_that_cannot_be_understood_is_a_warning_and_the_gateway_starts() {
    let mut tree = Tree::new();
    for name in ["LIMIT", "TIMEOUT", "MEMORY"] {
        tree.env.push((format!("HERMES_START_{name}"), "two".to_string()));
    }
    tree.svscan();
    tree.profile("a").intent("running");
    tree.tool("hermes-reconcile-one").arg("a").run();
    ready(&tree, "a");
    let log = tree.home().join("logs/gateways/a/current");
    wait_until("the log", || fs::read_to_string(&log).is_ok_and(|log| log.contains("stand-in gateway of a\n")));
    let log = fs::read_to_string(&log).expect("log");
    for name in ["LIMIT", "TIMEOUT", "MEMORY"] {
        assert_eq!(log.matches(&format!("warning: invalid HERMES_START_{name} \"two\": ")).count(), 1, "{log}");
    }
}

#[test]
fn one_that_there_is_no_memory_for_waits_and_default_and_an_operators_start_do_not() {
    let mut tree = Tree::new();
    // No machine has so many MiB.
    tree.env.push(("HERMES_START_MEMORY".to_string(), "1000000000".to_string()));
    tree.svscan();
    for name in ["a", "default"] {
        tree.profile(name).intent("running");
    }
    tree.tool("hermes-reconcile-all").run();
    wait_until("it to wait", || note(&tree, "a") == "waits for memory");
    ready(&tree, "default");
    let ran = tree.tool("hermes-svc-status").args(["-x", "a"]).run();
    ran.is(0, "*\n*\n  because it is the next to start, and too little memory is left\n  next: *\n", "");
    assert_eq!(tree.profile("a").starts(), 0);
    tree.tool("hermes-svc-start").args(["-W", "a"]).run().is(0, "profile=a action=unchanged\n", "");
    let log = fs::read_to_string(tree.home().join("logs/gateways/a/current")).expect("log");
    assert_eq!(log.matches("warning: a waits for memory: ").count(), 1, "{log}");
}

#[test]
fn a_restart_of_all_takes_one_after_another_and_the_others_go_on() {
    let mut tree = Tree::new();
    tree.env.push(("HERMES_START_LIMIT".to_string(), "1".to_string()));
    tree.svscan();
    let names = ["a", "b", "c"];
    for name in names {
        drop(tree.profile(name).intent("running"));
    }
    tree.tool("hermes-reconcile-all").run();
    names.iter().for_each(|name| ready(&tree, name));
    let before = names.map(|name| tree.gateway(name));
    drop(tree.profile("a").stand_in(GATE));
    let restart = tree.tool("hermes-svc-restart").arg("-a").start();
    wait_until("a to be restarted", || tree.profile("a").starts() == 2);
    assert!(restart.is_running() && is_ready(&tree, "b") && is_ready(&tree, "c"));
    assert_eq!(["b", "c"].map(|name| tree.gateway(name)), before[1..]);
    go(&tree, "a");
    restart.wait().is(0, "profile=a action=restarted\nprofile=b action=restarted\nprofile=c action=restarted\n", "");
    names.iter().for_each(|name| ready(&tree, name));
    assert_eq!(names.map(|name| tree.profile(name).starts()), [2, 2, 2]);
}

#[test]
fn a_restart_of_all_leaves_half_of_the_gateways_up_where_there_are_places_for_all() {
    let mut tree = Tree::new();
    tree.env.push(("HERMES_START_LIMIT".to_string(), "8".to_string()));
    tree.svscan();
    let names = ["a", "b"];
    for name in names {
        drop(tree.profile(name).intent("running"));
    }
    tree.tool("hermes-reconcile-all").run();
    names.iter().for_each(|name| ready(&tree, name));
    let before = tree.gateway("b");
    drop(tree.profile("a").stand_in(GATE));
    let restart = tree.tool("hermes-svc-restart").arg("-a").start();
    wait_until("a to be restarted", || tree.profile("a").starts() == 2);
    assert!(restart.is_running() && is_ready(&tree, "b") && tree.gateway("b") == before);
    go(&tree, "a");
    restart.wait().is(0, "profile=a action=restarted\nprofile=b action=restarted\n", "");
    names.iter().for_each(|name| ready(&tree, name));
}

/// Row H4 of docs/failures.md.
#[test]
fn the_kernel_takes_a_gateway_before_what_supervises_it() {
    let tree = Tree::up();
    tree.profile("a").intent("running");
    tree.tool("hermes-reconcile-one").arg("a").run();
    let gateway = tree.wait_up("a");
    let supervisor = tree.supervisor(&tree.slot("a")).expect("a supervisor");
    let [gateway, supervisor] = [gateway, supervisor].map(|pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("oom_score_adj");
        text.trim().parse::<i32>().expect("a number")
    });
    assert_eq!(gateway, (supervisor + 100).min(1000));
}
