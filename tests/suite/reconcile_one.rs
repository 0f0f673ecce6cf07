//! hermes-reconcile-one acts on one profile at any time, and on no other profile.

use crate::support::{Profile, Tree, kill, preferred_port, snapshot, start_time, wait_until};
use rustix::process::Signal;
use std::fs;

fn line(name: &str, prior: &str, action: &str) -> String {
    let port = preferred_port(name);
    format!("reconcile: profile={name} prior_state={prior} action={action} port={port} prior_exit=unknown\n")
}

/// Rows B1, B2 of docs/failures.md.
#[test]
fn one_profile_gets_its_slot_and_no_other_does() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    tree.profile("writer").intent("running");
    let one = || tree.tool("hermes-reconcile-one").arg("coder").run();
    one().is(0, &line("coder", "running", "started"), "");
    // The slot is supervised when the tool returns.
    assert!(tree.svstat("coder", "up").is_some() && tree.supervisor(&tree.slot("coder").join("log")).is_some());
    let pid = tree.wait_up("coder");
    assert_eq!((tree.slots(), tree.leftovers()), (vec!["coder".to_string()], vec![]));
    let before = snapshot(&[&tree.scandir()]);
    one().is(0, &line("coder", "running", "unchanged"), "");
    before.still_holds();
    assert_eq!(tree.gateway("coder"), Some(pid));
    let json = "{\"profile\":\"coder\",\"prior_state\":\"running\",\"action\":\"unchanged\",\"port\":9530,\"prior_exit\":\"unknown\",\"note\":null,\"dry_run\":false}\n";
    tree.tool("hermes-reconcile-one").args(["-j", "coder"]).run().is(0, json, "");
}

/// Row B9 of docs/failures.md.
#[test]
fn default_always_works() {
    let tree = Tree::up();
    tree.tool("hermes-reconcile-one").arg("default").run().is(0, &line("default", "none", "registered"), "");
    tree.wait_down("default");
}

#[test]
fn what_is_neither_a_profile_nor_a_slot_is_refused() {
    let tree = Tree::up();
    Profile::bare(&tree, "no-marker").intent("running");
    fs::write(tree.home().join("profiles/a-file"), "").expect("file");
    let before = snapshot(&[&tree.home(), &tree.scandir()]);
    for name in ["nobody", "no-marker", "a-file"] {
        tree.tool("hermes-reconcile-one").arg(name).run().fails(100, &format!("no such profile: {name}*"));
    }
    before.still_holds();
    // With `-q`, as the watcher runs it, the tool prints nothing about a name that is gone again. The exit code is the
    // same.
    fs::create_dir_all(tree.home().join("elsewhere")).expect("directory");
    std::os::unix::fs::symlink("../elsewhere", tree.home().join("profiles/link")).expect("link");
    let quiet = |name: &str| tree.tool("hermes-reconcile-one").args(["-q", name]).run();
    ["nobody", "no-marker", "a-file"].iter().for_each(|name| _ = quiet(name).is(100, "", ""));
    quiet("Bad").fails(100, "invalid profile name *");
    // The target of a link may only be absent for the moment, so a link is reported.
    quiet("link").fails(100, "no such profile: link*");
}

/// Row B5 of docs/failures.md.
#[test]
fn a_slot_whose_profile_is_gone_is_drained_and_retired() {
    let tree = Tree::up();
    let profile = tree.profile("coder").intent("running").stand_in("drain_ms=400\n");
    tree.tool("hermes-reconcile-one").arg("coder").run();
    let pid = tree.wait_up("coder");
    fs::rename(&profile.dir, tree.scratch().join("coder")).expect("rename");
    let stdout = "reconcile: profile=coder prior_state=none action=removed port=* prior_exit=unknown\n";
    tree.tool("hermes-reconcile-one").arg("coder").run().is(0, stdout, "");
    assert_eq!((start_time(pid), tree.slots(), tree.leftovers()), (None, vec![], vec![]));
    tree.tool("hermes-reconcile-one").arg("coder").run().fails(100, "no such profile: coder*");
    assert!(!tree.profile("default").read("gateway_ports.json").contains("coder"));
}

