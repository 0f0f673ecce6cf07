//! A state belongs to a profile: a copy starts nothing and harms nobody, and a renamed profile keeps what it had.

use crate::support::{Profile, Ran, Tree, agent, kill, preferred_port, start_time, wait_until};
use rustix::process::Signal;
use std::fs;
use std::process::Command;

/// Copy a profile with all its files, as a clone or an import does.
fn copy<'a>(tree: &'a Tree, from: &Profile, to: &str) -> Profile<'a> {
    let copy = Profile::at(tree, to);
    let copied = Command::new("cp").arg("-a").arg(&from.dir).arg(&copy.dir).status().expect("cp");
    assert!(copied.success());
    copy
}

fn rename(tree: &Tree, old: &str, new: &str) {
    fs::rename(tree.profile_dir(old), tree.profile_dir(new)).expect("rename");
}

fn one(tree: &Tree, name: &str) -> Ran {
    tree.tool("hermes-reconcile-one").arg(name).run()
}

fn line(name: &str, prior: &str, action: &str, port: u32) -> String {
    format!("reconcile: profile={name} prior_state={prior} action={action} port={port} prior_exit=*\n")
}

/// Rows A7, A8 of docs/failures.md.
#[test]
fn a_copy_of_a_profile_that_runs_is_not_started() {
    let tree = Tree::up();
    let coder = tree.profile("coder").intent("running");
    one(&tree, "coder").is(0, &line("coder", "running", "started", 9530), "");
    let pid = tree.wait_up("coder");
    copy(&tree, &coder, "named");
    // The gateway's state file names no profile. The file of its gateway lock does.
    wait_until("the gateway of coder to write its state file", || coder.json()["gateway_state"] == "running");
    copy(&tree, &coder, "unnamed");
    let bare = copy(&tree, &coder, "bare");
    fs::remove_file(bare.dir.join(".hermes-s6.gateway.lock")).expect("lock");
    for name in ["named", "unnamed", "bare"] {
        one(&tree, name).is(0, &line(name, "foreign", "registered", preferred_port(name)), "");
        tree.wait_down(name);
    }
    for name in ["named", "unnamed"] {
        let explained = tree.tool("hermes-svc-status").args(["-x", name]).run();
        explained.is(0, &format!("Manager: *\n{name} is down, and its intent is foreign\n  because its state file is a copy *\n  next: hermes-svc-start -W {name}\n"), "");
    }
    tree.tool("hermes-svc-status").args(["-c", "named", "unnamed"]).run().is(0, "", "");

    // The next boot starts none of the copies, except the one that names no profile.
    tree.reboot();
    let stdout = line("default", "none", "registered", 9495)
        + &line("bare", "running", "started", preferred_port("bare"))
        + &line("coder", "running", "started", 9530)
        + &line("named", "foreign", "registered", preferred_port("named"))
        + &line("unnamed", "foreign", "registered", preferred_port("unnamed"))
        + "reconcile: done *\n";
    tree.tool("hermes-reconcile-all").run().is(0, &stdout, "");
    assert_ne!(tree.wait_up("coder"), pid);
}

/// Row A8 of docs/failures.md.
#[test]
fn the_gateway_of_a_copy_is_told_of_no_process_of_another_profile() {
    let tree = Tree::up();
    let coder = tree.profile("coder").intent("running");
    one(&tree, "coder");
    let pid = tree.wait_up("coder");
    wait_until("the gateway of coder to write its state file", || coder.json()["pid"] == pid);
    let twin = copy(&tree, &coder, "twin").stand_in("at_start() { cp \"$dir/gateway_state.json\" \"$dir/seen\"; }\n");
    one(&tree, "twin").is(0, &line("twin", "foreign", "registered", preferred_port("twin")), "");
    let start = tree.tool_as_account("hermes-svc-start").args(["-w", "twin"]).run();
    start.is(0, "profile=twin action=started\n", "");
    let seen: serde_json::Value = serde_json::from_str(&twin.read("seen")).expect("JSON");
    assert_eq!((&seen["hermes_s6_profile"], &seen["desired_state"]), (&"twin".into(), &"running".into()), "{seen}");
    assert!(seen.get("pid").is_none() && seen.get("start_time").is_none(), "{seen}");
    assert_eq!(tree.gateway("coder"), Some(pid));

    // The same if s6 was told directly, so that no tool has recorded an intent.
    let third = copy(&tree, &coder, "third").stand_in("at_start() { cp \"$dir/gateway_state.json\" \"$dir/seen\"; }\n");
    one(&tree, "third");
    tree.tool("s6-svc").arg("-u").arg(tree.slot("third")).run().is(0, "", "");
    tree.wait_up("third");
    wait_until("the copy that the gateway makes of its state file", || third.read("seen").ends_with("}\n"));
    let seen: serde_json::Value = serde_json::from_str(&third.read("seen")).expect("JSON");
    assert_eq!(seen["hermes_s6_profile"], "third");
    assert!(seen.get("pid").is_none() && seen.get("start_time").is_none(), "{seen}");
    assert!(start_time(pid).is_some());
}

