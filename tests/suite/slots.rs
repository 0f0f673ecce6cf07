//! Slots are instances of the template. They are published by one rename, brought up to date while live, retired
//! without deleting a directory under its supervisor, and closed to the runtime account.

use crate::support::{Process, Tree, executable, kill, preferred_port, snapshot, start_time, wait_for, wait_until};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

const NONE: Vec<String> = Vec::new();

/// Register a profile, which is made if it does not exist. Returns the slot.
#[track_caller]
fn register(tree: &Tree, name: &str) -> PathBuf {
    tree.profile(name);
    let stdout = format!("profile={name} action=registered port={}\n", preferred_port(name));
    tree.tool("hermes-svc-register").arg(name).run().is(0, &stdout, "");
    tree.slot(name)
}

fn mode(path: &Path) -> (u32, u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (meta.mode() & 0o7777, meta.uid(), meta.gid())
}

/// The live gateways of the tree, found by the name of the stand-in.
fn gateways(tree: &Tree) -> Vec<Process> {
    tree.processes().into_iter().filter(|p| p.comm == "hermes").collect()
}

// Publication.

/// Row C14 of docs/failures.md.
#[test]
fn a_slot_is_made_of_links_into_the_template_and_nothing_is_rendered() {
    let tree = Tree::up();
    let slot = register(&tree, "coder");
    let template = snapshot(&[&tree.template()]).found;
    let found = snapshot(&[&slot]).found;
    for (name, what) in &template {
        let is = &found[name];
        if what.ends_with(" directory") {
            assert!(is.ends_with(" directory"), "{name}: {is}");
        } else {
            assert!(is.ends_with(&format!(" link to {}/{name}", tree.template().display())), "{name}: {is}");
        }
    }
    // All other entries are s6's, except the file `down` and the link `home`.
    let own = |name: &str| {
        ["down", "home"].contains(&name)
            || ["supervise", "event", "log/supervise", "log/event"].iter().any(|d| name.starts_with(d))
    };
    let other: Vec<&String> = found.keys().filter(|name| !template.contains_key(*name) && !own(name)).collect();
    assert_eq!(other, Vec::<&String>::new());
    assert_eq!(fs::read(slot.join("down")).expect("down"), b"");
}

/// Rows C1, C3 of docs/failures.md.
#[test]
fn a_slot_gives_the_runtime_account_its_controls_and_nothing_else() {
    let tree = Tree::up();
    let slot = register(&tree, "coder");
    let me = rustix::process::geteuid().as_raw();
    let gid = fs::metadata(&slot).expect("slot").gid();
    assert_eq!(mode(&slot), (0o755, me, gid));
    assert_eq!(mode(&slot.join("supervise")), (0o755, me, gid));
    assert_eq!(mode(&slot.join("supervise/control")), (0o620, me, tree.gid));
    assert_eq!(mode(&slot.join("event")), (0o700, me, gid));
    assert_eq!(mode(&slot.join("log")), (0o755, me, gid));
    assert_eq!(mode(&slot.join("log/supervise")), (0o755, me, gid));
    assert_eq!(mode(&slot.join("log/supervise/control")), (0o600, me, gid));
    assert_eq!(mode(&slot.join("log/event")), (0o700, me, gid));
    assert!(fs::metadata(slot.join("supervise/control")).expect("FIFO").file_type().is_fifo());
    // The umask of the caller does not matter.
    tree.profile("writer");
    let ran = tree.tool("sh").args(["-c", "umask 077; exec hermes-svc-register writer"]).run();
    ran.is(0, "profile=writer action=registered port=9685\n", "");
    assert_eq!(mode(&tree.slot("writer")).0, 0o755);
    assert_eq!(mode(&tree.slot("writer").join("supervise")).0, 0o755);
    assert_eq!(mode(&tree.slot("writer").join("supervise/control")).0, 0o620);
}

#[test]
fn register_returns_when_service_and_logger_take_commands() {
    let tree = Tree::up();
    let slot = register(&tree, "coder");
    for dir in [slot.clone(), slot.join("log")] {
        tree.tool("s6-svstat").args(["-o", "up"]).arg(&dir).run().is(0, "*\n", "");
        tree.tool("s6-svc").arg("-u").arg(&dir).run().is(0, "", "");
        assert!(tree.supervisor(&dir).is_some());
    }
    tree.wait_up("coder");
}

/// Rows A7, B1 of docs/failures.md.
#[test]
fn register_is_down_and_repeatable() {
    let tree = Tree::up();
    register(&tree, "coder");
    let inode = fs::metadata(tree.slot("coder")).expect("slot").ino();
    let supervisor = tree.supervisor(&tree.slot("coder"));
    let before = snapshot(&[&tree.scandir()]);
    for _ in 0..2 {
        tree.tool("hermes-svc-register").arg("coder").run().is(0, "profile=coder action=unchanged port=9530\n", "");
    }
    tree.wait_down("coder");
    assert_eq!(tree.profile("coder").starts(), 0);
    before.still_holds();
    assert_eq!(fs::metadata(tree.slot("coder")).expect("slot").ino(), inode);
    assert_eq!(tree.supervisor(&tree.slot("coder")), supervisor);
    assert_eq!(tree.leftovers(), NONE);
    // Registering records no intent.
    assert_eq!(tree.profile("coder").desired(), None);
}

/// Row B9 of docs/failures.md.
#[test]
fn default_can_always_be_registered() {
    // The same with an empty home.
    let tree = Tree::up();
    tree.tool("hermes-svc-register").arg("default").run().is(0, "profile=default action=registered port=9495\n", "");
    tree.tool("hermes-svc-start").args(["-w", "default"]).run().is(0, "profile=default action=started\n", "");
    assert_eq!(tree.profile("default").read("stand-in.args"), "-p default gateway run --replace\n");
}

#[test]
fn up_starts_a_new_slot_and_an_old_one() {
    let tree = Tree::up();
    tree.profile("coder");
    let run = || tree.tool("hermes-svc-register").args(["-u", "coder"]).run();
    run().is(0, "profile=coder action=registered port=9530\n", "");
    let pid = tree.wait_up("coder");
    assert!(!tree.slot("coder").join("down").exists());
    run().is(0, "profile=coder action=unchanged port=9530\n", "");
    assert_eq!(tree.gateway("coder"), Some(pid));

    register(&tree, "writer");
    tree.tool("hermes-svc-register").args(["-u", "writer"]).run().is(
        0,
        "profile=writer action=updated port=9685\n",
        "",
    );
    tree.wait_up("writer");
}

/// Row B15 of docs/failures.md.
#[test]
fn register_stops_nothing_and_leaves_down_as_it_is() {
    let tree = Tree::up();
    register(&tree, "coder");
    tree.tool("s6-svc").arg("-u").arg(tree.slot("coder")).run().is(0, "", "");
    let pid = tree.wait_up("coder");
    assert!(tree.slot("coder").join("down").exists());
    tree.tool("hermes-svc-register").arg("coder").run().is(0, "profile=coder action=unchanged port=9530\n", "");
    assert_eq!(tree.gateway("coder"), Some(pid));
    assert!(tree.slot("coder").join("down").exists());
}

