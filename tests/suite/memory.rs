//! Memory: the limit of a gateway, kills by the kernel, and the order in which it kills.

use crate::support::{Ran, Tree, glob, kill, needs_root, wait_for, wait_until};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// Lines of the stand-in: use up all memory that there is, in its own process.
const HOG: &str = "exec tail /dev/zero";

/// A tree whose gateways may have 64 MiB. The stand-in of `coder` runs these lines at its start.
fn limited(lines: &str) -> Tree {
    needs_root();
    let mut tree = Tree::new();
    tree.env.push(("HERMES_GATEWAY_MEMORY".to_string(), "64".to_string()));
    tree.svscan();
    tree.profile("coder").intent("running").stand_in(&format!("at_start() {{\n{lines}\n}}\n"));
    tree.tool("hermes-reconcile-one").arg("coder").run();
    tree
}

/// Who keeps the limit of this gateway: a control group, or the process itself where no group can be made.
fn keeper(tree: &Tree) -> String {
    let said = wait_for("the limit", || {
        let said = fs::read_to_string(tree.slot("coder").join("data/memory")).ok()?;
        (!said.is_empty()).then_some(said)
    });
    let words: Vec<&str> = said.split_whitespace().collect();
    assert!(words.len() == 5 && words[1] == "64", "{said}");
    words[2].to_string()
}

fn log(tree: &Tree) -> String {
    fs::read_to_string(tree.home().join("logs/gateways/coder/current")).unwrap_or_default()
}

/// Wait for a line of the log that ends so.
#[track_caller]
fn says(tree: &Tree, line: &str) {
    wait_until(line, || log(tree).lines().any(|said| glob(&format!("*{line}"), said)));
}

/// Rows F2, H4 of docs/failures.md.
#[test]
fn a_gateway_that_the_kernel_kills_at_its_limit_is_no_crash_and_is_held_later() {
    let tree = limited(HOG);
    let (how, word, count, within) = match keeper(&tree).as_str() {
        "group" => ("died of SIGKILL for memory", "out-of-memory", 10, 120),
        _ => ("exited with 1", "exit-1", 5, 60),
    };
    for start in 1..=count {
        wait_until("the next start", || tree.profile("coder").starts() >= start);
    }
    wait_until("it to be held", || tree.slot("coder").join("data/held").exists());
    says(&tree, &format!("finish: coder {how} after * s with a limit of 64 MiB, {count} of {count} in {within} s"));
    assert_eq!(tree.profile("coder").starts(), count);
    wait_until("it to be down", || tree.svstat("coder", "up,wantedup").is_some_and(|s| s == ["false", "false"]));
    let status = |options: &[&str]| tree.tool("hermes-svc-status").args(options).arg("coder").run();
    status(&[]).is(0, &format!("*\n*\ncoder *held *{word}, *\n"), "");
    status(&["-j"]).is(
        0,
        &format!("*\"note\":\"{word},*\"last_death\":\"{}\",*\n", word.replacen("exit-", "exit ", 1)),
        "",
    );
    let limit = "because its memory is limited to 64 MiB (HERMES_GATEWAY_MEMORY)";
    let explained = match count {
        10 => format!(
            "*\n*\n  because the kernel killed it 10 times for memory\n  {limit}\n  next: give the container more memory, *, then: hermes-svc-start -W coder\n"
        ),
        _ => format!("*\n*\n  because it ended 5 times, the last time with exit 1\n  {limit}\n*next: *\n"),
    };
    status(&["-x"]).is(0, &explained, "");
    assert_eq!(groups(&tree), Vec::<String>::new());
}

