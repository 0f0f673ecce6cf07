//! The cost of a command when a limit is reached, and the end of its waits.

use super::{is_system_error, running, under_fault};
use crate::support::{Tree, kill, needs_root, wait_until};
use rustix::process::Signal;
use std::fs;

/// Run a command that finds a script in place of one of s6's programs. In a mount namespace of the command, the script
/// is mounted over the program.
fn with_other_program(tree: &Tree, program: &str, script: &str, command: &str) -> crate::support::Ran {
    let other = tree.script("other-program", script);
    let mount =
        format!("p=$(readlink -f \"$(command -v {program})\"); mount --bind {other} \"$p\" || exit 97; {command}");
    tree.tool("unshare").args(["--mount", "sh", "-c", &mount]).run()
}

#[test]
fn an_s6_program_that_hangs_ends_with_the_commands_time() {
    needs_root();
    let tree = running("coder", "");
    let gateway = tree.wait_up("coder");
    // If a tool waited for the end of such a program, the test would end it after five minutes (`CEILING` of a tool),
    // which is before the 1000 seconds are over.
    for (program, script) in [
        ("s6-svstat", "#!/bin/sh\nexec sleep 1000\n"),
        ("s6-svc", "#!/bin/sh\nexec sleep 1000\n"),
        ("s6-svc", "#!/bin/sh\nexec sleep 1000 >&- 2>&-\n"),
    ] {
        for command in ["exec hermes-svc-stop -t 1000 coder", "exec hermes-svc-restart -t 1000 coder"] {
            let ran = with_other_program(&tree, program, script, command);
            assert_eq!((ran.code, ran.stdout.as_str()), (99, ""), "{program}: {ran}");
            assert!(ran.stderr.contains(&format!("waiting for {program} to end")), "{program}: {ran}");
            assert_eq!(tree.gateway("coder"), Some(gateway), "{program}: {ran}");
        }
    }
    // The intent lock is free again, and the next order is carried out.
    tree.tool("hermes-svc-stop").args(["-w", "coder"]).run().is(0, "profile=coder action=stopped\n", "");
}

/// A machine at its limit takes seconds to start a program.
#[test]
fn a_registration_has_time_for_slow_s6_programs_and_takes_back_what_has_failed() {
    needs_root();
    let tree = Tree::up();
    tree.profile("coder");
    // The program itself is hidden by the script that is mounted over it.
    let slow = |seconds: u32, command: &str| {
        let real = tree.scratch().join("s6-svscanctl");
        let script = format!("#!/bin/sh\nsleep {seconds}\nexec {} \"$@\"\n", real.display());
        let command = format!("exec {command}");
        let copied = tree.tool("sh").args(["-c", "cp -L \"$(command -v s6-svscanctl)\" \"$0\""]).arg(&real).run();
        copied.is(0, "", "");
        with_other_program(&tree, "s6-svscanctl", &script, &command)
    };
    slow(6, "hermes-svc-register coder").is(0, "profile=coder action=registered port=9530\n", "");
    tree.tool("hermes-svc-unregister").arg("coder").run().is(0, "profile=coder action=unregistered\n", "");
    // s6-svscan takes up nothing while it is stopped.
    kill(tree.svscan_pid(), Signal::STOP);
    let ran = slow(2, "hermes-svc-register -t 4000 coder");
    ran.is(99, "", "hermes-svc-register: fatal: timed out after 4000 ms waiting for s6-supervise to hold *\n");
    kill(tree.svscan_pid(), Signal::CONT);
    assert_eq!((tree.slots(), tree.leftovers()), (vec![], vec![]));
}

/// Run a tool in a user namespace in which nobody may have an inotify instance. The uids are those outside of the
/// namespace.
fn without_inotify(tree: &Tree, tool: &str, args: &[&str]) -> crate::support::Ran {
    let script = r#"
        mkfifo go
        limit='echo 0 > /proc/sys/user/max_inotify_instances || exit 97; exec "$@"'
        # Who has no uid yet loses all capabilities; the second shell has a uid, root's, and with it all of them.
        unshare -U sh -c 'read -r _ < go; exec sh -c "$@"' sh "$limit" sh "$@" &
        pid=$!
        while [ "$(readlink /proc/$pid/ns/user)" = "$(readlink /proc/$$/ns/user)" ]; do sleep 0.01; done
        echo '0 0 1000000' > /proc/$pid/uid_map && echo '0 0 1000000' > /proc/$pid/gid_map || { kill $pid; exit 98; }
        echo > go
        wait $pid"#;
    let _ = fs::remove_file(tree.root().join("go"));
    tree.tool("sh").directory(tree.root()).args(["-c", script, "sh"]).arg(tree.bin().join(tool)).args(args).run()
}

#[test]
fn without_a_free_inotify_instance_every_order_is_carried_out() {
    needs_root();
    let tree = Tree::up();
    let coder = tree.profile("coder").stand_in("drain_ms=200\n");
    let run = |tool: &str, args: &[&str], action: &str| {
        let ran = without_inotify(&tree, tool, args);
        ran.is(0, &format!("profile=coder action={action}\n"), "");
    };
    run("hermes-svc-register", &["coder"], "registered port=9530");
    run("hermes-svc-start", &["-w", "coder"], "started");
    tree.wait_up("coder");
    run("hermes-svc-restart", &["coder"], "restarted");
    tree.wait_up("coder");
    run("hermes-svc-stop", &["-w", "coder"], "stopped");
    assert_eq!(coder.desired().as_deref(), Some("stopped"));
    run("hermes-svc-unregister", &["coder"], "unregistered");
    assert_eq!((tree.slots(), tree.leftovers()), (vec![], vec![]));
    // If a wait times out, the message says so, and not that a lock or a supervisor could not be looked at.
    run("hermes-svc-register", &["-u", "coder"], "registered port=9530");
    tree.wait_up("coder");
    tree.profile("coder").stand_in("drain_ms=60000\n");
    tree.tool("hermes-svc-restart").arg("coder").run();
    tree.wait_up("coder");
    let ran = without_inotify(&tree, "hermes-svc-stop", &["-t", "300", "-w", "coder"]);
    assert!(ran.code == 99 && ran.stderr.contains("timed out after 300 ms"), "{ran}");
}

