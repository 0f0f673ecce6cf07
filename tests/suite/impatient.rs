//! Impatient users: Ctrl-C during a wait, deadlines that are too short, a new order before the last one is carried out.

use crate::support::{Profile, Ran, Tree, kill, wait_until};
use rustix::process::Signal;

/// A tree in which these profiles run and are ready. The lines of stand-in.conf set how the stand-in behaves.
#[track_caller]
fn ready<'a>(tree: &'a Tree, profiles: &[(&str, &str)]) -> Vec<Profile<'a>> {
    let mut made = Vec::new();
    for (name, conf) in profiles {
        made.push(tree.profile(name).stand_in(conf));
        tree.tool("hermes-svc-register").arg(name).run().is(
            0,
            &format!("profile={name} action=registered port=*\n"),
            "",
        );
        start(tree, &["-W", name]).is(0, &format!("profile={name} action=started\n"), "");
    }
    made
}

fn start(tree: &Tree, args: &[&str]) -> Ran {
    tree.tool("hermes-svc-start").args(args).run()
}

/// Wait until the gateway of this profile has begun to drain.
#[track_caller]
fn drains(profile: &Profile) {
    wait_until("the drain", || profile.json()["gateway_state"] == "draining");
}

/// Wait until a gateway other than `old` runs, and s6 and the volume both want it up.
#[track_caller]
fn is_another(tree: &Tree, profile: &Profile, old: u32) {
    wait_until("another gateway", || tree.gateway(&profile.name).is_some_and(|pid| pid != old));
    assert_ne!(tree.wait_up(&profile.name), old);
    assert_eq!(tree.svstat(&profile.name, "wantedup,normallyup"), Some(vec!["true".to_string(); 2]));
    assert_eq!(profile.desired().as_deref(), Some("running"));
}

#[test]
fn a_restart_that_runs_out_of_time_ends_in_a_gateway_all_the_same() {
    let tree = Tree::up();
    let coder = ready(&tree, &[("coder", "drain_ms=700\n")]).remove(0);
    let old = tree.wait_up("coder");
    let ran = tree.tool("hermes-svc-restart").args(["-W", "-t", "100", "coder"]).run();
    ran.fails(99, "timed out after 100 ms waiting for *coder*draining, and starts again when it has ended");
    assert_eq!(tree.gateway("coder"), Some(old));
    is_another(&tree, &coder, old);
}

#[test]
fn a_restart_that_is_interrupted_ends_in_a_gateway_all_the_same() {
    let tree = Tree::up();
    let signals = [("hangup", Signal::HUP, 1), ("interrupt", Signal::INT, 2), ("terminate", Signal::TERM, 15)];
    let profiles = ready(&tree, &signals.map(|(name, ..)| (name, "drain_ms=700\n")));
    for ((name, signal, number), profile) in signals.into_iter().zip(profiles) {
        let old = tree.wait_up(name);
        let restart = tree.tool("hermes-svc-restart").args(["-W", name]).start();
        drains(&profile);
        kill(restart.pid, signal);
        restart
            .wait()
            .fails(128 + number, "interrupted while waiting for *draining, and starts again when it has ended");
        is_another(&tree, &profile, old);
    }
}

#[test]
fn a_restart_may_be_interrupted_while_it_waits_for_readiness() {
    let tree = Tree::up();
    let coder = ready(&tree, &[("coder", "")]).remove(0).stand_in("never_ready=1\n");
    let old = tree.wait_up("coder");
    let restart = tree.tool("hermes-svc-restart").args(["-W", "coder"]).start();
    wait_until("another gateway", || tree.gateway("coder").is_some_and(|pid| pid != old));
    wait_until("the new one to start", || coder.starts() == 2);
    kill(restart.pid, Signal::INT);
    restart.wait().fails(130, "interrupted while waiting for coder: readiness; see *");
    assert_eq!(tree.svstat("coder", "up,wantedup,normallyup"), Some(vec!["true".to_string(); 3]));
}