#[test]
fn variables_reach_the_gateway_stay_and_are_replaced() {
    let tree = Tree::up();
    let profile = tree.profile("coder");
    let run = |args: &[&str]| tree.tool("hermes-svc-register").args(args).run();
    let gateway_has = |line: &str| profile.read("stand-in.env").lines().any(|l| l == line);
    run(&["-u", "-e", "GREETING=good  day", "-e", "EMPTY=", "-e", "TWICE=1", "-e", "TWICE=a=b", "coder"]).is(
        0,
        "profile=coder action=registered port=9530\n",
        "",
    );
    let pid = tree.wait_up("coder");
    assert!(gateway_has("GREETING=good  day") && gateway_has("EMPTY=") && gateway_has("TWICE=a=b"));
    // The values may be secrets.
    assert_eq!(mode(&tree.slot("coder").join("env")).0 & 0o007, 0);

    run(&["coder"]).is(0, "profile=coder action=unchanged port=9530\n", "");
    run(&["-e", "EMPTY=", "-e", "GREETING=good  day", "-e", "TWICE=a=b", "coder"]).is(
        0,
        "profile=coder action=unchanged port=9530\n",
        "",
    );
    run(&["-e", "OTHER=1", "coder"]).is(0, "profile=coder action=updated port=9530\n", "");
    assert_eq!(tree.gateway("coder"), Some(pid));
    tree.tool("hermes-svc-restart").args(["-w", "coder"]).run().is(0, "profile=coder action=restarted\n", "");
    assert!(gateway_has("OTHER=1") && !profile.read("stand-in.env").contains("GREETING"));

    for bad in ["", "A", "=x", "1A=x", "A-B=x", "A B=x", "../x=y", "A/B=x", "a\nb=c"] {
        run(&["-e", bad, "coder"]).fails(100, "invalid variable \"*\"*");
    }
    run(&["-n", "-e", "DRY=1", "coder"]).is(0, "profile=coder action=updated port=9530\n", "");
    assert!(!tree.slot("coder").join("env/DRY").exists());
}

#[test]
fn many_profiles_at_once_are_all_registered() {
    let tree = Tree::up();
    let names: Vec<String> = (0..12).map(|n| format!("p{n}")).collect();
    names.iter().for_each(|name| drop(tree.profile(name)));
    let runs: Vec<_> = names.iter().map(|name| tree.tool("hermes-svc-register").arg(name).start()).collect();
    for (name, run) in names.iter().zip(runs) {
        run.wait().is(0, &format!("profile={name} action=registered port=9*\n"), "");
    }
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(tree.slots(), sorted);
    assert_eq!(tree.leftovers(), NONE);
}

#[test]
fn one_profile_many_times_at_once_is_registered_once() {
    let tree = Tree::up();
    tree.profile("coder");
    let runs: Vec<_> = (0..8).map(|_| tree.tool("hermes-svc-register").arg("coder").start()).collect();
    let mut registered = 0;
    for run in runs {
        let ran = run.wait().is(0, "profile=coder action=* port=9530\n", "");
        registered += usize::from(ran.stdout.contains("action=registered"));
    }
    assert_eq!((registered, tree.leftovers()), (1, NONE));
    let supervisors = tree.processes().iter().filter(|p| p.ppid == tree.svscan_pid()).count();
    assert_eq!(supervisors, 2, "one for the service, one for its logger");
}

/// Row B10 of docs/failures.md.
#[test]
fn a_registration_that_nobody_takes_up_leaves_nothing_behind() {
    let tree = Tree::up();
    tree.profile("coder");
    kill(tree.svscan_pid(), Signal::STOP);
    let ran = tree.tool("hermes-svc-register").args(["-t", "300", "coder"]).run();
    ran.fails(99, "timed out after 300 ms waiting for *gateway-coder*");
    assert_eq!((tree.slots(), tree.leftovers()), (NONE, NONE));
    kill(tree.svscan_pid(), Signal::CONT);
    // The gateway does not start later either, and registering again gives the same slot.
    register(&tree, "coder");
    assert_eq!((tree.slots(), tree.leftovers()), (vec!["coder".to_string()], NONE));
    let supervisors = tree.processes().iter().filter(|p| p.ppid == tree.svscan_pid()).count();
    assert_eq!(supervisors, 2);
}

#[test]
fn the_lock_is_waited_for_and_not_longer_than_asked() {
    let tree = Tree::up();
    tree.profile("coder");
    register(&tree, "first");
    let lock = tree.scandir().join(".hermes-s6.lock");
    assert_eq!(mode(&lock).0, 0o600);
    // The lock is an fcntl lock, so s6-setlock can hold it.
    let mut holder = tree.tool("s6-setlock").arg(&lock).args(["sleep", "1000"]).spawn();
    wait_until("the lock to be held", || tree.tool("s6-setlock").arg("-n").arg(&lock).arg("true").run().code != 0);
    let ran = tree.tool("hermes-svc-register").args(["-t", "200", "coder"]).run();
    ran.fails(99, "timed out after 200 ms waiting for the lock *.hermes-s6.lock");
    assert_eq!(tree.slots(), ["first"]);

    let waiting = tree.tool("hermes-svc-register").arg("coder").start();
    assert!(waiting.is_running());
    holder.kill().expect("kill");
    holder.wait().expect("wait");
    waiting.wait().is(0, "profile=coder action=registered port=9530\n", "");
}

#[test]
fn a_dry_run_of_register_and_unregister_changes_nothing() {
    let tree = Tree::up();
    tree.profile("coder");
    let before = snapshot(&[&tree.home(), &tree.scandir()]);
    tree.tool("hermes-svc-register").args(["-n", "coder"]).run().is(
        0,
        "profile=coder action=registered port=9530\n",
        "",
    );
    let json = "{\"profile\":\"coder\",\"action\":\"registered\",\"port\":9530,*\"dry_run\":true}\n";
    tree.tool("hermes-svc-register").args(["-nj", "coder"]).run().is(0, json, "");
    tree.tool("hermes-svc-unregister").args(["-n", "coder"]).run().is(0, "profile=coder action=absent\n", "");
    before.still_holds();

    tree.tool("hermes-svc-register").args(["-j", "-u", "coder"]).run().is(0, &json.replace("true", "false"), "");
    let pid = tree.wait_up("coder");
    let before = snapshot(&[&tree.scandir()]);
    tree.tool("hermes-svc-unregister").args(["-n", "coder"]).run().is(0, "profile=coder action=unregistered\n", "");
    let json = "{\"profile\":\"coder\",\"action\":\"unregistered\",*\"dry_run\":true}\n";
    tree.tool("hermes-svc-unregister").args(["-nj", "coder"]).run().is(0, json, "");
    before.still_holds();
    assert_eq!(tree.gateway("coder"), Some(pid));
}

// Update in place.

/// Another template: a copy of the tree's own.
fn second_template(tree: &Tree) -> PathBuf {
    let other = tree.template().with_file_name("template2");
    tree.tool("cp").arg("-a").arg(tree.template()).arg(&other).run().is(0, "", "");
    other
}

