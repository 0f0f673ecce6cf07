//! Faults in looks at what decides whether `default` serves a profile: the installed Hermes Agent, the profile's
//! `config.yaml`, the marks of deleted profiles, and the state of `default`.

use super::{injected, is_system_error, under_fault};
use crate::autostart::is;
use crate::support::{Ran, Tree, agent, is_root, needs_root, wait_until};
use rustix::fs::{Mode, chmod};
use std::fs;
use std::path::Path;

const OWN: &str = "gateway:\n  standalone: true\n";

/// A tree with Hermes Agent 0.21.4, in which `default` serves `writer`, and `coder` has a gateway of its own.
fn serving() -> Tree {
    let tree = Tree::new();
    agent::stand_in(&tree, "0.21.4");
    tree.svscan();
    let default = tree.profile("default").intent("running");
    tree.profile("coder").intent("running").file("config.yaml", OWN);
    tree.profile("writer").intent("running");
    tree.tool("hermes-reconcile-all").arg("-w").run();
    tree.wait_up("coder");
    wait_until("default to serve", || default.json()["served_profiles"].as_array().is_some());
    tree
}

/// Take all rights to this path away.
fn closed(path: &Path) {
    chmod(path, Mode::empty()).expect("mode");
}

/// Check that coder's gateway still runs and keeps its slot and its port, that the pass has failed for coder, and what it
/// has said.
#[track_caller]
fn coder_is_left_alone(tree: &Tree, gateway: u32, ran: &Ran, said: &str) {
    assert_eq!(ran.code, 111, "{ran}");
    assert!(ran.stdout.contains("profile=coder prior_state=") && ran.stdout.contains(" action=failed "), "{ran}");
    assert!(ran.stderr.contains(said), "{said}: {ran}");
    assert_eq!((tree.gateway("coder"), tree.profile("writer").starts()), (Some(gateway), 0), "{ran}");
    assert_eq!(tree.svstat("coder", "wantedup,normallyup"), Some(vec!["true".to_string(); 2]), "{ran}");
    assert_eq!((tree.leftovers(), tree.slots().len()), (Vec::new(), 3), "{ran}");
    assert!(tree.profile("default").read("gateway_ports.json").contains("\"coder\""), "{ran}");
}

/// Row I5 of docs/failures.md.
#[test]
fn whether_default_serves_a_profile_whose_config_cannot_be_read_is_not_guessed() {
    let tree = serving();
    let gateway = tree.wait_up("coder");
    let config = tree.profile("coder").dir.join("config.yaml");
    if is_root() {
        let path = "profiles/coder/config.yaml";
        let said = format!("unable to read {path}: ");
        for fault in ["openat2:error=EIO", "openat2:error=EMFILE", "openat2:error=ESTALE"] {
            let ran = under_fault(&tree, path, fault, "hermes-reconcile-all").run();
            assert!(injected(&tree), "{fault}: {ran}");
            coder_is_left_alone(&tree, gateway, &ran, &said);
            for tool in ["hermes-svc-start", "hermes-svc-restart"] {
                is_system_error(&tree, tool, under_fault(&tree, path, fault, tool).arg("coder").run());
            }
        }
    }
    closed(&config);
    let said = format!("unable to tell whether coder is standalone: {} is not read: ", config.display());
    coder_is_left_alone(&tree, gateway, &tree.tool("hermes-reconcile-all").run(), &said);
    coder_is_left_alone(&tree, gateway, &tree.tool("hermes-reconcile-one").arg("coder").run(), &said);
    let said = format!("{said}Permission denied");
    for tool in ["hermes-svc-start", "hermes-svc-restart"] {
        tree.tool(tool).arg("coder").run().fails(111, &said);
    }
    tree.tool("hermes-run-gateway").arg("coder").run().is(111, "", &format!("**hermes-run-gateway: fatal: {said}\n"));
    let ran = tree.tool("hermes-svc-status").arg("coder").run();
    assert!(ran.code == 111 && ran.stdout.contains("unreadable-mode") && ran.stderr.contains(&said), "{ran}");
    // The fault is coder's alone.
    let ran = tree.tool("hermes-svc-start").args(["-a"]).run();
    ran.is(111, "profile=default action=unchanged\n", &format!("**hermes-svc-start: fatal: {said}\n"));
    assert_eq!(tree.gateway("coder"), Some(gateway));
}

