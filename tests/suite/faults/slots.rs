//! Faults in the scandir.

use super::{injected, running, under_fault};
use crate::support::{Ran, Tree, kill, needs_root, wait_for, wait_until};
use rustix::process::Signal;
use std::fs;
use std::path::PathBuf;

const NONE: Vec<String> = Vec::new();

/// How many supervisors run in hidden directories?
fn hidden_supervisors(tree: &Tree) -> usize {
    let hidden = |dir: &PathBuf| dir.to_string_lossy().contains("/.gateway-");
    tree.processes().iter().filter(|p| p.comm == "s6-supervise" && hidden(&p.cwd)).count()
}

#[test]
fn what_a_killed_pass_has_hidden_is_gone_after_the_next() {
    needs_root();
    // The first pass is killed before s6-svscan is told of the hidden slot, and the second one before it deletes the
    // first file of the slot.
    for fault in ["renameat:delay_exit=20000000", "unlinkat:signal=KILL:when=1"] {
        let tree = running("dead", "");
        tree.profile("coder").intent("running");
        tree.tool("hermes-reconcile-all").arg("-w").run();
        let coder = tree.wait_up("coder");
        tree.delete_profile("dead");
        // The record of ports is also replaced by a rename, and that rename is not to be delayed.
        let path = if fault.starts_with("renameat") { "gateway-dead" } else { "" };
        let run = under_fault(&tree, path, fault, "hermes-reconcile-all").start();
        if fault.starts_with("renameat") {
            wait_until("the slot to be hidden", || !tree.leftovers().is_empty());
            let tool = |p: &&crate::support::Process| p.comm == "hermes-reconcil";
            kill(tree.processes().iter().find(tool).expect("the tool").pid, Signal::KILL);
        }
        let ran = run.wait();
        assert_eq!((ran.code, tree.leftovers().len()), (137, 1), "{fault}: {ran}");
        let ran = tree.tool("hermes-reconcile-all").run();
        assert_eq!((ran.code, tree.slots()), (0, vec!["coder".to_string(), "default".to_string()]), "{ran}");
        assert_eq!((tree.leftovers(), hidden_supervisors(&tree)), (NONE, 0), "{fault}: {ran}");
        assert_eq!(tree.gateway("coder"), Some(coder));
        assert!(!tree.profile("default").read("gateway_ports.json").contains("dead"));
    }
}

/// The names with a leading dot in a slot's directory, and the slot's variables.
fn env(tree: &Tree) -> (Vec<String>, Vec<(String, String)>) {
    let names = |dir: PathBuf| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let slot = tree.slot("coder");
    let hidden = names(slot.clone()).into_iter().filter(|name| name.starts_with('.')).collect();
    let value = |name: String| {
        let text = fs::read_to_string(slot.join("env").join(&name)).unwrap_or_default();
        (name, text.trim_end().to_string())
    };
    (hidden, names(slot.join("env")).into_iter().map(value).collect())
}

