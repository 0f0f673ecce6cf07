//! hermes-svc-status shows what s6 says beside the intent: for people, for programs, and for health checks. It also
//! says who supervises.

use crate::support::{Tree, kill, start_time, wait_for, wait_until};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;

/// A tree with one gateway up, one stopped, one held, and one that was never started.
fn in_every_state() -> Tree {
    let tree = Tree::up();
    tree.profile("default");
    tree.profile("coder").intent("running");
    tree.profile("writer").intent("stopped").env("API_SERVER_ENABLED=true\n");
    tree.profile("broken").intent("running").stand_in("exit_at_start=78\n");
    tree.tool("hermes-reconcile-all").run();
    tree.wait_up("coder");
    wait_until("the hold", || tree.slot("broken").join("data/held").exists());
    tree.wait_down("broken");
    wait_until("readiness", || tree.svstat("coder", "ready").is_some_and(|s| s == ["true"]));
    tree
}

/// The objects that `hermes-svc-status -j` prints with these arguments.
#[track_caller]
fn json(tree: &Tree, args: &[&str]) -> Vec<Value> {
    let ran = tree.tool("hermes-svc-status").arg("-j").args(args).run();
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
    ran.lines().iter().map(|l| serde_json::from_str(l).expect("an object a line")).collect()
}

/// The fields `state` and `note` of one profile.
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
    let ran = tree.tool("hermes-svc-status").args(["-j", "coder"]).run();
    assert!(ran.stdout.contains("\"state\":\"up\"") && ran.stdout.contains("\"note\":\"unreadable-ports\""), "{ran}");
    assert_eq!(ran.code, 111, "{ran}");
    assert!(ran.stderr.ends_with("/gateway_ports.json: Permission denied\n"), "{ran}");
    tree.tool("hermes-svc-status").arg("-c").run().is(0, "", "");
}

/// The fields `port` and `note` of one profile. The port is a JSON value. Also checks that the table shows the same
/// port.
#[track_caller]
fn port_and_note(tree: &Tree, name: &str) -> (Value, String) {
    let found = json(tree, &[name]).remove(0);
    let ran = tree.tool("hermes-svc-status").arg(name).run();
    let row: Vec<&str> = ran.lines()[2].split_whitespace().collect();
    let shown = found["port"].as_str().map(str::to_string);
    let shown = shown.or_else(|| found["port"].as_u64().map(|port| port.to_string())).unwrap_or("-".into());
    assert_eq!(row[6], shown, "{ran}");
    (found["port"].clone(), found["note"].as_str().unwrap_or_default().to_string())
}

/// Lines for stand-in.conf. They replace the stand-in by an HTTP server on this port, in the same process.
fn serving(port: &str) -> String {
    format!("at_start() {{ say running; exec python3 -m http.server --bind 127.0.0.1 --directory \"$dir\" {port}; }}\n")
}