#[test]
fn the_files_of_an_installed_client_that_cannot_be_listed_just_now_decide_nothing() {
    needs_root();
    let tree = serving();
    let gateway = tree.wait_up("coder");
    let packages = tree.root().join("venv/lib/python3.14/site-packages");
    let path = packages.display().to_string();
    for fault in ["getdents64:error=EIO", "openat:error=EIO", "openat:error=EMFILE", "openat:error=ENOMEM"] {
        let said = format!("unable to read {path}: ");
        let ran = under_fault(&tree, &path, fault, "hermes-reconcile-all").run();
        assert!(injected(&tree), "{fault}: {ran}");
        coder_is_left_alone(&tree, gateway, &ran, &said);
        for (tool, name) in [("hermes-svc-start", "writer"), ("hermes-svc-restart", "writer")] {
            let ran = under_fault(&tree, &path, fault, tool).arg(name).run();
            assert!(ran.stderr.contains(&said), "{fault}: {ran}");
            is_system_error(&tree, tool, ran);
        }
        let ran = under_fault(&tree, &path, fault, "hermes-svc-status").arg("writer").run();
        assert!(ran.code == 111 && ran.stdout.contains("unreadable-mode") && ran.stderr.contains(&said), "{ran}");
        assert_eq!(tree.profile("writer").starts(), 0, "{fault}");
    }
    // The name of the program itself, too.
    let program = tree.bin().join("hermes").display().to_string();
    let ran = under_fault(&tree, &program, "readlink:error=EIO", "hermes-reconcile-all").run();
    assert!(injected(&tree), "{ran}");
    coder_is_left_alone(&tree, gateway, &ran, &format!("unable to look for {program}: "));
}

#[test]
fn a_profile_whose_mark_cannot_be_looked_at_is_neither_there_nor_gone() {
    let tree = serving();
    let gateway = tree.wait_up("coder");
    let deleted = tree.home().join("profiles/.deleted");
    tree.profile("default").directory("profiles/.deleted");
    let said = format!("unable to look at {}: ", deleted.display());
    let check = |ran: &Ran| coder_is_left_alone(&tree, gateway, ran, &said);
    let start = |tool: crate::support::Tool| tool.arg("writer").run();
    if is_root() {
        for path in ["profiles/.deleted", ".deleted"] {
            for fault in ["openat2:error=EIO", "openat2:error=EMFILE", "openat2:error=ESTALE"] {
                let ran = under_fault(&tree, path, fault, "hermes-reconcile-all").run();
                assert!(injected(&tree), "{path} {fault}: {ran}");
                // A pass lists the profiles by the short name, and looks into each by the long one.
                if path != ".deleted" { check(&ran) } else { assert!(!ran.stdout.contains("action=removed"), "{ran}") }
            }
        }
        let marks = deleted.display().to_string();
        let ran = under_fault(&tree, &marks, "newfstatat:error=EIO", "hermes-reconcile-all").run();
        assert!(injected(&tree), "{ran}");
        check(&ran);
        let ran = start(under_fault(&tree, "profiles/.deleted", "openat2:error=EIO", "hermes-svc-start"));
        ran.is(111, "", &format!("hermes-svc-start: fatal: {said}*\n"));
    }
    closed(&deleted);
    let denied = format!("{said}Permission denied (hermes-fix-attrs gives back what root left)");
    check(&tree.tool("hermes-reconcile-all").run());
    tree.tool("hermes-reconcile-one").arg("coder").run().fails(111, &denied);
    start(tree.tool("hermes-svc-start")).fails(111, &denied);
    tree.tool("hermes-svc-status").arg("coder").run().fails(111, &denied);
    // A release that makes no such marks does not care.
    agent::stand_in(&tree, "0.19.0");
    tree.tool("hermes-svc-status").arg("coder").run().is(0, "**", "");
}

/// Row I5 of docs/failures.md.
#[test]
fn what_default_says_of_a_profile_that_it_serves_and_cannot_be_read_is_not_left_out() {
    let tree = serving();
    is(&tree, "writer", "down", "multiplexed");
    let path = tree.home().join("gateway_state.json");
    let look = |tool: crate::support::Tool, code: i32| {
        let ran = tool.arg("writer").run();
        assert!(ran.code == code && ran.lines()[2].ends_with(" multiplexed, unreadable-default"), "{ran}");
        ran
    };
    if is_root() {
        for fault in ["read:error=EIO:when=1", "fstat:error=ESTALE:when=1"] {
            let ran = look(under_fault(&tree, &path.display().to_string(), fault, "hermes-svc-status"), 111);
            assert!(injected(&tree) && ran.stderr.contains(&format!("unable to read {}: ", path.display())), "{ran}");
        }
    }
    // A file that is closed, or cannot be parsed, is no failure of the look.
    let unfit = || {
        look(tree.tool("hermes-svc-status"), 0);
        let explained = tree.tool("hermes-svc-status").args(["-x", "writer"]).run();
        let why = "because default's gateway is to serve it, and what that gateway says could not be read\n";
        assert!(explained.stdout.contains(why), "{explained}");
    };
    closed(&path);
    unfit();
    fs::remove_file(&path).expect("state");
    tree.profile("default").state("{");
    unfit();
    // A gateway that does not run says nothing.
    tree.tool("hermes-svc-stop").args(["-w", "default"]).run();
    is(&tree, "writer", "down", "multiplexed");
}