/// Row B15 of docs/failures.md.
#[test]
fn a_live_slot_follows_its_template_in_place() {
    let tree = Tree::up();
    let slot = register(&tree, "coder");
    tree.tool("hermes-svc-register").args(["-u", "coder"]).run();
    let pid = tree.wait_up("coder");
    let inode = fs::metadata(&slot).expect("slot").ino();
    // A template with more files, fewer files, and another place.
    let other = second_template(&tree);
    fs::write(other.join("timeout-finish"), "4000\n").expect("file");
    fs::create_dir(other.join("data/more")).expect("directory");
    fs::write(other.join("data/more/deep"), "").expect("file");
    fs::remove_file(other.join("max-death-tally")).expect("file");
    let run = || tree.tool("hermes-svc-register").arg("-T").arg(&other).arg("coder").run();
    run().is(0, "profile=coder action=updated port=9530\n", "");
    for name in ["run", "finish", "timeout-finish", "data/more/deep", "data/bin", "log/run"] {
        assert_eq!(fs::read_link(slot.join(name)).expect("link"), other.join(name));
    }
    assert!(fs::symlink_metadata(slot.join("max-death-tally")).is_err());
    assert_eq!(fs::metadata(&slot).expect("slot").ino(), inode);
    assert_eq!(tree.gateway("coder"), Some(pid));
    run().is(0, "profile=coder action=unchanged port=9530\n", "");
    assert_eq!(tree.leftovers(), NONE);
    // There is nothing half-done inside the slot either.
    assert!(
        snapshot(&[&slot]).found.keys().all(|name| !name.contains("/.") && !name.starts_with('.')),
        "{:?}",
        snapshot(&[&slot]).found
    );
    // The gateway uses the new template at its next start.
    tree.tool("hermes-svc-restart").args(["-w", "coder"]).run().is(0, "profile=coder action=restarted\n", "");
}

#[test]
fn a_pass_brings_live_slots_up_to_date() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    tree.tool("hermes-reconcile-all").run();
    let pid = tree.wait_up("coder");
    let other = second_template(&tree);
    let ran = tree.tool("hermes-reconcile-all").arg("-T").arg(&other).run();
    let stdout = "reconcile: profile=default * action=updated *\nreconcile: profile=coder * action=updated *\nreconcile: done profiles=2 started=0 registered=0 unchanged=0 updated=2 *\n";
    ran.is(0, stdout, "");
    assert_eq!(tree.gateway("coder"), Some(pid));
    assert_eq!(fs::read_link(tree.slot("coder").join("run")).expect("link"), other.join("run"));
}

#[test]
fn an_update_takes_away_what_killed_runs_left_and_not_what_run_and_finish_are_writing() {
    let tree = Tree::up();
    let slot = register(&tree, "coder");
    let writing = ["data/.started", "data/.held", "data/.kills", "data/.memory"].map(|name| slot.join(name));
    let left = [".run.abc234", "data/.bin.abc234"].map(|name| slot.join(name));
    for path in writing.iter().chain(&left) {
        fs::write(path, "7\n").expect("a file in the slot");
    }
    let ran = tree.tool("hermes-reconcile-one").arg("coder").run();
    ran.is(0, "reconcile: profile=coder * action=updated *\n", "");
    assert!(left.iter().all(|path| !path.exists()), "{left:?}");
    assert!(writing.iter().all(|path| path.exists()), "{writing:?}");
    tree.tool("hermes-reconcile-one").arg("coder").run().is(0, "reconcile: profile=coder * action=unchanged *\n", "");
}

#[test]
fn a_template_of_another_shape_waits_until_the_slot_is_down() {
    let tree = Tree::up();
    let plain = second_template(&tree);
    fs::remove_dir_all(plain.join("log")).expect("rm -r");
    tree.profile("coder");
    tree.tool("hermes-svc-register").args(["-u", "-T"]).arg(&plain).arg("coder").run().is(
        0,
        "profile=coder action=registered port=9530\n",
        "",
    );
    let pid = tree.wait_up("coder");
    assert!(!tree.slot("coder").join("log").exists());

    let run = || tree.tool("hermes-svc-register").arg("coder").run();
    let ran = run();
    ran.is(0, "profile=coder action=updated port=9530 note=stale-template\n", "");
    assert_eq!(tree.gateway("coder"), Some(pid));
    assert!(!tree.slot("coder").join("log").exists());
    run().is(0, "profile=coder action=unchanged port=9530 note=stale-template\n", "");

    tree.tool("hermes-svc-stop").args(["-w", "coder"]).run().is(0, "profile=coder action=stopped\n", "");
    run().is(0, "profile=coder action=updated port=9530\n", "");
    assert!(tree.supervisor(&tree.slot("coder").join("log")).is_some());
    assert_eq!(tree.leftovers(), NONE);
    // A gateway that was down stays down.
    tree.wait_down("coder");
    assert!(tree.slot("coder").join("down").exists());
    run().is(0, "profile=coder action=unchanged port=9530\n", "");
}

// Removal.

/// Rows B5, B14 of docs/failures.md.
#[test]
fn unregister_says_gone_when_everything_is_gone() {
    let tree = Tree::up();
    let profile = tree.profile("coder").stand_in("drain_ms=600\n");
    tree.tool("hermes-svc-register").args(["-u", "coder"]).run();
    register(&tree, "writer");
    let gateway = tree.wait_up("coder");
    let slot = tree.slot("coder");
    let supervisors =
        [tree.supervisor(&slot).expect("supervisor"), tree.supervisor(&slot.join("log")).expect("supervisor")];
    let logger =
        tree.tool("s6-svstat").args(["-o", "pid"]).arg(slot.join("log")).run().stdout.trim().parse().expect("pid");

    tree.tool("hermes-svc-unregister").arg("coder").run().is(0, "profile=coder action=unregistered\n", "");
    for pid in [gateway, supervisors[0], supervisors[1], logger] {
        assert_eq!(start_time(pid), None);
    }
    assert_eq!((tree.slots(), tree.leftovers()), (vec!["writer".to_string()], NONE));
    let ports = tree.profile("default").read("gateway_ports.json");
    assert!(!ports.contains("coder") && ports.contains("writer"), "{ports}");
    tree.tool("hermes-svc-unregister").arg("coder").run().is(0, "profile=coder action=absent\n", "");
    assert!(profile.dir.join("SOUL.md").exists());
    register(&tree, "coder");
}

/// Row E9 of docs/failures.md.
#[test]
fn unregister_keeps_the_port_where_asked() {
    let tree = Tree::up();
    register(&tree, "coder");
    tree.tool("hermes-svc-unregister").args(["-k", "coder"]).run().is(0, "profile=coder action=unregistered\n", "");
    assert!(tree.profile("default").read("gateway_ports.json").contains("\"coder\":9530"));
}

#[test]
fn unregister_says_what_is_done_when_the_volume_keeps_the_port() {
    crate::support::needs_root();
    let tree = Tree::up();
    tree.profile("coder");
    tree.tool("hermes-svc-register").arg("coder").run().is(0, "profile=coder action=registered port=9530\n", "");
    let ran = tree.on_read_only_volume("exec hermes-svc-unregister coder");
    ran.is(
        111,
        "",
        "hermes-svc-unregister: fatal: coder: unregistered, but its port is still recorded: *: Read-only file system\n",
    );
    assert_eq!((tree.slots(), tree.leftovers()), (vec![], vec![]));
}

