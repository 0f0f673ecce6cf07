//! The tests' own ground.

use crate::support::{Tree, start_time, wait_for, wait_until};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// A service that runs the stand-in for `default`, without any of our tools.
fn service(tree: &Tree, name: &str) {
    let dir = tree.scandir().join(name);
    fs::create_dir(&dir).expect("service");
    fs::write(dir.join("run"), "#!/bin/sh\nexec hermes gateway run --replace\n").expect("run");
    fs::set_permissions(dir.join("run"), fs::Permissions::from_mode(0o755)).expect("mode");
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

#[test]
fn orphans_become_children_of_process_1() {
    // run-gateway recognises its own orphan by that (DESIGN, section 7). A session manager that adopts orphans
    // (PR_SET_CHILD_SUBREAPER) would hide it; containers have none.
    let tree = Tree::new();
    let child = tree.script("child", "#!/bin/sh\necho $$ > child.pid\nexec sleep 1000\n");
    tree.tool("sh").args(["-c", "\"$0\" & exit 0"]).arg(&child).spawn().wait().expect("a shell");
    let pid = wait_for("the orphan", || {
        fs::read_to_string(tree.scratch().join("child.pid")).ok()?.trim().parse::<u32>().ok()
    });
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).expect("a live orphan");
    assert_eq!(
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)),
        Some("1"),
        "run the suite outside a subreaper"
    );
}