/// Row F2 of docs/failures.md.
#[test]
fn a_gateway_that_the_kernel_has_killed_once_goes_on_and_says_why_it_died() {
    let tree = limited(&format!("[ \"$(wc -l <\"$dir/stand-in.starts\")\" -gt 1 ] || {HOG}"));
    let (how, word) = match keeper(&tree).as_str() {
        "group" => ("died of SIGKILL for memory after * s with a limit of 64 MiB, 1 of 10 in 120 s", "out-of-memory"),
        _ => ("exited with 1 after * s with a limit of 64 MiB, 1 of 5 in 60 s", "exit 1"),
    };
    wait_until("it to be ready", || tree.svstat("coder", "ready").is_some_and(|s| s == ["true"]));
    says(&tree, &format!("finish: coder {how}"));
    let status = |options: &[&str]| tree.tool("hermes-svc-status").args(options).arg("coder").run();
    status(&["-j"]).is(0, &format!("*\"deaths\":1,\"last_death\":\"{word}\",*\n"), "");
    if word == "out-of-memory" {
        status(&[]).is(0, "*\n*\ncoder *up *1 death (out-of-memory)\n", "");
        let why = "s6-supervise started it again: it died once, the last time by the kernel, for memory: give the container more *";
        status(&["-x"]).is(0, &format!("*\n*\n  because {why}\n  next: nothing: all is well\n"), "");
    }
    // Not every SIGKILL is for memory, also where one was.
    kill(tree.wait_up("coder"), Signal::KILL);
    says(&tree, "finish: coder died of SIGKILL after * s with a limit of 64 MiB, * of 5 in 60 s");
    wait_until("it to be up again", || tree.profile("coder").starts() == 3);
    status(&["-j"]).is(0, "*\"deaths\":2,\"last_death\":\"SIGKILL\",*\n", "");
    tree.tool("hermes-svc-stop").args(["-w", "coder"]).run().is(0, "*\n", "");
    wait_until("its control group to be gone", || groups(&tree).is_empty());
}

/// The control groups of the slots of this tree.
fn groups(tree: &Tree) -> Vec<String> {
    let slot = fs::metadata(tree.slot("coder")).expect("a slot");
    let ran = tree
        .tool("find")
        .args(["/sys/fs/cgroup", "-type", "d", "-name", &format!("hermes-s6-coder-{}", slot.ino())])
        .run();
    ran.stdout.lines().map(str::to_string).collect()
}

#[test]
fn the_account_cannot_leave_or_change_the_control_group_of_its_limit() {
    let tree = limited(":");
    let pid = tree.wait_up("coder");
    for group in groups(&tree) {
        let procs = fs::read_to_string(format!("{group}/cgroup.procs")).expect("processes");
        assert!(procs.lines().any(|line| line == pid.to_string()), "{procs}");
        let tries = r#"for file in "$1"/cgroup.procs "$1"/../cgroup.procs "$1"/memory.max "$1"/memory.limit_in_bytes; do
            if [ -e "$file" ] && echo 0 >"$file"; then echo "$file"; fi; done 2>/dev/null; mkdir "$1/more" 2>/dev/null && echo made"#;
        let ran = tree.tool_as_account("sh").args(["-c", tries, "sh", &group]).run();
        assert_eq!(ran.stdout, "", "{ran}");
    }
    tree.tool("hermes-svc-stop").args(["-w", "coder"]).run().is(0, "*\n", "");
    wait_until("its control group to be gone", || groups(&tree).is_empty());
}

#[test]
fn where_no_control_group_can_be_made_the_process_has_the_limit_and_python_survives_it() {
    let mut tree = Tree::new();
    tree.env.push(("HERMES_GATEWAY_MEMORY".to_string(), "64".to_string()));
    tree.profile("coder");
    let run = |program: &[&str]| tree.tool("hermes-run-gateway").arg("coder").args(program).run();
    run(&["sh", "-c", "ulimit -Sd; ulimit -Hd; ulimit -d 70000 2>/dev/null || echo refused"]).is(
        0,
        "65536\n65536\nrefused\n",
        "",
    );
    let program = "try:\n b'x' * (1 << 27)\nexcept MemoryError:\n print('survived', len(b'x' * (1 << 24)))";
    run(&["python3", "-c", program]).is(0, "survived 16777216\n", "");
}

#[test]
fn a_limit_that_is_none_is_one_warning_and_the_gateway_runs_without() {
    let mut tree = Tree::new();
    tree.profile("coder");
    for value in ["much", "15", "-1", "1G", "99999999999999999999"] {
        tree.env = vec![("HERMES_GATEWAY_MEMORY".to_string(), value.to_string())];
        let ran = tree.tool("hermes-run-gateway").args(["coder", "sh", "-c", "ulimit -d"]).run();
        let warning = format!(
            "hermes-run-gateway: warning: invalid HERMES_GATEWAY_MEMORY \"{value}\": it must be a number of MiB, *: \
             the gateway has no limit\n"
        );
        ran.is(0, "unlimited\n", &warning);
    }
    tree.env = vec![("HERMES_GATEWAY_MEMORY".to_string(), String::new())];
    tree.tool("hermes-run-gateway").args(["coder", "sh", "-c", "ulimit -d"]).run().is(0, "unlimited\n", "");
}