#[test]
fn unregister_needs_no_profile() {
    let tree = Tree::up();
    register(&tree, "coder");
    tree.delete_profile("coder");
    tree.tool("hermes-svc-unregister").arg("coder").run().is(0, "profile=coder action=unregistered\n", "");
    tree.tool("hermes-svc-unregister").arg("never-was").run().is(0, "profile=never-was action=absent\n", "");
    assert_eq!((tree.slots(), tree.leftovers()), (NONE, NONE));
}

/// Row B14 of docs/failures.md.
#[test]
fn a_gateway_that_outlives_the_deadline_is_out_of_sight_and_the_name_is_free() {
    let tree = Tree::up();
    tree.profile("coder").stand_in("ignore_term=1\n");
    tree.tool("hermes-svc-register").args(["-u", "coder"]).run();
    let stubborn = tree.wait_up("coder");
    let ran = tree.tool("hermes-svc-unregister").args(["-t", "300", "coder"]).run();
    ran.fails(99, "timed out after 300 ms waiting for *gateway-coder* drained");
    assert_eq!(tree.slots(), NONE);
    assert_eq!(tree.leftovers().len(), 1, "{:?}", tree.leftovers());
    assert!(start_time(stubborn).is_some(), "nobody asked for it to be killed");
    // A second unregister does not report success either.
    tree.tool("hermes-svc-unregister")
        .args(["-t", "300", "coder"])
        .run()
        .fails(99, "timed out after 300 ms waiting for *");

    kill(stubborn, Signal::KILL);
    tree.tool("hermes-svc-unregister").arg("coder").run().is(0, "profile=coder action=absent\n", "");
    wait_until("its supervisors to leave", || !tree.processes().iter().any(|p| p.comm == "s6-supervise"));
    tree.profile("coder").stand_in("");
    register(&tree, "coder");
    assert_eq!(tree.leftovers(), NONE, "what had been drained is swept by the next run");
}

#[test]
fn a_long_drain_holds_up_nobody_else() {
    let tree = Tree::up();
    tree.profile("coder").stand_in("drain_ms=20000\n");
    tree.tool("hermes-svc-register").args(["-u", "coder"]).run();
    let gateway = tree.wait_up("coder");
    let unregister = tree.tool("hermes-svc-unregister").arg("coder").start();
    wait_until("the drain", || tree.profile("coder").json()["gateway_state"] == "draining");
    register(&tree, "writer");
    tree.tool("hermes-svc-unregister").arg("writer").run().is(0, "profile=writer action=unregistered\n", "");
    assert!(unregister.is_running() && start_time(gateway).is_some());
    kill(gateway, Signal::KILL);
    unregister.wait().is(0, "profile=coder action=unregistered\n", "");
    assert_eq!((tree.slots(), tree.leftovers()), (NONE, NONE));
}

#[test]
fn a_logger_that_ignores_the_end_of_its_input_is_killed_at_last() {
    let tree = Tree::up();
    let other = second_template(&tree);
    executable(&other.join("log/run"), "#!/bin/sh\ntrap '' HUP TERM\nwhile :; do sleep 1000; done\n");
    fs::remove_file(other.join("log/notification-fd")).expect("file");
    tree.profile("coder");
    tree.tool("hermes-svc-register").args(["-u", "-T"]).arg(&other).arg("coder").run().is(
        0,
        "profile=coder action=registered port=9530\n",
        "",
    );
    tree.wait_up("coder");
    tree.tool("hermes-svc-unregister").arg("coder").run().is(0, "profile=coder action=unregistered\n", "");
    assert_eq!((tree.slots(), tree.leftovers()), (NONE, NONE));
    assert!(!tree.processes().iter().any(|p| p.comm == "s6-supervise"));
}

