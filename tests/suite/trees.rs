//! Tests of the support code itself.

use crate::support::{Tree, executable, start_time, wait_until};
use std::fs;

/// A service that runs the stand-in for `default`, without any of our tools.
fn service(tree: &Tree, name: &str) {
    let dir = tree.scandir().join(name);
    fs::create_dir(&dir).expect("service");
    executable(&dir.join("run"), "#!/bin/sh\nexec hermes gateway run --replace\n");
}

#[test]
fn a_tree_dies_as_hard_as_a_container_and_comes_back_empty() {
    let tree = Tree::new();
    service(&tree, "gateway-default");
    tree.svscan();
    let pid = tree.wait_up("default");
    let svscan = tree.svscan_pid();
    assert!(tree.supervisor(&tree.slot("default")).is_some());

    tree.reboot();
    assert_eq!((start_time(pid), start_time(svscan)), (None, None));
    assert_eq!(tree.slots(), Vec::<String>::new());
    let alone: Vec<u32> = tree.processes().iter().map(|p| p.pid).collect();
    assert_eq!(alone, [tree.svscan_pid()]);
}

#[test]
fn nothing_of_a_tree_outlives_it() {
    let tree = Tree::new();
    service(&tree, "gateway-default");
    tree.svscan();
    let pid = tree.wait_up("default");
    let home = tree.home();
    drop(tree);
    assert_eq!(start_time(pid), None);
    assert!(!home.exists());
}

#[test]
fn the_stand_in_ends_at_once_and_as_the_real_gateway_does() {
    let tree = Tree::new();
    let profile = tree.profile("default").state(r#"{"desired_state": "running", "x": 1}"#);
    for (marker, code, state) in [(false, 1, "running"), (true, 0, "stopped")] {
        let gateway = tree.tool_as_account("hermes").args(["gateway", "run", "--replace"]).start();
        let start = start_time(gateway.pid).expect("a live gateway");
        wait_until("the stand-in to run", || {
            profile.json()["pid"] == gateway.pid && profile.json()["gateway_state"] == "running"
        });
        assert_eq!(profile.read("stand-in.starts").lines().last(), Some(format!("{} {start}", gateway.pid).as_str()));
        assert_eq!(profile.json()["start_time"], start);
        if marker {
            fs::write(profile.dir.join(".gateway-planned-stop.json"), "{}").expect("marker");
        }
        crate::support::kill(gateway.pid, rustix::process::Signal::TERM);
        gateway.wait().is(code, "", "stand-in gateway of default\n");
        assert_eq!(profile.json()["gateway_state"], state);
        assert_eq!(profile.desired().as_deref(), Some("running"));
    }
    assert_eq!(profile.read("stand-in.args"), "gateway run --replace\n");
    assert_eq!(profile.starts(), 2);
}
