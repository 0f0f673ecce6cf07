use super::ground::{Ground, UID};
use crate::support::{kill, start_time, wait_for, wait_until};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const STATE: &str = "up,wantedup,normallyup,ready";

fn held(slot: &Path) -> String {
    wait_for("the slot to be held", || fs::read_to_string(slot.join("data/held")).ok())
}

/// Wait until the slot has a supervisor whose gateway runs. Returns the supervisor's pid.
fn supervisor(ground: &Ground, slot: &Path) -> u32 {
    wait_for("a supervisor", || {
        let supervisor = ground.tree.supervisor(slot)?;
        let gateway = ground.svstat(slot, "pid");
        ground
            .tree
            .processes()
            .iter()
            .any(|p| p.pid.to_string() == gateway && p.ppid == supervisor)
            .then_some(supervisor)
    })
}

#[test]
fn a_slot_runs_its_profiles_gateway_and_is_ready_when_the_state_file_names_it() {
    let ground = Ground::new();
    ground.at_start("coder", "while [ ! -e \"$dir/go\" ]; do sleep 0.05; done\n");
    // An earlier gateway has left this file, which must not make the new gateway look ready.
    ground.give("coder", "gateway_state.json", r#"{"pid":1,"start_time":1,"gateway_state":"running"}"#);
    let slot = ground.slot("coder");
    ground.tree.svscan();
    ground.until_svstat(&slot, STATE, "true true true false");
    let (code, _, err) =
        ground.run("hermes-gateway-ready", &["-v", "-s", ground.tree.scandir().to_str().unwrap(), "coder"]);
    let pid = ground.svstat(&slot, "pid");
    let text = format!("info: coder is not ready: gateway_state.json is not by pid {pid}\n");
    assert_eq!((code, err), (1, format!("hermes-gateway-ready: {text}")));
    assert_eq!(ground.svstat(&slot, STATE), "true true true false");
    ground.give("coder", "go", "");
    ground.until_svstat(&slot, STATE, "true true true true");
    assert_eq!(ground.svstat(&slot, "pid"), pid, "from s6-supervise to the gateway it is one process");
    assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), UID);
    wait_until("the log", || ground.log("coder").contains("stand-in gateway of coder\n"));
    assert_eq!(ground.tree.profile("coder").read("stand-in.args"), "-p coder gateway run --replace\n");
    wait_until("the one that waited to be gone", || ground.tree.pollers().is_empty());
}

#[test]
fn a_gateway_with_an_api_server_is_ready_when_that_answers_and_nobody_elses_passes_for_it() {
    let ground = Ground::new();
    ground.give("coder", ".env", "API_SERVER_ENABLED=true\nAPI_SERVER_KEY=0123456789abcdef0123456789abcdef\n");
    let serve = "exec python3 -m http.server --bind 127.0.0.1 --directory \"$dir\" \"$API_SERVER_PORT\"";
    ground.at_start("coder", &format!("say running\nwhile [ ! -e \"$dir/go\" ]; do sleep 0.05; done\n{serve}\n"));
    // Another program's server on the same port, which would answer the request.
    let listener = std::net::TcpListener::bind(("127.0.0.1", ground.port)).unwrap();
    let slot = ground.slot("coder");
    ground.tree.svscan();
    let state = ground.profile_dir("coder").join("gateway_state.json");
    wait_until("the state file", || state.exists());
    let scandir = ground.tree.scandir().display().to_string();
    let ask = || ground.run("hermes-gateway-ready", &["-v", "-s", &scandir, "coder"]);
    let no = |why: String| (1, String::new(), format!("hermes-gateway-ready: info: coder is not ready: {why}\n"));
    assert_eq!(ask(), no(format!("pid {} does not listen on port {}", ground.svstat(&slot, "pid"), ground.port)));
    drop(listener);
    ground.give("coder", "go", "");
    let other = no(format!("127.0.0.1:{} answers 404 to GET /health", ground.port));
    wait_until("another reason", || ask() == other);
    assert_eq!(ground.svstat(&slot, STATE), "true true true false");
    ground.give("coder", "health", "ok");
    ground.until_svstat(&slot, STATE, "true true true true");
    assert_eq!(ask(), (0, String::new(), String::new()));
}

#[test]
fn a_retired_or_unsupervised_slot_is_not_ready() {
    let ground = Ground::new();
    let scandir = ground.tree.scandir().display().to_string();
    let expected = "hermes-gateway-ready: info: coder is not ready: s6 has no process of it\n";
    assert_eq!(
        ground.run("hermes-gateway-ready", &["-v", "-s", &scandir, "coder"]),
        (1, String::new(), expected.to_string())
    );
    assert_eq!(ground.run("hermes-gateway-ready", &["-s", &scandir, "coder"]), (1, String::new(), String::new()));
    for arguments in [&[][..], &["-p", "0", "coder"], &["-p", "1", "coder", "true"], &["-z", "coder"]] {
        assert_eq!(ground.run("hermes-gateway-ready", arguments).0, 100);
    }
}

/// Rows D4, I4 of docs/failures.md.
#[test]
fn default_is_named_too() {
    let ground = Ground::new();
    let slot = ground.slot("default");
    ground.tree.svscan();
    ground.until_svstat(&slot, STATE, "true true true true");
    wait_until("the line of the gateway in the log", || {
        ground.log("default").contains("stand-in gateway of default\n")
    });
    assert_eq!(ground.tree.profile("default").read("stand-in.args"), "-p default gateway run --replace\n");
}

