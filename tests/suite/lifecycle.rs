//! start, stop, restart and list: they record the intent, give the order to s6, and check that s6 obeyed.

use crate::support::{Ran, Running, Tree, kill, snapshot, start_time, wait_for, wait_until};
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

/// A tree in which these profiles are registered and down.
#[track_caller]
fn registered(names: &[&str]) -> Tree {
    let tree = Tree::up();
    for name in names {
        tree.profile(name);
        tree.tool("hermes-svc-register").arg(name).run().is(
            0,
            &format!("profile={name} action=registered port=*\n"),
            "",
        );
    }
    tree
}

/// A tree in which these profiles are registered and up.
#[track_caller]
fn running(names: &[&str]) -> Tree {
    let tree = registered(names);
    let ran = start(&tree, names);
    ran.is(0, &names.iter().map(|n| format!("profile={n} action=started\n")).collect::<String>(), "");
    names.iter().for_each(|name| _ = tree.wait_up(name));
    tree
}

fn start(tree: &Tree, args: &[&str]) -> Ran {
    tree.tool("hermes-svc-start").args(args).run()
}

fn stop(tree: &Tree, args: &[&str]) -> Ran {
    tree.tool("hermes-svc-stop").args(args).run()
}

fn restart(tree: &Tree, args: &[&str]) -> Ran {
    tree.tool("hermes-svc-restart").args(args).run()
}

fn desired(tree: &Tree, name: &str) -> Option<String> {
    tree.profile(name).desired()
}

/// Check that the file, s6 and the process agree that this gateway is up.
#[track_caller]
fn is_running(tree: &Tree, name: &str) {
    assert_eq!(desired(tree, name).as_deref(), Some("running"), "{name}");
    assert_eq!(tree.svstat(name, "wantedup,normallyup"), Some(vec!["true".to_string(); 2]), "{name}");
    tree.wait_up(name);
}

/// Check that the file, s6 and the process agree that this gateway is stopped.
#[track_caller]
fn is_stopped(tree: &Tree, name: &str) {
    assert_eq!(desired(tree, name).as_deref(), Some("stopped"), "{name}");
    assert_eq!(tree.svstat(name, "up,wantedup,normallyup"), Some(vec!["false".to_string(); 3]), "{name}");
}

/// Make this gateway end with a permanent error, so that it is held.
#[track_caller]
fn held(tree: &Tree, name: &str) {
    tree.profile(name).stand_in("exit_at_start=78\n");
    tree.tool("hermes-svc-start").arg(name).run();
    wait_until("the hold", || tree.slot(name).join("data/held").exists());
    tree.wait_down(name);
}

// start

#[test]
fn start_records_the_intent_and_brings_the_gateway_up() {
    let tree = registered(&["default", "coder"]);
    start(&tree, &["coder"]).is(0, "profile=coder action=started\n", "");
    is_running(&tree, "coder");
    assert!(!tree.slot("coder").join("down").exists());
    start(&tree, &["-w", "default"]).is(0, "profile=default action=started\n", "");
    assert!(tree.gateway("default").is_some(), "-w: it is up when start returns");
    assert_eq!(tree.profile("coder").read("stand-in.args"), "-p coder gateway run --replace\n");
    let state = fs::metadata(tree.profile_dir("coder").join("gateway_state.json")).expect("state");
    assert_eq!(state.uid(), tree.uid);
}

/// Row F6 of docs/failures.md.
#[test]
fn to_start_what_runs_changes_nothing() {
    let tree = running(&["coder"]);
    let pid = tree.wait_up("coder");
    let before = snapshot(&[&tree.home(), &tree.scandir()]);
    for args in [&["coder"][..], &["-w", "coder"], &["coder", "coder"]] {
        start(&tree, args).is(0, "profile=coder action=unchanged\n", "");
    }
    before.still_holds();
    assert_eq!(tree.gateway("coder"), Some(pid));
}

#[test]
fn an_order_that_s6_supervise_has_not_taken_is_not_done() {
    let tree = registered(&["coder"]);
    let slot = tree.slot("coder");
    let supervisor = tree.supervisor(&slot).expect("supervisor");
    let said = |tool: &str, wants: &str| {
        let slot = slot.display();
        format!("{tool}: fatal: timed out after 50 ms waiting for the s6-supervise of {slot} to want it {wants}\n")
    };
    // The gateway is in the right state already, and only the `down` file is wrong.
    for (order, tool, wants) in [("-u", "hermes-svc-start", "up"), ("-d", "hermes-svc-stop", "down")] {
        tree.tool("s6-svc").arg(order).arg(&slot).run().is(0, "", "");
        wait_until("the order to be taken", || tree.gateway("coder").is_some() == (order == "-u"));
        kill(supervisor, Signal::STOP);
        let ran = tree.tool(tool).args(["-t", "50", "coder"]).run();
        kill(supervisor, Signal::CONT);
        ran.is(99, "", &said(tool, wants));
        tree.tool(tool).args(["-w", "coder"]).run();
    }
}

#[test]
fn start_turns_a_gateway_that_is_only_up_into_one_that_is_wanted() {
    let tree = registered(&["coder"]);
    tree.tool("s6-svc").arg("-u").arg(tree.slot("coder")).run().is(0, "", "");
    let pid = tree.wait_up("coder");
    start(&tree, &["coder"]).is(0, "profile=coder action=started\n", "");
    is_running(&tree, "coder");
    assert_eq!(tree.gateway("coder"), Some(pid), "and does not restart it");
}

/// Row B3 of docs/failures.md.
#[test]
fn start_mints_the_slot_of_a_real_profile() {
    // The profile is made on the host while the container runs.
    let tree = Tree::up();
    let profile = tree.profile("coder").state(r#"{"x":1}"#);
    start(&tree, &["-w", "coder"]).is(0, "profile=coder action=started\n", "");
    is_running(&tree, "coder");
    assert!(tree.supervisor(&tree.slot("coder").join("log")).is_some());
    assert!(tree.profile("default").read("gateway_ports.json").contains("\"coder\":9530"));
    assert_eq!(tree.leftovers(), Vec::<String>::new());
    assert!(profile.read("stand-in.env").contains("API_SERVER_PORT=9530\n"));
}

/// Row B3 of docs/failures.md.
#[test]
fn a_mistyped_name_mints_nothing() {
    let tree = Tree::up();
    tree.profile("coder");
    let before = snapshot(&[&tree.home(), &tree.scandir()]);
    start(&tree, &["codre"]).fails(100, "no such profile: codre*");
    before.still_holds();
}

/// Rows B3, B12 of docs/failures.md.
#[test]
fn stop_restart_and_status_never_mint_a_slot() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    let before = snapshot(&[&tree.home(), &tree.scandir()]);
    let want = "no such gateway: coder is not registered *";
    stop(&tree, &["coder"]).fails(102, want);
    restart(&tree, &["coder"]).fails(102, want);
    let status = tree.tool("hermes-svc-status").args(["-q", "coder"]).run();
    status.fails(102, want);
    before.still_holds();
}

