//! The home that is meant: a slot knows its home, `HERMES_HOME` may be a profile's directory, and links lead to homes,
//! profiles and files.

use crate::support::{Profile, Ran, Tree, is_root, link_of, needs_root, snapshot};
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

/// Make another home, with one profile of this name.
fn other_home(tree: &Tree, name: &str) -> PathBuf {
    let other = tree.root().join("other");
    for dir in [other.clone(), other.join("profiles"), other.join("profiles").join(name)] {
        fs::create_dir(&dir).expect("directory");
        chown(&dir, Some(tree.uid), Some(tree.gid)).expect("owner");
    }
    fs::write(other.join("profiles").join(name).join("SOUL.md"), "").expect("marker");
    other
}

#[track_caller]
fn run(tree: &Tree, home: &Path, line: &str) -> Ran {
    let mut words = line.split(' ');
    tree.tool(words.next().expect("a tool")).args(words).env("HERMES_HOME", home).run()
}

#[test]
fn a_slot_of_another_home_is_left_alone_and_both_homes_are_named() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    run(&tree, &tree.home(), "hermes-reconcile-all -w");
    let pid = tree.wait_up("coder");
    let other = other_home(&tree, "coder");
    let before = snapshot(&[&other]);
    for (line, slot) in [
        ("hermes-reconcile-all", "default"),
        ("hermes-reconcile-all -n", "default"),
        ("hermes-reconcile-one coder", "coder"),
        ("hermes-svc-register coder", "coder"),
        ("hermes-svc-unregister coder", "coder"),
        ("hermes-svc-start coder", "coder"),
        ("hermes-svc-stop coder", "coder"),
        ("hermes-svc-stop -k coder", "coder"),
        ("hermes-svc-restart coder", "coder"),
        ("hermes-gateway-ready coder", "coder"),
    ] {
        let (tool, slot) = (line.split(' ').next().unwrap_or_default(), tree.slot(slot));
        let (own, other) = (tree.home(), other.display());
        let said = format!("{} belongs to home {}, not to {other}", slot.display(), own.display());
        run(&tree, Path::new(&other.to_string()), line).is(102, "", &format!("{tool}: fatal: {said}\n"));
    }
    run(&tree, &other, "hermes-svc-stop -a").is(102, "", "**");
    before.still_holds();
    assert_eq!((tree.gateway("coder"), tree.slots()), (Some(pid), vec!["coder".to_string(), "default".to_string()]));

    // The status shows what s6 says, and that it says nothing about this home.
    let note = format!("of-home:{}", tree.home().display());
    let ran = run(&tree, &other, "hermes-svc-status coder");
    assert!(ran.code == 102 && ran.stdout.contains(&note) && !ran.stdout.contains("no-profile"), "{ran}");
    for line in ["hermes-svc-status -q coder", "hermes-svc-status -c coder"] {
        assert_eq!(run(&tree, &other, line).code, 1, "{line}");
    }
    // The container's own stop is for all slots of the scandir, whatever their homes.
    let ran = run(&tree, &other, "hermes-svc-stop -a -k -w");
    assert_eq!(ran.code, 0, "{ran}");
    tree.wait_down("coder");
    assert_eq!(tree.profile("coder").desired().as_deref(), Some("running"));
}

#[test]
fn an_empty_or_a_wrong_home_retires_nothing() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    run(&tree, &tree.home(), "hermes-reconcile-all -w");
    let pid = tree.wait_up("coder");
    for dir in ["empty", "ports"] {
        let dir = tree.scratch().join(dir);
        fs::create_dir(&dir).expect("directory");
        fs::write(dir.with_file_name("ports").join("gateway_ports.json"), "{}").ok();
        let ran = run(&tree, &dir, "hermes-reconcile-all");
        assert!(ran.code == 102 && ran.stdout.is_empty(), "{ran}");
        let ran = run(&tree, &dir, "hermes-reconcile-one coder");
        assert!(ran.code == 102 && ran.stdout.is_empty(), "{ran}");
    }
    assert_eq!((tree.gateway("coder"), tree.slots().len()), (Some(pid), 2));
}

