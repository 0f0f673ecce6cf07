//! hermes-reconcile-all: after any death of the container, the gateways that the operator left up are up again.

use crate::support::{
    Profile, Ran, Tree, glob, kill, link_of, preferred_port, snapshot, start_time, wait_for, wait_until,
};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Instant;

/// The line `reconcile: done ...` with these counts: profiles, started, registered, unchanged, updated, removed,
/// skipped, failed.
fn done(counts: [usize; 8]) -> String {
    let names = ["profiles", "started", "registered", "unchanged", "updated", "removed", "skipped", "failed"];
    let fields: Vec<String> = names.iter().zip(counts).map(|(name, count)| format!("{name}={count}")).collect();
    format!("reconcile: done {} ms=*\n", fields.join(" "))
}

/// `reconcile: profile=...` of a profile that has its preferred port and whose last exit is unknown.
fn line(name: &str, prior: &str, action: &str) -> String {
    let port = preferred_port(name);
    format!("reconcile: profile={name} prior_state={prior} action={action} port={port} prior_exit=unknown\n")
}

fn pass(tree: &Tree) -> Ran {
    tree.tool("hermes-reconcile-all").run()
}

/// Every state that a volume can be in: the name, the state file, the printed state, and whether the gateway starts.
/// `default` has no state file.
const STATES: [(&str, &str, &str, bool); 23] = [
    ("bom", "\u{feff}{\"desired_state\":\"running\"}", "invalid", false),
    ("degraded", r#"{"gateway_state":"degraded"}"#, "running", true),
    ("desired-degraded", r#"{"desired_state":"degraded","gateway_state":"running"}"#, "degraded", false),
    ("desired-null", r#"{"desired_state":null,"gateway_state":"running"}"#, "running", true),
    ("desired-number", r#"{"desired_state":7,"gateway_state":"running"}"#, "running", true),
    ("desired-odd", r#"{"desired_state":"paused","gateway_state":"running"}"#, "invalid", false),
    ("desired-up", r#"{"desired_state":"running","gateway_state":"stopped","pid":1}"#, "running", true),
    ("desired-down", r#"{"desired_state":"stopped","gateway_state":"running"}"#, "stopped", false),
    ("draining", r#"{"gateway_state":"draining"}"#, "running", true),
    ("empty", "", "invalid", false),
    ("empty-object", "{}", "none", false),
    ("failed", r#"{"gateway_state":"startup_failed"}"#, "startup_failed", false),
    ("hostile", r#"{"desired_state":"running\n\u001b[2J action=started"}"#, "invalid", false),
    ("list", r#"["running"]"#, "invalid", false),
    ("number", "7", "invalid", false),
    ("running", r#"{"gateway_state":"running"}"#, "running", true),
    ("starting", r#"{"gateway_state":"starting"}"#, "starting", false),
    ("stopped", r#"{"gateway_state":"stopped"}"#, "stopped", false),
    ("string", r#""running""#, "invalid", false),
    ("truncated", r#"{"desired_state":"run"#, "invalid", false),
    ("typed-wrong", r#"{"gateway_state":["running"]}"#, "invalid", false),
    ("unknown", r#"{"gateway_state":"Running"}"#, "invalid", false),
    ("upper", r#"{"desired_state":"RUNNING"}"#, "invalid", false),
];

/// Rows A2, A3, H4 of docs/failures.md.
#[test]
fn the_boot_pass_publishes_every_profile_and_starts_exactly_the_intended() {
    let tree = Tree::up();
    let mut expected: Vec<(&str, &str, bool)> = STATES.iter().map(|(n, _, prior, up)| (*n, *prior, *up)).collect();
    expected.sort();
    let ports: BTreeSet<u32> = expected.iter().map(|(n, ..)| preferred_port(n)).chain([9495]).collect();
    assert_eq!(ports.len(), STATES.len() + 1, "names that do not collide, so that the lines are known");
    for (name, state, ..) in STATES {
        tree.profile(name).state(state);
    }

    let ran = pass(&tree);
    let mut stdout = line("default", "none", "registered");
    for (name, prior, up) in &expected {
        stdout += &line(name, prior, if *up { "started" } else { "registered" });
    }
    let started = expected.iter().filter(|e| e.2).count();
    stdout += &done([expected.len() + 1, started, expected.len() + 1 - started, 0, 0, 0, 0, 0]);
    let broken = expected.iter().filter(|e| e.1 == "invalid").count();
    let ran = ran.is(0, &stdout, "**");
    for warning in ran.stderr.lines() {
        assert!(warning.starts_with("hermes-reconcile-all: warning: "), "{ran}");
    }
    assert!(ran.stderr.lines().count() <= broken, "{ran}");
    assert!(!ran.stderr.contains('\u{1b}'), "{ran}");

    // The boot log has the same lines, each with a time and its offset in front, behind one that names the versions.
    let log = fs::read_to_string(tree.home().join("logs/container-boot.log")).expect("the log");
    let logged: Vec<&str> = log.lines().map(|l| l.split_once(' ').expect("a time").1).collect();
    let printed: Vec<&str> = ran.stdout.lines().map(|l| l.strip_prefix("reconcile: ").expect("a line")).collect();
    assert_eq!(logged[1..], printed);
    let versions = concat!("begin hermes-s6=", env!("CARGO_PKG_VERSION"), " client=* s6=* s6-overlay=* uid=* gid=*");
    let versions = versions.replace("uid=* gid=*", &format!("uid={} gid={}", tree.uid, tree.gid));
    assert!(glob(&versions, logged[0]), "{}", logged[0]);
    for time in log.lines().map(|l| l.split_once(' ').expect("a time").0) {
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert!(["0000-00-00T00:00:00+0000", "0000-00-00T00:00:00-0000"].contains(&shape.as_str()), "{time}");
    }
    let owner = fs::metadata(tree.home().join("logs/container-boot.log")).expect("the log").uid();
    assert_eq!(owner, tree.uid);

    for (name, _, up) in expected {
        if up {
            tree.wait_up(name);
            assert!(!tree.slot(name).join("down").exists(), "{name}");
        } else {
            wait_until(name, || tree.svstat(name, "up,wantedup,normallyup").is_some_and(|s| s == ["false"; 3]));
            assert!(tree.slot(name).join("down").exists(), "{name}");
            assert_eq!(tree.profile(name).starts(), 0, "{name}");
        }
    }
    assert_eq!(tree.leftovers(), Vec::<String>::new());
}

#[test]
fn a_second_pass_changes_nothing_while_gateways_run() {
    let tree = Tree::up();
    tree.profile("default").intent("running");
    tree.profile("coder").intent("running");
    tree.profile("writer").intent("stopped");
    let stdout = line("default", "running", "started") + &line("coder", "running", "started");
    let stdout = stdout + &line("writer", "stopped", "registered") + &done([3, 2, 1, 0, 0, 0, 0, 0]);
    tree.tool("hermes-reconcile-all").arg("-w").run().is(0, &stdout, "");
    let pids = (tree.wait_up("default"), tree.wait_up("coder"));
    let before = snapshot(&[&tree.scandir()]);

    let stdout = line("default", "running", "unchanged") + &line("coder", "running", "unchanged");
    let stdout = stdout + &line("writer", "stopped", "unchanged") + &done([3, 0, 0, 3, 0, 0, 0, 0]);
    for _ in 0..3 {
        pass(&tree).is(0, &stdout, "");
    }
    before.still_holds();
    assert_eq!((tree.wait_up("default"), tree.wait_up("coder")), pids);
    assert_eq!((tree.profile("default").starts(), tree.profile("coder").starts()), (1, 1));
    assert_eq!(tree.profile("default").read("logs/container-boot.log").lines().count(), 20);
}

/// Row B5 of docs/failures.md.
#[test]
fn a_deleted_profile_loses_its_slot_and_its_gateway() {
    let tree = Tree::up();
    let profile = tree.profile("coder").intent("running");
    tree.profile("writer").intent("running");
    pass(&tree);
    let (coder, writer) = (tree.wait_up("coder"), tree.wait_up("writer"));
    let supervisor = tree.supervisor(&tree.slot("coder")).expect("a supervisor");
    tree.delete_profile("coder");

    let stdout = line("default", "none", "unchanged")
        + &line("writer", "running", "unchanged")
        + "reconcile: profile=coder prior_state=none action=removed port=* prior_exit=unknown\n"
        + &done([2, 0, 0, 2, 0, 1, 0, 0]);
    pass(&tree).is(0, &stdout, "");
    assert_eq!((start_time(coder), start_time(supervisor)), (None, None));
    assert_eq!(tree.slots(), ["default", "writer"]);
    assert_eq!(tree.leftovers(), Vec::<String>::new());
    assert_eq!(tree.wait_up("writer"), writer);
    assert!(!profile.dir.exists(), "a gateway that ends must not bring its profile back");
    let ports = tree.profile("default").read("gateway_ports.json");
    assert!(!ports.contains("coder") && ports.contains("writer"), "{ports}");
    pass(&tree).is(
        0,
        &(line("default", "none", "unchanged")
            + &line("writer", "running", "unchanged")
            + &done([2, 0, 0, 2, 0, 0, 0, 0])),
        "",
    );
}

/// Four gateways as an operator left them: two up, one stopped, one never started.
fn as_the_operator_left_them(tree: &Tree) {
    for name in ["default", "coder", "writer", "fresh"] {
        tree.profile(name);
    }
    pass(tree);
    tree.tool("hermes-svc-start").args(["-w", "default", "coder", "writer"]).run().is(0, "*\n*\n*\n", "");
    tree.tool("hermes-svc-stop").args(["-w", "writer"]).run().is(0, "profile=writer action=stopped\n", "");
}

/// Boot once more: the two gateways are up again, and the other two are down.
#[track_caller]
fn comes_back(tree: &Tree) {
    let before = [tree.profile("default").starts(), tree.profile("coder").starts(), tree.profile("writer").starts()];
    tree.reboot();
    let started = |name: &str| {
        format!("reconcile: profile={name} prior_state=running action=started port=* prior_exit=unknown\n")
    };
    let stdout = started("default")
        + &started("coder")
        + "reconcile: profile=fresh prior_state=none action=registered port=* prior_exit=unknown\n"
        + "reconcile: profile=writer prior_state=stopped action=registered port=* prior_exit=unknown\n"
        + &done([4, 2, 2, 0, 0, 0, 0, 0]);
    pass(tree).is(0, &stdout, "");
    tree.wait_up("default");
    tree.wait_up("coder");
    tree.wait_down("writer");
    tree.wait_down("fresh");
    let after = [tree.profile("default").starts(), tree.profile("coder").starts(), tree.profile("writer").starts()];
    assert_eq!(after, [before[0] + 1, before[1] + 1, before[2]]);
    assert_eq!(tree.profile("fresh").starts(), 0);
}

/// Row A1 of docs/failures.md.
#[test]
fn the_same_gateways_are_up_after_a_hard_death() {
    let tree = Tree::up();
    as_the_operator_left_them(&tree);
    comes_back(&tree);
    comes_back(&tree);
}

/// Row A1 of docs/failures.md.
#[test]
fn the_same_gateways_are_up_after_a_drain_that_keeps_the_intents() {
    let tree = Tree::up();
    as_the_operator_left_them(&tree);
    let stdout = "profile=default action=stopped\nprofile=coder action=stopped\n";
    tree.tool("hermes-svc-stop").args(["-a", "-k", "-w"]).run().is(0, stdout, "");
    assert_eq!(tree.profile("default").desired().as_deref(), Some("running"));
    comes_back(&tree);
}

/// Row A1 of docs/failures.md.
#[test]
fn the_same_gateways_are_up_after_the_supervision_tree_was_told_to_end() {
    let tree = Tree::up();
    as_the_operator_left_them(&tree);
    // On `docker stop`, s6-svscan sends SIGTERM to every service. Hermes Agent may write `stopped` then.
    tree.profile("coder").stand_in("term_state=stopped\n");
    tree.tool("s6-svscanctl").arg("-t").arg(tree.scandir()).run().is(0, "", "");
    wait_until("s6-svscan to end", || tree.processes().is_empty());
    comes_back(&tree);
}

/// Rows A1, A3 of docs/failures.md.
#[test]
fn the_same_gateways_are_up_after_a_death_in_mid_drain() {
    let tree = Tree::up();
    tree.profile("default").stand_in("drain_ms=20000\n");
    as_the_operator_left_them(&tree);
    tree.tool("s6-svc").arg("-d").arg(tree.slot("default")).run().is(0, "", "");
    wait_until("draining", || tree.profile("default").json()["gateway_state"] == "draining");
    comes_back(&tree);
}

/// Row A1 of docs/failures.md.
#[test]
fn the_same_gateways_are_up_after_a_death_in_mid_start() {
    let tree = Tree::up();
    let profile = tree.profile("default").stand_in("never_ready=1\n");
    as_the_operator_left_them(&tree);
    wait_until("starting", || profile.json()["gateway_state"] == "starting");
    profile.stand_in("");
    comes_back(&tree);
}

/// Row A13 of docs/failures.md.
#[test]
fn intent_and_the_kill_of_the_whole_tree_go_together_at_every_moment() {
    // Whenever the container dies, the next boot obeys the file, which has the old or the new intent.
    let tree = Tree::up();
    let profile = tree.profile("coder").intent("stopped");
    pass(&tree);
    for round in 0..6 {
        let (tool, want) =
            if round % 2 == 0 { ("hermes-svc-start", "running") } else { ("hermes-svc-stop", "stopped") };
        let mut running = tree.tool(tool).arg("coder").spawn();
        std::thread::sleep(std::time::Duration::from_millis(3 * round));
        tree.reboot();
        running.wait().expect("wait");
        let desired = profile.desired().expect("an intent, never half a file");
        let stdout = line("default", "none", "registered")
            + &line("coder", &desired, if desired == "running" { "started" } else { "registered" });
        pass(&tree).is(0, &(stdout + "reconcile: done profiles=2 *\n"), "");
        // Make the other intent the recorded one for the next round.
        tree.tool(tool).args(["-w", "coder"]).run().is(0, "profile=coder action=*\n", "");
        assert_eq!(profile.desired().as_deref(), Some(want));
    }
}

#[test]
fn the_log_is_moved_away_at_256_kib_and_not_before() {
    let tree = Tree::new();
    let profile = tree.profile("default").directory("logs");
    let nearly = "x".repeat(256 * 1024 - 1);
    let profile = profile.file("logs/container-boot.log", &nearly);
    let warning = "hermes-reconcile-all: warning: no s6-svscan *\n";
    pass(&tree).is(0, "reconcile: profile=default *\nreconcile: done *\n", warning);
    let log = profile.read("logs/container-boot.log");
    assert!(log.starts_with(&nearly) && log.len() > nearly.len());
    assert!(!profile.dir.join("logs/container-boot.log.1").exists());

    pass(&tree).is(0, "reconcile: profile=default *\nreconcile: done *\n", warning);
    assert_eq!(profile.read("logs/container-boot.log.1"), log);
    assert_eq!(profile.read("logs/container-boot.log").lines().count(), 3);
}

#[test]
fn without_an_s6_svscan_the_slots_are_published_and_its_first_scan_finds_them() {
    let tree = Tree::new();
    tree.profile("coder").intent("running");
    let stdout =
        line("default", "none", "registered") + &line("coder", "running", "started") + &done([2, 1, 1, 0, 0, 0, 0, 0]);
    pass(&tree).is(0, &stdout, "hermes-reconcile-all: warning: no s6-svscan *\n");
    tree.svscan();
    tree.wait_up("coder");
    tree.wait_down("default");
    // Without an s6-svscan, waiting is an error.
    let other = Tree::new();
    other.tool("hermes-reconcile-all").arg("-w").run().is(
        102,
        "*\n*\n",
        "hermes-reconcile-all: warning: *\nhermes-reconcile-all: fatal: *s6-svscan*\n",
    );
}

#[test]
fn a_dry_run_prints_the_same_and_changes_nothing() {
    let tree = Tree::up();
    tree.profile("default").file("gateway.pid", "123");
    tree.profile("coder").intent("running");
    let before = snapshot(&[&tree.home(), &tree.scandir()]);
    let stdout =
        line("default", "none", "registered") + &line("coder", "running", "started") + &done([2, 1, 1, 0, 0, 0, 0, 0]);
    tree.tool("hermes-reconcile-all").arg("-n").run().is(0, &stdout, "");
    before.still_holds();
    pass(&tree).is(0, &stdout, "");

    // The same for a slot that would be removed.
    tree.wait_up("coder");
    tree.delete_profile("coder");
    let before = snapshot(&[&tree.home(), &tree.scandir()]);
    let ran = tree.tool("hermes-reconcile-all").arg("-n").run();
    ran.is(
        0,
        &(line("default", "none", "unchanged")
            + "reconcile: profile=coder * action=removed *\n"
            + &done([1, 0, 0, 1, 0, 1, 0, 0])),
        "",
    );
    before.still_holds();
}

#[test]
fn json_is_one_object_a_line_with_fields_in_a_fixed_order() {
    let tree = Tree::up();
    tree.profile("coder")
        .intent("running")
        .directory("state")
        .file("state/gateway.lifecycle.json", r#"{"phase":"exited"}"#);
    let object = |name: &str, prior: &str, action: &str, exit: &str, dry: bool| {
        let port = preferred_port(name);
        format!(
            "{{\"profile\":\"{name}\",\"prior_state\":\"{prior}\",\"action\":\"{action}\",\"port\":{port},\"prior_exit\":\"{exit}\",\"note\":null,\"dry_run\":{dry}}}\n"
        )
    };
    for dry in [true, false] {
        let stdout = object("default", "none", "registered", "unknown", dry)
            + &object("coder", "running", "started", "clean", dry)
            + "{\"profiles\":2,\"started\":1,\"registered\":1,\"unchanged\":0,\"updated\":0,\"removed\":0,\"skipped\":0,\"failed\":0,\"ms\":*,\"unlisted\":null,\"note\":null,\"dry_run\":"
            + &format!("{dry}}}\n");
        tree.tool("hermes-reconcile-all").arg(if dry { "-nj" } else { "-j" }).run().is(0, &stdout, "");
    }
}

#[test]
fn how_the_last_life_ended_is_said() {
    let tree = Tree::new();
    for (name, json, exit) in [
        ("clean", r#"{"phase":"exited"}"#, "clean"),
        ("list", "[]", "unknown"),
        ("none", "", "unknown"),
        ("other", r#"{"phase":"x y"}"#, "unknown"),
        ("unclean", r#"{"phase":"running"}"#, "unclean"),
    ] {
        tree.profile(name).directory("state").file("state/gateway.lifecycle.json", json);
        let ran = tree.tool("hermes-reconcile-one").args(["-n", name]).run();
        let stdout = format!("reconcile: profile={name} prior_state=none action=registered port=* prior_exit={exit}\n");
        ran.is(0, &stdout, "*\n");
    }
}

/// Row F9 of docs/failures.md.
#[test]
fn files_of_a_gateway_that_is_gone_are_removed_and_those_of_a_live_one_are_not() {
    let tree = Tree::up();
    let stale = tree.profile("stale").file("gateway.pid", r#"{"pid":1,"start_time":1}"#).file("processes.json", "[]");
    let stale = stale.file("gateway.lock", "");
    let live = tree.profile("live").intent("running");
    let own = tree.profile("default").file("gateway.pid", "4194000").file("processes.json", "[]");
    pass(&tree);
    for profile in [&stale, &own] {
        assert!(!profile.dir.join("gateway.pid").exists() && !profile.dir.join("processes.json").exists());
    }
    assert!(stale.dir.join("gateway.lock").exists(), "a lock file is never taken for a lock");

    let pid = tree.wait_up("live");
    let live = live.file("gateway.pid", pid.to_string()).file("processes.json", "[]");
    pass(&tree);
    assert_eq!((live.read("gateway.pid"), live.read("processes.json")), (pid.to_string(), "[]".to_string()));
}

/// Rows B6, B7, B8 of docs/failures.md.
#[test]
fn what_is_not_a_profile_is_skipped_and_hides_nobody() {
    let tree = Tree::up();
    let profiles = tree.home().join("profiles");
    tree.profile("coder").intent("running");
    // Odd directories with a marker are named, and so are a link and a directory without a marker.
    for name in ["_scaffold", "Upper", "default", "with.dot"] {
        let dir = profiles.join(name);
        fs::create_dir_all(&dir).expect("mkdir");
        fs::write(dir.join("SOUL.md"), "").expect("marker");
        fs::write(dir.join("gateway_state.json"), r#"{"desired_state":"running"}"#).expect("state");
    }
    Profile::bare(&tree, "no-marker").intent("running");
    Profile::bare(&tree, "marker-is-a-directory").directory("SOUL.md").intent("running");
    fs::write(profiles.join("a-file"), "").expect("file");
    link_of(tree.uid, tree.profile_dir("coder"), &profiles.join("a-link"));
    tree.profile("zz-only-a-marker");

    let ran = pass(&tree);
    let skipped = |name: &str, note: &str| {
        format!("reconcile: profile={name} prior_state=none action=skipped port=none prior_exit=unknown note={note}\n")
    };
    let stdout = line("default", "none", "registered")
        + &line("coder", "running", "started")
        + &line("zz-only-a-marker", "none", "registered")
        + &skipped("Upper", "invalid-name")
        + &skipped("_scaffold", "invalid-name")
        + &skipped("a-link", "foreign-link")
        + &skipped("default", "reserved-name")
        + &skipped("marker-is-a-directory", "no-soul")
        + &skipped("no-marker", "no-soul")
        + &skipped("with.dot", "invalid-name")
        + &done([3, 1, 2, 0, 0, 0, 7, 0]);
    let ran = ran.is(0, &stdout, "**");
    assert!(ran.stderr.lines().all(|l| l.starts_with("hermes-reconcile-all: warning: ")), "{ran}");
    assert_eq!(tree.slots(), ["coder", "default", "zz-only-a-marker"]);
}

#[test]
fn a_name_that_would_forge_a_line_cannot() {
    let tree = Tree::new();
    let dir = tree.home().join("profiles/x\nreconcile: done profiles=0\u{1b}[2J");
    fs::create_dir_all(&dir).expect("mkdir");
    fs::write(dir.join("SOUL.md"), "").expect("marker");
    let ran = pass(&tree);
    assert_eq!((ran.code, ran.lines().len()), (0, 3), "{ran}");
    assert!(ran.lines()[1].contains(" action=skipped ") && ran.lines()[1].ends_with(" note=invalid-name"), "{ran}");
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "{ran}");
    let log = tree.profile("default").read("logs/container-boot.log");
    assert_eq!(log.lines().count(), 4, "{log}");
}

/// The client's version is in the name of its metadata, beside the first `hermes` on the PATH that has any.
#[test]
fn the_boot_log_names_the_installed_client() {
    let tree = Tree::new();
    let venv = tree.scratch().join("venv");
    fs::create_dir_all(venv.join("bin")).expect("bin");
    fs::create_dir_all(venv.join("lib/python3.11/site-packages/hermes_agent-7.8.9.dist-info")).expect("metadata");
    fs::write(venv.join("bin/hermes"), "").expect("hermes");
    let path = format!("{}:{}:/usr/bin:/bin", tree.bin().display(), venv.join("bin").display());
    let ran = tree.tool("hermes-reconcile-all").env("PATH", path).run();
    assert_eq!(ran.code, 0, "{ran}");
    let log = tree.profile("default").read("logs/container-boot.log");
    assert!(log.lines().next().is_some_and(|line| line.contains(" client=7.8.9 ")), "{log}");
}

/// Rows G3, H10 of docs/failures.md.
#[test]
fn a_container_that_is_told_so_owns_no_gateways() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    let before = snapshot(&[&tree.home(), &tree.scandir()]);
    for yes in ["1", "true", "True", "yes"] {
        let ran = tree.tool("hermes-reconcile-all").env("HERMES_SKIP_PROFILE_RECONCILE", yes).run();
        let stdout = done([0; 8]).replace("ms=*", "ms=* note=skip-requested");
        ran.is(0, &stdout, "");
    }
    before.still_holds();
    for no in ["0", "false", "", "no"] {
        let ran = tree.tool("hermes-reconcile-all").arg("-n").env("HERMES_SKIP_PROFILE_RECONCILE", no).run();
        ran.is(
            0,
            &(line("default", "none", "registered")
                + &line("coder", "running", "started")
                + &done([2, 1, 1, 0, 0, 0, 0, 0])),
            "",
        );
    }
}

/// A dry boot pass in a container with s6-overlay as process 1 and this command.
fn boots_as(tree: &Tree, command: &str, before: &str) -> Ran {
    types_in(tree, command, before, "hermes-reconcile-all -n")
}

/// What a person types in such a container.
fn types_in(tree: &Tree, command: &str, before: &str, typed: &str) -> Ran {
    let setup = format!(
        "mkdir -p /run/s6/basedir\n{before}\n\
         sh -c 'sleep 1000; :' rc.init top /opt/hermes/docker/main-wrapper.sh {command} &\n\
         until grep -q rc.init /proc/$!/cmdline; do :; done"
    );
    tree.in_a_container(&setup, typed)
}

/// Rows G1, G2 of docs/failures.md.
#[test]
fn the_dashboards_container_owns_no_gateways() {
    crate::support::needs_root();
    let tree = Tree::new();
    tree.profile("coder").intent("running");
    let skipped = done([0; 8]).replace("ms=*", "ms=* note=dashboard-container") + "exit 0\n";
    boots_as(&tree, "dashboard", "").is(0, &skipped, "");
    boots_as(&tree, "dashboard --port 9119", "").is(0, &skipped, "");
    boots_as(&tree, "hermes dashboard", "").is(0, &skipped, "");
    let owns = line("default", "none", "registered")
        + &line("coder", "running", "started")
        + &done([2, 1, 1, 0, 0, 0, 0, 0])
        + "exit 0\n";
    boots_as(&tree, "", "").is(0, &owns, "");
    boots_as(&tree, "sleep infinity", "").is(0, &owns, "");
    boots_as(&tree, "chat dashboard", "").is(0, &owns, "");
    // A process of that name that belongs to another user does not count.
    let uid = tree.uid;
    let fake = format!(
        "setpriv --reuid {uid} --regid {uid} --clear-groups sh -c 'sleep 1000; :' x main-wrapper.sh dashboard &\n\
         until [ \"$(stat -c %u /proc/$!)\" = {uid} ] && grep -q '^sh' /proc/$!/cmdline; do :; done"
    );
    boots_as(&tree, "", &fake).is(0, &owns, "");
}

/// Row A4 of docs/failures.md.
#[test]
fn a_legacy_gateway_run_container_starts_its_root_profile_once() {
    crate::support::needs_root();
    let tree = Tree::new();
    tree.profile("coder");
    let end = |counts: [usize; 8]| done(counts) + "exit 0\n";
    let seeded =
        line("default", "running", "started") + &line("coder", "none", "registered") + &end([2, 1, 1, 0, 0, 0, 0, 0]);
    let not =
        line("default", "none", "registered") + &line("coder", "none", "registered") + &end([2, 0, 2, 0, 0, 0, 0, 0]);
    boots_as(&tree, "gateway run", "").is(0, &seeded, "");
    let itself = not.replacen("unknown\n", "unknown note=foreground\n", 1);
    boots_as(&tree, "gateway run --no-supervise", "").is(0, &itself, "");
    boots_as(&tree, "gateway run", "export HERMES_GATEWAY_NO_SUPERVISE=1").is(0, &itself, "");
    boots_as(&tree, "gateway status", "").is(0, &not, "");
    // An existing state file is never overruled, whatever it says.
    tree.profile("default").state("{}");
    boots_as(&tree, "gateway run", "").is(0, &not, "");
}

/// Row A4 of docs/failures.md.
#[test]
fn a_gateway_that_is_the_containers_own_command_is_never_started_beside_itself() {
    crate::support::needs_root();
    let tree = Tree::new();
    tree.profile("default").state(r#"{"gateway_state":"running"}"#);
    tree.profile("coder").intent("running");
    let line = |name: &str, action: &str, foreground: bool| match foreground {
        true => line(name, "running", "registered").replace('\n', " note=foreground\n"),
        false => line(name, "running", action),
    };
    let all = |default: bool, coder: bool| {
        let started = [default, coder].iter().filter(|foreground| !**foreground).count();
        line("default", "started", default)
            + &line("coder", "started", coder)
            + &done([2, started, 2 - started, 0, 0, 0, 0, 0])
            + "exit 0\n"
    };
    let unsupervised = "export HERMES_GATEWAY_NO_SUPERVISE=1";
    boots_as(&tree, "gateway run --no-supervise", "").is(0, &all(true, false), "");
    boots_as(&tree, "gateway run", unsupervised).is(0, &all(true, false), "");
    boots_as(&tree, "-p coder gateway run --no-supervise", "").is(0, &all(false, true), "");
    boots_as(&tree, "gateway run", "").is(0, &all(false, false), "");
    boots_as(&tree, "sleep infinity", unsupervised).is(0, &all(false, false), "");

    // The tools say who runs it, and start no second one.
    let typed = "hermes-reconcile-all -w > /dev/null; hermes-svc-status; hermes-svc-status -x default; hermes-svc-status -c default; \
                 echo $?; hermes-svc-status -q default; echo $?; hermes-svc-restart default; hermes-svc-start default";
    let refused = |tool: &str| {
        format!("{tool}: fatal: default is run by the container's own command (gateway run --no-supervise)\n")
    };
    types_in(&tree, "gateway run --no-supervise", "", typed).is(
        0,
        "Manager: *\n*\ndefault *foreground *\ncoder **Manager: *\ndefault is foreground, and its intent is running\n  \
         because the container's own command runs it *\n  next: nothing: to restart it, restart the container\n0\n0\nexit 102\n",
        &(refused("hermes-svc-restart") + &refused("hermes-svc-start")),
    );
}

/// Rows G1, H9 of docs/failures.md.
#[test]
fn where_this_container_owns_no_gateways_every_tool_says_so_and_starts_none_unless_forced() {
    crate::support::needs_root();
    let tree = Tree::new();
    tree.profile("coder").intent("running");
    for (command, variable, why, note) in [
        ("dashboard --no-open", "", "its command is the dashboard", "dashboard-container"),
        ("", "export HERMES_SKIP_PROFILE_RECONCILE=1", "HERMES_SKIP_PROFILE_RECONCILE is true", "skip-requested"),
    ] {
        let says = |tool: &str| format!("{tool}: warning: this container owns no gateways: {why}\n");
        let refuses =
            |tool: &str| format!("{tool}: fatal: this container owns no gateways: {why} (-f does it all the same)\n");
        let both = |row: &str| ["default", "coder"].map(|name| row.replace("NAME", name)).concat();
        let looks = "hermes-svc-list; hermes-svc-status; hermes-svc-status -j; hermes-svc-status -x; \
                     hermes-svc-status -c";
        let stdout = format!(
            "Manager: *\nPROFILE *\n{table}{json}Manager: *\n{explained}exit 0\n",
            table = both(&format!("NAME * * {note}, not-registered\n")),
            json = both(&format!("{{\"profile\":\"NAME\",*\"note\":\"{note},not-registered\",*}}\n")),
            explained = both(&format!(
                "NAME is down, and its intent is *\n  because this container owns no gateways: {why}\n  next: hermes-svc-status -x \
                 NAME in the container that owns it   (or, to start it here: hermes-svc-start -f NAME)\n"
            ))
        );
        let stderr = says("hermes-svc-list") + &says("hermes-svc-status").repeat(4);
        types_in(&tree, command, variable, looks).is(0, &stdout, &stderr);

        let before = snapshot(&[&tree.home()]);
        for (typed, tool) in [
            ("hermes-svc-start coder", "hermes-svc-start"),
            ("hermes-svc-start -n -a", "hermes-svc-start"),
            ("hermes-svc-restart -W coder", "hermes-svc-restart"),
            ("hermes-svc-restart -a", "hermes-svc-restart"),
            ("hermes-svc-register coder", "hermes-svc-register"),
            ("hermes-svc-register -u coder", "hermes-svc-register"),
        ] {
            types_in(&tree, command, variable, typed).is(0, "exit 102\n", &refuses(tool));
        }
        before.still_holds();

        // Forced, it does it, and what takes away never has to be forced.
        let forced = "hermes-svc-register -f coder && hermes-svc-start --force -w coder && hermes-svc-restart -f -w coder && \
                      hermes-svc-status -x coder && hermes-svc-stop -w coder && hermes-svc-status -x coder && \
                      hermes-svc-start -f coder && hermes-svc-stop -a -k -w && hermes-svc-unregister coder";
        let stdout = "profile=coder action=registered port=9530\nprofile=coder action=started\nprofile=coder action=restarted\n\
                      Manager: *\ncoder is up, and its intent is running\n**  next: *\nprofile=coder action=stopped\n\
                      Manager: *\ncoder is down, and its intent is stopped\n  because the operator stopped it\n  \
                      next: hermes-svc-start -f -W coder\nprofile=coder action=started\nprofile=coder action=stopped\n\
                      profile=coder action=unregistered\nexit 0\n";
        types_in(&tree, command, variable, forced).is(0, stdout, &says("hermes-svc-status").repeat(2));
        tree.profile("coder").intent("running");
    }
}

/// Rows A5, A6 of docs/failures.md.
#[test]
fn a_blank_volume_is_started_where_that_is_asked_for() {
    for (word, starts) in [("running", true), ("Running", false), ("1", false), ("", false)] {
        let tree = Tree::up();
        let coder = tree.profile("coder");
        let ran = tree.tool("hermes-reconcile-all").env("HERMES_GATEWAY_BOOTSTRAP_STATE", word).run();
        let (prior, action) = if starts { ("running", "started") } else { ("none", "registered") };
        let (up, down) = if starts { (1, 1) } else { (0, 2) };
        // A named profile is never started in this way.
        ran.is(
            0,
            &(line("default", prior, action)
                + &line("coder", "none", "registered")
                + &done([2, up, down, 0, 0, 0, 0, 0])),
            "",
        );
        assert_eq!(coder.desired(), None);
        assert_eq!(tree.profile("default").desired().as_deref(), starts.then_some("running"));
        if starts {
            tree.wait_up("default");
        }
    }
    // This holds for the first boot only. After that, the operator's intent counts.
    let tree = Tree::up();
    tree.profile("default").intent("stopped");
    let ran = tree.tool("hermes-reconcile-all").env("HERMES_GATEWAY_BOOTSTRAP_STATE", "running").run();
    ran.is(0, &(line("default", "stopped", "registered") + &done([1, 0, 1, 0, 0, 0, 0, 0])), "");
}

/// Rows I1, I2, I3 of docs/failures.md.
#[test]
fn where_one_gateway_serves_all_the_named_slots_stay_down() {
    for (variable, config, multiplexed) in [
        (Some("true"), "", true),
        (Some("1"), "gateway:\n  multiplex_profiles: false\n", true),
        (Some("false"), "gateway:\n  multiplex_profiles: true\n", false),
        (None, "gateway:\n  multiplex_profiles: true\n", true),
        (None, "gateway: {multiplex_profiles: yes}\n", true),
        (None, "multiplex_profiles: on\n", true),
        (None, "multiplex_profiles: off\n", false),
        (None, "gateway:\n  multiplex_profiles: \"no\"\n", false),
        (None, "gateway: [\n", false),
    ] {
        let tree = Tree::up();
        tree.profile("default").intent("running").file("config.yaml", config);
        tree.profile("coder").intent("running");
        tree.profile("writer").intent("stopped");
        let mut tool = tree.tool("hermes-reconcile-all").arg("-n");
        if let Some(value) = variable {
            tool = tool.env("GATEWAY_MULTIPLEX_PROFILES", value);
        }
        let coder = if multiplexed {
            line("coder", "running", "registered").replace("unknown\n", "unknown note=multiplexed\n")
        } else {
            line("coder", "running", "started")
        };
        let (up, down) = if multiplexed { (1, 2) } else { (2, 1) };
        let stdout = line("default", "running", "started")
            + &coder
            + &line("writer", "stopped", "registered")
            + &done([3, up, down, 0, 0, 0, 0, 0]);
        let ran = tool.run();
        ran.is(0, &stdout, "**");
    }
}

/// Rows B7, E8, F16 of docs/failures.md.
#[test]
fn one_profile_that_fails_leaves_the_others_alone() {
    let tree = Tree::up();
    for name in ["first", "second"] {
        tree.profile(name).intent("running").env("API_SERVER_ENABLED=true\nAPI_SERVER_PORT=9777\n");
    }
    tree.profile("third").intent("running");
    let ran = pass(&tree);
    let failed =
        |name: &str| format!("reconcile: profile={name} prior_state=running action=failed port=* prior_exit=unknown\n");
    let stdout = line("default", "none", "registered")
        + &failed("first")
        + &failed("second")
        + &line("third", "running", "started");
    let ran = ran.is(111, &(stdout + &done([4, 1, 1, 0, 0, 0, 0, 2])), "**");
    // The message for each profile names both, and both are down.
    for l in ran.stderr.lines() {
        assert!(l.contains("first") && l.contains("second") && l.contains("9777"), "{ran}");
    }
    tree.wait_up("third");
    tree.wait_down("first");
    tree.wait_down("second");
}

#[test]
fn intent_locks_that_are_held_cost_a_warning_each_and_the_other_profiles_nothing() {
    let tree = Tree::up();
    let names = ["a1", "b1", "c1", "d1"];
    for name in names {
        tree.profile(name).intent("running");
    }
    let mut holders = Vec::new();
    for name in ["b1", "d1"] {
        let lock = tree.profile(name).file(".hermes-s6.intent.lock", "").dir.join(".hermes-s6.intent.lock");
        holders.push(tree.tool_as_account("s6-setlock").arg(&lock).args(["sleep", "1000"]).spawn());
        wait_until("the lock to be held", || tree.tool("s6-setlock").arg("-n").arg(&lock).arg("true").run().code != 0);
    }
    let stdout = line("default", "none", "registered") + &names.map(|name| line(name, "running", "started")).concat();
    let warning =
        |name: &str| format!("hermes-reconcile-all: warning: timed out *{name}/.hermes-s6.intent.lock; going on *\n");
    pass(&tree).is(0, &(stdout + &done([5, 4, 1, 0, 0, 0, 0, 0])), &(warning("b1") + &warning("d1")));
    for mut holder in holders {
        holder.kill().expect("kill");
        holder.wait().expect("wait");
    }
    for name in names {
        tree.wait_up(name);
    }
}

#[test]
fn never_more_is_published_than_s6_svscan_takes() {
    let tree = Tree::new();
    tree.svscan_max(5);
    for name in ["a1", "b1", "c1"] {
        tree.profile(name).intent("running");
    }
    let full =
        |name: &str| format!("reconcile: profile={name} prior_state=running action=failed port=* prior_exit=unknown\n");
    let stdout = line("default", "none", "registered") + &line("a1", "running", "started") + &full("b1") + &full("c1");
    let ran = tree.tool("hermes-reconcile-all").env("HERMES_MAX_SERVICES", "5").run();
    let ran = ran.is(111, &(stdout + &done([4, 1, 1, 0, 0, 0, 0, 2])), "**");
    assert!(ran.stderr.lines().count() == 2 && ran.stderr.lines().all(|l| l.contains('5')), "{ran}");
    tree.wait_up("a1");
    tree.wait_down("default");
    assert_eq!(tree.slots(), ["a1", "default"]);
    assert_eq!(tree.leftovers(), Vec::<String>::new());
    // When a slot is removed, there is room again.
    tree.tool("hermes-svc-unregister").arg("a1").run().is(0, "profile=a1 action=unregistered\n", "");
    tree.tool("hermes-svc-register").env("HERMES_MAX_SERVICES", "5").arg("b1").run().is(
        0,
        "profile=b1 action=registered port=*\n",
        "",
    );
}

#[test]
fn passes_at_once_end_as_one_pass() {
    let tree = Tree::up();
    for name in ["a1", "b1", "c1", "d1"] {
        tree.profile(name).intent("running");
    }
    let runs: Vec<_> = (0..4).map(|_| tree.tool("hermes-reconcile-all").arg("-w").start()).collect();
    let mut published = 0;
    for run in runs {
        let ran = run.wait();
        published += ran.stdout.matches(" action=started ").count();
        // A pass waits at most a second for an intent lock. On a busy machine this may cause a warning.
        assert_eq!((ran.code, ran.lines().len()), (0, 6), "{ran}");
    }
    assert_eq!(published, 4, "every slot is published once");
    for name in ["a1", "b1", "c1", "d1"] {
        tree.wait_up(name);
        assert_eq!(tree.profile(name).starts(), 1, "{name}");
    }
    assert_eq!(tree.leftovers(), Vec::<String>::new());
}

/// Row B11 of docs/failures.md.
#[test]
fn what_a_killed_pass_left_is_finished_by_the_next() {
    let tree = Tree::up();
    let names: Vec<String> = (0..12).map(|n| format!("p{n:02}")).collect();
    for name in &names {
        tree.profile(name).intent("running");
    }
    for round in 0..8 {
        let running = tree.tool("hermes-reconcile-all").start();
        std::thread::sleep(std::time::Duration::from_millis(2 * round));
        kill(running.pid, Signal::KILL);
        running.wait();
    }
    // A half-built staging directory, which a kill at a chosen time cannot produce reliably.
    fs::create_dir_all(tree.scandir().join(".gateway-p00.abcdef/log")).expect("mkdir");
    let ran = tree.tool("hermes-reconcile-all").arg("-w").run();
    assert_eq!((ran.code, ran.stderr.as_str(), ran.lines().len()), (0, "", 14), "{ran}");
    for name in &names {
        tree.wait_up(name);
        assert_eq!(tree.profile(name).starts(), 1, "{name}");
    }
    assert_eq!(tree.leftovers(), Vec::<String>::new());
}

#[test]
fn a_pass_neither_starts_nor_stops_what_is_supervised() {
    let tree = Tree::up();
    tree.profile("up").intent("running");
    tree.profile("down").intent("stopped");
    pass(&tree);
    let pid = tree.wait_up("up");
    tree.wait_down("down");
    // Change the intents on the volume behind the back of the tools.
    let up = tree.profile("up").intent("stopped");
    tree.profile("down").intent("running");
    let drifting =
        |name: &str, prior: &str| line(name, prior, "unchanged").replace("unknown\n", "unknown note=drifting\n");
    let stdout = line("default", "none", "unchanged")
        + &drifting("down", "running")
        + &drifting("up", "stopped")
        + &done([3, 0, 0, 3, 0, 0, 0, 0]);
    pass(&tree).is(0, &stdout, "");
    assert_eq!(tree.gateway("up"), Some(pid));
    assert_eq!(tree.svstat("down", "up,wantedup"), Some(vec!["false".into(), "false".into()]));
    // Only the cache of the intent changes, so that the next supervisor does what the intent says.
    assert!(tree.slot("up").join("down").exists() && !tree.slot("down").join("down").exists());
    assert_eq!(up.desired().as_deref(), Some("stopped"));
}

#[test]
fn a_pass_does_not_lift_a_hold() {
    let tree = Tree::up();
    tree.profile("coder").intent("running").stand_in("exit_at_start=78\n");
    pass(&tree);
    wait_until("the hold", || tree.slot("coder").join("data/held").exists());
    tree.wait_down("coder");
    let starts = tree.profile("coder").stand_in("").starts();
    let stdout = line("default", "none", "unchanged")
        + &line("coder", "running", "unchanged").replace("unknown\n", "unknown note=held\n");
    pass(&tree).is(0, &(stdout + &done([2, 0, 0, 2, 0, 0, 0, 0])), "");
    tree.wait_down("coder");
    assert_eq!(tree.profile("coder").starts(), starts);
    // After a container restart, a fresh slot has all its tries again.
    tree.reboot();
    pass(&tree).is(
        0,
        &(line("default", "none", "registered")
            + &line("coder", "running", "started")
            + &done([2, 1, 1, 0, 0, 0, 0, 0])),
        "",
    );
    tree.wait_up("coder");
}

#[test]
fn the_watch_of_a_profile_and_a_pass_may_cross() {
    // Run reconcile-one, reconcile-all and register for the same profile, all at once and repeatedly.
    let tree = Tree::up();
    let profile = tree.profile("coder").intent("running");
    for _ in 0..3 {
        let all = tree.tool("hermes-reconcile-all").start();
        let one = tree.tool("hermes-reconcile-one").arg("coder").start();
        let register = tree.tool("hermes-svc-register").arg("coder").start();
        for run in [all, one, register] {
            let ran = run.wait();
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
        }
        // If register was first, it has registered the gateway down. Then the state is drifting, and the cache of the
        // intent is right.
        wait_until("the file down to be removed", || !tree.slot("coder").join("down").exists());
        tree.tool("hermes-svc-unregister").arg("coder").run().is(0, "profile=coder action=unregistered\n", "");
        assert_eq!(tree.leftovers(), Vec::<String>::new());
    }
    assert_eq!(profile.desired().as_deref(), Some("running"));
}

#[test]
fn a_pass_on_a_read_only_volume_publishes_all_the_same() {
    crate::support::needs_root();
    let tree = Tree::up();
    let profile = tree.profile("coder").intent("running").file("gateway.pid", "1");
    let ran = tree.on_read_only_volume("exec hermes-reconcile-all");
    let stdout =
        line("default", "none", "registered") + &line("coder", "running", "started") + &done([2, 1, 1, 0, 0, 0, 0, 0]);
    let ran = ran.is(0, &stdout, "**");
    assert!(
        !ran.stderr.is_empty() && ran.stderr.lines().all(|l| l.starts_with("hermes-reconcile-all: warning: ")),
        "{ran}"
    );
    assert!(ran.stderr.lines().all(|l| l.ends_with(": Read-only file system")), "{ran}");
    assert!(profile.dir.join("gateway.pid").exists() && !tree.home().join("logs/container-boot.log").exists());
    tree.wait_up("coder");
}

#[test]
fn a_pass_on_a_full_volume_publishes_all_the_same() {
    crate::support::needs_root();
    let tree = Tree::up();
    let ran = tree.on_full_volume(
        "mkdir -p $HERMES_HOME/profiles/coder; : > $HERMES_HOME/profiles/coder/SOUL.md; echo '{\"desired_state\":\"running\"}' > $HERMES_HOME/profiles/coder/gateway_state.json",
        "hermes-reconcile-all && cat $HERMES_HOME/profiles/coder/gateway_state.json",
    );
    let stdout =
        line("default", "none", "registered") + &line("coder", "running", "started") + &done([2, 1, 1, 0, 0, 0, 0, 0]);
    let ran = ran.is(0, &(stdout + "{\"desired_state\":\"running\"}\n"), "**");
    assert!(
        !ran.stderr.is_empty() && ran.stderr.lines().all(|l| l.starts_with("hermes-reconcile-all: warning: ")),
        "{ran}"
    );
    assert!(ran.stderr.lines().all(|l| l.ends_with(": No space left on device")), "{ran}");
    // The rest of the tree does not see the volume with this profile, so nothing else can be checked.
    wait_for("a supervisor", || tree.supervisor(&tree.slot("coder")));
}

/// The account can make any number of files that are slow to read, and `default` does not wait for these. Its port is
/// looked at later, and another profile with a greater claim to this port still keeps `default` down.
#[test]
fn the_slot_of_default_is_made_before_any_file_of_another_profile_is_read() {
    let tree = Tree::new();
    tree.profile("default").intent("running");
    tree.profile("coder").env("A=1\n").intent("running");
    let trace = tree.scratch().join("trace");
    let strace = tree.tool("strace").args(["-qqq", "-e", "trace=file", "-o"]).arg(&trace);
    let ran = strace.arg(tree.bin().join("hermes-reconcile-all")).run();
    let stdout = line("default", "running", "started") + &line("coder", "running", "started");
    ran.is(0, &(stdout + &done([2, 2, 0, 0, 0, 0, 0, 0])), "**");
    let calls = fs::read_to_string(&trace).expect("the trace");
    let first = |what: &dyn Fn(&str) -> bool| calls.lines().position(what).unwrap_or_else(|| panic!("{calls}"));
    let made = first(&|call| call.starts_with("rename") && call.contains("\"gateway-default\""));
    let read = first(&|call| call.contains("profiles/coder/.env") || call.contains("profiles/coder/gateway_state"));
    assert!(made < read, "{made} {read}: {calls}");
}

/// The slot of `default` is made before its port is looked at.
#[test]
fn a_default_whose_port_another_profile_pins_as_well_does_not_start_its_gateway() {
    let tree = Tree::up();
    for name in ["default", "coder"] {
        tree.profile(name).env("API_SERVER_ENABLED=true\nAPI_SERVER_PORT=9333\n").intent("running");
    }
    let ran = pass(&tree);
    let failed = |name: &str| {
        format!("reconcile: profile={name} prior_state=running action=failed port=none prior_exit=unknown\n")
    };
    let warnings = "hermes-reconcile-all: warning: default: it pins port 9333, and so does coder\n\
                    hermes-reconcile-all: warning: coder: it pins port 9333, and so does default\n";
    ran.is(111, &(failed("default") + &failed("coder") + &done([2, 0, 0, 0, 0, 0, 0, 2])), warnings);
    for name in ["default", "coder"] {
        assert!(tree.slot(name).join("down").exists(), "{name}");
        tree.wait_down(name);
        assert_eq!(tree.profile(name).starts(), 0, "{name}");
    }
}

/// Rows A7, E8 of docs/failures.md. `profile create --clone-all` copies the state with the intent in it.
#[test]
fn a_clone_that_nobody_has_started_does_not_take_a_pinned_port_from_its_original() {
    let tree = Tree::up();
    let coder = tree.profile("coder").env("API_SERVER_ENABLED=true\nAPI_SERVER_PORT=9333\n").intent("running");
    let (env, state) = (coder.read(".env"), coder.read("gateway_state.json"));
    tree.profile("clone").env(&env).state(&state);
    let ran = pass(&tree);
    let clone = "reconcile: profile=clone prior_state=foreign action=failed port=none prior_exit=unknown\n";
    let coder = "reconcile: profile=coder prior_state=running action=started port=9333 prior_exit=unknown\n";
    let warning = "hermes-reconcile-all: warning: clone: it pins port 9333, and so does coder\n";
    let default = line("default", "none", "registered");
    ran.is(111, &(default + clone + coder + &done([3, 1, 1, 0, 0, 0, 0, 1])), warning);
    tree.wait_up("coder");
    tree.wait_down("clone");
}

/// `default` must not wait for thousands of other profiles, and s6-svscan looks at every slot in each scan.
#[test]
fn a_pass_asks_for_a_scan_after_its_first_slot_and_not_after_each() {
    use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
    let tree = Tree::new();
    (0..100).for_each(|n| drop(tree.profile(&format!("p{n:02}"))));
    // The test is the one who listens, so it sees each request.
    let control = tree.scandir().join(".s6-svscan/control");
    fs::create_dir(control.parent().expect("a directory")).expect("a directory");
    mknodat(CWD, &control, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a FIFO");
    let fifo = open(&control, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).expect("the FIFO");
    let start = Instant::now();
    let ran = tree.tool("hermes-reconcile-all").run();
    let most = 3 + start.elapsed().as_secs();
    assert_eq!((ran.code, tree.slots().len()), (0, 101), "{ran}");
    let mut asked = [0; 1000];
    let count = rustix::io::read(&fifo, &mut asked).expect("a request");
    assert!(asked[..count].iter().all(|byte| *byte == b'a'), "{:?}", &asked[..count]);
    assert!((2..=most).contains(&(count as u64)), "{count} scans, expected at most {most}: {ran}");
}