#[test]
fn start_waits_until_the_gateway_is_really_ready() {
    let tree = registered(&["coder"]);
    start(&tree, &["-W", "coder"]).is(0, "profile=coder action=started\n", "");
    assert_eq!(tree.svstat("coder", "up,ready"), Some(vec!["true".to_string(); 2]));
    tree.tool("hermes-gateway-ready").arg("coder").run().is(0, "", "");

    stop(&tree, &["-w", "coder"]).is(0, "profile=coder action=stopped\n", "");
    tree.profile("coder").stand_in("never_ready=1\n");
    let ran = start(&tree, &["-W", "-t", "1200", "coder"]);
    ran.fails(99, "timed out after 1200 ms waiting for coder*logs/gateways/coder/current*");
    assert_eq!(tree.svstat("coder", "up,ready"), Some(vec!["true".to_string(), "false".to_string()]));
    tree.tool("hermes-gateway-ready").arg("coder").run().is(1, "", "");
    assert_eq!(desired(&tree, "coder").as_deref(), Some("running"));
}

#[test]
fn a_start_that_fails_names_the_log_and_quotes_its_last_lines() {
    let tree = registered(&["coder"]);
    // The line that is quoted comes from the agent, so none of its control characters may reach a terminal. The last
    // line of our own finish is not quoted.
    tree.profile("coder").stand_in("printf 'I give up \\033[2J\\n' >&2\nexit 78\n");
    for option in ["-w", "-W"] {
        let ran = start(&tree, &[option, "coder"]);
        let log = tree.home().join("logs/gateways/coder/current");
        let ran = ran.fails(111, &format!("unable to start coder: *{}, which ends in \"I give up *\"", log.display()));
        assert!(!ran.stderr.contains('\u{1b}'), "{ran}");
    }
    // The intent is what the operator wants, even if the start failed.
    assert_eq!(desired(&tree, "coder").as_deref(), Some("running"));
}

// stop

#[test]
fn stop_records_the_intent_and_brings_the_gateway_down_for_good() {
    let tree = running(&["coder"]);
    let pid = tree.wait_up("coder");
    stop(&tree, &["-w", "coder"]).is(0, "profile=coder action=stopped\n", "");
    is_stopped(&tree, "coder");
    assert_eq!(start_time(pid), None, "-w: it is gone when stop returns");
    assert!(tree.slot("coder").join("down").exists());
    assert_eq!(tree.profile("coder").json()["gateway_state"], "stopped");
    stop(&tree, &["-w", "coder"]).is(0, "profile=coder action=unchanged\n", "");
    // A new supervisor obeys as well.
    kill(tree.supervisor(&tree.slot("coder")).expect("supervisor"), Signal::KILL);
    wait_until("a new supervisor", || {
        tree.svstat("coder", "up").is_some() && tree.supervisor(&tree.slot("coder")).is_some()
    });
    is_stopped(&tree, "coder");
    assert_eq!(tree.profile("coder").starts(), 1);
}

#[test]
fn to_stop_what_is_down_but_wanted_still_records_it() {
    let tree = registered(&["coder"]);
    tree.profile("coder").intent("running");
    stop(&tree, &["coder"]).is(0, "profile=coder action=stopped\n", "");
    is_stopped(&tree, "coder");
    tree.profile("coder").state("{}");
    stop(&tree, &["coder"]).is(0, "profile=coder action=stopped\n", "");
    is_stopped(&tree, "coder");
}

/// Row A1 of docs/failures.md.
#[test]
fn stop_keeps_the_intent_where_asked() {
    let tree = running(&["coder"]);
    stop(&tree, &["-k", "-w", "coder"]).is(0, "profile=coder action=stopped\n", "");
    assert_eq!(desired(&tree, "coder").as_deref(), Some("running"));
    assert_eq!(
        tree.svstat("coder", "up,wantedup,normallyup"),
        Some(["false", "false", "true"].map(String::from).to_vec())
    );
    assert!(!tree.slot("coder").join("down").exists());
    stop(&tree, &["-k", "-w", "coder"]).is(0, "profile=coder action=unchanged\n", "");
}

/// A tree in which these profiles are up without an intent, as Hermes Agent 0.15 and 0.16 start them: by `s6-svc -u`.
#[track_caller]
fn up_without_intent(names: &[&str]) -> Tree {
    let tree = registered(names);
    for name in names {
        tree.tool("s6-svc").arg("-u").arg(tree.slot(name)).run().is(0, "", "");
        tree.wait_up(name);
        assert_eq!(desired(&tree, name), None);
    }
    tree
}

/// Hermes Agent 0.15 and 0.16 record no intent, and write `stopped` at every end.
#[test]
fn a_stop_that_keeps_the_intent_records_one_for_a_gateway_that_is_up_without() {
    let tree = up_without_intent(&["coder", "writer"]);
    tree.profile("down");
    tree.tool("hermes-svc-register").arg("down").run().is(0, "profile=down action=registered port=*\n", "");
    fs::remove_file(tree.profile("writer").dir.join("gateway_state.json")).expect("a state file");
    let records = "profile=coder action=stopped\nprofile=writer action=stopped\n";
    stop(&tree, &["-n", "-a", "-k"]).is(0, records, "");
    assert_eq!(desired(&tree, "coder"), None);
    stop(&tree, &["-a", "-k", "-w"]).is(0, records, "");
    let intents = ["coder", "writer", "down"].map(|name| desired(&tree, name));
    assert_eq!(intents, [Some("running".to_string()), Some("running".to_string()), None]);
}