#[test]
fn inside_the_gateway_of_a_named_profile_its_home_is_meant() {
    let tree = Tree::up();
    let default = tree.profile("default").intent("running");
    let coder = tree.profile("coder");
    run(&tree, &tree.home(), "hermes-reconcile-all -w");
    tree.wait_up("default");
    let inside = tree.profile_dir("coder");
    let ran = run(&tree, &inside, "hermes-reconcile-all");
    assert!(ran.code == 0 && ran.stdout.contains("profiles=2 started=0 registered=0 unchanged=2"), "{ran}");
    run(&tree, &inside, "hermes-svc-stop -w default").is(0, "profile=default action=stopped\n", "");
    assert_eq!((default.desired().as_deref(), coder.desired()), (Some("stopped"), None));
    let home = format!("{}\n", tree.home().display());
    run(&tree, &inside, "hermes-home").is(0, &home, "");
    run(&tree, &inside, "hermes-home -p").is(0, "coder\n", "");
    run(&tree, &tree.home(), "hermes-home").is(0, &home, "");
    run(&tree, &tree.home(), "hermes-home -p").is(0, "default\n", "");
    run(&tree, &inside, "hermes-home -P").is(0, &home, "");
    run(&tree, &inside, "hermes-home -pP").is(
        100,
        "",
        "hermes-home: fatal: -p and -P exclude each other\nhermes-home: usage: **",
    );
    assert!(!coder.dir.join("profiles").exists());
}

#[test]
fn a_gateway_runs_in_the_home_of_its_slot_whatever_the_variable_says() {
    let tree = Tree::up();
    let other = other_home(&tree, "writer");
    // The `HERMES_HOME` of s6-svscan is this tree's home, and the gateway inherits it.
    run(&tree, &other, "hermes-svc-register writer").is(0, "profile=writer action=registered *\n", "");
    assert_eq!(fs::read_link(tree.slot("writer").join("home")).expect("a link"), other);
    run(&tree, &other, "hermes-svc-start -w writer").is(0, "profile=writer action=started\n", "");
    assert!(other.join("profiles/writer/stand-in.starts").exists());
    let log = fs::read_to_string(other.join("logs/gateways/writer/current")).expect("a log");
    let said = format!("this slot is of home {}, which is taken, not HERMES_HOME", other.display());
    assert!(log.contains(&said), "{log}");

    // A pass of this home does not touch the slot of the other home, and says so.
    let ran = run(&tree, &tree.home(), "hermes-reconcile-all");
    let line = "reconcile: profile=writer prior_state=none action=skipped port=none prior_exit=unknown note=";
    assert!(ran.code == 0 && ran.stdout.contains(line), "{ran}");
    assert!(ran.stdout.contains(&format!("note=of-home:{}", other.display())), "{ran}");
    assert!(ran.stderr.contains("gateway-writer is left alone: of-home:"), "{ran}");
    assert!(tree.gateway("writer").is_some());
    for (line, code) in [("hermes-svc-status", 0), ("hermes-svc-status -c", 0), ("hermes-svc-status writer", 102)] {
        assert_eq!(run(&tree, &tree.home(), line).code, code, "{line}");
    }
    // When the profile is gone from its own home, its slot is removed.
    fs::remove_file(other.join("profiles/writer/SOUL.md")).expect("marker");
    let ran = run(&tree, &other, "hermes-reconcile-one writer");
    assert!(ran.code == 0 && ran.stdout.contains("action=removed"), "{ran}");
    assert_eq!(tree.slots(), ["default"]);
}

#[test]
fn a_slot_without_a_home_is_given_one_and_is_not_retired_by_a_guess() {
    let tree = Tree::up();
    tree.profile("coder");
    tree.profile("writer");
    run(&tree, &tree.home(), "hermes-reconcile-all -w");
    // Remove the links, as if an earlier version had published the slots.
    for name in ["default", "coder", "writer"] {
        fs::remove_file(tree.slot(name).join("home")).expect("the link");
    }
    run(&tree, &tree.home(), "hermes-svc-start coder").is(0, "profile=coder action=started\n", "");
    tree.delete_profile("writer");
    let ran = run(&tree, &tree.home(), "hermes-reconcile-all");
    for part in
        ["updated=2", "profile=writer prior_state=none action=skipped port=none prior_exit=unknown note=no-home"]
    {
        assert!(ran.code == 0 && ran.stdout.contains(part), "{ran}");
    }
    assert_eq!(fs::read_link(tree.slot("coder").join("home")).expect("a link"), tree.home());
    let said = format!("{} does not say whose home it is: hermes-svc-unregister writer", tree.slot("writer").display());
    let ran = run(&tree, &tree.home(), "hermes-reconcile-one writer");
    ran.is(102, "", &format!("hermes-reconcile-one: fatal: {said}\n"));
    run(&tree, &tree.home(), "hermes-svc-unregister writer").is(0, "profile=writer action=unregistered\n", "");
    assert_eq!(tree.slots(), ["coder", "default"]);
}