#[test]
fn a_drain_that_takes_too_long_is_a_timeout() {
    let tree = Tree::up();
    tree.profile("coder").intent("running").stand_in("ignore_term=1\n");
    tree.tool("hermes-reconcile-one").arg("coder").run();
    let pid = tree.wait_up("coder");
    tree.delete_profile("coder");
    let ran = tree.tool("hermes-reconcile-one").args(["-t", "300", "coder"]).run();
    let stdout = "reconcile: profile=coder prior_state=none action=removed port=* prior_exit=unknown note=draining\n";
    ran.is(99, stdout, "hermes-reconcile-one: warning: *timed out after 300 ms *coder*\n");
    assert!(start_time(pid).is_some() && tree.slots().is_empty());
    kill(pid, Signal::KILL);
}

/// Rows B6, B7 of docs/failures.md.
#[test]
fn an_odd_neighbour_harms_only_itself() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    let odd = tree.profile("odd").fifo("gateway_state.json").directory(".env").link("config.yaml", "/etc/passwd");
    for name in ["_x", "X", "default"] {
        fs::create_dir_all(tree.home().join("profiles").join(name)).expect("mkdir");
        fs::write(tree.home().join("profiles").join(name).join("SOUL.md"), "").expect("marker");
    }
    tree.tool("hermes-reconcile-one").arg("coder").run().is(0, &line("coder", "running", "started"), "");
    let ran = tree.tool("hermes-reconcile-one").arg("odd").run();
    ran.is(0, &line("odd", "invalid", "registered"), "**");
    assert_eq!(odd.starts(), 0);
    tree.wait_up("coder");
}

#[test]
fn a_dry_run_changes_nothing() {
    let tree = Tree::up();
    tree.profile("coder").intent("running").file("gateway.pid", "1");
    let before = snapshot(&[&tree.home(), &tree.scandir()]);
    tree.tool("hermes-reconcile-one").args(["-n", "coder"]).run().is(0, &line("coder", "running", "started"), "");
    before.still_holds();
    tree.tool("hermes-reconcile-one").arg("coder").run();
    tree.wait_up("coder");
    tree.delete_profile("coder");
    let before = snapshot(&[&tree.home(), &tree.scandir()]);
    tree.tool("hermes-reconcile-one").args(["-n", "coder"]).run().is(
        0,
        "reconcile: profile=coder * action=removed *\n",
        "",
    );
    before.still_holds();
}

#[test]
fn without_an_s6_svscan_it_publishes_and_warns() {
    let tree = Tree::new();
    tree.profile("coder").intent("running");
    let warning = "hermes-reconcile-one: warning: no s6-svscan *\n";
    tree.tool("hermes-reconcile-one").arg("coder").run().is(0, &line("coder", "running", "started"), warning);
    tree.tool("hermes-reconcile-one").arg("coder").run().is(0, &line("coder", "running", "unchanged"), warning);
    tree.svscan();
    tree.wait_up("coder");
}

#[test]
fn where_this_container_owns_no_gateways_it_does_nothing() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    let before = snapshot(&[&tree.home(), &tree.scandir()]);
    let ran = tree.tool("hermes-reconcile-one").env("HERMES_SKIP_PROFILE_RECONCILE", "true").arg("coder").run();
    ran.is(0, "reconcile: profile=coder * action=skipped * note=skip-requested\n", "");
    before.still_holds();
}

#[test]
fn it_does_not_answer_before_the_slot_takes_commands() {
    let tree = Tree::up();
    for n in 0..6 {
        let name = format!("p{n}");
        tree.profile(&name);
        tree.tool("hermes-reconcile-one").arg(&name).run().is(0, &line(&name, "none", "registered"), "");
        tree.tool("s6-svc").arg("-u").arg(tree.slot(&name)).run().is(0, "", "");
    }
    wait_until("all to be up", || (0..6).all(|n| tree.gateway(&format!("p{n}")).is_some()));
}

#[test]
fn a_slot_that_nobody_takes_up_is_taken_back_and_the_next_run_has_its_chance() {
    // A slot above s6-svscan's limit would stop all its scans. In this test s6-svscan is only busy.
    let tree = Tree::up();
    tree.profile("coder");
    kill(tree.svscan_pid(), Signal::STOP);
    let ran = tree.tool("hermes-reconcile-one").args(["-t", "1000", "coder"]).run();
    kill(tree.svscan_pid(), Signal::CONT);
    ran.fails(99, "timed out after 1000 ms waiting for s6-supervise to hold *");
    assert_eq!((tree.slots(), tree.leftovers()), (vec![], vec![]));
    tree.tool("hermes-reconcile-one").arg("coder").run().is(0, &line("coder", "none", "registered"), "");
}