#[test]
fn the_port_of_a_gateway_that_is_up_is_the_one_that_it_listens_on() {
    let tree = Tree::up();
    let port = crate::support::free_port();
    tree.profile("coder").env(&format!("API_SERVER_ENABLED=true\nAPI_SERVER_PORT={port}\n"));
    // The gateway does not run, so the port is the one that it would have.
    tree.tool("hermes-svc-register").arg("coder").run();
    assert_eq!(port_and_note(&tree, "coder"), (Value::from(port), String::new()));
    tree.profile("coder").stand_in(&serving("\"$API_SERVER_PORT\""));
    tree.tool("hermes-svc-start").arg("coder").run().is(0, "profile=coder action=started\n", "");
    wait_until("the server", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    wait_until("the status to show the port", || json(&tree, &["coder"])[0]["port"] == port);
    // A change of the settings only concerns the next start of the gateway.
    for env in ["", "API_SERVER_ENABLED=true\nAPI_SERVER_PORT=9001\n"] {
        tree.profile("coder").env(env);
        assert_eq!(port_and_note(&tree, "coder"), (Value::from(port), String::new()), "{env}");
    }
    let ran = tree.tool_as_account("hermes-svc-status").args(["-j", "coder"]).run();
    assert!(ran.stdout.contains(&format!("\"port\":{port},")), "{ran}");
}

#[test]
fn where_a_gateway_that_is_up_listens_elsewhere_or_nowhere_no_port_is_told() {
    let tree = Tree::up();
    tree.profile("coder").env("API_SERVER_ENABLED=true\n").stand_in("never_ready=1\n");
    tree.profile("writer").env("API_SERVER_ENABLED=true\n").stand_in(&serving("0"));
    for name in ["coder", "writer"] {
        tree.tool("hermes-svc-register").args(["-u", name]).run().is(0, "profile=* action=registered port=*\n", "");
    }
    wait_until("coder to start", || tree.profile("coder").starts() == 1);
    wait_until("another port", || {
        json(&tree, &["writer"])[0]["note"].as_str().is_some_and(|n| n.contains("port-unclear"))
    });
    for name in ["coder", "writer"] {
        assert_eq!(port_and_note(&tree, name).0, Value::Null, "{name}");
    }
    assert!(!port_and_note(&tree, "coder").1.contains("port-unclear"));
}

#[test]
fn an_api_server_that_is_off_has_no_port() {
    let tree = Tree::up();
    tree.profile("coder").intent("stopped");
    tree.profile("writer").intent("stopped").file("config.yaml", "platforms: {api_server: {enabled: true}}\n");
    tree.profile("odd").intent("stopped").file("config.yaml", "x: &x {enabled: true}\nplatforms: {api_server: *x}\n");
    tree.tool("hermes-reconcile-all").run();
    wait_until("the supervisors", || !json(&tree, &[]).iter().any(|o| o["note"] == "not-supervised"));
    assert_eq!(port_and_note(&tree, "coder"), (Value::from("off"), String::new()));
    assert_eq!(port_and_note(&tree, "writer"), (Value::from(9685), String::new()));
    assert_eq!(port_and_note(&tree, "odd"), (Value::Null, "port-unclear".into()));
    // The slot's `env/` may enable the API server as well.
    tree.tool("hermes-svc-register").args(["-e", "API_SERVER_ENABLED=true", "coder"]).run();
    assert_eq!(port_and_note(&tree, "coder"), (Value::Null, "port-unclear".into()));
}

#[test]
fn the_table_is_for_people() {
    let tree = in_every_state();
    let ran = tree.tool("hermes-svc-status").run();
    let rows: Vec<Vec<&str>> = ran.lines().iter().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!((ran.code, ran.stderr.as_str(), rows.len()), (0, "", 6), "{ran}");
    assert_eq!(ran.lines()[0], format!("Manager: s6 (scandir {})", tree.scandir().display()));
    let titles: Vec<String> = rows[1].iter().map(|word| word.to_lowercase()).collect();
    assert_eq!(titles, ["profile", "state", "pid", "since", "ready", "intent", "port", "note"], "{ran}");
    let pid = tree.gateway("coder").expect("up").to_string();
    for (row, start, intent) in [
        (&rows[2], vec!["default", "down", "-"], "none"),
        (&rows[3], vec!["broken", "held", "-"], "running"),
        (&rows[4], vec!["coder", "up", &pid], "running"),
        (&rows[5], vec!["writer", "down", "-"], "stopped"),
    ] {
        assert_eq!(row[..start.len()], start, "{ran}");
        assert_eq!(row[5], intent, "{ran}");
        assert!(row[3].ends_with(['s', 'm', 'h']), "since when: {ran}");
    }
    assert_eq!((rows[4][4], rows[4][6], rows[5][6]), ("yes", "off", "9685"), "{ran}");
    assert_eq!(rows[3][7..], ["exit-78,", "wanted-but-down"], "what holds it: {ran}");
    // Only the named profiles are shown, in the order in which they are named.
    let ran = tree.tool("hermes-svc-status").args(["writer", "coder"]).run();
    let names: Vec<&str> = ran.lines()[2..].iter().map(|l| l.split(' ').next().unwrap_or_default()).collect();
    assert_eq!((ran.code, names), (0, vec!["writer", "coder"]), "{ran}");
}

#[test]
fn a_name_that_is_none_hides_no_other() {
    let tree = Tree::up();
    tree.profile("coder");
    tree.tool("hermes-svc-register").arg("coder").run();
    let status = |args: &[&str]| tree.tool("hermes-svc-status").args(args).run();
    let stderr = "hermes-svc-status: fatal: invalid profile name \"Bad\"*\n";
    status(&["-j", "Bad", "coder", "coder"]).is(100, "{\"profile\":\"coder\",*}\n", stderr);
    let both = format!("{stderr}hermes-svc-status: fatal: no such profile: nobody (no *SOUL.md)\n");
    status(&["coder", "nobody", "Bad"]).is(100, "Manager: *\nPROFILE *\ncoder *\n", &both);
    // If no valid name is left, the profiles are not all shown, as they would be if no name were given.
    status(&["Bad"]).is(100, "", stderr);
    for options in [&["nobody"][..], &["-x", "nobody"], &["-j", "nobody"], &["-c", "nobody"], &["-q", "nobody"]] {
        status(options).fails(100, "no such profile: nobody (no *SOUL.md)");
    }
    // A profile that is there and has no slot is shown.
    tree.profile("new");
    let words = "hermes-svc-status: fatal: no such gateway: new is not registered in *\n";
    status(&["new"]).is(102, "Manager: *\nPROFILE *\nnew *not-registered\n", words);
    status(&["-c", "Bad"]).is(100, "", stderr);
}

#[test]
fn json_has_every_field_in_a_fixed_order() {
    let tree = in_every_state();
    let pid = tree.gateway("coder").expect("up");
    let want = |profile: &str, rest: &str| format!("{{\"profile\":\"{profile}\",{rest}*}}\n");
    let row = |name: &str| tree.tool("hermes-svc-status").args(["-j", name]).run();
    let up = format!(
        "\"state\":\"up\",\"pid\":{pid},\"uptime\":*,\"ready\":true,\"intent\":\"running\",\"port\":\"off\",\"note\":null,\"since\":*,\"drain_left\":null,\"deaths\":0,\"last_death\":null,\"manager\":*"
    );
    row("coder").is(0, &want("coder", &up), "");
    let down = "\"state\":\"down\",\"pid\":null,\"uptime\":null,\"ready\":false,\"intent\":\"stopped\",\"port\":9685,\"note\":null";
    row("writer").is(0, &want("writer", down), "");
    let held = "\"state\":\"held\",\"pid\":null,\"uptime\":null,\"ready\":false,\"intent\":\"running\",\"port\":*,\"note\":\"exit-78,wanted-but-down\"";
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
    quiet(&["coder", "nobody"]).fails(100, "no such profile: nobody *");
}

/// Row H9 of docs/failures.md.
#[test]
fn check_is_no_only_if_something_wanted_is_not_served() {
    // The HEALTHCHECK of the image runs this command.
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
    // A profile that is wanted and has no slot counts as not served.
    tree.profile("new").intent("running");
    assert_eq!(check().code, 1);
}

/// Row H9 of docs/failures.md.
#[test]
fn ready_is_no_if_something_wanted_does_not_get_ready() {
    let tree = Tree::up();
    tree.profile("coder").intent("running").stand_in("never_ready=1\n");
    tree.profile("writer").intent("stopped");
    tree.tool("hermes-reconcile-all").run();
    wait_until("the start", || tree.profile("coder").starts() == 1);
    let status = |args: &[&str]| tree.tool("hermes-svc-status").args(args).run();
    let unready = "hermes-svc-status: warning: coder shall run and is up, and not ready: hermes-svc-status -x coder\n";
    status(&["-c"]).is(0, "", "");
    status(&["-r"]).is(1, "", unready);
    status(&["-r", "writer"]).is(0, "", "");
    // A gateway that starts has time to get ready. One that dies again and again has none.
    status(&["-r", "-g", "3600000"]).is(0, "", "");
    kill(tree.gateway("coder").expect("up"), Signal::KILL);
    wait_until("the next start", || tree.profile("coder").starts() == 2 && tree.gateway("coder").is_some());
    status(&["-r", "-g", "3600000"]).is(1, "", unready);
    tree.profile("coder").stand_in("");
    tree.tool("hermes-svc-restart").args(["-W", "coder"]).run();
    status(&["-r"]).is(0, "", "");
    let wrong = "hermes-svc-status: fatal: -g goes with -r\nhermes-svc-status: usage: *\n";
    status(&["-g", "1"]).is(100, "", wrong);
}

#[test]
fn nothing_is_said_to_a_reader_that_has_gone() {
    let tree = Tree::up();
    tree.tool("hermes-reconcile-all").run();
    // The reader has closed its end before the tool writes.
    let script = "exec 3>&2; { while [ ! -e closed ]; do sleep 0.01; done; hermes-svc-status -j 2>&3; echo $? > code; } | \
                  { exec <&-; : > closed; }; while [ ! -s code ]; do sleep 0.01; done; cat code";
    tree.tool("sh").args(["-c", script]).run().is(0, "111\n", "");
}

/// A look at many gateways takes as long as the programs of s6 that it runs.
#[test]
fn one_program_is_run_for_a_gateway_that_has_not_died_and_a_second_one_for_its_deaths() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    tree.tool("hermes-reconcile-one").arg("coder").run();
    let gateway = tree.wait_up("coder");
    let trace = tree.scratch().join("trace");
    let programs = || {
        let strace = tree.tool("strace").args(["-qqq", "-f", "-e", "trace=execve", "-e", "status=successful", "-o"]);
        let ran = strace.arg(&trace).arg(tree.bin().join("hermes-svc-status")).arg("coder").run();
        assert_eq!(ran.code, 0, "{ran}");
        fs::read_to_string(&trace).expect("trace").lines().filter(|line| line.contains("/s6-")).count()
    };
    assert_eq!(programs(), 1);
    kill(gateway, Signal::KILL);
    wait_until("the next gateway", || tree.gateway("coder").is_some_and(|pid| pid != gateway));
    assert_eq!(programs(), 2);
}