#[test]
fn a_signal_that_the_caller_ignores_interrupts_nothing() {
    let tree = Tree::up();
    let coder = ready(&tree, &[("coder", "drain_ms=700\n")]).remove(0);
    let old = tree.wait_up("coder");
    let restart = tree.tool("sh").args(["-c", "trap '' HUP; exec hermes-svc-restart coder"]).start();
    drains(&coder);
    kill(restart.pid, Signal::HUP);
    restart.wait().is(0, "profile=coder action=restarted\n", "");
    is_another(&tree, &coder, old);
}

/// At most half of the gateways restart at a time, so there are two more, which come after these.
#[test]
fn one_that_drains_for_long_does_not_keep_the_others_down() {
    let tree = Tree::up();
    let profiles = ready(&tree, &[("a-slow", "drain_ms=4000\n"), ("b-quick", ""), ("c", ""), ("d", "")]);
    let (slow, quick) = (tree.wait_up("a-slow"), tree.wait_up("b-quick"));
    let restart = tree.tool("hermes-svc-restart").arg("-a").start();
    is_another(&tree, &profiles[1], quick);
    assert_eq!((tree.gateway("a-slow"), restart.is_running()), (Some(slow), true));
    let restarted = ["a-slow", "b-quick", "c", "d"].map(|name| format!("profile={name} action=restarted\n"));
    restart.wait().is(0, &restarted.concat(), "");
    is_another(&tree, &profiles[0], slow);
}

#[test]
fn start_waits_for_the_new_gateway_while_the_old_one_still_drains() {
    let tree = Tree::up();
    // Hermes Agent says that it is stopped, and ends some time later.
    let coder = ready(&tree, &[("coder", "drain_ms=2500\nend_ms=700\n")]).remove(0);
    for wait in ["-W", "-w"] {
        let old = tree.wait_up("coder");
        tree.tool("hermes-svc-stop").arg("coder").run().is(0, "profile=coder action=stopped\n", "");
        drains(&coder);
        start(&tree, &["-t", "1500", wait, "coder"]).fails(99, "timed out after 1500 ms waiting for coder: *; see *");
        start(&tree, &[wait, "coder"]).is(0, "profile=coder action=unchanged\n", "");
        assert_ne!(tree.gateway("coder"), Some(old), "{wait}");
        is_another(&tree, &coder, old);
    }
}