#[test]
fn another_path_of_the_same_directory_is_the_same_home() {
    needs_root();
    let tree = Tree::up();
    let link = tree.root().join("data");
    link_of(0, tree.home(), &link);
    tree.profile("coder").intent("running");
    run(&tree, &link, "hermes-reconcile-all -w");
    assert_eq!(fs::read_link(tree.slot("coder").join("home")).expect("a link"), link);
    tree.wait_up("coder");
    let ran = run(&tree, &tree.home(), "hermes-reconcile-all");
    assert!(ran.code == 0 && ran.stdout.contains("unchanged=2"), "{ran}");
    run(&tree, &tree.home(), "hermes-svc-stop -w coder").is(0, "profile=coder action=stopped\n", "");
    run(&tree, &link, "hermes-home").is(0, &format!("{}\n", link.display()), "");
    run(&tree, &link, "hermes-home -P").is(0, &format!("{}\n", tree.home().display()), "");
    let planted = tree.scratch().join("link");
    link_of(tree.uid, tree.home(), &planted);
    let said = format!("unable to open {}: a link that belongs to uid {}", planted.display(), tree.uid);
    run(&tree, &planted, "hermes-home -P").is(111, "", &format!("hermes-home: fatal: {said}\n"));
}

#[test]
fn a_home_that_the_account_has_written_into_a_slot_is_only_compared() {
    needs_root();
    let tree = Tree::new();
    tree.profile("coder");
    let slot = tree.scratch().join("slot");
    fs::create_dir_all(slot.join("supervise")).expect("slot");
    let gateway = |home: &Path| {
        let _ = fs::remove_file(slot.join("home"));
        link_of(tree.uid, home, &slot.join("home"));
        tree.tool("hermes-run-gateway").args(["-P", "coder", "printenv", "HERMES_HOME"]).directory(&slot).run()
    };
    let home = format!("{}\n", tree.home().display());
    // If the slot belongs to root, its link is believed. If the slot belongs to the account, it is not.
    chown(&slot, Some(0), Some(0)).expect("owner");
    gateway(&tree.home()).is(0, &home, "");
    let ran = gateway(Path::new("/nowhere"));
    assert!(ran.code == 78 && ran.stderr.contains("fatal: unable to open /nowhere: No such file"), "{ran}");
    chown(&slot, Some(tree.uid), Some(tree.gid)).expect("owner");
    gateway(&tree.home()).is(0, &home, "");
    let said = format!("this slot is of home /nowhere, and HERMES_HOME is {}", tree.home().display());
    let fatal = format!("hermes-run-gateway: fatal: {said}: register it again with that home\n");
    gateway(Path::new("/nowhere")).is(78, "", &fatal);
}

#[test]
fn the_home_is_no_variable_of_a_slot() {
    let tree = Tree::up();
    tree.profile("coder");
    let said = "HERMES_HOME is the home that the slot is published for: give it with -H";
    let ran = run(&tree, &tree.home(), "hermes-svc-register -e HERMES_HOME=/x coder");
    ran.is(100, "", &format!("hermes-svc-register: fatal: {said}\n"));
}