/// The account can make more profiles than can be read whole while a container's health check waits.
#[test]
fn check_opens_no_settings_and_names_ten_at_most() {
    use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
    let tree = Tree::up();
    let opened = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("inotify");
    for n in 0..12 {
        let profile = tree.profile(&format!("p{n:02}")).intent(if n == 0 { "stopped" } else { "running" });
        let profile = profile.env("A=1\n").file("config.yaml", "a: 1\n");
        for name in [".env", "config.yaml"] {
            add_watch(&opened, profile.dir.join(name), WatchFlags::OPEN).expect("a watch");
        }
    }
    let ran = tree.tool("hermes-svc-status").arg("-c").run();
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (1, "", 11), "{ran}");
    assert!(ran.stderr.contains("p01 shall run and is down: hermes-svc-status -x p01\n"), "{ran}");
    assert!(ran.stderr.ends_with("1 more shall run and do not\n"), "{ran}");
    let mut buffer = [std::mem::MaybeUninit::uninit(); 1024];
    assert_eq!(Reader::new(&opened, &mut buffer).next().expect_err("an event"), rustix::io::Errno::AGAIN);
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
    // It is draining as long as its finish script runs.
    wait_until("coder to be down", || state_and_note(&tree, "coder") == ("down".into(), "wanted-but-down".into()));
    assert_eq!(state_and_note(&tree, "writer"), ("up".into(), "drifting".into()));
    let other = tree.template().join("log");
    fs::rename(&other, tree.scratch().join("log")).expect("rename");
    let (state, note) = state_and_note(&tree, "writer");
    assert!(state == "up" && note.contains("stale-template"), "{note}");
}