fn variables(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn register(tree: &Tree, args: &[&str]) -> Ran {
    tree.tool("hermes-svc-register").args(args).arg("coder").run()
}

#[test]
fn variables_of_a_killed_register_do_not_stay_in_a_live_slot() {
    needs_root();
    let tree = Tree::up();
    tree.profile("coder");
    register(&tree, &["-e", "A=old", "-e", "B=2"]).is(0, "profile=coder action=registered port=*\n", "");
    let old = variables(&[("A", "old"), ("B", "2")]);
    let new = variables(&[("A", "new"), ("C", "3")]);
    let (mut killed, mut reached) = (0, 0);
    for (call, most) in [("mkdirat", 2), ("renameat2", 1), ("renameat", 2), ("unlinkat", 5), ("fsync", 3)] {
        for n in 1..=most {
            let fault = format!("{call}:signal=KILL:when={n}");
            let strace = under_fault(&tree, "", &fault, "hermes-svc-register");
            let ran = strace.args(["-e", "A=new", "-e", "C=3", "coder"]).run();
            killed += usize::from(ran.code == 137);
            let (hidden, values) = env(&tree);
            reached += usize::from(ran.code == 137 && !hidden.is_empty());
            assert!(values == old || values == new, "{fault}: {values:?}");
            // The next registration, with or without variables, succeeds and leaves no temporary name.
            let again: &[&str] = if n % 2 == 1 { &["-e", "A=new", "-e", "C=3"] } else { &[] };
            let ran = register(&tree, again);
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{fault}: {ran}");
            let (hidden, values) = env(&tree);
            assert_eq!(hidden, NONE, "{fault}");
            if !again.is_empty() {
                assert_eq!(values, new, "{fault}");
            }
            tree.tool("hermes-svc-unregister").arg("coder").run();
            register(&tree, &["-e", "A=old", "-e", "B=2"]);
        }
    }
    assert!(killed > 1 && reached > 0, "{killed} killed, {reached} in the middle");
}

#[test]
fn a_slot_that_takes_another_shape_keeps_its_variables_whatever_fails() {
    needs_root();
    let tree = Tree::up();
    tree.profile("coder");
    let (with, without) = (tree.template(), tree.template().with_file_name("template2"));
    tree.tool("cp").arg("-a").arg(&with).arg(&without).run().is(0, "", "");
    fs::remove_dir_all(without.join("log")).expect("log");
    let template = |path: &PathBuf| path.display().to_string();
    register(&tree, &["-T", &template(&without), "-e", "A=kept"]).is(0, "profile=coder action=registered port=*\n", "");
    let kept = variables(&[("A", "kept")]);
    let (mut from, mut to) = (without, with);
    let mut reached = 0;
    for call in ["mkdirat", "symlinkat", "renameat2", "renameat", "mknodat", "fchownat", "fsync"] {
        for (n, how) in [
            (1, "error=EIO"),
            (2, "error=ENOMEM"),
            (3, "error=EIO"),
            (5, "error=ENOMEM"),
            (1, "signal=KILL"),
            (4, "signal=KILL"),
        ] {
            let fault = format!("{call}:{how}:when={n}");
            let strace = under_fault(&tree, "", &fault, "hermes-svc-register");
            let ran = strace.args(["-T", &template(&to), "coder"]).run();
            if !injected(&tree) && ran.code != 137 {
                // The tool does not make so many calls of this name.
                assert_eq!(ran.code, 0, "{fault}: {ran}");
            } else {
                reached += 1;
            }
            assert_eq!(env(&tree).1, kept, "{fault}: {ran}");
            let ran = register(&tree, &["-T", &template(&to)]);
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{fault}: {ran}");
            assert_eq!(env(&tree), (NONE, kept.clone()), "{fault}");
            assert_eq!((tree.slots(), tree.leftovers()), (vec!["coder".to_string()], NONE), "{fault}");
            assert_eq!(tree.slot("coder").join("log").exists(), to.join("log").exists(), "{fault}");
            std::mem::swap(&mut from, &mut to);
        }
    }
    assert!(reached > 8, "only {reached} calls failed");
}

/// Without renameat2 an exchange takes three renames, and a run may be killed before each of them.
#[test]
fn a_kill_in_the_middle_of_an_exchange_without_renameat2_loses_no_variable() {
    needs_root();
    let (old, new) = (variables(&[("A", "old")]), variables(&[("A", "new")]));
    let mut reached = 0;
    for shape in [false, true] {
        for n in 1..=4 {
            let tree = Tree::up();
            tree.profile("coder");
            register(&tree, &["-e", "A=old"]).is(0, "profile=coder action=registered port=9530\n", "");
            if shape {
                fs::remove_dir_all(tree.template().join("log")).expect("log");
            }
            let faults = ["inject=renameat2:error=ENOSYS".to_string(), format!("inject=renameat:signal=KILL:when={n}")];
            let strace = tree.tool("strace").args(["-qqq", "-e", "trace=renameat,renameat2", "-o", "/dev/null"]);
            let strace = faults.iter().fold(strace, |strace, fault| strace.args(["-e", fault]));
            let strace = strace.arg(tree.bin().join("hermes-svc-register"));
            let variable: &[&str] = if shape { &[] } else { &["-e", "A=new"] };
            let ran = strace.args(variable).arg("coder").run();
            assert!([0, 137].contains(&ran.code), "{ran}");
            let what = format!("{shape} {n} {}", ran.code);
            if !shape {
                // A gateway that starts now has the variables.
                reached += usize::from(!tree.slot("coder").join("env").exists());
                tree.tool("hermes-svc-start").args(["-w", "coder"]).run().is(0, "profile=coder action=started\n", "");
                let gateway = tree.profile("coder").read("stand-in.env");
                assert!(gateway.lines().any(|line| line == "A=old" || line == "A=new"), "{what}: {gateway}");
                tree.tool("hermes-svc-stop").args(["-w", "coder"]).run().is(0, "profile=coder action=stopped\n", "");
            } else {
                reached += usize::from(!tree.slot("coder").exists());
            }
            let ran = tree.tool("hermes-reconcile-one").arg("coder").run();
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{what}: {ran}");
            let (hidden, values) = env(&tree);
            assert!(values == old || !shape && values == new, "{what}: {values:?}: {ran}");
            assert_eq!((hidden, tree.leftovers()), (NONE, NONE), "{what}");
        }
    }
    assert!(reached >= 2, "{reached}");
}

#[test]
fn a_template_that_cannot_be_looked_at_just_now_is_no_reason_never_to_try_again() {
    needs_root();
    let tree = Tree::up();
    tree.profile("coder");
    let path = tree.template().display().to_string();
    for (path, fault) in [
        ("template", "openat:error=EMFILE:when=1"),
        ("template", "openat:error=EIO:when=1"),
        (path.as_str(), "fstat:error=EIO:when=1"),
        (path.as_str(), "getdents64:error=EIO:when=1"),
    ] {
        let ran = under_fault(&tree, path, fault, "hermes-svc-register").arg("coder").run();
        super::is_system_error(&tree, "hermes-svc-register", ran);
        assert_eq!((tree.slots(), tree.leftovers()), (NONE, NONE), "{fault}");
    }
    register(&tree, &[]).is(0, "profile=coder action=registered port=9530\n", "");
}

#[test]
fn a_directory_named_env_in_the_template_is_part_of_the_slot_below_its_top() {
    let tree = Tree::up();
    tree.profile("coder");
    for name in ["data/env", "data/event", "data/supervise", "log/data"] {
        fs::create_dir_all(tree.template().join(name)).expect("mkdir");
        fs::write(tree.template().join(name).join("down"), "x\n").expect("file");
    }
    register(&tree, &[]).is(0, "profile=coder action=registered port=9530\n", "");
    for name in ["data/env/down", "data/event/down", "data/supervise/down", "log/data/down"] {
        assert_eq!(fs::read_link(tree.slot("coder").join(name)).ok(), Some(tree.template().join(name)), "{name}");
    }
}

#[test]
fn a_slot_that_nobody_holds_yet_stays_marked_up() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    kill(tree.svscan_pid(), Signal::STOP);
    let all = tree.tool("hermes-reconcile-all").run();
    let down = || tree.slot("coder").join("down").exists();
    assert!(all.stdout.contains("profile=coder prior_state=running action=started") && !down(), "{all}");
    let one = tree.tool("hermes-reconcile-one").args(["-t", "2500", "coder"]).run();
    let (there, is_down) = (tree.slots().contains(&"coder".to_string()), down());
    kill(tree.svscan_pid(), Signal::CONT);
    assert_eq!((one.code, there, is_down), (99, true, false), "{one}");
    tree.wait_up("coder");
    assert_eq!(tree.leftovers(), NONE);
}