#[test]
fn a_slot_that_goes_the_moment_it_came_is_gone() {
    // Without a second order, a logger that is retired while it starts stays behind (docs/DESIGN.md, "s6-svscan").
    let tree = Tree::up();
    for name in ["a1", "b1", "c1", "d1", "e1", "f1"] {
        tree.profile(name).intent("running");
    }
    for _ in 0..2 {
        tree.tool("hermes-reconcile-all").run();
        let names = tree.slots();
        let runs: Vec<_> = names.iter().map(|name| tree.tool("hermes-svc-unregister").arg(name).start()).collect();
        for (name, run) in names.iter().zip(runs) {
            run.wait().is(0, &format!("profile={name} action=unregistered\n"), "");
        }
        assert_eq!((tree.slots(), tree.leftovers()), (NONE, NONE));
        let left: Vec<Process> = tree.processes().into_iter().filter(|p| p.comm == "s6-supervise").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn unregister_works_where_nobody_supervises() {
    let tree = Tree::new();
    tree.profile("coder").intent("running");
    tree.tool("hermes-reconcile-all").run();
    tree.tool("hermes-svc-unregister").arg("coder").run().is(0, "profile=coder action=unregistered\n", "");
    assert_eq!((tree.slots(), tree.leftovers()), (vec!["default".to_string()], NONE));
}

/// Row B11 of docs/failures.md.
#[test]
fn what_killed_runs_left_is_swept_by_the_next() {
    let tree = Tree::up();
    register(&tree, "coder");
    tree.tool("hermes-svc-register").args(["-u", "coder"]).run();
    let gateway = tree.wait_up("coder");
    // A run that was killed after the rename and before the rescan: the directory still has a supervisor.
    let retired = tree.scandir().join(".gateway-coder.aaaaaa");
    fs::rename(tree.slot("coder"), &retired).expect("rename");
    // Two runs that were killed while they built a slot, one early and one late.
    fs::create_dir(tree.scandir().join(".gateway-writer.bbbbbb")).expect("mkdir");
    fs::create_dir_all(tree.scandir().join(".gateway-writer.cccccc/supervise")).expect("mkdir");
    symlink("/no/such/file", tree.scandir().join(".gateway-writer.cccccc/run")).expect("link");
    // An entry that is not ours is left alone.
    fs::create_dir(tree.scandir().join(".not-ours")).expect("mkdir");

    register(&tree, "writer");
    wait_until("the old gateway to be told", || start_time(gateway).is_none());
    wait_until("the supervisors to leave", || {
        tree.supervisor(&retired).is_none() && tree.supervisor(&retired.join("log")).is_none()
    });
    register(&tree, "assistant");
    assert_eq!(
        (tree.slots(), tree.leftovers()),
        (vec!["assistant".to_string(), "writer".to_string()], vec![".not-ours".to_string()])
    );
}

/// Rows B10, B11 of docs/failures.md.
#[test]
fn register_and_unregister_may_be_killed_at_any_moment() {
    let tree = Tree::up();
    tree.profile("coder");
    for round in 0..8 {
        let tool = if round % 2 == 0 { "hermes-svc-register" } else { "hermes-svc-unregister" };
        let running = tree.tool(tool).arg("coder").start();
        std::thread::sleep(std::time::Duration::from_millis(3 * (round / 2)));
        kill(running.pid, Signal::KILL);
        running.wait();
    }
    tree.tool("hermes-svc-register").arg("coder").run().is(0, "profile=coder action=* port=9530\n", "");
    tree.tool("hermes-svc-start").args(["-w", "coder"]).run().is(0, "profile=coder action=started\n", "");
    tree.tool("hermes-svc-unregister").arg("coder").run().is(0, "profile=coder action=unregistered\n", "");
    tree.tool("hermes-svc-register").arg("coder").run().is(0, "profile=coder action=registered port=9530\n", "");
    assert_eq!(tree.leftovers(), NONE);
}

// s6-svscan's limits and traps.

#[test]
fn a_slot_that_does_not_fit_is_refused_with_the_limit() {
    let tree = Tree::new();
    tree.svscan_max(5);
    // A service that is not ours counts as well.
    fs::create_dir(tree.scandir().join("somebody")).expect("mkdir");
    executable(&tree.scandir().join("somebody/run"), "#!/bin/sh\nexec sleep 1000\n");
    let run = |name: &str| {
        tree.profile(name);
        tree.tool("hermes-svc-register").env("HERMES_MAX_SERVICES", "5").arg(name).run()
    };
    run("a1").is(0, "profile=a1 action=registered port=*\n", "");
    run("b1").is(0, "profile=b1 action=registered port=*\n", "");
    let before = snapshot(&[&tree.scandir()]);
    run("c1").fails(111, "*7 services*5*HERMES_MAX_SERVICES*");
    before.still_holds();
    // An existing slot is not affected, and is reported as unchanged.
    run("a1").is(0, "profile=a1 action=unchanged port=*\n", "");
    for bad in ["0", "-1", "many", "5 "] {
        let ran = tree.tool("hermes-svc-register").env("HERMES_MAX_SERVICES", bad).arg("c1").run();
        ran.fails(100, "*HERMES_MAX_SERVICES*");
    }
    before.still_holds();
    // Without the variable, or if it is empty, the default of s6-svscan counts.
    let ran = tree.tool("hermes-svc-register").env("HERMES_MAX_SERVICES", "").args(["-n", "c1"]).run();
    ran.is(0, "profile=c1 action=registered port=*\n", "");
}

#[test]
fn no_more_is_published_than_s6_svscan_has_descriptors_for() {
    let tree = Tree::up();
    let pid = tree.svscan_pid();
    tree.tool("prlimit").args(["--nofile=64:", "--pid", &pid.to_string()]).run().is(0, "", "");
    for n in 0..30 {
        tree.profile(&format!("a{n:02}"));
    }
    let ran = tree.tool("hermes-reconcile-all").arg("-w").run();
    assert_eq!((ran.code, ran.stderr.lines().count(), tree.slots().len()), (111, 7, 24), "{ran}");
    let hint = "its s6-svscan takes 48: raise its limit of 64 open files (--ulimit nofile=)";
    assert!(ran.stderr.lines().all(|line| line.contains(hint)), "{ran}");
    tree.tool("hermes-svc-register").arg("a29").run().fails(111, &format!("*{hint}*"));
    // What is published is supervised, and s6-svscan can still start a supervisor that dies.
    let slot = tree.slot("a20");
    wait_until("both supervisors", || tree.supervisor(&slot).is_some() && tree.supervisor(&slot.join("log")).is_some());
    for dir in [slot.clone(), slot.join("log")] {
        let old = tree.supervisor(&dir).expect("its supervisor");
        wait_for_its_second(old);
        kill(old, Signal::KILL);
        wait_until("another supervisor", || tree.supervisor(&dir).is_some_and(|pid| pid != old));
    }
    let said = fs::read_to_string(tree.svscan_log()).expect("svscan.log");
    assert!(!said.contains("open files"), "{said}");
    // With a higher limit there is room again.
    tree.tool("prlimit").args(["--nofile=66:", "--pid", &pid.to_string()]).run().is(0, "", "");
    tree.tool("hermes-svc-register").arg("a29").run().is(0, "profile=a29 action=registered port=*\n", "");
}

#[test]
fn a_slot_that_is_still_drained_counts() {
    let tree = Tree::new();
    tree.svscan_max(4);
    tree.profile("a1").stand_in("ignore_term=1\n");
    let register =
        |name: &str| tree.tool("hermes-svc-register").env("HERMES_MAX_SERVICES", "4").args(["-u", name]).run();
    register("a1").is(0, "profile=a1 action=registered port=*\n", "");
    let stubborn = tree.wait_up("a1");
    tree.tool("hermes-svc-unregister").args(["-t", "100", "a1"]).run().fails(99, "timed out after 100 ms *");
    tree.profile("b1");
    tree.profile("c1");
    register("b1").is(0, "profile=b1 action=registered port=*\n", "");
    register("c1").fails(111, "*services*4*");
    kill(stubborn, Signal::KILL);
    // The two supervisors end, and then s6-svscan notices that.
    wait_until("s6-svscan to notice that there is room", || register("c1").code == 0);
}

#[test]
fn a_supervisor_that_has_ended_counts_until_s6_svscan_has_noticed() {
    let tree = Tree::new();
    // Give s6-svscan more room than the tools are told of. In 2.12 to 2.14, a supervisor that ends before the scan that
    // no longer finds its slot keeps its place for ever.
    tree.svscan_max(8);
    let tool = |line: &str| {
        let mut words = line.split(' ');
        tree.tool(words.next().unwrap()).env("HERMES_MAX_SERVICES", "4").args(words).run()
    };
    for name in ["a1", "b1", "c1"] {
        tree.profile(name);
    }
    tool("hermes-svc-register a1").is(0, "profile=a1 action=registered port=*\n", "");
    tool("hermes-svc-register b1").is(0, "profile=b1 action=registered port=*\n", "");
    // The stopped s6-svscan stands for one that is busy with a long scan.
    kill(tree.svscan_pid(), Signal::STOP);
    tool("hermes-svc-unregister a1").is(0, "profile=a1 action=unregistered\n", "");
    let refused = tool("hermes-svc-register -t 1000 c1");
    kill(tree.svscan_pid(), Signal::CONT);
    refused.fails(111, "*6 services*4*");
    wait_until("s6-svscan to notice that there is room", || tool("hermes-svc-register c1").code == 0);
}

#[test]
fn a_slot_that_s6_svscan_has_yet_to_find_is_not_taken_from_under_its_hands() {
    let tree = Tree::up();
    tree.profile("coder");
    kill(tree.svscan_pid(), Signal::STOP);
    tree.tool("hermes-reconcile-all").run().is(0, "*\n*\n*\n", "");
    let unregister = tree.tool("hermes-svc-unregister").arg("coder").start();
    std::thread::sleep(std::time::Duration::from_millis(2000));
    assert!(unregister.is_running() && tree.slot("coder").exists());
    kill(tree.svscan_pid(), Signal::CONT);
    unregister.wait().is(0, "profile=coder action=unregistered\n", "");
    assert_eq!((tree.slots(), tree.leftovers()), (vec!["default".to_string()], vec![]));
}

#[test]
fn an_entry_that_stops_every_scan_is_named() {
    let tree = Tree::up();
    tree.profile("coder");
    symlink("/no/such/service", tree.scandir().join("somebodys")).expect("link");
    let before = snapshot(&[&tree.scandir()]);
    tree.tool("hermes-svc-register").arg("coder").run().fails(111, "*/somebodys: No such file or directory*");
    before.still_holds();
    symlink("itself", tree.scandir().join("itself")).expect("link");
    fs::remove_file(tree.scandir().join("somebodys")).expect("rm");
    tree.tool("hermes-svc-register").arg("coder").run().fails(111, "*/itself: Too many levels of symbolic links*");
    fs::remove_file(tree.scandir().join("itself")).expect("rm");
    register(&tree, "coder");
}

#[test]
fn a_dead_entry_of_our_own_is_removed() {
    let tree = Tree::up();
    tree.profile("coder");
    symlink("/no/such/service", tree.slot("coder")).expect("link");
    let ran = tree.tool("hermes-svc-register").arg("coder").run();
    let warning = "hermes-svc-register: warning: removed *gateway-coder: No such file or directory*\n";
    ran.is(0, "profile=coder action=registered port=9530\n", warning);
    assert!(tree.supervisor(&tree.slot("coder")).is_some());
}

#[test]
fn an_entry_that_the_scanner_has_forgotten_gets_a_fresh_copy() {
    // In s6 2.12 and later, an entry that was first seen in an aborted scan stays unsupervised until it has a new
    // inode.
    let tree = Tree::new();
    tree.profile("coder");
    tree.tool("hermes-reconcile-one").arg("coder").run();
    let aside = tree.scandir().join(".aside");
    fs::rename(tree.slot("coder"), &aside).expect("rename");
    tree.svscan();
    let dangling = tree.scandir().join("aaa-dangling");
    symlink("/no/such/service", &dangling).expect("link");
    fs::rename(&aside, tree.slot("coder")).expect("rename");
    tree.tool("s6-svscanctl").arg("-a").arg(tree.scandir()).run().is(0, "", "");
    let said = || fs::read_to_string(tree.svscan_log()).unwrap_or_default();
    wait_until("the scan to stumble", || said().contains("aaa-dangling"));
    fs::remove_file(&dangling).expect("rm");

    let ran = tree.tool("hermes-svc-register").args(["-t", "20000", "coder"]).run();
    ran.is(0, "profile=coder action=* port=9530\n", "");
    assert!(
        tree.supervisor(&tree.slot("coder")).is_some() && tree.supervisor(&tree.slot("coder").join("log")).is_some()
    );
    assert_eq!(tree.leftovers(), NONE);
}

// Every combination of processes that die.

/// Wait until the second that s6-svscan lets pass between two starts of this supervisor is over.
fn wait_for_its_second(pid: u32) {
    let hertz = rustix::param::clock_ticks_per_second();
    wait_until("a supervisor to be a second old", || {
        let boottime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let now = boottime.tv_sec as u64 * hertz + boottime.tv_nsec as u64 * hertz / 1_000_000_000;
        start_time(pid).is_none_or(|start| now > start + hertz)
    });
}

/// Kill these of the slot's processes at once. The slot recovers, with one gateway, which holds the lock.
#[track_caller]
fn recovers_from(tree: &Tree, victims: &[&str]) {
    let slot = tree.slot("coder");
    let old = tree.wait_up("coder");
    // If two die within their second, s6-svscan 2.13 and 2.15 forget one of them: see below.
    for dir in [slot.clone(), slot.join("log")] {
        wait_for_its_second(wait_for("a supervisor", || tree.supervisor(&dir)));
    }
    let logger = |tree: &Tree| {
        tree.tool("s6-svstat").args(["-o", "pid"]).arg(slot.join("log")).run().stdout.trim().parse::<u32>().ok()
    };
    let pids: Vec<u32> = (victims.iter())
        .map(|victim| match *victim {
            "gateway" => old,
            "supervisor" => tree.supervisor(&slot).expect("supervisor"),
            "logger" => logger(tree).expect("logger"),
            "log supervisor" => tree.supervisor(&slot.join("log")).expect("supervisor"),
            other => panic!("{other}"),
        })
        .collect();
    pids.iter().for_each(|pid| kill(*pid, Signal::KILL));
    wait_until("the victims to be gone", || pids.iter().all(|pid| start_time(*pid).is_none()));
    let touched = victims.iter().any(|v| ["gateway", "supervisor"].contains(v));
    let new = wait_for(&format!("the slot to recover from the death of {victims:?}"), || {
        let pid = tree.gateway("coder")?;
        let own = gateways(tree);
        let one = own.len() == 1 && own[0].pid == pid;
        (one && (pid != old) == touched).then_some(pid)
    });
    assert_eq!(tree.wait_up("coder"), new);
    wait_until("both supervisors", || tree.supervisor(&slot).is_some() && tree.supervisor(&slot.join("log")).is_some());
    wait_until("the logger", || logger(tree).is_some_and(|pid| start_time(pid).is_some()));
    // An orphaned gateway is taken over and not doubled: the new gateway holds the lock.
    let lock = tree.profile_dir("coder").join(".hermes-s6.gateway.lock");
    let free = tree.tool("flock").arg("-n").arg(&lock).arg("true").run().code;
    assert_eq!(free, 1, "the gateway holds its lock");
    tree.tool("hermes-svc-status").args(["-q", "coder"]).run().is(0, "", "");
}

#[track_caller]
fn recovers_from_all(combinations: &[&[&str]]) {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    tree.tool("hermes-reconcile-all").run();
    for victims in combinations {
        recovers_from(&tree, victims);
    }
}

#[test]
fn a_slot_recovers_from_the_death_of_its_gateway() {
    recovers_from_all(&[&["gateway"], &["gateway", "logger"]]);
}

#[test]
fn a_slot_recovers_from_the_death_of_its_supervisor() {
    recovers_from_all(&[&["supervisor"], &["supervisor", "logger"], &["supervisor", "log supervisor"]]);
}

#[test]
fn a_slot_recovers_from_the_death_of_both() {
    let all = ["gateway", "supervisor", "logger", "log supervisor"];
    recovers_from_all(&[&["supervisor", "gateway"], &["gateway", "supervisor", "logger"], &all]);
}

#[test]
fn a_slot_recovers_from_the_death_of_its_logger() {
    recovers_from_all(&[&["logger"], &["log supervisor"], &["logger", "log supervisor"]]);
}

/// Make s6-svscan forget the second of these two supervisors. The second one dies less than a second after its start,
/// just when the first one is to be started again.
#[track_caller]
fn forgotten(tree: &Tree, first: &Path, second: &Path) {
    let supervisor = |dir: &Path| wait_for("a supervisor", || tree.supervisor(dir));
    [first, second].iter().for_each(|dir| wait_for_its_second(supervisor(dir)));
    let old = supervisor(second);
    kill(old, Signal::KILL);
    let young = wait_for("its successor", || tree.supervisor(second).filter(|pid| *pid != old));
    let victims = [young, supervisor(first)];
    victims.iter().for_each(|pid| kill(*pid, Signal::KILL));
    wait_until("the victims to be gone", || victims.iter().all(|pid| start_time(*pid).is_none()));
}

#[test]
fn a_supervisor_that_s6_svscan_has_forgotten_is_brought_back_by_the_next_command() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    tree.tool("hermes-reconcile-all").run();
    let (slot, log) = (tree.slot("coder"), tree.slot("coder").join("log"));
    let both =
        [("hermes-svc-start", &log, &slot), ("hermes-svc-restart", &slot, &log), ("hermes-svc-register", &slot, &log)];
    for (tool, first, second) in both {
        tree.wait_up("coder");
        forgotten(&tree, first, second);
        let ran = tree.tool(tool).arg("coder").run();
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{tool}");
        assert!(tree.supervisor(&slot).is_some() && tree.supervisor(&log).is_some(), "{tool}");
        // The reminder leaves nothing behind.
        assert_eq!(tree.leftovers(), NONE);
        assert!(!tree.scandir().join("hermes-s6-nudge").exists());
    }
}

#[test]
fn the_tree_recovers_from_the_death_of_s6_svscan_alone() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    tree.tool("hermes-reconcile-all").run();
    let gateway = tree.wait_up("coder");
    kill(tree.svscan_pid(), Signal::KILL);
    wait_until("s6-svscan to be gone", || start_time(tree.svscan_pid()).is_none());
    // The supervisors stay, and the tools say what is missing. The supervisors of the new s6-svscan give way to the old
    // ones.
    tree.tool("hermes-svc-register").arg("writer").run().fails(100, "no such profile: writer*");
    tree.profile("writer");
    tree.tool("hermes-svc-register").arg("writer").run().fails(102, "no s6-svscan *");
    assert_eq!(tree.gateway("coder"), Some(gateway));
    tree.svscan();
    tree.tool("hermes-svc-register").arg("writer").run().is(0, "profile=writer action=registered port=9685\n", "");
    assert_eq!(tree.gateway("coder"), Some(gateway));
    assert_eq!(gateways(&tree).len(), 1);
}