/// Rows I2, I3 of docs/failures.md.
#[test]
fn where_one_gateway_serves_all_a_named_one_is_not_started_and_the_note_says_why() {
    let tree = Tree::up();
    tree.profile("default").intent("running").file("config.yaml", "multiplex_profiles: true\n");
    tree.profile("coder").intent("running");
    tree.tool("hermes-reconcile-all").arg("-w").run().is(0, "**", "");
    tree.wait_up("default");
    let refused = "coder is served by the gateway of default (multiplex_profiles): start that one";
    for tool in ["hermes-svc-start", "hermes-svc-restart"] {
        tree.tool(tool).arg("coder").run().fails(102, refused);
    }
    tree.tool("hermes-svc-start").arg("-a").run().is(0, "profile=default action=unchanged\n", "");
    tree.tool("hermes-svc-restart").arg("-a").run().is(0, "profile=default action=restarted\n", "");
    assert_eq!(
        (state_and_note(&tree, "coder"), tree.profile("coder").starts()),
        (("down".into(), "multiplexed".into()), 0)
    );
    tree.tool("hermes-svc-status").arg("-c").run().is(0, "", "");
}

/// Rows A8, H8 of docs/failures.md.
#[test]
fn s6_is_believed_over_the_volume() {
    // The state file is that of another machine, or of an earlier run.
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

/// Rows G4, G6 of docs/failures.md.
#[test]
fn a_gateway_that_waits_for_another_container_says_so_and_is_healthy() {
    let tree = Tree::up();
    let profile = tree.profile("coder").intent("running");
    // A gateway of another container holds the lock. Its pid is that of another pid namespace.
    let lock = profile.dir.join(".hermes-s6.gateway.lock");
    let written_by = |pid: &str| {
        format!(
            "{{\"pid\":{pid},\"start_time\":1,\"parent\":1,\"pid_namespace\":\"pid:[1]\",\"boot_id\":\"x\",\"host\":\"other\"}}\n"
        )
    };
    fs::write(&lock, written_by("7")).expect("lock");
    std::os::unix::fs::chown(&lock, Some(tree.uid), Some(tree.gid)).expect("owner");
    let mut holder = tree.tool_as_account("flock").arg("-x").arg(&lock).args(["sleep", "1000"]).spawn();
    wait_until("the lock to be held", || tree.tool("flock").arg("-n").arg(&lock).arg("true").run().code == 1);
    tree.tool("hermes-reconcile-one").arg("coder").run().is(0, "reconcile: profile=coder * action=started *\n", "");
    let (state, note) =
        wait_for("coder to wait", || Some(state_and_note(&tree, "coder")).filter(|(_, note)| note.contains("other")));
    assert!(state == "waiting" && note.contains("other"), "{note}");
    tree.tool("hermes-svc-status").args(["-x", "coder"]).run().is(
        0,
        "Manager: *\ncoder is waiting, and its intent is running\n  because pid 7 in another container (other) serves it; *\n  \
         next: hermes-svc-status -F coder\n",
        "",
    );
    tree.tool("hermes-svc-status").arg("-c").run().is(0, "", "");
    tree.tool("hermes-svc-status").args(["-q", "coder"]).run().is(1, "", "");
    // The holder's pid in its own namespace may be the number that the waiting process has here.
    let pid = tree.svstat("coder", "pid").expect("a supervisor").remove(0);
    fs::write(&lock, written_by(&pid)).expect("lock");
    let (state, note) = state_and_note(&tree, "coder");
    assert!(state == "waiting" && note.contains("other"), "{state} {note}");
    let start = tree.tool("hermes-svc-start").args(["-W", "-t", "4000", "coder"]).run();
    start.is(99, "", &format!("*it waits for pid {pid} in another container (other); see *\n"));
    assert_eq!(profile.starts(), 0);
    // The waiting gateway takes over when the other one ends. The wait does not count as uptime.
    let ending = std::time::Instant::now();
    tree.processes().iter().filter(|p| p.comm == "sleep").for_each(|p| kill(p.pid, Signal::KILL));
    holder.wait().expect("wait");
    tree.wait_up("coder");
    assert_eq!(profile.starts(), 1);
    assert_eq!(state_and_note(&tree, "coder").0, "up");
    let waited: u64 = tree.svstat("coder", "updownfor").expect("a supervisor")[0].parse().expect("seconds");
    let uptime = json(&tree, &["coder"])[0]["uptime"].as_u64().expect("up");
    let served = ending.elapsed().as_secs() + 1;
    assert!(uptime <= served && waited >= 4, "{uptime} of {served}, {waited}");
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
    assert!(state != "down" && note.contains(&format!("orphan pid {pid}")), "{state} {note}");
    let explained = tree.tool("hermes-svc-status").args(["-x", "coder"]).run();
    explained.is(
        0,
        "Manager: *\ncoder is draining, *\n  because s6-svscan, pid *, is stopped by a signal: *\n  because its slot is there, but no s6-supervise holds it\n*\n",
        "",
    );
}

/// Row C12 of docs/failures.md.
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

/// Rows A9, C12, D8 of docs/failures.md.
#[test]
fn the_verbose_answer_begins_with_the_home_the_scandir_and_process_1() {
    let tree = Tree::up();
    let (home, scandir) = (tree.home().display().to_string(), tree.scandir().display().to_string());
    let first = fs::read_to_string("/proc/1/comm").expect("process 1");
    let wanted = format!(
        "hermes-svc-status: info: hermes-s6 {}, home {home}, scandir {scandir}, PID 1 is {}\n",
        env!("CARGO_PKG_VERSION"),
        first.trim_end()
    );
    tree.tool("hermes-svc-status").arg("-v").run().is(0, "Manager: **", &wanted);
}

/// Rows C1, C2, C4 of docs/failures.md.
#[test]
fn s6_is_detected_where_it_is_process_1_of_s6_overlay_and_nowhere_else() {
    crate::support::needs_root();
    let tree = Tree::up();
    let detect = "hermes-detect-supervisor";
    let overlay = "mkdir -p /run/s6/basedir";
    tree.in_a_container(overlay, detect).is(0, "s6\nexit 0\n", "");
    tree.in_a_container(overlay, "hermes-detect-supervisor -q").is(0, "exit 0\n", "");
    // A process called s6-svscan is not enough, and neither is a file in place of the directory.
    tree.in_a_container("mkdir -p /run/s6", detect).is(0, "none\nexit 1\n", "");
    tree.in_a_container("mkdir /run/s6; : > /run/s6/basedir", detect).is(0, "none\nexit 1\n", "");
    tree.in_a_container(overlay, "hermes-svc-status").is(0, "Manager: s6 (container supervisor)\n**exit 0\n", "");
    // Here an s6-svscan runs, but it is not process 1.
    tree.tool(detect).run().is(1, "none\n", "");
    tree.tool(detect).arg("-q").run().is(1, "", "");
    let first = fs::read_to_string("/proc/1/comm").expect("process 1");
    let says = format!("hermes-detect-supervisor: info: PID 1 is {}\n", first.trim_end());
    tree.tool(detect).arg("-v").run().is(1, "none\n", &says);
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
    tree.delete_profile("coder");
    tree.tool("hermes-reconcile-all").run();
    wait_until("gone", || seen("gone"));
    let text = fs::read_to_string(tree.scratch().join("followed")).expect("records");
    let timed = text.lines().skip(1).all(|line| crate::support::glob("{\"time\":\"20*-*-*T*:*:*\",*}", line));
    assert!(timed, "each record after the first look has its time: {text}");
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
    let why = "because it ended with exit 78, a permanent error\n  because its log tells why: ";
    assert!(broken.stdout.contains(why) && broken.stdout.contains("logs/gateways/broken/current"), "{broken}");
    next("writer", "hermes-svc-start");
    next("coder", "nothing");
}

#[test]
fn the_next_command_is_right_for_each_kind_of_trouble() {
    let tree = Tree::up();
    for name in ["failed", "gone", "invalid", "slotless", "stray", "wanted"] {
        tree.profile(name);
    }
    tree.profile("failed").state(r#"{"gateway_state":"startup_failed"}"#);
    tree.profile("invalid").state("?");
    tree.profile("stray").intent("stopped");
    tree.profile("wanted").intent("running");
    tree.tool("hermes-reconcile-all").run();
    tree.wait_up("wanted");
    tree.tool("hermes-svc-unregister").arg("slotless").run();
    fs::remove_file(tree.profile_dir("gone").join("SOUL.md")).expect("rm");
    tree.tool("s6-svc").arg("-u").arg(tree.slot("stray")).run();
    tree.tool("s6-svc").arg("-d").arg(tree.slot("wanted")).run();
    tree.wait_up("stray");
    tree.wait_down("wanted");
    for (name, first, cause, next, then) in [
        (
            "failed",
            "down, and its intent is startup_failed",
            "its last word was startup_failed",
            "hermes-svc-start -W failed",
            "up",
        ),
        ("gone", "down, and its intent is none", "the profile is gone", "hermes-reconcile-one gone", ""),
        (
            "invalid",
            "down, and its intent is invalid",
            "*gateway_state.json cannot be understood",
            "hermes-svc-start -W invalid",
            "up",
        ),
        ("slotless", "down, and its intent is none", "it has no slot", "hermes-svc-start slotless", "up"),
        (
            "stray",
            "up, and its intent is stopped",
            "it was brought up without recording it",
            "hermes-svc-start stray",
            "up",
        ),
        (
            "wanted",
            "down, and its intent is running",
            "it was taken down here without a record of that ",
            "hermes-svc-start -W wanted",
            "up",
        ),
    ] {
        let ran = tree.tool("hermes-svc-status").args(["-x", name]).run();
        let stdout = format!("Manager: *\n{name} is {first}\n  because {cause}*\n  next: {next}*\n");
        if name == "slotless" {
            ran.is(102, &stdout, "hermes-svc-status: fatal: no such gateway: slotless *\n");
        } else {
            ran.is(0, &stdout, "");
        }
        // The suggested command is run as it is printed.
        let ran = tree.tool("sh").args(["-c", next]).run();
        assert_eq!((ran.code, ran.stdout.lines().count()), (0, 1), "{ran}");
        if then.is_empty() {
            tree.tool("hermes-svc-list").run().is(0, "default\nfailed\ninvalid\nstray\nwanted\n", "");
        } else {
            tree.wait_up(name);
            assert_eq!(state_and_note(&tree, name), (then.to_string(), String::new()));
        }
    }
    // No supervisor runs any more.
    tree.kill_hard();
    let first =
        "Manager: none (no s6 supervisor)\nwanted is down, and its intent is running\n  because no s6-svscan *\n";
    let ran = tree.tool("hermes-svc-status").args(["-x", "wanted"]).run();
    ran.is(102, &format!("{first}  next: start the container's /init, or s6-svscan, then: hermes-reconcile-all\n"), "");
}

#[test]
fn a_gateway_that_dies_and_is_started_again_is_not_one_that_somebody_took_down() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    tree.tool("hermes-reconcile-one").arg("coder").run();
    let pid = tree.wait_up("coder");
    tree.profile("coder").stand_in("printf 'I am ill\\n' >&2\nexit 3\n");
    kill(pid, Signal::KILL);
    let supervisor = tree.supervisor(&tree.slot("coder")).expect("a supervisor");
    // s6-supervise waits for a second before the next try. If it is stopped by SIGSTOP, it waits for longer.
    wait_until("the pause between two tries", || {
        kill(supervisor, Signal::STOP);
        let ill =
            tree.svstat("coder", "up,wantedup,exitcode") == Some(["false", "true", "3"].map(String::from).to_vec());
        ill || {
            kill(supervisor, Signal::CONT);
            false
        }
    });
    assert_eq!(state_and_note(&tree, "coder"), ("down".into(), "between-tries,wanted-but-down".into()));
    tree.tool("hermes-svc-status").args(["-x", "coder"]).run().is(
        0,
        "Manager: *\ncoder is down, and its intent is running\n  because it has ended, and s6-supervise starts it again in a moment\n  \
         because its log may tell why: *current\n    I am ill\n  next: hermes-svc-status -F coder\n",
        "",
    );
    kill(supervisor, Signal::CONT);
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

/// The last line of the log may be that of an earlier run, perhaps in another container.
#[test]
fn a_full_or_read_only_volume_is_named_and_no_old_line_is_quoted() {
    crate::support::needs_root();
    let tree = Tree::up();
    tree.profile("coder").intent("running").stand_in("exit_at_start=78\n");
    tree.tool("hermes-reconcile-all").run();
    wait_until("the hold", || tree.slot("coder").join("data/held").exists());
    tree.wait_down("coder");
    let end = |because: &str, remedy: &str| {
        format!(
            "Manager: *\ncoder is held, and its intent is running\n  because {because}\n  because it ended with exit 78, a permanent error\n  next: {remedy}, then: hermes-svc-start -W coder\n"
        )
    };
    let ran = tree.on_read_only_volume("exec hermes-svc-status -x coder");
    ran.is(0, &end("the volume is mounted read-only, and a gateway writes there", "mount it without :ro"), "");
    let ran = tree.on_read_only_volume("exec hermes-svc-status coder");
    ran.is(0, "*\n*\ncoder *exit-78, wanted-but-down, volume-read-only\n", "");
    let files = r#"p=$HERMES_HOME/profiles/coder; mkdir -p $p $HERMES_HOME/logs/gateways/coder; : > $p/SOUL.md
        echo '{"desired_state":"running"}' > $p/gateway_state.json; echo old > $HERMES_HOME/logs/gateways/coder/current"#;
    let ran = tree.on_full_volume(files, "exec hermes-svc-status -x coder");
    ran.is(0, &end("no space is left on the volume", "make room there"), "");
    let ran = tree.on_full_volume(files, "exec hermes-svc-status coder");
    ran.is(0, "*\n*\ncoder *exit-78, wanted-but-down, volume-full\n", "");
    let ran = tree.tool("hermes-svc-status").args(["-x", "coder"]).run();
    assert!(ran.stdout.contains("because its log tells why: ") && !ran.stdout.contains("volume"), "{ran}");
}

/// On a terminal what is not as wanted is red, and a note that is too long for the line goes on below. In a pipe, and with
/// NO_COLOR, there is no colour.
#[test]
fn on_a_terminal_the_state_has_a_colour() {
    let tree = in_every_state();
    let status = |env: &str, command: &str| {
        let script = format!("stty cols 60; {env} hermes-svc-status{command}");
        let ran = tree.tool("script").env("TERM", "xterm").args(["-qec", &script, "/dev/null"]).run();
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
        ran.stdout
    };
    let coloured = status("", "");
    assert!(coloured.contains("coder") && coloured.contains("\u{1b}[32mup\u{1b}[0m"), "{coloured:?}");
    assert!(coloured.contains("\u{1b}[31mheld\u{1b}[0m"), "{coloured:?}");
    for plain in [status("NO_COLOR=1", ""), status("TERM=dumb", ""), status("", " | cat")] {
        assert!(!plain.contains('\u{1b}'), "{plain:?}");
    }
    let widest = status("NO_COLOR=1", "").lines().map(|line| line.trim_end().chars().count()).max();
    assert!(widest.is_some_and(|widest| widest <= 72), "{widest:?}");
}