/// Row A8 of docs/failures.md.
#[test]
fn a_volume_that_was_restored_as_a_whole_keeps_its_intents() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    tree.profile("writer").intent("stopped");
    tree.tool("hermes-reconcile-all").run();
    tree.wait_up("coder");
    tree.kill_hard();
    let script = "cp -a \"$1\" \"$1.new\" && rm -rf \"$1\" && mv \"$1.new\" \"$1\"";
    assert!(Command::new("sh").args(["-ec", script, "sh"]).arg(tree.home()).status().expect("sh").success());
    tree.wipe();
    tree.svscan();
    let stdout = line("default", "none", "registered", 9495)
        + &line("coder", "running", "started", 9530)
        + &line("writer", "stopped", "registered", 9685)
        + "reconcile: done *\n";
    tree.tool("hermes-reconcile-all").run().is(0, &stdout, "");
    tree.wait_up("coder");
}

/// Rows B4, E9 of docs/failures.md.
#[test]
fn a_rename_carries_intent_and_port_whichever_name_is_looked_at_first() {
    for old_first in [true, false] {
        let tree = Tree::up();
        tree.profile("coder").intent("running");
        one(&tree, "coder").is(0, &line("coder", "running", "started", 9530), "");
        tree.wait_up("coder");
        rename(&tree, "coder", "ranger");
        let gone = || one(&tree, "coder").is(0, "reconcile: profile=coder prior_state=none action=removed *\n", "");
        let here = || one(&tree, "ranger").is(0, &line("ranger", "running", "started", 9530), "");
        if old_first {
            gone();
            here();
        } else {
            here();
            gone();
        }
        tree.wait_up("ranger");
        tree.tool("hermes-port-alloc").arg("ranger").run().is(0, "9530\n", "");
        assert_eq!(fs::read_to_string(tree.home().join("gateway_ports.json")).expect("ports"), "{\"ranger\":9530}\n");
    }
}

/// A container has run the gateway of coder, and has ended. Then coder was renamed to ranger.
fn renamed_while_no_container_runs() -> Tree {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    tree.tool("hermes-reconcile-all").run();
    tree.wait_up("coder");
    tree.kill_hard();
    rename(&tree, "coder", "ranger");
    tree
}

/// Rows A7, B4 of docs/failures.md.
#[test]
fn of_two_copies_of_a_profile_that_is_gone_only_one_is_that_profile() {
    let tree = renamed_while_no_container_runs();
    let copy = tree.tool("cp").arg("-a").args([tree.profile_dir("ranger"), tree.profile_dir("scout")]);
    copy.run().is(0, "", "");
    tree.wipe();
    tree.svscan();
    let ran = tree.tool("hermes-reconcile-all").run();
    let stdout = "reconcile: profile=default *\n".to_string()
        + &line("ranger", "running", "started", 9530)
        + "reconcile: profile=scout prior_state=foreign action=registered *\nreconcile: done *\n";
    ran.is(0, &stdout, "");
    tree.wait_up("ranger");
    assert_eq!(tree.gateway("scout"), None);
}

/// Rows B4, E9 of docs/failures.md.
#[test]
fn a_rename_while_no_container_runs_carries_intent_and_port_also_in_a_dry_run() {
    let tree = renamed_while_no_container_runs();
    tree.wipe();
    tree.svscan();
    let stdout = "reconcile: profile=default *\n".to_string()
        + &line("ranger", "running", "started", 9530)
        + "reconcile: done *\n";
    tree.tool("hermes-reconcile-all").arg("-n").run().is(0, &stdout, "");
    tree.tool("hermes-reconcile-all").run().is(0, &stdout, "");
    tree.wait_up("ranger");
}

/// The program that the watcher of the image runs for each profile, with the watcher's options for it.
fn of_the_image() -> Vec<&'static str> {
    let run = include_str!("../../s6-rc.d/hermes-profile-watch/run");
    let line = run.lines().find_map(|line| line.strip_prefix("exec hermes-profile-watch ")).expect("the last line");
    line.split(' ').take_while(|word| !word.contains('>')).collect()
}

/// Start a watcher as in the image.
fn watched(tree: &Tree) -> std::process::Child {
    tree.tool("hermes-profile-watch").args(["-i", "500"]).args(of_the_image()).spawn()
}

