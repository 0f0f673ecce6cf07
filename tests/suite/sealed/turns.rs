//! The line in which gateways wait for their turns.

use super::ground::{Ground, runs};
use super::rights::attack;
use crate::support::wait_until;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use std::fs;

#[test]
fn the_account_can_hold_no_place_and_keep_nobody_in_line() {
    let mut ground = Ground::without_svscan();
    for (name, value) in [("HERMES_START_LIMIT", "1"), ("HERMES_START_TIMEOUT", "600")] {
        ground.tree.env.push((name.to_string(), value.to_string()));
    }
    ground.tree.svscan();
    let tree = &ground.tree;
    runs(tree, "gate").stand_in("at_start() { while [ ! -e \"$dir/go\" ]; do sleep 0.02; done; }\n");
    ground.tool("hermes-reconcile-one gate");
    wait_until("the gate to start", || tree.profile("gate").starts() == 1 && tree.pollers().len() == 1);
    for name in ["a", "b"] {
        runs(tree, name);
        ground.tool(&format!("hermes-reconcile-one {name}"));
    }
    let turns = tree.scandir().join(".hermes-s6.turns");
    wait_until("both to stand in line", || {
        let ran = tree.tool_as_account("hermes-svc-status").args(["-j", "b"]).run();
        ran.stdout.contains("waits for its turn (1 before it)")
    });
    let waiting = tree.gateway("a").expect("a process");
    let poller = tree.pollers()[0];
    let held: Vec<_> = ground.as_account(|| {
        assert_eq!(attack(waiting), Vec::<String>::new());
        assert_eq!(attack(poller), Vec::<String>::new());
        assert!(fs::write(turns.join("zz"), "").is_err() && fs::remove_file(turns.join("a")).is_err());
        let flags = [OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR];
        let names = ["a", "b", ".place.1"];
        let opened = names.iter().flat_map(|name| flags.map(|flag| (*name, flag)));
        let opened = opened.filter_map(|(name, flag)| {
            let fd = openat(CWD, turns.join(name), flag | OFlags::NONBLOCK, Mode::empty()).ok()?;
            assert!(flag == OFlags::WRONLY && name != ".place.1", "{name} {flag:?}");
            // A full FIFO and a lock on it hinder nobody.
            while rustix::io::write(&fd, &[0; 4096]).is_ok() {}
            let _ = flock(&fd, FlockOperation::NonBlockingLockExclusive);
            Some(fd)
        });
        opened.collect()
    });
    assert_eq!(held.len(), 2);
    drop(tree.profile("gate").file("go", ""));
    for name in ["gate", "a", "b"] {
        wait_until("the gateway to be ready", || tree.svstat(name, "ready").is_some_and(|s| s == ["true"]));
    }
    ground.unharmed();
}

#[test]
fn root_in_a_directory_of_the_accounts_stands_in_no_line() {
    let ground = Ground::new();
    let profile = runs(&ground.tree, "coder").directory("supervise");
    let tool = ground.tree.tool("hermes-gateway-ready").directory(&profile.dir).args(["coder", "echo", "started"]);
    let ran = tool.run();
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", "started\n"), "{ran}");
    assert!(!profile.dir.with_file_name(".hermes-s6.turns").exists());
    ground.unharmed();
}
