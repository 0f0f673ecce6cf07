//! Processes of root while they have the account's rights.

use super::ground::{Ground, runs};
use crate::support::{kill, wait_for, wait_until};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The effective uid of a process.
fn effective_uid(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix("Uid:"))?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Try everything that gives power over a process. Returns what has succeeded.
pub fn attack(pid: u32) -> Vec<String> {
    let raw = Pid::from_raw(pid.cast_signed()).expect("a pid");
    let mut worked = Vec::new();
    for signal in [Signal::STOP, Signal::TERM, Signal::HUP, Signal::USR1, Signal::KILL] {
        if rustix::process::kill_process(raw, signal).is_ok() {
            worked.push(format!("{signal:?}"));
        }
    }
    // The kernel checks the same right for this call as for PTRACE_ATTACH.
    let pidfd = pidfd_open(raw, PidfdFlags::empty());
    if pidfd.is_ok_and(|fd| (0..12).any(|n| pidfd_getfd(&fd, n, PidfdGetfdFlags::empty()).is_ok())) {
        worked.push("pidfd_getfd".to_string());
    }
    let proc = std::path::PathBuf::from(format!("/proc/{pid}"));
    if fs::File::options().write(true).open(proc.join("mem")).is_ok() {
        worked.push("mem".to_string());
    }
    for name in ["environ", "maps", "auxv", "stack", "syscall"] {
        // If the process is about to end, the file may be empty, and has told nothing.
        if fs::read(proc.join(name)).is_ok_and(|bytes| !bytes.is_empty()) {
            worked.push(name.to_string());
        }
    }
    for name in ["cwd", "root", "exe", "fd/3"] {
        if fs::read_link(proc.join(name)).is_ok() {
            worked.push(name.to_string());
        }
    }
    worked
}

#[test]
fn a_process_with_borrowed_rights_can_be_neither_signalled_nor_traced_nor_read() {
    let ground = Ground::without_svscan();
    // These files take a while to read, so the process is often seen while it has the account's rights.
    let big = format!("{{\"desired_state\":\"stopped\",\"x\":[{}0]}}", "0,".repeat(150_000));
    let first = ground.tree.profile("p0").state(&big).dir.join("gateway_state.json");
    for n in 1..12 {
        let profile = ground.tree.profile(&format!("p{n}"));
        fs::hard_link(&first, profile.dir.join("gateway_state.json")).expect("link");
    }
    let uid = ground.tree.uid;
    let inside = Arc::new(AtomicU64::new(0));
    for line in [
        "hermes-reconcile-all",
        "hermes-svc-status",
        "hermes-port-alloc p0",
        "hermes-fix-attrs",
        "hermes-svc-start -n -a",
    ] {
        let mut words = line.split(' ');
        let tool = ground.tree.tool(words.next().expect("a tool")).args(words).start();
        let (pid, seen) = (tool.pid, inside.clone());
        let mischief = ground.keep_on(move || {
            if effective_uid(pid) == Some(uid) {
                seen.fetch_add(1, Ordering::Relaxed);
            }
            let worked = attack(pid);
            assert!(worked.is_empty() || crate::support::start_time(pid).is_none(), "{worked:?}");
        });
        wait_until("the tool to end", || !tool.is_running());
        drop(mischief);
        let ran = tool.wait();
        assert!([0, 102, 111].contains(&ran.code), "{ran}");
    }
    let inside = inside.load(Ordering::Relaxed);
    assert!(inside > 20, "seen inside only {inside} times");
    ground.unharmed();
}

#[test]
fn a_supervisor_and_its_poller_are_beyond_the_accounts_reach() {
    let ground = Ground::new();
    runs(&ground.tree, "coder").stand_in("never_ready=1\n");
    ground.tool("hermes-svc-register -u coder");
    let gateway = wait_for("the gateway", || ground.tree.gateway("coder"));
    let poller = wait_for("the poller", || ground.tree.pollers().first().copied());
    // A child of a supervisor has its name until the exec, and may become the account's.
    let svscan = ground.tree.svscan_pid();
    let supervisors = ground.tree.processes().into_iter();
    let supervisors = supervisors.filter(|p| p.pid == svscan || p.comm == "s6-supervise" && p.ppid == svscan);
    let roots: Vec<u32> = supervisors.map(|p| p.pid).chain([poller]).collect();
    assert_eq!(roots.len(), 5, "s6-svscan, three supervisors and the poller");
    wait_until("the gateway to be the account's", || effective_uid(gateway) == Some(ground.tree.uid));
    ground.as_account(|| {
        for pid in &roots {
            assert_eq!(attack(*pid), Vec::<String>::new());
        }
        // On the account's own gateway, the attack succeeds. So the test can detect a success.
        assert!(!attack(gateway).is_empty());
    });
}