/// What cannot be recorded is said, and the gateways are drained all the same. A state that cannot be parsed or names
/// another profile is left alone, and so is a gateway of another home.
#[test]
fn a_stop_that_keeps_the_intent_drains_also_where_it_records_none() {
    let tree = up_without_intent(&["broken", "copy", "coder"]);
    let broken = tree.profile("broken").state("{");
    let foreign = r#"{"gateway_state":"running","hermes_s6_profile":"writer"}"#;
    let copy = tree.profile("copy").state(foreign);
    let records = ["broken", "coder", "copy"].map(|name| format!("profile={name} action=stopped\n")).concat();
    tree.on_read_only_volume("hermes-svc-stop -a -k -w").is(
        0,
        &records,
        "hermes-svc-stop: warning: unable to write */coder/gateway_state.json: Read-only file system: the next boot does not start coder\n",
    );
    assert_eq!((broken.read("gateway_state.json").as_str(), copy.read("gateway_state.json").as_str()), ("{", foreign));

    let tree = up_without_intent(&["coder"]);
    let other = tree.scratch().join("other");
    fs::create_dir_all(other.join("profiles/coder")).expect("another home");
    let stop = tree.tool("hermes-svc-stop").args(["-a", "-k", "-w"]).env("HERMES_HOME", &other).run();
    stop.is(0, "profile=coder action=stopped\n", "");
    assert_eq!(desired(&tree, "coder"), None);
    assert!(!other.join("profiles/coder/gateway_state.json").exists());
}

/// Rows A11, A12, H5 of docs/failures.md.
#[test]
fn the_marker_of_a_planned_stop_is_written_in_the_targets_home() {
    // There is a marker for each target. They are read while the gateways still drain.
    let tree = registered(&["default", "coder", "writer"]);
    for name in ["default", "coder", "writer"] {
        tree.profile(name).stand_in("ignore_term=1\n");
    }
    start(&tree, &["default", "coder", "writer"]);
    let pids = ["coder", "writer"].map(|name| (name, tree.wait_up(name)));
    tree.wait_up("default");
    let tool = tree.tool("hermes-svc-stop").args(["coder", "writer"]).start();
    let stopper = tool.pid;
    tool.wait().is(0, "profile=coder action=stopped\nprofile=writer action=stopped\n", "");
    for (name, pid) in pids {
        let marker: Value =
            serde_json::from_str(&tree.profile(name).read(".gateway-planned-stop.json")).expect("a marker");
        assert_eq!(marker["target_pid"], pid);
        assert_eq!(marker["target_start_time"], start_time(pid).expect("alive"));
        assert_eq!(marker["stopper_pid"], stopper);
        assert!(marker.get("written_at").is_some());
        let owner = fs::metadata(tree.profile_dir(name).join(".gateway-planned-stop.json")).expect("marker").uid();
        assert_eq!(owner, tree.uid, "root's files would be in the gateway's way");
    }
    assert!(!tree.home().join(".gateway-planned-stop.json").exists());
}

/// Row F14 of docs/failures.md.
#[test]
fn stop_says_what_it_waited_for_and_for_how_long() {
    let tree = registered(&["coder"]);
    tree.profile("coder").stand_in("drain_ms=20000\n");
    start(&tree, &["coder"]);
    let pid = tree.wait_up("coder");
    stop(&tree, &["-w", "-t", "300", "coder"]).fails(99, "timed out after 300 ms waiting for *coder*draining");
    assert!(start_time(pid).is_some(), "only the waiting has ended");
    assert_eq!(desired(&tree, "coder").as_deref(), Some("stopped"));
    let row = tree.tool("hermes-svc-status").args(["-j", "coder"]).run();
    row.is(0, "{\"profile\":\"coder\",\"state\":\"draining\",**}\n", "");
}

/// Row B5 of docs/failures.md.
#[test]
fn stop_works_on_a_slot_that_outlived_its_profile() {
    let tree = running(&["coder"]);
    let pid = tree.wait_up("coder");
    tree.delete_profile("coder");
    stop(&tree, &["-w", "coder"]).is(0, "profile=coder action=stopped\n", "");
    assert_eq!(start_time(pid), None);
    assert!(!tree.profile_dir("coder").exists(), "nothing brings it back");
}

#[test]
fn stop_ends_the_orphan_of_a_killed_supervisor_too() {
    // After kill -9 of s6-supervise, s6 shows the service as down while the old gateway still runs.
    let tree = running(&["coder"]);
    let pid = tree.wait_up("coder");
    let supervisor = tree.supervisor(&tree.slot("coder")).expect("supervisor");
    kill(supervisor, Signal::KILL);
    wait_until("the supervisor to be gone", || start_time(supervisor).is_none());
    stop(&tree, &["-w", "-t", "20000", "coder"]).is(0, "profile=coder action=stopped\n", "");
    assert_eq!(start_time(pid), None);
    is_stopped(&tree, "coder");
}

// restart

#[test]
fn restart_is_a_new_process_and_the_old_one_is_gone() {
    let tree = running(&["coder"]);
    let old = tree.wait_up("coder");
    restart(&tree, &["-w", "coder"]).is(0, "profile=coder action=restarted\n", "");
    assert_eq!(start_time(old), None);
    assert_ne!(tree.wait_up("coder"), old);
    is_running(&tree, "coder");
    restart(&tree, &["-W", "coder"]).is(0, "profile=coder action=restarted\n", "");
    assert_eq!(tree.svstat("coder", "up,ready"), Some(vec!["true".to_string(); 2]));
}

/// Row A10 of docs/failures.md.
#[test]
fn restart_brings_up_what_is_down() {
    let tree = registered(&["coder"]);
    restart(&tree, &["coder"]).is(0, "profile=coder action=restarted\n", "");
    is_running(&tree, "coder");
    stop(&tree, &["-w", "coder"]);
    restart(&tree, &["-w", "coder"]).is(0, "profile=coder action=restarted\n", "");
    is_running(&tree, "coder");
    stop(&tree, &["-w", "coder"]);
    held(&tree, "coder");
    tree.profile("coder").stand_in("");
    restart(&tree, &["-w", "coder"]).is(0, "profile=coder action=restarted\n", "");
    is_running(&tree, "coder");
    assert!(!tree.slot("coder").join("data/held").exists());
}

/// Rows F3, F4 of docs/failures.md.
#[test]
fn many_restarts_are_no_loop_of_deaths() {
    // Each restart ends a gateway with 0. Three such ends by itself would make it held.
    let tree = running(&["coder"]);
    for _ in 0..4 {
        restart(&tree, &["coder"]).is(0, "profile=coder action=restarted\n", "");
        tree.wait_up("coder");
    }
    assert_eq!(tree.profile("coder").starts(), 5);
    assert!(!tree.slot("coder").join("data/held").exists());
    is_running(&tree, "coder");
}