/// The number of system calls that a pass makes.
#[track_caller]
fn calls_of_a_pass(tree: &Tree, max: &str) -> i64 {
    let counts = tree.root().join("counts");
    let strace = tree.tool("strace").env("HERMES_MAX_SERVICES", max).args(["-qqq", "-c", "-o"]).arg(&counts);
    let ran = strace.arg(tree.bin().join("hermes-reconcile-all")).run();
    assert_eq!(ran.code, 111, "{ran}");
    let counts = fs::read_to_string(&counts).expect("counts");
    let total = counts.lines().rfind(|line| line.ends_with(" total")).expect("a total");
    total.split_whitespace().nth(3).and_then(|calls| calls.parse().ok()).unwrap_or_else(|| panic!("{counts}"))
}

#[test]
fn past_the_limit_of_services_a_profile_costs_a_few_calls() {
    needs_root();
    let tree = Tree::new();
    tree.svscan_max(42);
    // The slots fill s6-svscan's table. So if the pass looked at each of s6-svscan's children, the number of calls
    // would show it.
    for n in 0..20 {
        tree.profile(&format!("a{n:02}"));
    }
    let first = tree.tool("hermes-reconcile-all").env("HERMES_MAX_SERVICES", "42").arg("-w").run();
    assert_eq!((first.code, tree.slots().len()), (0, 21), "{first}");
    let profiles = |from: usize| (from..from + 20).for_each(|n| _ = tree.profile(&format!("b{n:02}")));
    profiles(0);
    calls_of_a_pass(&tree, "42");
    let some = calls_of_a_pass(&tree, "42");
    profiles(20);
    calls_of_a_pass(&tree, "42");
    let more = calls_of_a_pass(&tree, "42");
    let each = (more - some) / 20;
    assert!(each < 60, "{each} calls for each profile that does not fit: {some} for 20, {more} for 40");
}

#[test]
fn an_interrupt_ends_a_restart_that_waits_for_a_lock() {
    let tree = running("a-up", "drain_ms=60000\n");
    let old = tree.wait_up("a-up");
    tree.profile("b-lost");
    tree.tool("hermes-svc-register").arg("b-lost").run();
    // The second slot has no supervisor. The restart wants to remind s6-svscan of the slot, and waits for the lock of
    // the scandir.
    let lock = tree.scandir().join(".hermes-s6.lock");
    let mut holder = tree.tool("s6-setlock").arg(&lock).args(["sleep", "1000"]).spawn();
    wait_until("the lock to be held", || tree.tool("s6-setlock").arg("-n").arg(&lock).arg("true").run().code != 0);
    kill(tree.svscan_pid(), Signal::STOP);
    let lost = tree.slot("b-lost");
    kill(tree.supervisor(&lost).expect("its supervisor"), Signal::KILL);
    wait_until("the supervisor to be gone", || tree.supervisor(&lost).is_none());
    let trace = tree.root().join("trace");
    let strace = tree.tool("strace").args(["-qqq", "-e", "trace=fcntl", "-P"]).arg(&lock).arg("-o").arg(&trace);
    let restart = strace.arg(tree.bin().join("hermes-svc-restart")).args(["-t", "280000", "a-up", "b-lost"]).start();
    wait_until("the tool to wait for the lock", || {
        fs::read_to_string(&trace).is_ok_and(|calls| calls.contains("EAGAIN"))
    });
    let processes = tree.processes();
    kill(processes.iter().find(|p| p.comm == "hermes-svc-rest").expect("the tool").pid, Signal::INT);
    let ran = restart.wait();
    kill(tree.svscan_pid(), Signal::CONT);
    holder.kill().expect("kill");
    holder.wait().expect("wait");
    assert_eq!(ran.code, 130, "{ran}");
    assert!(ran.stderr.contains("interrupted while waiting for "), "{ran}");
    // The gateway that was told to end is started again when it has ended.
    wait_until("a-up to be wanted up", || {
        tree.svstat("a-up", "wantedup,normallyup") == Some(vec!["true".to_string(); 2])
    });
    assert_eq!(tree.gateway("a-up"), Some(old));
}

/// If the error were taken for an event, the tool would look without a pause until its deadline.
#[test]
fn a_wait_that_fails_is_an_error() {
    needs_root();
    let tree = running("coder", "drain_ms=60000\n");
    let gateway = tree.wait_up("coder");
    let down = tree.slot("coder").join("down");
    for fault in ["ppoll:error=ENOMEM", "read:error=EIO"] {
        let stop = under_fault(&tree, "anon_inode:inotify", fault, "hermes-svc-stop");
        let stop = stop.args(["-t", "280000", "-w", "coder"]).start();
        while stop.is_running() {
            // Make an event, so that the tool reads from its inotify descriptor.
            fs::write(tree.slot("coder").join("event-of-the-test"), "").expect("write");
            fs::remove_file(tree.slot("coder").join("event-of-the-test")).expect("remove");
        }
        let ran = stop.wait();
        is_system_error(&tree, "hermes-svc-stop", ran.clone());
        assert!(ran.stderr.contains("unable to wait for changes of the slots: "), "{ran}");
        assert!(down.exists() && tree.gateway("coder") == Some(gateway), "{ran}");
    }
}