/// A shell script that starts s6-svscan as PID 1 of a small container: a PID namespace, and a /run with s6-overlay's
/// directory.
const CONTAINER: &str = "set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/run
mount --rbind /run /mnt/run
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/s6/basedir \"$1\"
mount --rbind \"/mnt$1\" \"$1\"
exec s6-svscan \"$1/scandir\"";

/// A process of the account that looks like the container's command. It has root's effective uid, as `su` has while it
/// asks for a password. It is an orphan, so its parent is PID 1.
const IMPOSTOR: &str =
    "cd \"$1\" && exec -a /opt/hermes/docker/main-wrapper.sh \"$0\" hermes dashboard >/dev/null 2>&1 & exit";

/// Row G2 of docs/failures.md.
#[test]
fn no_process_of_the_accounts_passes_for_the_containers_command() {
    let ground = Ground::without_svscan();
    let tree = &ground.tree;
    runs(tree, "coder");
    let root = tree.home().parent().expect("root").to_path_buf();
    let unshare =
        tree.tool("unshare").args(["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", CONTAINER, "sh"]);
    let mut container = unshare.arg(&root).spawn();
    let init = wait_for("PID 1", || tree.processes().into_iter().find(|p| p.comm == "s6-svscan").map(|p| p.pid));
    let inside = |words: &[&str]| {
        let (pid, words) = (init.to_string(), words.iter().copied());
        tree.tool("nsenter").args(["-t", &pid, "-m", "-p", "--"]).args(words)
    };
    let tool = |name: &str| tree.bin().join(name).display().to_string();
    wait_until("s6-svscan to listen", || inside(&[&tool("hermes-detect-supervisor")]).run().code == 0);

    let program = tree.bin().join("impostor");
    fs::copy("/bin/cat", &program).expect("copy");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("mode");
    // The command is `cat hermes dashboard`. It waits for the FIFO `dashboard`. In /proc it looks like `main-wrapper.sh
    // hermes dashboard`.
    fs::write(tree.scratch().join("hermes"), "").expect("file");
    ground.plant(super::ground::Kind::Fifo, &tree.scratch().join("dashboard"));
    let (uid, gid) = (format!("--reuid={}", tree.uid), format!("--regid={}", tree.gid));
    let scratch = tree.scratch().display().to_string();
    let words =
        ["setpriv", &uid, &gid, "--clear-groups", "bash", "-c", IMPOSTOR, &program.display().to_string(), &scratch];
    inside(&words).run().is(0, "", "");
    wait_until("the impostor", || {
        let all = tree.processes();
        all.iter().any(|p| p.args.contains("main-wrapper.sh") && p.ppid == init && effective_uid(p.pid) == Some(0))
    });

    let ran = inside(&[&tool("hermes-reconcile-one"), "coder"]).run();
    // The pass does not wait until the gateway is up.
    wait_until("coder to be well", || inside(&[&tool("hermes-svc-status"), "-c"]).run().code == 0);
    kill(init, Signal::KILL);
    container.wait().expect("the container");
    ran.is(0, "reconcile: profile=coder prior_state=running action=started port=9530 prior_exit=unknown\n", "");
    ground.unharmed();
}

#[test]
fn root_whose_capabilities_survive_a_change_of_uid_does_nothing() {
    let ground = Ground::new();
    // The account may not read this file. A root process with the account's uid, but with all of root's capabilities,
    // could.
    let profile = runs(&ground.tree, "coder");
    let state = profile.dir.join("gateway_state.json");
    std::os::unix::fs::chown(&state, Some(0), Some(0)).expect("owner");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o600)).expect("mode");
    let kept = |line: &str| {
        let program = line.split(' ').next().expect("a tool");
        let tool = ground.tree.bin().join(program);
        let setpriv = ground.tree.tool("setpriv").args(["--securebits", "+no_setuid_fixup", "--"]).arg(tool);
        setpriv.args(line.split(' ').skip(1)).run()
    };
    for line in ["hermes-reconcile-all", "hermes-svc-register coder", "hermes-port-alloc coder"] {
        let ran = kept(line);
        assert_eq!(ran.code, 111, "{ran}");
        assert!(ran.stderr.contains("capabilities"), "{ran}");
    }
    let ran = kept("hermes-run-gateway coder id");
    assert!(ran.code != 0 && ran.stdout.is_empty(), "{ran}");
    ground.unharmed();
}