/// Row F14 of docs/failures.md.
#[test]
fn restart_waits_for_the_drain_and_says_so_when_it_takes_too_long() {
    let tree = registered(&["coder"]);
    tree.profile("coder").stand_in("drain_ms=20000\n");
    start(&tree, &["coder"]);
    let old = tree.wait_up("coder");
    restart(&tree, &["-t", "300", "coder"])
        .fails(99, "timed out after 300 ms waiting for *coder*draining, and starts again *");
    assert_eq!(tree.gateway("coder"), Some(old));
    assert_eq!(desired(&tree, "coder").as_deref(), Some("running"));
}

/// Row F12 of docs/failures.md.
#[test]
fn a_gateway_that_restarts_itself_does_not_wait_for_its_own_end() {
    // `/restart` in a chat runs the tool as a descendant of the gateway that it ends.
    let tree = registered(&["coder"]);
    let profile = tree.profile("coder").stand_in(
        "hook='hermes-svc-restart -w coder > \"$dir/inside.out\" 2> \"$dir/inside.err\"; echo $? > \"$dir/inside.code\"'\n",
    );
    start(&tree, &["coder"]).is(0, "profile=coder action=started\n", "");
    wait_until("a second life", || profile.starts() == 2);
    tree.wait_up("coder");
    wait_until("an answer", || !profile.read("inside.code").is_empty());
    let inside = [profile.read("inside.code"), profile.read("inside.out"), profile.read("inside.err")];
    assert_eq!(inside.each_ref().map(String::as_str), ["0\n", "profile=coder action=restarted\n", ""]);
    is_running(&tree, "coder");
}

// The intent on disk.

/// Fill the control FIFO, with no process that reads it, so that s6 gets no order.
fn deafen(tree: &Tree, name: &str) {
    let slot = tree.slot(name);
    kill(tree.supervisor(&slot).expect("supervisor"), Signal::STOP);
    let fifo = rustix::fs::open(slot.join("supervise/control"), OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty())
        .expect("FIFO");
    for size in [4096, 1] {
        while rustix::io::write(&fifo, &vec![b'\n'; size]).is_ok() {}
    }
}

/// Row A13 of docs/failures.md.
#[test]
fn the_intent_is_on_disk_before_s6_is_told() {
    // If s6 cannot be given an order, the intent is recorded all the same.
    let tree = running(&["up"]);
    tree.profile("down");
    tree.tool("hermes-svc-register").arg("down").run();
    deafen(&tree, "up");
    deafen(&tree, "down");
    for (tool, name, want) in [
        ("hermes-svc-stop", "up", "stopped"),
        ("hermes-svc-restart", "up", "running"),
        ("hermes-svc-start", "down", "running"),
    ] {
        let running = tree.tool(tool).arg(name).start();
        wait_until(want, || desired(&tree, name).as_deref() == Some(want));
        // The tool gives the order twice.
        wait_until("the tool to end", || {
            tree.processes().iter().filter(|p| p.comm == "s6-svc").for_each(|p| kill(p.pid, Signal::KILL));
            !running.is_running()
        });
        running.wait().fails(111, &format!("unable to s6-svc *gateway-{name}*"));
    }
}

#[test]
fn an_order_that_s6_does_not_take_is_not_called_done() {
    let tree = registered(&["coder"]);
    kill(tree.supervisor(&tree.slot("coder")).expect("supervisor"), Signal::STOP);
    start(&tree, &["-t", "300", "coder"]).fails(99, "timed out after 300 ms waiting for *");
    kill(tree.supervisor(&tree.slot("coder")).expect("supervisor"), Signal::CONT);
    tree.wait_up("coder");
    is_running(&tree, "coder");
    kill(tree.supervisor(&tree.slot("coder")).expect("supervisor"), Signal::STOP);
    stop(&tree, &["-t", "300", "coder"]).fails(99, "timed out after 300 ms waiting for *");
    kill(tree.supervisor(&tree.slot("coder")).expect("supervisor"), Signal::CONT);
    tree.wait_down("coder");
    is_stopped(&tree, "coder");
}

/// Row A14 of docs/failures.md.
#[test]
fn fields_that_we_do_not_know_survive() {
    let tree = registered(&["coder"]);
    let state = json!({
        "pid": 4_194_304_000_u64, "start_time": 18_446_744_073_709_551_615_u64, "kind": "hermes-gateway",
        "argv": ["hermes", "-p", "coder"], "gateway_state": "stopped", "updated_at": "2026-01-01T00:00:00+00:00",
        "platforms": {"api_server": {"state": "ok", "n\u{e4}me": "\u{1f600}", "x": null, "f": 1.5, "t": true}},
        "desired_state": "stopped", "future": {"deep": [[[1]]]},
    });
    let profile = tree.profile("coder").stand_in("silent=1\n").state(state.to_string());
    fs::set_permissions(profile.dir.join("gateway_state.json"), fs::Permissions::from_mode(0o640)).expect("mode");
    for (tool, want) in
        [("hermes-svc-start", "running"), ("hermes-svc-stop", "stopped"), ("hermes-svc-restart", "running")]
    {
        tree.tool(tool).arg("coder").run().is(0, "profile=coder action=*\n", "");
        let mut found = profile.json();
        assert_eq!(found["desired_state"], want);
        let (found, mut wanted) =
            (found.as_object_mut().expect("an object"), state.as_object().expect("an object").clone());
        assert_eq!(found["hermes_s6_profile"], "coder");
        for key in ["desired_state", "updated_at", "hermes_s6_profile"] {
            found.remove(key);
            wanted.remove(key);
        }
        assert_eq!(found, &wanted);
        let meta = fs::metadata(profile.dir.join("gateway_state.json")).expect("state");
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o640, tree.uid, tree.gid));
    }
    // No temporary file is left.
    let left: Vec<String> =
        snapshot(&[&profile.dir]).found.into_keys().filter(|n| n.contains("gateway_state.json")).collect();
    assert_eq!(left, ["gateway_state.json"]);
}

/// Row A14 of docs/failures.md.
#[test]
fn a_stop_survives_a_write_that_crossed_it() {
    // The gateway has read the file before the stop. When it ends it writes the file back, with the old intent.
    let tree = registered(&["coder"]);
    tree.profile("coder").stand_in("stale_intent=running\n");
    start(&tree, &["-w", "coder"]).is(0, "profile=coder action=started\n", "");
    tree.wait_up("coder");
    stop(&tree, &["-w", "coder"]).is(0, "profile=coder action=stopped\n", "");
    is_stopped(&tree, "coder");
}