/// The watcher and `hermes profile delete` retire a slot at the same time.
#[test]
fn two_that_retire_one_slot_at_once_both_succeed() {
    let tree = Tree::up();
    tree.profile("coder").stand_in("drain_ms=50\n");
    for round in 0..10 {
        register(&tree, &["-u"]).is(0, "profile=coder action=registered port=9530\n", "");
        tree.wait_up("coder");
        let runs = [0, 1].map(|_| tree.tool("hermes-svc-unregister").arg("coder").start());
        let ran = runs.map(crate::support::Running::wait);
        for ran in &ran {
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "round {round}: {ran}");
        }
        assert!(ran.iter().any(|ran| ran.stdout == "profile=coder action=unregistered\n"), "{}{}", ran[0], ran[1]);
        assert_eq!((tree.slots(), tree.leftovers()), (NONE, NONE), "round {round}");
        fs::remove_file(tree.profile("coder").dir.join("stand-in.starts")).expect("starts");
    }
}

/// s6-svlink makes such links.
#[test]
fn a_link_in_the_place_of_a_slot_is_no_slot_and_is_named() {
    let tree = Tree::up();
    let coder = tree.profile("coder").intent("stopped");
    let elsewhere = tree.root().join("elsewhere");
    fs::create_dir(&elsewhere).expect("mkdir");
    crate::support::executable(&elsewhere.join("run"), "#!/bin/sh\nexec sleep 1000\n");
    fs::write(elsewhere.join("down"), "").expect("down");
    std::os::unix::fs::symlink(&elsewhere, tree.slot("coder")).expect("link");
    tree.tool("s6-svscanctl").arg("-a").arg(tree.scandir()).run().is(0, "", "");
    let state = coder.read("gateway_state.json");
    tree.tool("hermes-svc-list").run().is(0, "", "");
    let ran = tree.tool("hermes-reconcile-all").run();
    assert!(ran.code == 111 && ran.stderr.contains("gateway-coder"), "{ran}");
    for tool in ["hermes-svc-register", "hermes-svc-start"] {
        let ran = tree.tool(tool).arg("coder").run();
        assert!(ran.code != 0 && ran.stdout.is_empty() && ran.stderr.lines().count() == 1, "{ran}");
        assert!(ran.stderr.contains("gateway-coder"), "what is in the way is named: {ran}");
        assert_eq!(fs::read_link(tree.slot("coder")).ok(), Some(elsewhere.clone()), "{ran}");
        assert!(elsewhere.join("run").exists() && elsewhere.join("down").exists(), "{ran}");
        assert_eq!(tree.leftovers(), NONE, "{ran}");
        assert_eq!(coder.read("gateway_state.json"), state, "{ran}");
    }
}