#[test]
fn a_profile_that_is_gone_before_the_watchers_run_or_renamed_is_no_fault() {
    let tree = Tree::up();
    let coder = tree.profile("coder").intent("running");
    one(&tree, "coder");
    tree.wait_up("coder");
    wait_until("the gateway of coder to write its state file", || coder.json()["gateway_state"] == "running");
    tree.profile("writer");
    one(&tree, "writer");
    let ended = tree.scratch().join("ended");
    // The script makes two profiles vanish just before their runs begin.
    let script = r#"for name; do :; done
        case $name in
            brief) rm -r "$HERMES_HOME/profiles/brief" ;;
            old) mv "$HERMES_HOME/profiles/old" "$HERMES_HOME/profiles/new" ;;
        esac
        "$@"; code=$?
        echo "$name $code" >>"$0"
        exit $code"#;
    let watch = tree.tool("hermes-profile-watch").args(["-i", "500", "sh", "-c", script]);
    let watch = watch.arg(&ended).args(of_the_image()).start();
    let ran = |lines: &[&str]| {
        wait_until(&format!("the runs {lines:?}"), || {
            let log = fs::read_to_string(&ended).unwrap_or_default();
            lines.iter().all(|line| log.lines().any(|ended| ended == *line))
        });
    };
    // When this run has ended, the watcher's first look is over.
    tree.profile("early");
    ran(&["early 0"]);
    // The profiles are made elsewhere and moved into place, because their runs take them away at once.
    let profiles = tree.home().join("profiles");
    for name in ["brief", "old"] {
        let made = tree.profile(&format!(".{name}")).dir;
        fs::rename(made, profiles.join(name)).expect("rename");
    }
    ran(&["brief 100", "old 100", "new 0"]);
    rename(&tree, "coder", "ranger");
    tree.delete_profile("writer");
    // At its start the watcher has run for coder and writer already, so their slots are waited for.
    ran(&["ranger 0"]);
    wait_until("the slots of what is left", || tree.slots() == ["early", "new", "ranger"]);
    kill(watch.pid, Signal::TERM);
    let said = watch.wait();
    assert_eq!(said.code, 0, "{said}");
    assert!(!said.stderr.contains("fatal") && !said.stderr.contains("warning"), "{said}");
}

/// With the real client's own commands. Rows A7, A8 of docs/failures.md.
#[test]
fn a_clone_or_an_import_by_hermes_agent_starts_nothing_and_leaves_the_source_alone() {
    let tree = Tree::up();
    agent::install(&tree);
    let start = |name: &str, action: &str| {
        let ran = tree.tool_as_account("hermes-svc-start").args(["-W", name]).run();
        ran.is(0, &format!("profile={name} action={action}\n"), "");
    };
    let coder = tree.profile("coder").intent("running");
    tree.tool("hermes-reconcile-all").run();
    wait_until("the gateway", || tree.gateway("coder").is_some());
    start("coder", "unchanged");
    let pid = tree.gateway("coder").expect("a gateway");
    let mut watch = watched(&tree);
    let hermes = |args: &[&str]| {
        let ran = tree.tool_as_account("hermes").env("HOME", tree.home()).args(args).directory(tree.scratch()).run();
        assert_eq!(ran.code, 0, "{ran}");
    };
    hermes(&["profile", "create", "twin", "--clone-from", "coder", "--clone-all", "--no-alias"]);
    hermes(&["profile", "export", "coder", "-o", "coder.tar.gz"]);
    hermes(&["profile", "import", "coder.tar.gz", "--name", "third"]);
    for name in ["twin", "third"] {
        wait_until("the slot of the copy", || tree.svstat(name, "up").is_some());
        assert_eq!(tree.svstat(name, "up,wantedup"), Some(vec!["false".to_string(); 2]), "{name}");
    }
    start("third", "started");
    assert_eq!((tree.gateway("coder"), coder.json()["pid"].as_u64()), (Some(pid), Some(pid.into())));
    assert!(tree.gateway("third").is_some_and(|third| third != pid));
    let _ = watch.kill();
    let _ = watch.wait();
}

/// The watcher runs once more for each change of a profile, even while Hermes Agent is still copying the profile.
#[test]
fn a_state_that_names_nobody_marks_no_slot_up_at_a_second_run_either() {
    let tree = Tree::up();
    tree.profile("copy").state("{\"desired_state\":\"running\"}");
    for action in ["registered", "unchanged"] {
        let ran = tree.tool("hermes-reconcile-one").arg("copy").run();
        ran.is(0, &format!("reconcile: profile=copy prior_state=foreign action={action} *\n"), "");
        assert!(tree.slot("copy").join("down").exists(), "{action}");
    }
}