/// Row A14 of docs/failures.md.
#[test]
fn a_start_survives_a_write_that_crossed_it() {
    let tree = registered(&["coder"]);
    tree.profile("coder").intent("stopped").stand_in("stale_intent=stopped\n");
    start(&tree, &["-w", "coder"]).is(0, "profile=coder action=started\n", "");
    is_running(&tree, "coder");
    restart(&tree, &["-w", "coder"]).is(0, "profile=coder action=restarted\n", "");
    is_running(&tree, "coder");
}

/// Row A14 of docs/failures.md.
#[test]
fn a_restart_of_what_was_told_to_stop_survives_a_write_that_crossed_it() {
    // The draining gateway writes the old intent back when it ends. That must not be taken for another stop.
    let tree = registered(&["coder"]);
    tree.profile("coder").stand_in("drain_ms=700\nstale_intent=stopped\n");
    start(&tree, &["-W", "coder"]).is(0, "profile=coder action=started\n", "");
    let old = tree.wait_up("coder");
    stop(&tree, &["coder"]).is(0, "profile=coder action=stopped\n", "");
    restart(&tree, &["-w", "coder"]).is(0, "profile=coder action=restarted\n", "");
    assert_ne!(tree.wait_up("coder"), old);
    is_running(&tree, "coder");
}

#[test]
fn a_restart_of_what_is_down_brings_it_up_before_anybody_can_cross_it() {
    let tree = registered(&["coder"]);
    tree.profile("coder").intent("stopped").stand_in("stale_intent=stopped\n");
    let crossing = "#!/bin/sh\nwhile [ ! -e enough ]; do\n\
        printf '{\"desired_state\":\"stopped\"}' > crossing && mv crossing $HERMES_HOME/profiles/coder/gateway_state.json\n\
        done\n";
    let script = tree.script("cross", crossing);
    let mut crossing = tree.tool("sh").arg(&script).spawn();
    for _ in 0..5 {
        restart(&tree, &["coder"]).is(0, "profile=coder action=restarted\n", "");
        assert_eq!(tree.svstat("coder", "wantedup"), Some(vec!["true".to_string()]));
        tree.tool("s6-svc").arg("-D").arg(tree.slot("coder")).run();
        tree.wait_down("coder");
    }
    fs::write(tree.scratch().join("enough"), "").expect("enough");
    crossing.wait().expect("wait");
}

#[test]
fn a_stop_during_a_restart_is_what_counts() {
    let tree = registered(&["coder"]);
    tree.profile("coder").stand_in("drain_ms=700\n");
    start(&tree, &["-w", "coder"]);
    tree.wait_up("coder");
    let restart = tree.tool("hermes-svc-restart").arg("coder").start();
    wait_until("the drain", || tree.profile("coder").json()["gateway_state"] == "draining");
    stop(&tree, &["-w", "coder"]).is(0, "profile=coder action=stopped\n", "");
    restart.wait().fails(102, "*coder*stopped*");
    is_stopped(&tree, "coder");
}

#[test]
fn a_start_during_a_stop_is_what_counts() {
    let tree = registered(&["coder"]);
    tree.profile("coder").stand_in("drain_ms=700\n");
    start(&tree, &["-w", "coder"]);
    let old = tree.wait_up("coder");
    let stop = tree.tool("hermes-svc-stop").args(["-w", "-t", "5000", "coder"]).start();
    wait_until("the drain", || tree.profile("coder").json()["gateway_state"] == "draining");
    start(&tree, &["-w", "coder"]).is(0, "profile=coder action=started\n", "");
    let stopped = stop.wait();
    // The stop may meet the dying gateway, the restart that waits for it, or the new gateway. Each of these exit codes
    // is right in one of the cases.
    assert!([0, 99, 102].contains(&stopped.code) && stopped.stderr.lines().count() <= 1, "{stopped}");
    is_running(&tree, "coder");
    assert_ne!(tree.wait_up("coder"), old);
}

#[test]
fn a_stop_that_races_a_crash_stays_a_stop() {
    let tree = registered(&["coder"]);
    for _ in 0..3 {
        start(&tree, &["coder"]).is(0, "profile=coder action=started\n", "");
        let pid = tree.wait_up("coder");
        let stop = tree.tool("hermes-svc-stop").args(["-w", "coder"]).start();
        kill(pid, Signal::KILL);
        stop.wait().is(0, "profile=coder action=stopped\n", "");
        is_stopped(&tree, "coder");
    }
}

#[test]
fn a_restart_that_crosses_a_crash_ends_in_a_gateway() {
    // The gateway dies between the look and the order, and s6-supervise starts another one, which the order then ends.
    crate::support::needs_root();
    let tree = Tree::up();
    let coder = tree.profile("coder").stand_in("drain_ms=500\n");
    tree.tool("hermes-svc-register").args(["-u", "coder"]).run();
    wait_until("the first gateway", || coder.starts() == 1);
    let (dir, slot) = (coder.dir.display(), tree.slot("coder"));
    let crash = tree.script(
        "crash",
        &format!(
            "#!/bin/sh\nPATH={}\n[ -e crashed ] || {{ : > crashed; kill -KILL $(s6-svstat -o pid {})\n\
             until [ $(wc -l < {dir}/stand-in.starts) = 2 ]; do sleep 0.01; done; }}\nexec real/s6-svc \"$@\"\n",
            std::env::var("PATH").expect("PATH"),
            slot.display()
        ),
    );
    let script = format!(
        "svc=$(command -v s6-svc); mkdir real && cp $svc real/s6-svc && mount --bind {crash} $svc || exit 97\n\
         exec hermes-svc-restart coder"
    );
    let ran = tree.tool("unshare").args(["--mount", "sh", "-c", &script]).run();
    ran.is(0, "profile=coder action=restarted\n", "");
    wait_until("the third gateway", || coder.starts() == 3);
    is_running(&tree, "coder");
}