/// Run a line of shell in a small container with a control group of version 2 that a test writes: nobody needs memory,
/// and the kernel has killed nobody. `coder` is wanted.
fn in_a_group(command: &str) -> Ran {
    needs_root();
    let tree = Tree::new();
    for name in ["coder", "default"] {
        tree.profile(name).intent("running");
    }
    let setup = "mount -t tmpfs -o mode=0755 none /sys/fs/cgroup\n\
                 echo 'full avg10=0.00 avg60=0.00 avg300=0.00 total=0' >/sys/fs/cgroup/memory.pressure\n\
                 echo 'oom_kill 3' >/sys/fs/cgroup/memory.events";
    let shell = r#"
        until_it() { while ! "$@" >/dev/null 2>&1; do sleep 0.1; done; }
        status() { hermes-svc-status "$@" coder; }
        says() { status | grep -qe "$1"; }
        log() { grep -qe "$1" /mnt/tree/home/logs/gateways/coder/current; }
        hermes-reconcile-all >/dev/null"#;
    tree.in_a_container(setup, &format!("{shell}\n{command}"))
}

/// Rows F2, H4 of docs/failures.md.
#[test]
fn a_kill_for_memory_is_told_from_others_by_the_count_of_the_containers_control_group() {
    let ran = in_a_group(
        r#"pid() { s6-svstat -o pid /run/service/gateway-coder; }
        started() { [ "$(grep -c 'info: coder in ' /mnt/tree/home/logs/gateways/coder/current)" = "$1" ]; }
        until_it started 1
        kill -KILL "$(pid)"
        until_it log 'finish: coder died of SIGKILL after .* 1 of 5 in 60 s$'
        until_it started 2
        echo 'oom_kill 4' >/sys/fs/cgroup/memory.events
        kill -KILL "$(pid)"
        until_it log 'finish: coder died of SIGKILL for memory after .* s, 1 of 10 in 120 s$'
        until_it started 3
        status -j | sed 's/.*\("last_death":"[^"]*"\).*/\1/'
        cat /run/service/gateway-coder/data/memory"#,
    );
    ran.is(0, "\"last_death\":\"out-of-memory\"\n4 - - * /sys/fs/cgroup/memory.events\nexit 0\n", "");
}

/// Row H4 of docs/failures.md.
#[test]
fn while_everything_stands_still_for_memory_no_further_gateway_starts() {
    let ran = in_a_group(
        r#"until_it status -q
        hermes-svc-stop -k -w coder >/dev/null
        echo 'full avg10=10.02 avg60=0.00 avg300=0.00 total=0' >/sys/fs/cgroup/memory.pressure
        hermes-svc-start -a >/dev/null
        until_it says 'waits for memory'
        log 'warning: coder waits for memory: 10 % of the last ten seconds everything stood still for it' && echo said
        hermes-svc-status -q default && echo default is up
        echo 'full avg10=9.98 avg60=0.00 avg300=0.00 total=0' >/sys/fs/cgroup/memory.pressure
        until_it status -q"#,
    );
    ran.is(0, "said\ndefault is up\nexit 0\n", "");
}

/// Row H4 of docs/failures.md.
#[test]
fn the_kernel_takes_what_a_gateway_has_started_before_the_gateway() {
    needs_root();
    let tree = Tree::up();
    let lines =
        "at_start() {\nsleep 1000 & echo $! >>\"$dir/children\"\n(sleep 1000 & echo $! >>\"$dir/children\")\n}\n";
    tree.profile("coder").intent("running").stand_in(lines);
    tree.tool("hermes-reconcile-one").arg("coder").run();
    let gateway = tree.wait_up("coder");
    let score = |pid: u32| -> i32 {
        let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("oom_score_adj");
        text.trim().parse().expect("a number")
    };
    let before = score(gateway);
    let watcher = tree.tool("hermes-profile-watch").arg("true").start();
    let children: Vec<u32> =
        tree.profile("coder").read("children").lines().map(|pid| pid.parse().expect("a pid")).collect();
    assert_eq!(children.len(), 2);
    // The second one has lost its parent.
    wait_until("the order to be made", || children.iter().all(|child| score(*child) == 1000));
    let supervisor = tree.supervisor(&tree.slot("coder")).expect("a supervisor");
    assert!(score(gateway) == before && score(supervisor) < before && before < 1000);
    assert!(watcher.is_running());
}
