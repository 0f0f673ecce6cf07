//! The memory, time and log lines that root spends on what the account has made.

use super::ground::{Ground, runs};
use crate::support::{agent, instances, kill, wait_until};
use rustix::process::Signal;
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

/// Each member would take a hundred bytes of memory and more.
#[test]
fn files_with_members_without_end_take_no_memory_of_roots() {
    let ground = Ground::without_svscan();
    let members = |value: &str, count: usize| {
        let members: Vec<String> = (0..count).map(|n| format!("\"{n}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    };
    let elements = format!("[{}0]", "0,".repeat(500_000));
    let state = members("1", 90_000);
    let home = ground.tree.profile("default").file("gateway_ports.json", &state);
    ground.tree.profile("coder").state(&state);
    let field = |name: &str| format!("{{\"desired_state\":\"running\",\"{name}\":{elements}}}");
    ground.tree.profile("scout").state(field("argv"));
    ground.tree.profile("writer").state(field("platforms"));
    let lifecycle = ground.tree.profile("writer").directory("state").file("state/gateway.lifecycle.json", &elements);
    for (tool, args) in [
        ("hermes-reconcile-one", &["coder"][..]),
        ("hermes-reconcile-all", &[]),
        ("hermes-svc-status", &["scout", "writer"]),
        ("hermes-port-alloc", &["writer"]),
    ] {
        let ran = in_32_mib(&ground, tool, args);
        assert!(ran.code < 126, "{ran}");
        assert!(!ran.stderr.contains("memory"), "{ran}");
    }
    assert!(home.read("gateway_ports.json").len() < 200 && lifecycle.name == "writer");
}

/// The account can make as many directories as the volume has room for.
#[test]
fn of_names_without_end_the_first_are_looked_at_and_those_with_slots() {
    let ground = Ground::new();
    runs(&ground.tree, "zz-own");
    ground.tool("hermes-reconcile-all -w");
    let gateway = ground.tree.wait_up("zz-own");
    for n in 0..10_020 {
        let dir = ground.tree.home().join(format!("profiles/n{n:05}"));
        fs::create_dir(&dir).expect("directory");
        ground.give(&dir);
    }
    let ran = ground.tool("hermes-reconcile-all");
    let left_out = "20 more entries of profiles are not looked at: there are too many\n";
    assert!(ran.code == 111 && ran.stderr.contains(left_out), "{ran}");
    // Ten directories without a marker are named.
    assert!(ran.lines()[1].starts_with("reconcile: profile=zz-own ") && ran.lines().len() == 13, "{ran}");
    assert!(ran.lines()[12].contains(" skipped=10020 ") && ran.lines()[12].ends_with(" unlisted=10010"), "{ran}");
    assert_eq!((ground.tree.gateway("zz-own"), ground.tree.leftovers()), (Some(gateway), vec![]));
    // An order by name needs no list.
    ground.tool("hermes-svc-stop -w zz-own").is(0, "profile=zz-own action=stopped\n", "");
    // Whether one of the others is wanted cannot be told.
    let ran = in_32_mib(&ground, "hermes-svc-status", &["-c"]);
    assert!(ran.code == 111 && ran.stderr.contains("21 more entries of profiles are not looked at"), "{ran}");
}

#[test]
fn files_of_all_profiles_that_are_slow_to_read_are_not_all_read_before_default_is_published() {
    // Without an s6-svscan the gateway of default does not run, and takes no lock.
    let ground = Ground::without_svscan();
    runs(&ground.tree, "default");
    linked(&ground, 100, &format!("api_server: 1\n[\\, {}", "? >,".repeat(60_000)));
    let ran = ground.tree.tool("hermes-reconcile-all").run();
    assert_eq!(ran.stderr.matches("the files of all profiles to be read").count(), 2, "{ran}");
    assert_eq!(ran.code, 111, "{ran}");
    assert!(ran.stdout.contains("profile=default prior_state=running action=started port=9495"), "{ran}");
}

/// Where one gateway serves several profiles, `default` may have to start because one of these is wanted.
#[test]
fn files_of_profiles_that_default_serves_and_are_slow_to_read_do_not_keep_it_from_being_published() {
    let ground = Ground::without_svscan();
    agent::stand_in(&ground.tree, "0.21.4");
    ground.tree.svscan();
    runs(&ground.tree, "default");
    linked(&ground, 100, &format!("standalone: 1\n[\\, {}", "? >,".repeat(60_000)));
    let pass = ground.tree.tool("hermes-reconcile-all").start();
    wait_until("default to have a slot", || ground.tree.slots() == ["default"]);
    // The others need not be waited for.
    kill(pass.pid, Signal::KILL);
    let ran = pass.wait();
    let late = "5000 ms waiting for the files of all profiles to be read: default does not start for the sake of a0";
    assert_eq!(ran.stderr.matches(late).count(), 1, "{ran}");
}

/// How many of root's inotify instances this tool has at most, looked at until it ends.
fn instances_of(run: crate::support::Running) -> usize {
    let (mut most, mut looks) = (0, 0);
    while run.is_running() {
        most = most.max(run.instances());
        looks += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(looks > 10, "{looks}");
    run.wait();
    most
}

/// A uid has 128 inotify instances, and root's are shared with the root of every other container.
#[test]
fn a_removal_that_drains_holds_no_inotify_instance() {
    let ground = Ground::new();
    runs(&ground.tree, "bad").stand_in("ignore_term=1\n");
    ground.tool("hermes-reconcile-all -w");
    ground.tree.wait_up("bad");
    ground.tree.delete_profile("bad");
    assert_eq!(instances_of(ground.tree.tool("hermes-reconcile-one").args(["-t", "4000", "bad"]).start()), 0);
    ground.tree.kill_hard();
}

#[test]
fn a_drain_of_many_gateways_holds_one_inotify_instance_at_most() {
    let ground = Ground::new();
    let names: Vec<String> = (0..12).map(|n| format!("bad{n}")).collect();
    names.iter().for_each(|name| drop(runs(&ground.tree, name).stand_in("ignore_term=1\n")));
    ground.tool("hermes-reconcile-all -w");
    names.iter().for_each(|name| {
        ground.tree.wait_up(name);
    });
    for line in ["hermes-svc-stop -a -k -w -t 3000", "hermes-svc-restart -w -a -t 3000"] {
        let mut words = line.split(' ');
        let tool = ground.tree.tool(words.next().expect("a name")).args(words);
        let most = instances_of(tool.start());
        assert!(most <= 1, "{line}: {most}");
    }
    ground.tree.kill_hard();
}

/// The account decides how often its supervisors are lost, and so how many runs remind s6-svscan at one time.
#[test]
fn a_run_that_reminds_s6_svscan_holds_no_inotify_instance() {
    let ground = Ground::new();
    runs(&ground.tree, "bad");
    // A stopped s6-svscan takes up no slot.
    kill(ground.tree.svscan_pid(), Signal::STOP);
    let run = ground.tree.tool("hermes-svc-register").args(["-t", "6000", "bad"]).start();
    assert_eq!(instances_of(run), 0);
    kill(ground.tree.svscan_pid(), Signal::CONT);
}

/// What one container's account makes root hold is missing in all containers of the host: a uid has 128 instances.
#[test]
fn root_has_less_than_eight_inotify_instances_while_everything_is_under_way() {
    let mut ground = Ground::without_svscan();
    for (name, value) in [("HERMES_START_LIMIT", "0"), ("HERMES_START_TIMEOUT", "600")] {
        ground.tree.env.push((name.to_string(), value.to_string()));
    }
    ground.tree.svscan();
    let tree = &ground.tree;
    for n in 0..10 {
        drop(runs(tree, &format!("start{n}")).stand_in("never_ready=1\n"));
        drop(runs(tree, &format!("bad{n}")).stand_in("ignore_term=1\n"));
    }
    let tool = |line: &str| {
        let mut words = line.split(' ');
        tree.tool(words.next().expect("a name")).args(words)
    };
    let bin = tree.bin();
    let watcher = tool("hermes-profile-watch").arg(bin.join("hermes-reconcile-one")).arg("-q").start();
    ground.run(tool("hermes-reconcile-all -w"));
    (0..10).for_each(|n| {
        tree.wait_up(&format!("bad{n}"));
    });
    let pollers = || tree.pollers().len() >= 10;
    wait_until("ten starts to be under way", pollers);
    // An operator looks on, and gives orders that take long.
    let orders =
        ["hermes-svc-logs -f", "hermes-svc-stop -w -t 100000 bad0 bad1", "hermes-svc-start -W -t 100000 start0"];
    let orders = orders.map(|line| tool(line).start());
    wait_until("the operator to wait", || orders.iter().all(|order| order.waits_for_events()));
    (2..10).for_each(|n| tree.delete_profile(&format!("bad{n}")));
    let drains = || tree.processes().iter().filter(|p| p.args.contains("hermes-reconcile-one -q bad")).count();
    wait_until("the drains", || drains() >= 8);
    for _ in 0..20 {
        let all: Vec<_> =
            tree.processes().into_iter().map(|p| (instances(p.pid), p.args)).filter(|(n, _)| *n > 0).collect();
        let count: usize = all.iter().map(|(n, _)| n).sum();
        assert!((1..8).contains(&count), "{all:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(watcher.is_running());
    tree.kill_hard();
}

/// Whoever waits for the lock would otherwise wait for the files of all profiles.
#[test]
fn the_lock_of_the_ports_is_not_held_while_slow_files_are_read() {
    use rustix::process::{Flock, FlockType, fcntl_getlk};
    let ground = Ground::without_svscan();
    linked(&ground, 25, &format!("api_server: 1\n[\\, {}", "? >,".repeat(60_000)));
    let lock = ground.tree.home().join(".hermes-s6.ports.lock");
    fs::write(&lock, "").expect("lock");
    ground.give(&lock);
    let alloc = ground.tree.tool("hermes-port-alloc").arg("default").start();
    let (mut looks, mut held) = (0, 0);
    while alloc.is_running() {
        let file = fs::File::open(&lock).expect("lock");
        held += usize::from(fcntl_getlk(&file, &Flock::from(FlockType::ReadLock)).expect("a look").is_some());
        looks += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    let ran = alloc.wait();
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "9495\n"), "{ran}");
    assert!(looks > 100 && held * 3 < looks, "held at {held} of {looks} looks");
}