/// If a wait fails, that is no time-out. So the tool does not go on to harder orders.
#[test]
fn a_wait_that_fails_is_neither_a_time_out_nor_done() {
    needs_root();
    let tree = Tree::up();
    tree.profile("coder").stand_in("drain_ms=300\n");
    let mut failed = 0;
    for n in 1..=6 {
        let fault = format!("ppoll:error=ENOMEM:when={n}");
        for (tool, done) in [("hermes-svc-register", "registered"), ("hermes-svc-unregister", "unregistered")] {
            let ran = under_fault(&tree, "", &fault, tool).arg("coder").run();
            failed += usize::from(injected(&tree) && ran.code != 0);
            if ran.code == 0 {
                // If a wait failed and the exit code is 0, the work is done.
                ran.is(0, &format!("profile=coder action={done}*\n"), "");
                let supervised = tree.supervisor(&tree.slot("coder")).is_some();
                assert_eq!((supervised, tree.leftovers()), (done == "registered", NONE), "{fault}");
            } else {
                // On a busy machine, the slot that register takes away again may be drained late. That adds a warning.
                let fatal: Vec<_> = ran.stderr.lines().filter(|line| !line.contains(": warning: ")).collect();
                assert!(matches!(fatal[..], [line] if !line.contains("timed out")), "{fault}: {ran}");
                assert_eq!((ran.code, ran.stdout.as_str()), (111, ""), "{fault}: {ran}");
            }
            let ran = tree.tool(tool).arg("coder").run();
            assert_eq!((ran.code, ran.stderr.as_str(), tree.leftovers()), (0, "", NONE), "{fault}: {ran}");
            if done == "registered" {
                tree.tool("hermes-svc-start").arg("coder").run();
                wait_until("the gateway", || tree.gateway("coder").is_some());
            }
        }
        assert_eq!(tree.slots(), NONE, "{fault}");
    }
    assert!(failed > 0, "no wait failed");
}