/// Row F1 of docs/failures.md.
#[test]
fn a_permanent_error_holds_the_slot_at_once() {
    let ground = Ground::new();
    ground.at_start("coder", "exit 78\n");
    let slot = ground.slot("coder");
    ground.tree.svscan();
    assert!(held(&slot).starts_with("code=78 signal=0 deaths=1 time=1"));
    ground.until_svstat(&slot, STATE, "false false true false");
    assert_eq!(ground.starts("coder"), 1);
}

/// Rows B4, B5 of docs/failures.md.
#[test]
fn a_slot_whose_profile_is_gone_is_held_and_creates_nothing() {
    let ground = Ground::new();
    let slot = ground.slot("ghost");
    ground.tree.svscan();
    assert!(held(&slot).starts_with("code=78 "));
    assert!(!ground.profile_dir("ghost").exists());
    wait_until("the log", || ground.log("ghost").contains("no such profile: ghost"));
}

/// Row F2 of docs/failures.md.
#[test]
fn a_gateway_that_crashes_five_times_is_held_and_a_start_gives_it_five_tries_again() {
    let ground = Ground::new();
    ground.at_start("coder", "kill -SEGV $$\n");
    let slot = ground.slot("coder");
    ground.tree.svscan();
    assert!(held(&slot).starts_with("code=256 signal=11 deaths=5 time=1"));
    assert_eq!(ground.starts("coder"), 5);
    // Wait for the end of finish. Before that, s6-supervise forgets an order if finish then exits 125.
    ground.until_svstat(&slot, STATE, "false false true false");
    // The runtime account may not run s6-svdt-clear, and only has the control FIFO.
    ground.at_start("coder", "exit 3\n");
    ground.svc("-u", &slot);
    wait_until("the hold to be lifted", || !slot.join("data/held").exists());
    assert!(held(&slot).starts_with("code=3 signal=0 deaths=5 time=1"));
    assert_eq!(ground.starts("coder"), 10);
}

/// Row F3 of docs/failures.md.
#[test]
fn a_loop_of_clean_exits_is_held_after_three() {
    let ground = Ground::new();
    ground.at_start("coder", "exit 0\n");
    let slot = ground.slot("coder");
    ground.tree.svscan();
    assert!(held(&slot).starts_with("code=0 signal=0 deaths=3 time=1"));
    assert_eq!(ground.starts("coder"), 3);
}

/// Row F4 of docs/failures.md.
#[test]
fn a_wish_to_be_restarted_is_granted_more_often_than_a_crash() {
    let ground = Ground::new();
    // The gateway asks for a restart six times, and then stays up. Six crashes would be too many.
    ground.at_start("coder", "[ \"$(wc -l <\"$dir/stand-in.starts\")\" -gt 6 ] || exit 75\n");
    let slot = ground.slot("coder");
    ground.tree.svscan();
    ground.until_svstat(&slot, STATE, "true true true true");
    assert_eq!(ground.starts("coder"), 7);
    assert!(!slot.join("data/held").exists());
}

#[test]
fn an_operators_stop_is_no_death() {
    let ground = Ground::new();
    let slot = ground.slot("coder");
    ground.tree.svscan();
    for start in 1..=6 {
        ground.tree.wait_up("coder");
        assert_eq!(ground.starts("coder"), start);
        ground.svc("-d", &slot);
        wait_until("the stop", || ground.svstat(&slot, "up,wantedup") == "false false" && deaths(&slot) == 0);
        assert!(!slot.join("data/held").exists());
        ground.svc("-u", &slot);
    }
    ground.tree.wait_up("coder");
}

/// The size of s6's record of deaths. After a stop, `finish` clears the record at its end.
fn deaths(slot: &Path) -> u64 {
    fs::metadata(slot.join("supervise/death_tally")).map_or(0, |m| m.len())
}

#[test]
fn the_gateway_of_a_killed_supervisor_is_ended_and_not_doubled() {
    let ground = Ground::new();
    let slot = ground.slot("coder");
    ground.tree.svscan();
    let old = ground.tree.wait_up("coder");
    ground.until_svstat(&slot, STATE, "true true true true");
    kill(supervisor(&ground, &slot), Signal::KILL);
    let new = wait_for("another gateway", || Some(ground.tree.wait_up("coder")).filter(|pid| *pid != old));
    assert!(start_time(old).is_none() && start_time(new).is_some());
    ground.until_svstat(&slot, STATE, "true true true true");
    assert_eq!(ground.starts("coder"), 2);
    let text = format!("pid {old} is a gateway of this profile whose supervisor was killed: ending it");
    wait_until("the log", || ground.log("coder").contains(&text));
}

#[test]
fn supervisors_killed_again_and_again_leave_one_gateway() {
    let ground = Ground::new();
    let slot = ground.slot("coder");
    ground.tree.svscan();
    for _ in 0..4 {
        ground.tree.wait_up("coder");
        let first = supervisor(&ground, &slot);
        kill(first, Signal::KILL);
        // The next supervisor is killed at some moment while its gateway starts.
        kill(
            wait_for("the next supervisor", || Some(supervisor(&ground, &slot)).filter(|pid| *pid != first)),
            Signal::KILL,
        );
    }
    ground.until_svstat(&slot, STATE, "true true true true");
    let gateways = || ground.named("hermes").iter().map(u32::to_string).collect::<Vec<_>>();
    wait_until("one gateway to be left", || gateways() == [ground.svstat(&slot, "pid")]);
    assert!(ground.is_locked("coder"));
}
