use super::*;
use crate::support::kill;
use rustix::process::Signal;

/// A tree in which default is up, coder is held, and writer is stopped.
fn with_held() -> Tree {
    let tree = Tree::up();
    let api_server = "API_SERVER_ENABLED=true\n";
    tree.profile("default").intent("running");
    tree.profile("coder").intent("running").stand_in("exit_at_start=78\n").env(api_server);
    tree.profile("writer").intent("stopped").env(api_server);
    tree.tool("hermes-reconcile-all").run();
    wait_until("the hold", || tree.slot("coder").join("data/held").exists());
    tree.wait_down("coder");
    wait_until("readiness", || tree.svstat("default", "ready").is_some_and(|s| s == ["true"]));
    tree
}

#[test]
fn the_examples_of_status_work() {
    let [table, health, depends, held, why, events, metrics] = examples("hermes-svc-status.8");
    let tree = with_held();
    let manager = format!("Manager: s6 (scandir {})", tree.scandir().display());
    let table = table.replace("Manager: s6 (container supervisor)", &manager);
    typed(&tree, &table);
    typed(&tree, &held);
    assert!(typed(&tree, &why).contains("because it ended with exit 78"));
    // The health check of the image is that of the page.
    let check = health.trim().strip_prefix("HEALTHCHECK CMD ").expect("a check");
    let words: Vec<String> = serde_json::from_str(check).expect("JSON");
    let dockerfile = include_str!("../../../Dockerfile").replace("/usr/local/bin/", "");
    assert!(dockerfile.contains(&format!("CMD {check}")), "{check}");
    let healthy = |tree: &Tree| tree.tool(&words[0]).args(&words[1..]).run();
    healthy(&tree).is(1, "", "**");
    execline(&tree, &depends, &[]).run().is(1, "", "");
    // The stand-in opens no API server, so it is ready only without one.
    tree.profile("coder").stand_in("").env("");
    tree.tool("hermes-svc-start").args(["-W", "coder"]).run();
    healthy(&tree).is(0, "", "");
    execline(&tree, &depends, &[]).run().is(0, "profile=writer action=started\n", "");
    let tree = super::tree();
    prometheus(&tree, &metrics);
    notified(&tree, &events);
}

fn prometheus(tree: &Tree, metrics: &str) {
    let dir = tree.scratch();
    shell(tree, metrics).env("DIR", &dir).run().is(0, "", "");
    let text = fs::read_to_string(dir.join("hermes.prom")).expect("metrics");
    assert_eq!(text.lines().count(), 6 * 3, "{text}");
    for line in [
        "hermes_gateway_up{profile=\"coder\"} 1\n",
        "hermes_gateway_up{profile=\"writer\"} 0\n",
        "hermes_gateway_held{profile=\"coder\"} 0\n",
        "hermes_gateway_ready{profile=\"coder\"} 1\n",
        "hermes_gateway_wanted{profile=\"default\"} 0\n",
        "hermes_gateway_deaths{profile=\"coder\"} 0\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let mut names: Vec<&str> = text.lines().filter_map(|line| line.split('{').next()).collect();
    names.dedup();
    assert_eq!(names.len(), 6, "the lines of a metric are one group: {text}");
}

fn notified(tree: &Tree, events: &str) {
    // A gateway that was held before is not told of.
    tree.profile("writer").stand_in("exit_at_start=78\n");
    tree.tool("hermes-svc-start").args(["-w", "writer"]).run();
    wait_until("the hold", || tree.slot("writer").join("data/held").exists());
    tree.wait_down("writer");
    crate::support::executable(&tree.bin().join("notify"), "#!/bin/sh\necho \"$1\" >>told\n");
    let mut listener = shell(tree, events).spawn();
    // When the tool waits for events, its first look is over.
    let waits = |pid: u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        targets.into_iter().any(|target| target == Path::new("anon_inode:inotify"))
    };
    let follower = wait_for("the first look", || {
        tree.processes().iter().find(|p| p.comm.starts_with("hermes-svc-stat") && waits(p.pid)).map(|p| p.pid)
    });
    let pid = tree.gateway("coder").expect("up");
    tree.profile("coder").stand_in("exit_at_start=78\n");
    kill(pid, Signal::KILL);
    let told = tree.scratch().join("told");
    wait_until("the event", || fs::read_to_string(&told).is_ok_and(|told| told == "coder\n"));
    kill(follower, Signal::KILL);
    listener.wait().expect("wait");
}

#[test]
fn the_examples_of_list_work() {
    let [restart, save, count] = examples("hermes-svc-list.8");
    let tree = tree();
    execline(&tree, &restart, &[]).run().is(0, "profile=coder action=restarted\n", "");
    tree.wait_up("coder");
    assert_eq!(typed(&tree, &count).trim(), "2");
    shell(&tree, &save).run().is(0, "", "");
    for name in ["default", "coder", "writer"] {
        let log = fs::read_to_string(tree.scratch().join(format!("{name}.log"))).expect("a log");
        assert_eq!(log.contains("stand-in gateway of coder"), name == "coder", "{name}: {log}");
    }
}

#[test]
fn the_examples_of_logs_work() {
    let [hour, follow, boot, texts] = examples("hermes-svc-logs.8");
    let tree = tree();
    assert!(typed(&tree, &hour).contains("stand-in gateway of coder"));
    assert!(typed(&tree, &boot).contains("profile=coder prior_state=none action=registered"));
    assert!(typed(&tree, &texts).contains("stand-in gateway of coder\n"));
    tree.tool("hermes-svc-stop").args(["-w", "coder"]).run();
    typed_on(&tree, &follow);
    tree.tool("hermes-svc-start").args(["-w", "coder"]).run();
    tree.profile("coder").stand_in("at_start() { echo 'a second start'; }\n");
    tree.tool("hermes-svc-restart").args(["-w", "coder"]).run();
    wait_for_output(&tree, "a second start");
}

#[test]
fn the_examples_of_detect_supervisor_work() {
    let [execline, shell] = examples("hermes-detect-supervisor.8");
    crate::support::needs_root();
    let tree = Tree::up();
    tree.profile("coder");
    let file = tree.script("example.sh", &shell);
    tree.tool_as_account("sh").args(["-c", &format!("sh {file} >output 2>&1 &")]).run().is(0, "", "");
    wait_until("the gateway", || tree.profile("coder").starts() == 1);
    tree.kill_hard();
    let (options, script) = script(&tree, &execline);
    tree.profile("coder").intent("running");
    let overlay = "mkdir -p /run/s6/basedir";
    let (script, file) = (inside(&script), inside(&file));
    let both = format!("hermes-svc-register coder >/dev/null; execlineb {options} {script}; sh {file}");
    let stdout = "profile=coder action=started\nprofile=coder action=*\nexit 0\n";
    tree.in_a_container(overlay, &both).is(0, stdout, "");
}