/// Row B5 of docs/failures.md.
#[test]
fn an_orphan_is_part_of_what_unregister_waits_for() {
    // After the death of the supervisor s6 shows the service as down, while the old gateway still runs.
    let tree = Tree::up();
    tree.profile("coder").intent("running").stand_in("drain_ms=500\n");
    tree.tool("hermes-reconcile-all").run();
    let gateway = tree.wait_up("coder");
    kill(tree.supervisor(&tree.slot("coder")).expect("supervisor"), Signal::KILL);
    tree.tool("hermes-svc-unregister").args(["-t", "20000", "coder"]).run().is(
        0,
        "profile=coder action=unregistered\n",
        "",
    );
    assert_eq!(start_time(gateway), None);
    assert!(gateways(&tree).is_empty());
    assert_eq!((tree.slots(), tree.leftovers()), (vec!["default".to_string()], NONE));
}

// The runtime account of a sealed tree.

/// A sealed tree with a running gateway.
fn sealed() -> Tree {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    tree.tool("hermes-reconcile-all").run();
    tree.wait_up("coder");
    tree
}

/// Row C1 of docs/failures.md.
#[test]
fn the_account_controls_its_gateways_with_s6s_own_programs() {
    crate::support::needs_root();
    let tree = sealed();
    let slot = tree.slot("coder");
    let svc = |order: &str| tree.tool_as_account("s6-svc").arg(order).arg(&slot).run().is(0, "", "");
    tree.tool_as_account("s6-svstat").args(["-o", "up"]).arg(&slot).run().is(0, "true\n", "");
    svc("-D");
    tree.wait_down("coder");
    assert!(slot.join("down").exists());
    svc("-u");
    tree.wait_up("coder");
    svc("-d");
    tree.wait_down("coder");
    svc("-U");
    tree.wait_up("coder");
    assert!(!slot.join("down").exists());
}