#[test]
fn an_order_that_meets_a_supervisor_just_killed_goes_to_the_next_one() {
    needs_root();
    for (line, said, up) in [
        ("hermes-svc-stop -w coder", "profile=coder action=stopped\n", false),
        ("hermes-svc-start -w coder", "profile=coder action=started\n", true),
        ("hermes-svc-restart -w coder", "profile=coder action=restarted\n", true),
        ("hermes-svc-unregister coder", "profile=coder action=unregistered\n", false),
    ] {
        let tree = running("coder", "drain_ms=500\n");
        if line.contains("start -w") && !line.contains("restart") {
            tree.tool("hermes-svc-stop").args(["-w", "coder"]).run().is(0, "profile=coder action=stopped\n", "");
        }
        // Each s6-svc is stopped before it does anything. At the first one, the tool has looked at the supervisor.
        let mut words = line.split(' ');
        let tool = tree.bin().join(words.next().expect("a tool"));
        let stop = ["-f", "-qqq", "-P", "/usr/bin/s6-svc", "-e", "trace=execve", "-e", "inject=execve:signal=STOP"];
        let trace = tree.root().join("trace");
        let run = tree.tool("strace").args(stop).arg("-o").arg(trace).arg(tool).args(words).start();
        let stopped = || tree.processes().into_iter().find(|p| p.comm == "s6-svc").map(|p| p.pid);
        wait_for("s6-svc", stopped);
        kill(tree.supervisor(&tree.slot("coder")).expect("supervisor"), Signal::KILL);
        wait_until("the tool to end", || {
            stopped().into_iter().for_each(|pid| kill(pid, Signal::CONT));
            !run.is_running()
        });
        run.wait().is(0, said, "");
        assert_eq!(tree.gateway("coder").is_some(), up, "{line}");
    }
}

/// Row B4 of docs/failures.md.
#[test]
fn a_profile_that_is_made_while_a_pass_runs_does_not_count_as_gone() {
    needs_root();
    let tree = running("coder", "");
    tree.tool("hermes-reconcile-one").arg("default").run();
    // The pass is stopped when it has listed the profiles.
    let profiles = tree.home().join("profiles").display().to_string();
    let pass = under_fault(&tree, &profiles, "getdents64:signal=STOP:when=2", "hermes-reconcile-all").start();
    let stopped = || fs::read_to_string(tree.root().join("trace")).is_ok_and(|trace| trace.contains("SIGSTOP"));
    wait_until("the pass to have listed the profiles", stopped);
    tree.profile("writer").intent("running");
    tree.tool("hermes-reconcile-one").arg("writer").run();
    let writer = tree.wait_up("writer");
    wait_until("the pass to end", || {
        let mine = tree.processes().into_iter().filter(|p| p.comm == "hermes-reconcil");
        mine.for_each(|p| kill(p.pid, Signal::CONT));
        !pass.is_running()
    });
    let ran = pass.wait();
    assert!(ran.code == 0 && !ran.stdout.contains("action=removed"), "{ran}");
    assert_eq!((tree.gateway("writer"), tree.leftovers()), (Some(writer), NONE));
}