/// Row G4 of docs/failures.md.
#[test]
fn a_start_that_waits_for_another_container_says_so() {
    crate::support::needs_root();
    let tree = Tree::up();
    ready(&tree, &[("coder", "")]);
    // The second container: the same volume, another scandir, another PID namespace.
    let script = "mkdir $S6_PROFILE_GATEWAY_SCANDIR\n\
        s6-svscan $S6_PROFILE_GATEWAY_SCANDIR > other.log 2>&1 &\n\
        until s6-svscanctl -a $S6_PROFILE_GATEWAY_SCANDIR 2>/dev/null; do sleep 0.01; done\n\
        hermes-reconcile-one coder > reconciled && exec hermes-svc-start -W -t 4000 coder";
    let alone = tree.tool("unshare").args(["--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script]);
    let other = tree.scandir().with_file_name("other");
    let ran = alone.env("HERMES_SLOT_TEMPLATE", tree.template()).env("S6_PROFILE_GATEWAY_SCANDIR", other).run();
    let pid = tree.gateway("coder").expect("a gateway");
    ran.is(99, "", &format!("hermes-svc-start: fatal: timed out after 4000 ms waiting for coder: readiness; it waits for pid {pid} in another container (*); see *\n"));
}

#[test]
fn what_is_recorded_already_is_not_recorded_again() {
    // A full volume must not be an obstacle.
    crate::support::needs_root();
    let tree = Tree::up();
    let coder = ready(&tree, &[("coder", "")]).remove(0);
    let old = tree.wait_up("coder");
    let ran = tree.on_read_only_volume("exec hermes-svc-restart coder");
    ran.is(
        0,
        "profile=coder action=restarted\n",
        "hermes-svc-restart: warning: unable to write *.gateway-planned-stop.json: Read-only file system: *\n",
    );
    is_another(&tree, &coder, old);
}

#[test]
fn a_stop_that_cannot_be_recorded_says_what_stops_it_all_the_same() {
    crate::support::needs_root();
    let tree = Tree::up();
    let coder = ready(&tree, &[("coder", "")]).remove(0);
    let pid = tree.wait_up("coder");
    let ran = tree.on_read_only_volume("exec hermes-svc-stop -w coder");
    ran.is(111, "", "hermes-svc-stop: fatal: unable to write *gateway_state.json: Read-only file system; -k stops it without recording that\n");
    assert_eq!((tree.gateway("coder"), coder.desired().as_deref()), (Some(pid), Some("running")));
    tree.on_read_only_volume("exec hermes-svc-stop -k -w coder").is(0, "profile=coder action=stopped\n", "");
    tree.wait_down("coder");
}

#[test]
fn a_gateway_that_somebody_took_down_by_hand_is_explained_while_it_drains_and_after() {
    let tree = Tree::up();
    let coder = ready(&tree, &[("coder", "drain_ms=1500\n")]).remove(0);
    tree.tool("s6-svc").arg("-d").arg(tree.slot("coder")).run();
    drains(&coder);
    let explained = || tree.tool("hermes-svc-status").args(["-x", "coder"]).run();
    explained().is(
        0,
        "Manager: *\ncoder is draining, and its intent is running\n  because it was told to end, but nobody recorded that it \
         shall stay down*\n  next: hermes-svc-start -W coder\n",
        "",
    );
    tree.tool("hermes-reconcile-one").arg("coder").run().is(
        0,
        "reconcile: profile=coder prior_state=running action=unchanged port=* prior_exit=unknown note=drifting\n",
        "",
    );
    wait_until("coder to end", || explained().stdout.contains("coder is down"));
    explained().is(
        0,
        "Manager: *\ncoder is down, and its intent is running\n**\n  next: hermes-svc-start -W coder\n",
        "",
    );
}

#[test]
fn a_profile_without_a_slot_is_explained_too() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    tree.tool("hermes-svc-status").args(["-x", "coder"]).run().is(
        102,
        "Manager: *\ncoder is down, and its intent is running\n  because it has no slot*\n  next: hermes-reconcile-all *\n",
        "hermes-svc-status: fatal: no such gateway: coder is not registered in *\n",
    );
}

#[test]
fn whoever_follows_sees_a_gateway_get_ready() {
    let tree = Tree::up();
    tree.profile("coder");
    tree.tool("hermes-svc-register").arg("coder").run();
    let script = tree.script("follow", "#!/bin/sh\nexec hermes-svc-status -F coder > followed 2>&1\n");
    let mut following = tree.tool("sh").arg(&script).spawn();
    let seen = |what: &str| std::fs::read_to_string(tree.scratch().join("followed")).unwrap_or_default().contains(what);
    wait_until("the first look", || seen("coder"));
    start(&tree, &["-W", "coder"]).is(0, "profile=coder action=started\n", "");
    wait_until("readiness", || seen(" ready=yes "));
    following.kill().expect("kill");
    following.wait().expect("wait");
}

#[test]
fn an_order_that_a_stopped_supervisor_does_not_take_names_it() {
    let tree = Tree::up();
    ready(&tree, &[("coder", "")]);
    let supervisor = tree.supervisor(&tree.slot("coder")).expect("a supervisor");
    kill(supervisor, Signal::STOP);
    let ran = tree.tool("hermes-svc-stop").args(["-t", "300", "coder"]).run();
    kill(supervisor, Signal::CONT);
    ran.fails(99, "timed out after 300 ms waiting for the s6-supervise of *gateway-coder to want it down");
    tree.wait_down("coder");
}

#[test]
fn a_restart_that_a_stopped_supervisor_does_not_take_ends_in_a_gateway_all_the_same() {
    let tree = Tree::up();
    let coder = ready(&tree, &[("coder", "")]).remove(0);
    let old = tree.wait_up("coder");
    let supervisor = tree.supervisor(&tree.slot("coder")).expect("a supervisor");
    kill(supervisor, Signal::STOP);
    let ran = tree.tool("hermes-svc-restart").args(["-t", "300", "coder"]).run();
    kill(supervisor, Signal::CONT);
    ran.fails(99, "timed out after 300 ms waiting for the s6-supervise of *gateway-coder to want it down: coder is still draining, and starts again when it has ended");
    is_another(&tree, &coder, old);
}