#[test]
fn a_profile_behind_a_link_of_roots_is_a_profile() {
    needs_root();
    for linked in ["profiles/coder", "profiles"] {
        let tree = Tree::up();
        let coder = tree.profile("coder").intent("running");
        let (name, disk) = (tree.home().join(linked), tree.root().join("disk"));
        fs::rename(&name, &disk).expect("rename");
        link_of(0, &disk, &name);
        let ran = run(&tree, &tree.home(), "hermes-reconcile-all -w");
        assert!(ran.code == 0 && ran.stdout.contains("profile=coder prior_state=running action=started"), "{ran}");
        tree.wait_up("coder");
        run(&tree, &tree.home(), "hermes-svc-stop -w coder").is(0, "profile=coder action=stopped\n", "");
        assert_eq!(coder.desired().as_deref(), Some("stopped"));

        // When the disk is not mounted any more, the profile does not count as gone.
        fs::rename(&disk, tree.root().join("away")).expect("rename");
        let ran = run(&tree, &tree.home(), "hermes-reconcile-all");
        assert_eq!(ran.code, if linked == "profiles" { 111 } else { 0 }, "{ran}");
        assert!(ran.stderr.contains("leads to nothing usable") || ran.stderr.contains("empty-link"), "{ran}");
        assert!(ran.stdout.contains("removed=0"), "{ran}");
        let ran = run(&tree, &tree.home(), "hermes-svc-start coder");
        let said =
            format!("{} is a link of root's that leads to nothing usable: is its volume mounted?", name.display());
        assert!(ran.code == 100 && ran.stderr.contains(&said), "{ran}");
        assert_eq!(tree.slots(), ["coder", "default"]);
    }
}

#[test]
fn a_link_of_the_accounts_is_no_profile_and_is_recorded() {
    let tree = Tree::up();
    tree.profile("coder");
    run(&tree, &tree.home(), "hermes-reconcile-all -w");
    let away = tree.scratch().join("away");
    fs::rename(tree.profile_dir("coder"), &away).expect("rename");
    link_of(tree.uid, &away, &tree.profile_dir("coder"));
    Profile::bare(&tree, "bare");
    let skipped = |name: &str, note: &str| {
        format!("profile={name} prior_state=none action=skipped port=none prior_exit=unknown note={note}\n")
    };
    for _ in 0..2 {
        let ran = run(&tree, &tree.home(), "hermes-reconcile-all");
        for (name, note) in [("coder", "foreign-link"), ("bare", "no-soul")] {
            assert!(ran.code == 0 && ran.stdout.contains(&skipped(name, note)), "{ran}");
        }
        assert_eq!(tree.slots(), ["coder", "default"]);
    }
    let uid = if is_root() { tree.uid } else { rustix::process::geteuid().as_raw() };
    let said = format!("is a link of uid {uid}: only links of root's are followed");
    for line in ["hermes-svc-start coder", "hermes-reconcile-one coder", "hermes-port-alloc coder"] {
        let ran = run(&tree, &tree.home(), line);
        assert!(ran.code == 100 && ran.stderr.contains(&said) && !ran.stderr.contains("SOUL.md"), "{ran}");
    }
}

#[test]
fn files_behind_links_of_roots_are_read_and_behind_the_accounts_own_not() {
    needs_root();
    for (file, text) in [
        (".env", "API_SERVER_ENABLED=true\nAPI_SERVER_PORT=9333\n"),
        ("config.yaml", "platforms:\n  api_server:\n    enabled: true\n    extra:\n      port: 9333\n"),
    ] {
        let tree = Tree::new();
        let coder = tree.profile("coder");
        // This is how Kubernetes mounts a ConfigMap: as links to a link to a directory.
        let map = tree.root().join("map");
        fs::create_dir_all(map.join("1")).expect("directory");
        fs::write(map.join("1").join(file), text).expect("file");
        link_of(0, Path::new("1"), &map.join("..data"));
        link_of(0, Path::new("..data").join(file), &map.join(file));
        let name = coder.dir.join(file);
        link_of(0, map.join(file), &name);
        run(&tree, &tree.home(), "hermes-port-alloc coder").is(0, "9333\n", "");
        fs::remove_file(&name).expect("link");
        link_of(tree.uid, map.join(file), &name);
        let ran = run(&tree, &tree.home(), "hermes-port-alloc coder");
        assert!(ran.code == 0 && ran.stdout != "9333\n", "{ran}");
        assert!(ran.stderr.contains("not read: a symbolic link"), "{ran}");
    }
}
