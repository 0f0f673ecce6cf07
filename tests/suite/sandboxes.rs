//! Kernels and sandboxes that lack system calls: Synology's kernel, systemd-nspawn, gVisor. A seccomp filter takes the
//! calls away from the tools and from everything that they start.

use crate::support::{Ran, Tree, needs_root};
use std::fs;
use std::process::Command;

const WITHOUT_CALLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/without-calls");

/// The numbers of the system calls, which are the same on all architectures, and the errors of an older kernel and of a
/// sandbox.
const OPENAT2: u32 = 437;
const ENOSYS: i32 = 38;
const EPERM: i32 = 1;

/// Run other tests of this suite without openat2.
#[track_caller]
fn hold_without_openat2(errno: i32, tests: &[&str]) {
    let mut suite = Command::new(WITHOUT_CALLS);
    suite.arg(format!("{OPENAT2}={errno}")).arg("--").arg(std::env::current_exe().expect("the suite")).args(tests);
    let output = suite.output().expect("without-calls");
    let ran = Ran::new("the suite".to_string(), &output);
    assert!(ran.code == 0 && ran.stdout.contains(" passed; 0 failed;"), "{ran}");
    assert!(!ran.stdout.contains("running 0 tests"), "{ran}");
}

/// Row H2 of docs/failures.md.
#[test]
fn without_openat2_the_same_attacks_come_to_nothing() {
    needs_root();
    let attacks = [
        "sealed::volume",
        "sealed::homes",
        "fix_attrs::nothing_outside_changes_hands",
        "fix_attrs::another_file_system_below_the_home",
        "what_the_account_planted_is_neither_followed_nor_waited_for",
    ];
    hold_without_openat2(ENOSYS, &attacks);
}

/// A sandbox that does not know a call says EPERM rather than ENOSYS.
#[test]
fn a_sandbox_that_forbids_openat2_keeps_no_gateway_from_its_life() {
    needs_root();
    let life = ["boot_pass::the_boot_pass_publishes_every", "sealed::volume::what_root_leaves_on_the_volume"];
    hold_without_openat2(EPERM, &life);
}

/// An old kernel lacks more calls than openat2. Their numbers are those of this machine.
#[test]
fn on_an_old_kernel_every_order_is_carried_out() {
    needs_root();
    let [renameat2, statx, inotify_init1] = if cfg!(target_arch = "x86_64") { [316, 332, 294] } else { [276, 291, 26] };
    const PIDFD_OPEN: u32 = 434;
    const PIDFD_SEND_SIGNAL: u32 = 424;
    let tree = Tree::up();
    let coder = tree.profile("coder");
    let refused: Vec<String> = [OPENAT2, PIDFD_OPEN, PIDFD_SEND_SIGNAL, renameat2, statx, inotify_init1]
        .iter()
        .map(|call| format!("{call}={ENOSYS}"))
        .collect();
    let run = |tool: &str, args: &[&str], stdout: &str| {
        let without = tree.tool(WITHOUT_CALLS).args(refused.iter().map(String::as_str)).arg("--");
        without.arg(tree.bin().join(tool)).args(args).run().is(0, stdout, "");
    };
    run("hermes-svc-register", &["-e", "A=1", "coder"], "profile=coder action=registered port=9530\n");
    run("hermes-svc-register", &["-e", "A=2", "coder"], "profile=coder action=updated port=9530\n");
    assert_eq!(fs::read_to_string(tree.slot("coder").join("env/A")).expect("env"), "2\n");
    run("hermes-svc-start", &["-w", "coder"], "profile=coder action=started\n");
    tree.wait_up("coder");
    run("hermes-svc-restart", &["coder"], "profile=coder action=restarted\n");
    run("hermes-svc-stop", &["-w", "coder"], "profile=coder action=stopped\n");
    // The template has another shape, so the slot is exchanged.
    fs::remove_dir_all(tree.template().join("log")).expect("log");
    run("hermes-svc-register", &["coder"], "profile=coder action=updated port=9530\n");
    assert!(!tree.slot("coder").join("log").exists());
    assert_eq!((coder.desired().as_deref(), tree.leftovers()), (Some("stopped"), vec![]));
    fs::write(coder.dir.join("roots"), "").expect("write");
    run("hermes-fix-attrs", &[], "fix-attrs: path=profiles/coder/roots action=updated\nfix-attrs: done *\n");
    run("hermes-svc-unregister", &["coder"], "profile=coder action=unregistered\n");
    assert_eq!((tree.slots(), tree.leftovers()), (vec![], vec![]));
}
