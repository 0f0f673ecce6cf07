use crate::ground::{Ground, UID, gateway_pid, is_locked, kill, lives, svc, svstat, until, until_svstat};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const STATE: &str = "up,wantedup,normallyup,ready";

fn held(slot: &Path) -> String {
    until("the slot to be held", || fs::read_to_string(slot.join("data/held")).ok())
}

/// The process that supervises the slot, once there is one with something running.
fn supervisor(slot: &Path) -> i32 {
    until("a supervisor", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", svstat(slot, "pid"))).ok()?;
        let parent: i32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{parent}/comm")).ok()?;
        (name.trim() == "s6-supervise").then_some(parent)
    })
}

#[test]
fn a_slot_runs_its_profiles_gateway_and_is_ready_when_the_state_file_names_it() {
    let mut ground = Ground::new();
    ground.give("coder", "mode", "while [ ! -e \"$dir/go\" ]; do sleep 0.05; done\n");
    // What an earlier gateway left behind must not pass for readiness.
    ground.give("coder", "gateway_state.json", r#"{"pid":1,"start_time":1,"gateway_state":"running"}"#);
    let slot = ground.slot("coder");
    ground.svscan();
    until_svstat(&slot, STATE, "true true true false");
    let (code, _, err) =
        ground.run("hermes-gateway-ready", &["-v", "-s", ground.dir.join("scandir").to_str().unwrap(), "coder"]);
    let pid = svstat(&slot, "pid");
    let text = format!("info: coder is not ready: gateway_state.json is not by pid {pid}\n");
    assert_eq!((code, err), (1, format!("hermes-gateway-ready: {text}")));
    assert_eq!(svstat(&slot, STATE), "true true true false");
    ground.give("coder", "go", "");
    until_svstat(&slot, STATE, "true true true true");
    assert_eq!(svstat(&slot, "pid"), pid, "from s6-supervise to the gateway it is one process");
    assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), UID);
    until("the log", || ground.log("coder").contains("hermes -p coder gateway run --replace\n").then_some(()));
    until("the checker to be gone", || children(&ground, "s6-notifyonchec").is_empty().then_some(()));
}

/// Processes of this name with their directory in a slot of ours.
fn children(ground: &Ground, name: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let ours = |pid: &i32| {
        let proc = Path::new("/proc").join(pid.to_string());
        fs::read_to_string(proc.join("comm")).is_ok_and(|comm| comm.trim() == name)
            && fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&ground.dir))
    };
    pids.filter(ours).collect()
}

#[test]
fn a_gateway_with_an_api_server_is_ready_when_that_answers_and_nobody_elses_passes_for_it() {
    let mut ground = Ground::new();
    ground.give("coder", ".env", "API_SERVER_ENABLED=true\nAPI_SERVER_KEY=0123456789abcdef0123456789abcdef\n");
    let serve = "exec python3 -m http.server --bind 127.0.0.1 --directory \"$dir\" \"$API_SERVER_PORT\"";
    ground.give("coder", "mode", &format!("state\nwhile [ ! -e \"$dir/go\" ]; do sleep 0.05; done\n{serve}\n"));
    // Somebody else's server, on the same port and in perfect health.
    let listener = std::net::TcpListener::bind(("127.0.0.1", ground.port)).unwrap();
    let slot = ground.slot("coder");
    ground.svscan();
    let state = ground.profile_dir("coder").join("gateway_state.json");
    until("the state file", || state.exists().then_some(()));
    let scandir = ground.dir.join("scandir").display().to_string();
    let ask = || ground.run("hermes-gateway-ready", &["-v", "-s", &scandir, "coder"]);
    let no = |why: String| (1, String::new(), format!("hermes-gateway-ready: info: coder is not ready: {why}\n"));
    assert_eq!(ask(), no(format!("pid {} does not listen on port {}", svstat(&slot, "pid"), ground.port)));
    drop(listener);
    ground.give("coder", "go", "");
    until("another reason", || {
        (ask() == no(format!("127.0.0.1:{} answers 404 to GET /health", ground.port))).then_some(())
    });
    assert_eq!(svstat(&slot, STATE), "true true true false");
    ground.give("coder", "health", "ok");
    until_svstat(&slot, STATE, "true true true true");
    assert_eq!(ask(), (0, String::new(), String::new()));
}

#[test]
fn a_retired_or_unsupervised_slot_is_not_ready() {
    let ground = Ground::new();
    let scandir = ground.dir.join("scandir").display().to_string();
    let expected = "hermes-gateway-ready: info: coder is not ready: s6 has no process of it\n";
    assert_eq!(
        ground.run("hermes-gateway-ready", &["-v", "-s", &scandir, "coder"]),
        (1, String::new(), expected.to_string())
    );
    assert_eq!(ground.run("hermes-gateway-ready", &["-s", &scandir, "coder"]), (1, String::new(), String::new()));
    for arguments in [&[][..], &["coder", "writer"], &["-z", "coder"]] {
        assert_eq!(ground.run("hermes-gateway-ready", arguments).0, 100);
    }
}