#[test]
fn orders_that_race_passes_end_as_they_were_given() {
    let tree = registered(&["coder"]);
    let reconcile = tree.script(
        "reconcile",
        "#!/bin/sh\nwhile [ ! -e enough ]; do hermes-reconcile-all > /dev/null 2>> errors; done\n",
    );
    let mut passes = tree.tool("sh").arg(&reconcile).spawn();
    for _ in 0..3 {
        start(&tree, &["coder"]).is(0, "profile=coder action=started\n", "");
        is_running(&tree, "coder");
        stop(&tree, &["-w", "coder"]).is(0, "profile=coder action=stopped\n", "");
        is_stopped(&tree, "coder");
    }
    restart(&tree, &["coder"]).is(0, "profile=coder action=restarted\n", "");
    is_running(&tree, "coder");
    fs::write(tree.scratch().join("enough"), "").expect("enough");
    passes.wait().expect("the passes");
    assert_eq!(fs::read_to_string(tree.scratch().join("errors")).expect("errors"), "");
    tree.tool("hermes-reconcile-all").run().is(
        0,
        "*\nreconcile: profile=coder prior_state=running action=unchanged *unknown\n*\n",
        "",
    );
}

#[test]
fn whoever_is_last_of_many_disk_and_process_agree() {
    let tree = registered(&["coder"]);
    let orders = || {
        let tool = |n| tree.tool(if n % 2 == 0 { "hermes-svc-start" } else { "hermes-svc-stop" }).arg("coder").start();
        let running: Vec<_> = (0..4).map(tool).collect();
        running.into_iter().map(Running::wait).collect::<Vec<_>>()
    };
    // On a very busy machine one of them may wait for the intent lock longer than its second, and then goes on without it,
    // with a warning. Only a round in which each had the lock tells something.
    let had_the_lock = wait_for("a round in which each had the lock", || {
        Some(orders()).filter(|ran| ran.iter().all(|ran| !ran.stderr.contains(".hermes-s6.intent.lock")))
    });
    for ran in had_the_lock {
        ran.is(0, "profile=coder action=*\n", "");
    }
    let wanted = tree.svstat("coder", "wantedup,normallyup").expect("an answer");
    match desired(&tree, "coder").as_deref() {
        Some("running") => assert_eq!(wanted, ["true", "true"]),
        Some("stopped") => assert_eq!(wanted, ["false", "false"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_intent_lock_that_is_held_for_ever_costs_a_warning() {
    let tree = registered(&["coder"]);
    start(&tree, &["coder"]).is(0, "profile=coder action=started\n", "");
    let lock = tree.profile_dir("coder").join(".hermes-s6.intent.lock");
    let mut holder = tree.tool_as_account("s6-setlock").arg(&lock).args(["sleep", "1000"]).spawn();
    wait_until("the lock to be held", || tree.tool("s6-setlock").arg("-n").arg(&lock).arg("true").run().code != 0);
    let warning = "hermes-svc-stop: warning: *.hermes-s6.intent.lock*\n";
    stop(&tree, &["coder"]).is(0, "profile=coder action=stopped\n", warning);
    holder.kill().expect("kill");
    holder.wait().expect("wait");
    tree.wait_down("coder");
    is_stopped(&tree, "coder");
}

// Several at once.

/// Row F13 of docs/failures.md.
#[test]
fn every_failure_is_reported_and_none_hides_another() {
    let tree = registered(&["coder", "writer"]);
    tree.profile("unregistered");
    let stderr =
        "hermes-svc-start: fatal: invalid profile name \"Bad\"*\nhermes-svc-start: fatal: no such profile: nobody*\n";
    start(&tree, &["coder", "nobody", "Bad", "writer"]).is(
        100,
        "profile=coder action=started\nprofile=writer action=started\n",
        stderr,
    );
    is_running(&tree, "coder");
    is_running(&tree, "writer");

    let ran = stop(&tree, &["-w", "nobody", "coder", "unregistered", "writer"]);
    // The worst code is the highest. A profile that does not exist is not registered either.
    let ran = ran.is(102, "profile=coder action=stopped\nprofile=writer action=stopped\n", "*\n*\n");
    assert!(ran.stderr.contains("nobody") && ran.stderr.contains("unregistered"), "{ran}");
    is_stopped(&tree, "coder");
    is_stopped(&tree, "writer");
}

/// Row F13 of docs/failures.md.
#[test]
fn one_that_does_not_end_does_not_keep_the_others() {
    let tree = registered(&["a1", "b1", "c1"]);
    tree.profile("b1").stand_in("ignore_term=1\n");
    start(&tree, &["a1", "b1", "c1"]);
    ["a1", "b1", "c1"].iter().for_each(|name| _ = tree.wait_up(name));
    let ran = stop(&tree, &["-a", "-w", "-t", "2000"]);
    ran.is(
        99,
        "profile=a1 action=stopped\nprofile=c1 action=stopped\n",
        "hermes-svc-stop: fatal: timed out after 2000 ms *b1*\n",
    );
    is_stopped(&tree, "a1");
    is_stopped(&tree, "c1");
    assert_eq!(desired(&tree, "b1").as_deref(), Some("stopped"));
}

#[test]
fn all_are_signalled_first_and_then_waited_for() {
    let names = ["a1", "b1", "c1"];
    let tree = registered(&names);
    names.iter().for_each(|name| drop(tree.profile(name).stand_in("drain_ms=20000\n")));
    start(&tree, &names);
    let pids = names.map(|name| tree.wait_up(name));
    // A restart with -a goes in turn.
    for (tool, all) in [("hermes-svc-restart", &names[..]), ("hermes-svc-stop", &["-a"])] {
        let running = tree.tool(tool).args(["-w", "-t", "25000"]).args(all).start();
        wait_until("all to drain at once", || {
            names.iter().all(|name| tree.profile(name).json()["gateway_state"] == "draining")
        });
        assert!(running.is_running());
        kill(running.pid, Signal::KILL);
        running.wait();
    }
    pids.iter().for_each(|pid| kill(*pid, Signal::KILL));
}

#[test]
fn start_all_is_every_profile_that_is_wanted() {
    let tree = registered(&["default", "off", "on"]);
    start(&tree, &["-a"]).is(0, "", "");
    tree.profile("on").intent("running");
    tree.profile("off").intent("stopped");
    // One profile has no slot yet, and the state file of another one says running in the older way.
    tree.profile("new").intent("running");
    tree.profile("older").state(r#"{"gateway_state":"draining"}"#);
    let stdout = "profile=new action=started\nprofile=older action=started\nprofile=on action=started\n";
    let mut lines: Vec<&str> = stdout.lines().collect();
    let ran = start(&tree, &["-a", "-w"]);
    let mut said = ran.lines();
    said.sort_unstable();
    lines.sort_unstable();
    assert_eq!((ran.code, said, ran.stderr.as_str()), (0, lines, ""), "{ran}");
    tree.wait_down("off");
    tree.wait_down("default");
    assert_eq!(tree.profile("off").starts() + tree.profile("default").starts(), 0);
}

/// Row F13 of docs/failures.md.
#[test]
fn stop_all_is_every_gateway_that_is_up() {
    let tree = running(&["a1", "b1"]);
    tree.profile("down").intent("running");
    tree.tool("hermes-svc-register").arg("down").run();
    stop(&tree, &["-a", "-w"]).is(0, "profile=a1 action=stopped\nprofile=b1 action=stopped\n", "");
    is_stopped(&tree, "a1");
    is_stopped(&tree, "b1");
    assert_eq!(desired(&tree, "down").as_deref(), Some("running"), "it is not up, so it is not stopped");
    stop(&tree, &["-a", "-w"]).is(0, "", "");
}

#[test]
fn restart_all_is_every_gateway_that_is_up_or_wanted() {
    let tree = running(&["up"]);
    for name in ["off", "wanted"] {
        tree.profile(name);
        tree.tool("hermes-svc-register").arg(name).run();
    }
    tree.profile("wanted").intent("running");
    let old = tree.wait_up("up");
    restart(&tree, &["-a", "-w"]).is(0, "profile=up action=restarted\nprofile=wanted action=restarted\n", "");
    assert_ne!(tree.wait_up("up"), old);
    is_running(&tree, "wanted");
    assert_eq!(tree.profile("off").starts(), 0);

    let none = registered(&["off"]);
    restart(&none, &["-a"]).is(0, "", "");
}

// Dry runs, JSON, no s6.

#[test]
fn a_dry_run_says_the_same_and_does_nothing() {
    let tree = running(&["up"]);
    tree.profile("down");
    tree.tool("hermes-svc-register").arg("down").run();
    tree.profile("new");
    let pid = tree.wait_up("up");
    let before = snapshot(&[&tree.home(), &tree.scandir()]);
    let stdout = "profile=down action=started\nprofile=new action=started\nprofile=up action=unchanged\n";
    start(&tree, &["-n", "-w", "down", "new", "up"]).is(0, stdout, "");
    stop(&tree, &["-n", "-w", "up"]).is(0, "profile=up action=stopped\n", "");
    stop(&tree, &["-n", "-k", "-a"]).is(0, "profile=up action=stopped\n", "");
    restart(&tree, &["-nj", "-W", "up"]).is(0, "{\"profile\":\"up\",\"action\":\"restarted\",\"dry_run\":true}\n", "");
    start(&tree, &["-n", "nobody"]).fails(100, "no such profile: nobody*");
    before.still_holds();
    assert_eq!(tree.gateway("up"), Some(pid));
    start(&tree, &["-j", "up"]).is(0, "{\"profile\":\"up\",\"action\":\"unchanged\",\"dry_run\":false}\n", "");
}

/// Row C6 of docs/failures.md.
#[test]
fn without_s6_nothing_is_started_and_nobody_is_told_otherwise() {
    let tree = Tree::new();
    tree.profile("coder").intent("running");
    start(&tree, &["coder"]).fails(102, "no s6-svscan is running on *scandir");
    tree.tool("hermes-reconcile-one").arg("coder").run();
    for tool in ["hermes-svc-start", "hermes-svc-stop", "hermes-svc-restart"] {
        tree.tool(tool).args(["-t", "200", "coder"]).run().fails(102, "*gateway-coder is not supervised*");
    }
    assert_eq!(desired(&tree, "coder").as_deref(), Some("running"));
}

/// Row A15 of docs/failures.md.
#[test]
fn what_cannot_be_recorded_is_not_done() {
    crate::support::needs_root();
    let tree = running(&["coder"]);
    let pid = tree.wait_up("coder");
    let before = tree.profile("coder").read("gateway_state.json");
    let ran = tree.on_read_only_volume("exec hermes-svc-stop coder");
    ran.is(111, "", "hermes-svc-stop: fatal: unable to write *: Read-only file system; *\n");
    assert_eq!(tree.gateway("coder"), Some(pid));

    // On a full volume the old file stays, whether it can be parsed or not.
    for state in ["{\"desired_state\":\"running\",\"x\":1}", "{\"desired_state\":\"run"] {
        let profile = "$HERMES_HOME/profiles/coder";
        let setup =
            format!("mkdir -p {profile}; : > {profile}/SOUL.md; printf '%s' '{state}' > {profile}/gateway_state.json");
        let look =
            format!("hermes-svc-stop coder; echo $?; cat {profile}/gateway_state.json; ls -A {profile} | grep state");
        let stderr = "hermes-svc-stop: fatal: unable to write *: No space left on device; *\n";
        tree.on_full_volume(&setup, &look).is(0, &format!("111\n{state}gateway_state.json\n"), stderr);
    }
    assert_eq!(tree.gateway("coder"), Some(pid));
    assert_eq!(tree.profile("coder").read("gateway_state.json"), before);
}

// Held.

/// Row F1 of docs/failures.md.
#[test]
fn a_permanent_error_is_held_and_start_brings_it_back() {
    let tree = registered(&["coder", "writer"]);
    held(&tree, "coder");
    assert_eq!(tree.profile("coder").starts(), 1, "78 is not tried again");
    let mark = fs::read_to_string(tree.slot("coder").join("data/held")).expect("the mark");
    assert!(mark.contains("78"), "{mark}");
    // The status distinguishes held from down.
    let status = tree.tool("hermes-svc-status").arg("-j").run();
    status.is(0, "**\"coder\",\"state\":\"held\"**\"writer\",\"state\":\"down\"**\n", "");
    assert_eq!(desired(&tree, "coder").as_deref(), Some("running"), "a hold is nobody's wish");

    tree.profile("coder").stand_in("");
    start(&tree, &["-w", "coder"]).is(0, "profile=coder action=started\n", "");
    is_running(&tree, "coder");
    assert!(!tree.slot("coder").join("data/held").exists());
}

/// Rows D6, F2 of docs/failures.md.
#[test]
fn a_gateway_that_keeps_dying_is_held() {
    // Five deaths within a minute.
    let tree = registered(&["coder"]);
    tree.profile("coder").stand_in("exit_at_start=1\n");
    start(&tree, &["-w", "coder"]).fails(111, "unable to start coder: *held*logs/gateways/coder/current*");
    assert_eq!(tree.profile("coder").starts(), 5);
    assert!(tree.slot("coder").join("data/held").exists());
    // After a start by root the gateway has all its tries again, and not only one.
    tree.profile("coder").stand_in("[ \"$(wc -l < \"$dir/stand-in.starts\")\" -ge 7 ] || exit_at_start=1\n");
    start(&tree, &["coder"]).is(0, "profile=coder action=started\n", "");
    tree.wait_up("coder");
    assert_eq!(tree.profile("coder").starts(), 8);
    is_running(&tree, "coder");
}

/// Row F3 of docs/failures.md.
#[test]
fn a_loop_of_clean_exits_is_held_and_a_single_one_is_not() {
    let tree = registered(&["loop", "once"]);
    tree.profile("loop").stand_in("exit_at_start=0\n");
    tree.profile("once").stand_in("[ -s \"$dir/stand-in.starts\" ] || exit_at_start=0\n");
    start(&tree, &["loop", "once"]);
    wait_until("the hold", || tree.slot("loop").join("data/held").exists());
    tree.wait_down("loop");
    assert_eq!(tree.profile("loop").starts(), 3);
    tree.wait_up("once");
    assert_eq!(tree.profile("once").starts(), 2);
}

/// Row F4 of docs/failures.md.
#[test]
fn a_gateway_that_asks_for_restarts_gets_them() {
    let tree = registered(&["coder"]);
    tree.profile("coder")
        .stand_in("[ \"$(wc -l < \"$dir/stand-in.starts\")\" -ge 4 ] 2> /dev/null || exit_at_start=75\n");
    start(&tree, &["coder"]);
    tree.wait_up("coder");
    assert_eq!(tree.profile("coder").starts(), 5);
    assert!(!tree.slot("coder").join("data/held").exists());
}

#[test]
fn the_account_may_start_what_is_held_and_it_has_all_its_tries_again() {
    crate::support::needs_root();
    let tree = registered(&["coder"]);
    let profile = tree.profile("coder").stand_in("exit_at_start=1\n");
    tree.tool("hermes-svc-start").arg("coder").run();
    wait_until("the hold", || tree.slot("coder").join("data/held").exists());
    // The gateway dies once more while the old deaths are recent, and is not held for it.
    let starts = profile.starts();
    profile.stand_in(&format!("[ \"$(wc -l < \"$dir/stand-in.starts\")\" -gt {} ] || exit_at_start=1\n", starts + 1));
    let ran = tree.tool_as_account("hermes-svc-start").args(["-w", "coder"]).run();
    ran.is(0, "profile=coder action=started\n", "");
    is_running(&tree, "coder");
    assert!(tree.profile("coder").starts() >= starts + 2);
    assert!(!tree.slot("coder").join("data/held").exists());
}

#[test]
fn a_gateway_that_dies_is_started_again() {
    let tree = running(&["coder"]);
    for _ in 0..2 {
        let pid = tree.wait_up("coder");
        kill(pid, Signal::KILL);
        wait_until("another one", || tree.gateway("coder").is_some_and(|new| new != pid));
    }
    tree.wait_up("coder");
    assert_eq!(tree.profile("coder").starts(), 3);
    is_running(&tree, "coder");
}

// list

#[test]
fn list_prints_names_default_first_and_nothing_else() {
    let tree = registered(&["writer", "default", "coder"]);
    let list = |args: &[&str]| tree.tool("hermes-svc-list").args(args).run();
    list(&[]).is(0, "default\ncoder\nwriter\n", "");
    list(&["-u"]).is(0, "", "");
    start(&tree, &["-w", "coder"]);
    list(&["-u"]).is(0, "coder\n", "");
    list(&["-d"]).is(0, "default\nwriter\n", "");
    list(&["-j"]).is(0, "{\"profile\":\"default\"}\n{\"profile\":\"coder\"}\n{\"profile\":\"writer\"}\n", "");
    // Entries that are not slots are not listed: files, other services, invalid names, staging directories.
    for name in ["gateway-Bad", "gateway-", "other", ".gateway-x.abcdef"] {
        fs::create_dir(tree.scandir().join(name)).expect("mkdir");
    }
    fs::write(tree.scandir().join("gateway-file"), "").expect("file");
    list(&[]).is(0, "default\ncoder\nwriter\n", "");
    tree.kill_hard();
    list(&[]).is(0, "default\ncoder\nwriter\n", "");
    list(&["-u"]).is(0, "", "");
    list(&["-d"]).is(0, "default\ncoder\nwriter\n", "");
}

#[test]
fn list_does_not_call_up_or_down_what_s6_cannot_tell() {
    let tree = registered(&["coder", "writer"]);
    fs::write(tree.slot("coder").join("supervise/status"), "?").expect("status");
    for (option, stdout) in [("-u", ""), ("-d", "writer\n")] {
        let ran = tree.tool("hermes-svc-list").arg(option).run();
        ran.is(111, stdout, "hermes-svc-list: fatal: unable to s6-svstat *gateway-coder: *\n");
    }
    tree.tool("hermes-svc-list").run().is(0, "coder\nwriter\n", "");
}

/// Row E8 of docs/failures.md. If the refused start left its intent, it would take the port from the other profile at
/// the next boot.
#[test]
fn a_start_that_is_refused_for_its_port_leaves_the_profile_unwanted() {
    let tree = Tree::up();
    let pinned = "API_SERVER_ENABLED=true\nAPI_SERVER_KEY=abcdefghijklmnopqrstuvwxyz012345\nAPI_SERVER_PORT=9000\n";
    for name in ["clone", "coder"] {
        tree.profile(name).file(".env", pinned);
        tree.tool("hermes-svc-register").arg(name).run();
    }
    let ran = tree.tool("hermes-svc-start").args(["-n", "clone"]).run();
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "nobody has started the other one: {ran}");
    tree.tool("hermes-svc-start").args(["-w", "coder"]).run().is(0, "profile=coder action=started\n", "");
    let ran = tree.tool("hermes-svc-start").arg("clone").run();
    ran.fails(100, "port 9000 is pinned twice: by clone (**) and by coder (**)");
    assert!(!tree.home().join("profiles/clone/gateway_state.json").exists());
    assert_eq!(tree.svstat("clone", "wantedup"), Some(vec!["false".to_string()]));
}
