use super::*;

/// A volume of an earlier boot: default died, coder ended in order, writer was stopped.
fn after_a_boot() -> Tree {
    let tree = Tree::up();
    for (name, intent, phase) in
        [("default", "running", "running"), ("coder", "running", "exited"), ("writer", "stopped", "")]
    {
        let profile = tree.profile(name).intent(intent);
        if !phase.is_empty() {
            profile.directory("state").file("state/gateway.lifecycle.json", format!("{{\"phase\":\"{phase}\"}}"));
        }
    }
    tree
}

#[test]
fn the_examples_of_reconcile_all_work() {
    let [boot, cont_init, change, failed] = examples("hermes-reconcile-all.8");
    let tree = after_a_boot();
    typed(&tree, &boot);
    let unchanged = "reconcile: * action=unchanged *\n".repeat(3) + "reconcile: done *\n";
    execline(&tree, &cont_init, &[]).run().is(0, &unchanged, "");
    tree.profile("scout");
    let printed = typed(&tree, &change);
    assert!(printed.starts_with("reconcile: profile=scout ") && printed.lines().count() == 2, "{printed}");
    for name in ["first", "second"] {
        tree.profile(name).env("API_SERVER_ENABLED=true\nAPI_SERVER_PORT=9777\n");
    }
    assert_eq!(tree.tool("hermes-reconcile-all").run().code, 111);
    let printed = typed(&tree, &failed);
    assert!(printed.contains("profile=first ") && printed.lines().count() == 2, "{printed}");
}

#[test]
fn the_examples_of_reconcile_one_work() {
    let [restored, some, each] = examples("hermes-reconcile-one.8");
    let tree = after_a_boot();
    tree.profile("coder").file("state/gateway.lifecycle.json", r#"{"phase":"running"}"#);
    typed(&tree, &restored);
    tree.profile("scout");
    let ran = execline(&tree, &some, &[]).run();
    ran.is(0, "reconcile: profile=default *\nreconcile: profile=coder *\nreconcile: profile=writer *\n", "");
    assert_eq!(tree.slots(), ["coder", "default", "writer"]);
    typed_on(&tree, &each);
    wait_until("the slot", || tree.slot("scout").exists());
    tree.delete_profile("scout");
    wait_until("no slot", || !tree.slot("scout").exists());
}

#[test]
fn the_examples_of_profile_watch_work() {
    let [service, names] = examples("hermes-profile-watch.8");
    let tree = Tree::up();
    tree.profile("coder");
    let (options, file) = script(&tree, &service);
    let ready = format!("exec execlineb {options} {file} 3>ready");
    let watch = tree.tool("sh").args(["-c", &ready]).start();
    wait_until("readiness", || fs::read_to_string(tree.scratch().join("ready")).is_ok_and(|ready| ready == "\n"));
    wait_until("the slot", || tree.slot("coder").exists());
    crate::support::kill(watch.pid, rustix::process::Signal::TERM);
    watch.wait();
    typed_on(&tree, &names);
    wait_for_output(&tree, "coder\n");
}

#[test]
fn the_examples_of_fix_attrs_work() {
    let [by_hand, cont_init] = examples("hermes-fix-attrs.8");
    crate::support::needs_root();
    let tree = tree();
    let soul = tree.profile_dir("coder").join("SOUL.md");
    let owner = || std::os::unix::fs::MetadataExt::uid(&fs::metadata(&soul).expect("SOUL.md"));
    std::os::unix::fs::chown(&soul, Some(0), Some(0)).expect("owner");
    typed(&tree, &by_hand);
    assert_eq!(owner(), tree.uid);
    std::os::unix::fs::chown(&soul, Some(0), Some(0)).expect("owner");
    let ran = execline(&tree, &cont_init, &[]).run();
    ran.is(0, "fix-attrs: path=profiles/coder/SOUL.md *\nfix-attrs: done *\n**reconcile: done profiles=3 *\n", "");
    assert_eq!(owner(), tree.uid);
}