#[test]
fn default_is_run_without_p() {
    let mut ground = Ground::new();
    let slot = ground.slot("default");
    ground.svscan();
    until_svstat(&slot, STATE, "true true true true");
    until("its line", || ground.log("default").contains("hermes gateway run --replace\n").then_some(()));
}

#[test]
fn a_permanent_error_holds_the_slot_at_once() {
    let mut ground = Ground::new();
    ground.give("coder", "mode", "exit 78\n");
    let slot = ground.slot("coder");
    ground.svscan();
    assert!(held(&slot).starts_with("code=78 signal=0 deaths=1 time=1"));
    until_svstat(&slot, STATE, "false false true false");
    assert_eq!(ground.starts("coder"), 1);
}

#[test]
fn a_slot_whose_profile_is_gone_is_held_and_creates_nothing() {
    let mut ground = Ground::new();
    let slot = ground.slot("ghost");
    ground.svscan();
    assert!(held(&slot).starts_with("code=78 "));
    assert!(!ground.profile_dir("ghost").exists());
    until("the log", || ground.log("ghost").contains("no such profile: ghost").then_some(()));
}

#[test]
fn a_gateway_that_crashes_five_times_is_held_and_a_start_gives_it_five_tries_again() {
    let mut ground = Ground::new();
    ground.give("coder", "mode", "kill -SEGV $$\n");
    let slot = ground.slot("coder");
    ground.svscan();
    assert!(held(&slot).starts_with("code=256 signal=11 deaths=5 time=1"));
    assert_eq!(ground.starts("coder"), 5);
    // As the runtime account can do it: no s6-svdt-clear, only the control FIFO.
    ground.give("coder", "mode", "exit 3\n");
    svc("-u", &slot);
    until("the hold to be lifted", || (!slot.join("data/held").exists()).then_some(()));
    assert!(held(&slot).starts_with("code=3 signal=0 deaths=5 time=1"));
    assert_eq!(ground.starts("coder"), 10);
}

#[test]
fn a_loop_of_clean_exits_is_held_after_three() {
    let mut ground = Ground::new();
    ground.give("coder", "mode", "exit 0\n");
    let slot = ground.slot("coder");
    ground.svscan();
    assert!(held(&slot).starts_with("code=0 signal=0 deaths=3 time=1"));
    assert_eq!(ground.starts("coder"), 3);
}

#[test]
fn a_wish_to_be_restarted_is_granted_more_often_than_a_crash() {
    let mut ground = Ground::new();
    // Six times, which would be a crash too many, then up.
    ground.give("coder", "mode", "[ \"$(wc -l <\"$dir/starts\")\" -gt 6 ] || exit 75\n");
    let slot = ground.slot("coder");
    ground.svscan();
    until_svstat(&slot, STATE, "true true true true");
    assert_eq!(ground.starts("coder"), 7);
    assert!(!slot.join("data/held").exists());
}

#[test]
fn an_operators_stop_is_no_death() {
    let mut ground = Ground::new();
    let slot = ground.slot("coder");
    ground.svscan();
    for start in 1..=6 {
        gateway_pid(&slot);
        assert_eq!(ground.starts("coder"), start);
        svc("-d", &slot);
        until("the stop", || (svstat(&slot, "up,wantedup") == "false false" && deaths(&slot) == 0).then_some(()));
        assert!(!slot.join("data/held").exists());
        svc("-u", &slot);
    }
    gateway_pid(&slot);
}

/// The size of s6's record of deaths: `finish` clears it as its last deed after a stop.
fn deaths(slot: &Path) -> u64 {
    fs::metadata(slot.join("supervise/death_tally")).map_or(0, |m| m.len())
}

#[test]
fn the_gateway_of_a_killed_supervisor_is_ended_and_not_doubled() {
    let mut ground = Ground::new();
    let slot = ground.slot("coder");
    ground.svscan();
    let old = gateway_pid(&slot);
    until_svstat(&slot, STATE, "true true true true");
    kill(supervisor(&slot), "KILL");
    let new = until("another gateway", || Some(gateway_pid(&slot)).filter(|pid| *pid != old));
    assert!(!lives(old) && lives(new));
    until_svstat(&slot, STATE, "true true true true");
    assert_eq!(ground.starts("coder"), 2);
    let text = format!("pid {old} is a gateway of this profile whose supervisor was killed: ending it");
    until("the log", || ground.log("coder").contains(&text).then_some(()));
}

#[test]
fn supervisors_killed_again_and_again_leave_one_gateway() {
    let mut ground = Ground::new();
    let slot = ground.slot("coder");
    ground.svscan();
    for _ in 0..4 {
        gateway_pid(&slot);
        let first = supervisor(&slot);
        kill(first, "KILL");
        // The next one at whatever moment of its gateway's start.
        kill(until("the next supervisor", || Some(supervisor(&slot)).filter(|pid| *pid != first)), "KILL");
    }
    until_svstat(&slot, STATE, "true true true true");
    let gateways = || children(&ground, "sleep");
    until("one gateway to be left", || (gateways() == [svstat(&slot, "pid").parse::<i32>().ok()?]).then_some(()));
    assert!(is_locked(&ground, "coder"));
}
