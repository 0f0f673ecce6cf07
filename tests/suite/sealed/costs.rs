//! The memory, time and log lines that root spends on what the account has made.

use super::ground::{Ground, runs};
use std::fs;
use std::time::Duration;

/// Make `count` profiles, each with a hard link to the same config.yaml.
fn linked(ground: &Ground, count: usize, config: &str) {
    let first = ground.tree.profile("a0000").file("config.yaml", config);
    for n in 1..count {
        let dir = ground.tree.home().join(format!("profiles/a{n:04}"));
        fs::create_dir(&dir).expect("profile");
        fs::write(dir.join("SOUL.md"), "").expect("marker");
        fs::hard_link(first.dir.join("config.yaml"), dir.join("config.yaml")).expect("link");
        ["", "SOUL.md"].iter().for_each(|name| ground.give(&dir.join(name)));
    }
}

/// Run a tool as root with at most this much memory of its own.
fn in_32_mib(ground: &Ground, tool: &str, args: &[&str]) -> crate::support::Ran {
    let tool = ground.tree.bin().join(tool);
    ground.run(ground.tree.tool("prlimit").args(["--data=33554432", "--core=0"]).arg(tool).args(args))
}

/// The parser quotes the tag, which is nearly the whole file. If the fault of each profile were kept whole, that would
/// be 75 MB.
#[test]
fn faults_as_long_as_their_files_take_no_memory_of_roots() {
    let ground = Ground::without_svscan();
    linked(&ground, 300, &format!("api_server: !<{}> x\n", "a".repeat(250 << 10)));
    for (tool, args) in [("hermes-reconcile-one", &["default"][..]), ("hermes-port-alloc", &["default"])] {
        let ran = in_32_mib(&ground, tool, args);
        assert_eq!(ran.code, 0, "{ran}");
    }
    let ran = in_32_mib(&ground, "hermes-reconcile-all", &[]);
    assert!(ran.stdout.contains("profile=default prior_state=none action=") && ran.stdout.contains("done "), "{ran}");
    assert!(ran.stderr.len() < 300 * 1000, "{} bytes", ran.stderr.len());
}

#[test]
fn files_of_all_profiles_that_are_slow_to_read_are_not_all_read_before_default_is_published() {
    let ground = Ground::new();
    runs(&ground.tree, "default");
    linked(&ground, 100, &format!("api_server: 1\n[\\, {}", "? >,".repeat(60_000)));
    let ran = ground.tree.tool("hermes-reconcile-all").run();
    assert_eq!(ran.stderr.matches("the files of all profiles to be read").count(), 2, "{ran}");
    assert_eq!(ran.code, 111, "{ran}");
    assert!(ran.stdout.contains("profile=default prior_state=running action=started port=9495"), "{ran}");
}

/// A uid has 128 inotify instances, and root's are shared with the root of every other container.
#[test]
fn a_removal_that_drains_holds_no_inotify_instance() {
    let ground = Ground::new();
    runs(&ground.tree, "bad").stand_in("ignore_term=1\n");
    ground.tool("hermes-reconcile-all -w");
    ground.tree.wait_up("bad");
    ground.tree.delete_profile("bad");
    let run = ground.tree.tool("hermes-reconcile-one").args(["-t", "4000", "bad"]).start();
    let mut looks = 0;
    while run.is_running() {
        assert!(!run.waits_for_events(), "after {looks} looks");
        looks += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(looks > 10, "{looks}");
    run.wait();
    ground.tree.kill_hard();
}