/// Row C1 of docs/failures.md.
#[test]
fn the_account_controls_its_gateways_with_our_tools() {
    crate::support::needs_root();
    let tree = sealed();
    let tool = |name: &str, args: &[&str]| tree.tool_as_account(name).args(args).run();
    tool("hermes-svc-stop", &["-w", "coder"]).is(0, "profile=coder action=stopped\n", "");
    assert_eq!(tree.profile("coder").desired().as_deref(), Some("stopped"));
    assert_eq!(tree.gateway("coder"), None);
    tool("hermes-svc-start", &["-w", "coder"]).is(0, "profile=coder action=started\n", "");
    let first = tree.wait_up("coder");
    tool("hermes-svc-restart", &["-W", "coder"]).is(0, "profile=coder action=restarted\n", "");
    assert_ne!(tree.wait_up("coder"), first);
    tool("hermes-svc-status", &["-q", "coder"]).is(0, "", "");
    let ran = tool("hermes-svc-status", &["-j", "coder"]);
    ran.is(0, "{\"profile\":\"coder\",\"state\":\"up\",**}\n", "");
    tool("hermes-svc-list", &["-u"]).is(0, "coder\n", "");
    tool("hermes-svc-stop", &["-a", "-w"]).is(0, "profile=coder action=stopped\n", "");
}

/// Row C1 of docs/failures.md.
#[test]
fn the_account_cannot_publish() {
    crate::support::needs_root();
    let tree = sealed();
    tree.profile("writer");
    for name in ["coder", "default"] {
        let logger = tree.slot(name).join("log");
        let is_ready = || tree.tool("s6-svstat").args(["-o", "ready"]).arg(&logger).run().stdout == "true\n";
        wait_until("its logger to be ready, after which no status changes", is_ready);
    }
    let before = snapshot(&[&tree.scandir()]);
    let tool = |name: &str, args: &[&str]| tree.tool_as_account(name).args(args).run();
    tool("hermes-svc-register", &["-u", "writer"]).fails(102, "*not permitted*");
    tool("hermes-svc-register", &["-e", "A=b", "coder"]).fails(102, "*not permitted*");
    // The tool waits for the watcher, which does not run in this test. An existing slot is reported as unchanged.
    tool("hermes-svc-register", &["-t", "300", "writer"]).fails(102, "*not permitted*hermes-profile-watch up?");
    tool("hermes-svc-register", &["coder"]).is(0, "profile=coder action=unchanged port=9530\n", "");
    tool("hermes-svc-unregister", &["coder"]).fails(102, "*not permitted*");
    tool("hermes-reconcile-one", &["writer"]).fails(102, "*not permitted*");
    tool("hermes-reconcile-all", &[]).fails(102, "*not permitted*");
    before.still_holds();
}

#[test]
fn the_accounts_start_waits_for_the_watcher() {
    crate::support::needs_root();
    let tree = sealed();
    let profile = tree.profile("writer");
    let ran = tree.tool_as_account("hermes-svc-start").args(["-t", "300", "writer"]).run();
    ran.fails(102, "*hermes-profile-watch up?*");
    // Stop and restart must not wait for the watcher.
    for tool in ["hermes-svc-stop", "hermes-svc-restart"] {
        tree.tool_as_account(tool).arg("writer").run().fails(102, "*writer is not registered*");
    }
    let start = tree.tool_as_account("hermes-svc-start").args(["-w", "writer"]).start();
    wait_until("the tool to wait for events", || start.waits_for_events());
    tree.tool("hermes-reconcile-one").arg("writer").run().is(0, "reconcile: profile=writer *\n", "");
    start.wait().is(0, "profile=writer action=started\n", "");
    assert_eq!(profile.desired().as_deref(), Some("running"));
}

