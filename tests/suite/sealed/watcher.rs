//! hermes-profile-watch, which runs as root and acts on what the account does.

use super::ground::{Ground, KINDS, runs};
use super::rights::attack;
use crate::support::{Tool, kill, start_time, wait_until};
use rustix::process::Signal;
use std::fs;
use std::time::Duration;

/// The watcher, run as in the image.
fn watch(ground: &Ground) -> Tool {
    let reconcile = ground.tree.bin().join("hermes-reconcile-one");
    ground.tree.tool("hermes-profile-watch").args(["-v", "-i", "500"]).arg(reconcile).arg("-q")
}

#[test]
fn a_hundred_names_that_come_and_go_keep_no_other_profile_waiting_for_long() {
    let ground = Ground::new();
    let profiles = ground.tree.profile("first").dir.parent().expect("profiles").to_path_buf();
    let watcher = watch(&ground).start();
    wait_until("the first slot", || ground.tree.slots() == ["first"]);
    let own = profiles.clone();
    let mischief = ground.keep_on(move || {
        for n in 0..100 {
            let dir = own.join(format!("flap{n}"));
            let _ = fs::remove_dir_all(&dir);
            let _ = fs::create_dir(&dir).and_then(|()| fs::write(dir.join("SOUL.md"), ""));
        }
    });
    wait_until("all of them to have come and gone a few times", || mischief.rounds() > 5);
    runs(&ground.tree, "coder");
    let mut most = 0;
    wait_until("coder to run", || {
        let children = ground.tree.processes().iter().filter(|p| p.ppid == watcher.pid).count();
        most = most.max(children);
        ground.tree.gateway("coder").is_some()
    });
    assert!(most <= 24, "{most} at a time");
    assert!(mischief.rounds() > 0);
    drop(mischief);
    for n in 0..100 {
        let _ = fs::remove_dir_all(profiles.join(format!("flap{n}")));
    }
    wait_until("the others to be gone", || ground.tree.slots() == ["coder", "first"]);
    kill(watcher.pid, Signal::TERM);
    let ran = watcher.wait();
    assert_eq!(ran.code, 0, "{ran}");
    ground.unharmed();
}

#[test]
fn nothing_in_the_place_of_profiles_ends_the_watcher_or_its_attention() {
    let ground = Ground::new();
    let coder = ground.tree.profile("coder").dir;
    let watcher = watch(&ground).start();
    wait_until("the slot", || ground.tree.slots() == ["coder"]);
    let (home, pid) = (ground.tree.home(), watcher.pid);
    let mischief = ground.keep_on(move || {
        let worked = attack(pid);
        assert!(worked.is_empty() || start_time(pid).is_none(), "{worked:?}");
    });
    for kind in KINDS {
        for path in [coder.join("SOUL.md"), coder.clone(), home.join("profiles")] {
            let aside = ground.tree.scratch().join("aside");
            fs::rename(&path, &aside).expect("rename");
            ground.plant(kind, &path);
            std::thread::sleep(Duration::from_millis(20));
            fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).expect("remove");
            fs::rename(&aside, &path).expect("rename");
        }
    }
    wait_until("the slot to be back", || {
        ground.tree.slots() == ["coder"] && ground.tree.svstat("coder", "up").is_some()
    });
    runs(&ground.tree, "writer");
    wait_until("the next one", || ground.tree.gateway("writer").is_some());
    drop(mischief);
    kill(watcher.pid, Signal::TERM);
    let ran = watcher.wait();
    assert_eq!(ran.code, 0, "{ran}");
    ground.unharmed();
}
