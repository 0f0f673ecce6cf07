use super::{injected, is_system_error, running, under_fault};
use crate::support::{Tree, kill, start_time, wait_until};
use rustix::process::Signal;
use std::fs;

/// The errors of an `open` that say nothing of the process.
const FAULTS: [&str; 2] = ["open,openat:error=EMFILE", "open,openat:error=ENOMEM"];

#[test]
fn a_process_1_that_cannot_be_looked_at_is_not_another_supervisor() {
    let tree = Tree::new();
    for fault in FAULTS {
        let ran = under_fault(&tree, "/proc/1/comm", fault, "hermes-detect-supervisor").run();
        is_system_error(&tree, "hermes-detect-supervisor", ran);
    }
}

#[test]
fn where_the_containers_command_cannot_be_looked_at_a_pass_changes_nothing() {
    let tree = Tree::up();
    tree.profile("coder").state(r#"{"desired_state":"running"}"#);
    for fault in FAULTS {
        for path in ["/proc/1/cmdline", "/proc/1/task/1/children"] {
            let ran = under_fault(&tree, path, fault, "hermes-reconcile-all").run();
            is_system_error(&tree, "hermes-reconcile-all", ran);
            assert_eq!(tree.slots(), Vec::<String>::new());
        }
    }
    let done = "reconcile: profile=default *\nreconcile: profile=coder * action=started *\nreconcile: done *\n";
    tree.tool("hermes-reconcile-all").run().is(0, done, "");
}

/// With `hidepid=1` the kernel refuses every look at the processes of other accounts, and with `hidepid=2` these are not
/// there.
#[test]
fn a_process_that_the_kernel_hides_is_as_one_that_is_not_there() {
    let tree = Tree::up();
    let refused = "open,openat:error=EPERM";
    under_fault(&tree, "/proc/1/comm", refused, "hermes-detect-supervisor").run().is(1, "none\n", "");
    assert!(injected(&tree));
    tree.profile("coder");
    for (path, action) in [("/proc/1/cmdline", "registered"), ("/proc/1/task/1/children", "unchanged")] {
        let lines = ["default", "coder"].map(|name| format!("reconcile: profile={name} * action={action} *\n"));
        let ran = under_fault(&tree, path, refused, "hermes-reconcile-all").arg("-w").run();
        ran.is(0, &format!("{}reconcile: done *\n", lines.concat()), "");
        assert!(injected(&tree));
    }
}

#[test]
fn an_orphan_that_cannot_be_looked_at_is_not_said_to_be_stopped() {
    let tree = running("coder", "");
    let orphan = tree.wait_up("coder");
    // With this file the next supervisor starts no gateway, which would end the orphan.
    fs::write(tree.slot("coder").join("down"), "").expect("down");
    let supervisor = tree.supervisor(&tree.slot("coder")).expect("supervisor");
    kill(supervisor, Signal::KILL);
    wait_until("the next supervisor", || tree.svstat("coder", "up").is_some_and(|up| up == ["false"]));
    for fault in FAULTS {
        let tool = under_fault(&tree, &format!("/proc/{orphan}/stat"), fault, "hermes-svc-stop");
        is_system_error(&tree, "hermes-svc-stop", tool.args(["-w", "coder"]).run());
        assert!(start_time(orphan).is_some());
    }
    // The first of them has recorded the intent.
    tree.tool("hermes-svc-stop").args(["-w", "coder"]).run().is(0, "profile=coder action=unchanged\n", "");
    assert_eq!(start_time(orphan), None);
}