/// A shell script that the account runs. It tries to write to each of these paths, and prints where it succeeded.
const INTRUDER: &str = r#"#!/bin/sh
while read -r kind path; do
  case $kind in
    directory)
      (: > "$path/intruder") 2> /dev/null && echo "created a file in $path"
      ln -s /etc/passwd "$path/ftrig1:@4000000066d4a4d92f6ecc3c:xxxxxxxx" 2> /dev/null && echo "made a link in $path"
      mkdir "$path/.intruder" 2> /dev/null && echo "made a directory in $path"
      mv "$path" "$path.away" 2> /dev/null && echo "moved $path"
      for name in status status.new control run down data/held; do
        rm -f "$path/$name.intruder" 2> /dev/null
        ln -s /etc/passwd "$path/$name.intruder" 2> /dev/null && echo "made a link in $path"
      done
      [ ! -w "$path" ] || echo "may write in $path"
      ;;
    file)
      # The link leads to the home, which is the account's.
      [ "${path##*/}" = home ] || [ ! -w "$path" ] || echo "may write to $path"
      rm -f "$path" 2> /dev/null && echo "removed $path"
      ;;
  esac
done
exit 0
"#;

#[test]
fn the_account_can_create_replace_or_write_nothing_in_the_scandir() {
    crate::support::needs_root();
    let tree = sealed();
    tree.tool("hermes-svc-register").args(["-e", "KEY=value", "writer"]).run();
    tree.profile("held").intent("running").stand_in("exit_at_start=78\n");
    tree.tool("hermes-svc-register").args(["-u", "-e", "KEY=value", "held"]).run().is(
        0,
        "profile=held action=registered port=*\n",
        "",
    );
    // finish makes this file after it has recorded the hold.
    wait_until("the hold", || tree.slot("held").join("data/failed").exists());

    let before = snapshot(&[&tree.scandir()]);
    let mut targets = String::from("directory .\n").replace('.', &tree.scandir().display().to_string());
    let mut controls = Vec::new();
    for (name, what) in &before.found {
        let path = tree.scandir().join(name);
        let kind = if what.ends_with(" directory") { "directory" } else { "file" };
        if name.ends_with("supervise/control") && !name.contains("/log/") {
            controls.push(name.clone());
        } else {
            targets += &format!("{kind} {}\n", path.display());
        }
    }
    // A link is checked by its own place. It leads to the template, which belongs to root as well.
    for name in snapshot(&[&tree.template()]).found.keys() {
        targets += &format!("file {}\n", tree.template().join(name).display());
    }
    assert_eq!(controls, ["coder", "default", "held"].map(|name| format!("gateway-{name}/supervise/control")));
    let script = tree.script("intruder", INTRUDER);
    tree.tool_as_account("sh").arg(&script).input(targets).run().is(0, "", "");
    before.still_holds();
    // The account may not give orders to the logger or to s6-svscan either.
    tree.tool_as_account("s6-svc").arg("-d").arg(tree.slot("coder").join("log")).run().is(
        111,
        "",
        "s6-svc: *: Permission denied\n",
    );
    let ran = tree.tool_as_account("s6-svscanctl").arg("-t").arg(tree.scandir()).run();
    assert_ne!(ran.code, 0, "{ran}");
    // The account can read no value that was given to register.
    tree.tool_as_account("cat").arg(tree.slot("held").join("env/KEY")).run().is(1, "", "*Permission denied\n");
}

/// s6-supervise, as root, opens every `event/ftrig1:@...` for writing, and follows links (docs/DESIGN.md,
/// "s6-supervise").
#[test]
fn a_link_planted_in_event_makes_root_write_nowhere() {
    crate::support::needs_root();
    let tree = sealed();
    let victim = tree.template().with_file_name("root-only");
    fs::write(&victim, "precious\n").expect("victim");
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).expect("mode");
    let plant = tree.script(
        "plant",
        "#!/bin/sh\nfor d in event log/event; do\n  ln -s \"$2\" \"$1/$d/ftrig1:@4000000066d4a4d92f6ecc3c:abcdef\" 2> /dev/null && echo planted\ndone\nexit 0\n",
    );
    tree.tool_as_account("sh").arg(&plant).arg(tree.slot("coder")).arg(&victim).run().is(0, "", "");
    tree.tool_as_account("hermes-svc-restart").args(["-w", "coder"]).run().is(
        0,
        "profile=coder action=restarted\n",
        "",
    );
    assert_eq!(fs::read_to_string(&victim).expect("victim"), "precious\n");
    // The same attack succeeds if the directory belongs to the account, so the test can detect it.
    let event = tree.slot("coder").join("event");
    std::os::unix::fs::chown(&event, None, Some(tree.gid)).expect("chown");
    fs::set_permissions(&event, fs::Permissions::from_mode(0o3730)).expect("mode");
    tree.tool_as_account("sh").arg(&plant).arg(tree.slot("coder")).arg(&victim).run().is(0, "planted\n", "");
    tree.tool_as_account("hermes-svc-restart").args(["-w", "coder"]).run().is(
        0,
        "profile=coder action=restarted\n",
        "",
    );
    wait_until("the attack to work where it can", || fs::read_to_string(&victim).expect("victim") != "precious\n");
}

/// s6-supervise rewrites `supervise/status.new` by name (docs/DESIGN.md, "s6-supervise").
#[test]
fn a_link_for_status_new_makes_root_write_nowhere() {
    crate::support::needs_root();
    let tree = sealed();
    let victim = tree.template().with_file_name("root-only");
    fs::write(&victim, "precious\n").expect("victim");
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).expect("mode");
    let plant = tree.script(
        "plant",
        "#!/bin/sh\nfor d in supervise log/supervise; do\n  ln -s \"$2\" \"$1/$d/status.new\" 2> /dev/null && echo planted\n  mv \"$1/$d\" \"$1/$d.away\" 2> /dev/null && echo moved\ndone\nexit 0\n",
    );
    tree.tool_as_account("sh").arg(&plant).arg(tree.slot("coder")).arg(&victim).run().is(0, "", "");
    tree.tool_as_account("hermes-svc-restart").args(["-w", "coder"]).run().is(
        0,
        "profile=coder action=restarted\n",
        "",
    );
    assert_eq!(fs::read_to_string(&victim).expect("victim"), "precious\n");
}

#[test]
fn a_lock_that_the_account_holds_passes_for_no_supervisor() {
    // A read lock on supervise/lock must not be taken for s6-supervise's lock.
    crate::support::needs_root();
    let tree = Tree::new();
    tree.profile("coder").intent("running");
    tree.tool("hermes-reconcile-one").arg("coder").run();
    let lock = tree.slot("coder").join("supervise/lock");
    fs::write(&lock, "").expect("lock");
    let mut holder = tree.tool_as_account("s6-setlock").arg("-r").arg(&lock).args(["sleep", "1000"]).spawn();
    wait_until("the lock to be held", || {
        fs::read_to_string("/proc/locks").expect("locks").contains(&format!(" {} ", holder.id()))
    });
    tree.tool("hermes-svc-list").arg("-u").run().is(0, "", "");
    tree.tool("hermes-svc-unregister").arg("coder").run().is(0, "profile=coder action=unregistered\n", "");
    holder.kill().expect("kill");
    holder.wait().expect("wait");
}
