//! Delays that the account can cause.

use super::ground::{Ground, Mischief, runs};
use crate::support::{Tool, kill, wait_until};
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// The limit for a tool, which is no measurement. A busy machine stays below it. A tool that waited for the account
/// would not: thirty locks of 2 s each take 60 s, a lease lasts 45 s, and the other waits never end.
const BOUND: Duration = Duration::from_secs(40);

/// Check that every profile has a slot that is supervised.
#[track_caller]
fn all_up(ground: &Ground) {
    let ran = ground.tool("hermes-reconcile-all -w");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
}

/// A process of the account, which is killed when this value is dropped.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Start a Perl program as the account, and wait until it prints `ready`. Perl can make the calls for leases and for
/// all kinds of locks.
fn perl(ground: &Ground, program: &str, files: &[&Path]) -> Held {
    use std::io::BufRead as _;
    use std::os::unix::process::CommandExt as _;
    let mut command = std::process::Command::new("perl");
    command.args(["-e", &format!("$| = 1; {program}; print \"ready\\n\"; sleep 1000")]).args(files);
    command.uid(ground.tree.uid).gid(ground.tree.gid).stdout(Stdio::piped());
    let mut child = command.spawn().expect("perl");
    let mut line = String::new();
    let said = std::io::BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line);
    assert!(said.is_ok() && line == "ready\n", "perl: {line:?}");
    Held(child)
}

/// A Perl program that takes leases. Who opens a leased file is refused, or waits for the time in
/// /proc/sys/fs/lease-break-time (45 s).
const LEASE: &str =
    r#"$SIG{IO} = "IGNORE"; for (@ARGV) { open my $f, "+<", $_ or die; fcntl $f, 1024, 1 or die "$!"; push @f, $f }"#;

/// A Perl program that takes `fcntl` write locks.
const LOCK: &str = r#"for (@ARGV) { open my $f, "+>>", $_ or die; my $l = pack "ssx4qqi", 1, 0, 0, 0, 0; fcntl $f, 6, $l or die "$!"; push @f, $f }"#;

/// A Perl program that takes an `fcntl` read lock on a file that the account may only read. It tries until the holder
/// of the write lock releases the lock.
const READ_LOCK: &str = r#"open my $f, "<", $ARGV[0] or die; my $l = pack "ssx4qqi", 0, 0, 0, 0, 0; for (1 .. 60000) { $got = fcntl $f, 6, $l and last; select undef, undef, undef, 0.001 } $got or die"#;

#[track_caller]
fn soon(ground: &Ground, tool: Tool) -> crate::support::Ran {
    let start = Instant::now();
    let ran = ground.run(tool);
    assert!(start.elapsed() < BOUND, "it took {:?}: {ran}", start.elapsed());
    ran
}

#[test]
fn a_lease_on_every_file_of_a_profile_delays_nobody() {
    let ground = Ground::new();
    let profile =
        runs(&ground.tree, "bad").env("A=1\n").file("config.yaml", "a: 1\n").file(".hermes-s6.intent.lock", "");
    runs(&ground.tree, "coder");
    let ports = ground.tree.home().join("gateway_ports.json");
    fs::write(&ports, "{}").expect("ports");
    ground.give(&ports);
    let names = ["gateway_state.json", ".env", "config.yaml", ".hermes-s6.intent.lock"];
    let paths: Vec<_> = names.iter().map(|n| profile.dir.join(n)).chain([ports]).collect();
    let held = perl(&ground, LEASE, &paths.iter().map(|p| p.as_path()).collect::<Vec<_>>());
    let ran = soon(&ground, ground.tree.tool("hermes-reconcile-all"));
    assert!(ran.stdout.contains("profile=coder prior_state=running action=started"), "{ran}");
    soon(&ground, ground.tree.tool("hermes-svc-status"));
    soon(&ground, ground.tree.tool("hermes-svc-stop").arg("bad"));
    drop(held);
}

#[test]
fn locks_that_are_never_let_go_delay_each_command_by_seconds() {
    let ground = Ground::new();
    runs(&ground.tree, "coder");
    let mut files = vec![ground.tree.home().join(".hermes-s6.ports.lock")];
    for n in 0..30 {
        files.push(runs(&ground.tree, &format!("bad{n}")).dir.join(".hermes-s6.intent.lock"));
    }
    let ports = ground.tree.home().join("gateway_ports.json");
    fs::write(&ports, r#"{"coder":9777}"#).expect("ports");
    ground.give(&ports);
    let held = perl(&ground, LOCK, &files.iter().map(|f| f.as_path()).collect::<Vec<_>>());
    let ran = soon(&ground, ground.tree.tool("hermes-reconcile-all").arg("-w"));
    // Recorded ports are shown all the same.
    assert!(ran.stdout.contains("profile=coder prior_state=running action=started port=9777 "), "{ran}");
    assert!(ran.stdout.contains("profile=bad0 prior_state=running action=started port=none "), "{ran}");
    for line in ["hermes-svc-stop -a -k", "hermes-svc-start -a", "hermes-svc-stop -a"] {
        let mut words = line.split(' ');
        let ran = soon(&ground, ground.tree.tool(words.next().expect("a tool")).args(words));
        assert_eq!((ran.code, ran.lines().len()), (0, 31), "{ran}");
    }
    drop(held);
    ground.tree.kill_hard();
}

/// Kill the supervisor of a slot. A read lock of the account on `supervise/lock` keeps the next supervisor from
/// starting.
fn lost(ground: &Ground, name: &str) -> Held {
    let slot = ground.tree.slot(name);
    // s6-svscan starts the next supervisor when it goes on.
    kill(ground.tree.svscan_pid(), Signal::STOP);
    ground.tree.tool_as_account("s6-svc").arg("-dx").arg(&slot).run().is(0, "", "");
    let held = perl(ground, READ_LOCK, &[&slot.join("supervise/lock")]);
    kill(ground.tree.svscan_pid(), Signal::CONT);
    held
}

#[test]
fn slots_whose_supervisor_cannot_come_back_do_not_keep_the_others_from_their_orders() {
    let ground = Ground::new();
    for name in ["bad0", "bad1", "bad2", "bad3", "coder"] {
        runs(&ground.tree, name);
    }
    all_up(&ground);
    let coder = ground.tree.wait_up("coder");
    let held: Vec<Held> = ["bad0", "bad1", "bad2", "bad3"].iter().map(|name| lost(&ground, name)).collect();
    let start = Instant::now();
    let tool =
        ground.tree.tool("hermes-svc-stop").args(["-t", "9000", "bad0", "bad1", "bad2", "bad3", "coder"]).start();
    wait_until("coder to be told", || crate::support::start_time(coder).is_none());
    // Coder's order was given before the 5 s of the other slots were over.
    let waits = tool.is_running();
    let ran = tool.wait();
    assert!(waits, "coder was told last: {ran}");
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    assert_eq!((ran.code, ran.stdout.as_str()), (102, "profile=coder action=stopped\n"), "{ran}");
    drop(held);
}

#[test]
fn a_deadline_holds_for_the_whole_command_however_many_slots_are_stuck() {
    let ground = Ground::new();
    let names: Vec<String> = (0..5).map(|n| format!("bad{n}")).collect();
    for name in &names {
        runs(&ground.tree, name);
    }
    all_up(&ground);
    let held: Vec<Held> = names.iter().map(|name| lost(&ground, name)).collect();
    let start = Instant::now();
    let ran = ground.run(ground.tree.tool("hermes-svc-stop").args(["-t", "6000"]).args(&names));
    // If the tool waited for one slot after the other, it would take 25 s.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}: {ran}", start.elapsed());
    assert!([99, 102].contains(&ran.code), "{ran}");
    drop(held);
}

#[test]
fn control_bytes_and_stopped_processes_end_every_wait_by_its_deadline() {
    let ground = Ground::new();
    runs(&ground.tree, "coder").stand_in("ignore_term=1\n");
    all_up(&ground);
    let control = ground.tree.slot("coder").join("supervise/control");
    for bytes in ["x", "O", "p", "D", "dx", "XO", "kkkk", "\0\n\u{7f}", "uduudUDUDU"] {
        let (path, text) = (control.clone(), bytes.to_string());
        let mischief: Mischief = ground.keep_on(move || {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK;
            if let Ok(fifo) = rustix::fs::open(&path, flags, Mode::empty()) {
                let _ = rustix::io::write(&fifo, text.as_bytes());
            }
            std::thread::sleep(Duration::from_millis(2));
        });
        for line in [
            "hermes-svc-start -W -t 700 coder",
            "hermes-svc-restart -w -t 700 coder",
            "hermes-svc-stop -w -t 700 coder",
        ] {
            let mut words = line.split(' ');
            let ran = soon(&ground, ground.tree.tool(words.next().expect("a tool")).args(words));
            assert!([0, 99, 102, 111].contains(&ran.code), "{bytes:?}: {ran}");
        }
        drop(mischief);
    }
    soon(&ground, ground.tree.tool("hermes-svc-unregister").args(["-t", "1500", "coder"]));
    ground.tree.kill_hard();
}

#[test]
fn a_flooded_control_fifo_delays_nobody_else() {
    let ground = Ground::new();
    runs(&ground.tree, "bad");
    runs(&ground.tree, "coder");
    all_up(&ground);
    ground.tree.wait_up("coder");
    let control = ground.tree.slot("bad").join("supervise/control");
    let flood: Vec<Mischief> = (0..3)
        .map(|_| {
            let path = control.clone();
            ground.keep_on(move || {
                let flags = OFlags::WRONLY | OFlags::NONBLOCK;
                if let Ok(fifo) = rustix::fs::open(&path, flags, Mode::empty()) {
                    while rustix::io::write(&fifo, &[b'\n'; 4096]).is_ok() {}
                }
            })
        })
        .collect();
    let ran = soon(&ground, ground.tree.tool("hermes-svc-stop").args(["-w", "-t", "5000", "bad", "coder"]));
    assert!(ran.stdout.contains("profile=coder action=stopped\n"), "{ran}");
    soon(&ground, ground.tree.tool("hermes-svc-unregister").args(["-t", "2000", "bad"]));
    soon(&ground, ground.tree.tool("hermes-svc-start").args(["-w", "coder"]));
    drop(flood);
    ground.tree.kill_hard();
}

#[test]
fn files_that_are_slow_to_read_cost_a_profile_little() {
    let ground = Ground::without_svscan();
    let half = "x".repeat(500_000);
    let quarters = "${A}".repeat(125_000);
    let inherited = "${PATH}".repeat(140_000);
    let files = [
        (".env", format!("A={half}\nAPI_SERVER_KEY={quarters}\n")),
        (".env", format!("API_SERVER_KEY={inherited}\n")),
        (".env", format!("API_SERVER_KEY=1\n{}", "A='\\'\n".repeat(140_000))),
        ("config.yaml", format!("api_server: {}", "[".repeat(1_000_000))),
        ("config.yaml", format!("api_server: 1\n{}", "- ".repeat(500_000))),
        ("config.yaml", format!("api_server: 1\n{}", "? ".repeat(500_000))),
        ("config.yaml", format!("api_server: 1\n{}", "a:\n".repeat(300_000))),
        ("config.yaml", format!("api_server: 1\nb: {{{}}}", "a, ".repeat(300_000))),
        ("config.yaml", format!("api_server: 1\nb: [{}]", "&a a,".repeat(150_000))),
        ("config.yaml", format!("api_server: 1\nb: \"{}\"", "\\n\n".repeat(250_000))),
        ("config.yaml", format!("api_server: 1\nb: >\n{}", " a\n\n".repeat(200_000))),
        ("config.yaml", format!("api_server: 1\n{}", "#\n".repeat(500_000))),
        ("config.yaml", format!("api_server: 1\n{}", "!!str ".repeat(160_000))),
        ("config.yaml", format!("api_server: 1\n{}", "\u{feff}".repeat(300_000))),
        ("gateway_state.json", format!("{{\"a\":{}", "[".repeat(1_000_000))),
        ("gateway_state.json", format!("{{{}\"a\":1}}", "\"a\":1,".repeat(150_000))),
        ("gateway_state.json", format!("{{\"a\":1{}}}", "0".repeat(1_000_000))),
    ];
    for (n, (name, text)) in files.iter().enumerate() {
        let slow = ground.tree.profile("slow").file(name, text);
        let start = Instant::now();
        ground.tool("hermes-reconcile-one slow");
        // The tools are not optimised in this test, and the machine may be busy. A time that grows with the square of
        // the length would be minutes.
        assert!(start.elapsed() < BOUND, "file {n}, a {name}, takes {:?}", start.elapsed());
        fs::remove_file(slow.dir.join(name)).expect("remove");
    }
}

#[test]
fn one_profile_that_cannot_be_read_keeps_no_other_from_its_orders() {
    use std::os::unix::fs::PermissionsExt as _;
    let ground = Ground::new();
    runs(&ground.tree, "coder");
    let bad = runs(&ground.tree, "bad");
    all_up(&ground);
    ground.tree.wait_up("coder");
    fs::set_permissions(&bad.dir, fs::Permissions::from_mode(0o300)).expect("mode");
    let ran = soon(&ground, ground.tree.tool("hermes-svc-restart").args(["-a", "-w"]));
    assert!(ran.stdout.contains("profile=coder action=restarted\n"), "{ran}");
    let ran = soon(&ground, ground.tree.tool("hermes-svc-stop").args(["-w", "coder"]));
    assert_eq!(ran.code, 0, "{ran}");
    runs(&ground.tree, "coder");
    let ran = soon(&ground, ground.tree.tool("hermes-svc-start").arg("-a"));
    assert!(ran.stdout.contains("profile=coder action=started\n"), "{ran}");
    let ran = soon(&ground, ground.tree.tool("hermes-reconcile-all"));
    assert!(ran.stdout.contains("profile=coder prior_state=running action=unchanged"), "{ran}");
}

/// Row H4 of docs/failures.md.
#[test]
fn the_thousand_services_of_s6_svscan_are_never_exceeded_and_who_has_no_room_is_counted() {
    let ground = Ground::without_svscan();
    // s6-svscan supervises at most 1000 services, loggers included. There is room for 50 slots. What is there already is
    // the server of the oneshots, and these.
    (0..899).for_each(|n| fs::create_dir(ground.tree.scandir().join(format!("other{n}"))).expect("service"));
    for n in 0..100 {
        let dir = ground.tree.profile(&format!("p{n:02}")).intent("running").dir;
        assert!(dir.exists());
    }
    let ran = ground.tree.tool("hermes-reconcile-all").run();
    // Those with a slot have a line each. Of the others ten have one, and the last line counts them all.
    assert_eq!((ran.code, ran.lines().len()), (111, 50 + 10 + 1), "{ran}");
    assert_eq!(ran.lines()[60].split(' ').nth(2), Some("profiles=101"));
    assert!(ran.lines()[60].contains(" failed=51 ") && ran.lines()[60].ends_with(" unlisted=41"), "{ran}");
    assert!(ran.stderr.contains(": 1002 services, loggers included, and its s6-svscan takes 1000: "), "{ran}");
    assert_eq!(ground.tree.slots().len(), 50);
    assert!(ran.lines()[0].starts_with("reconcile: profile=default prior_state=none action=registered"));
    ground.unharmed();
}

/// A Perl program that connects to a socket again and again, and keeps each connection as long as it can.
const FLOOD: &str = r#"use Socket; my @held; my $n = 0;
    while (1) {
        socket my $s, AF_UNIX, SOCK_STREAM, 0 or die;
        fcntl $s, 4, 2048;
        push @held, $s if connect $s, pack_sockaddr_un($ARGV[0]);
        shift @held if @held > 200;
        if (++$n == 500) { open my $f, ">", "flooded$$" }
    }"#;

/// s6-overlay's oneshots, and so the drain at a container's stop, go through a socket to which everybody may connect.
#[test]
fn the_socket_of_the_oneshots_does_nothing_for_the_account_and_a_flood_of_it_stops_no_drain() {
    let ground = Ground::new();
    runs(&ground.tree, "coder");
    all_up(&ground);
    let coder = ground.tree.wait_up("coder");
    let socket = ground.oneshots();
    wait_until("the server of the oneshots", || socket.exists());
    assert_eq!(fs::metadata(&socket).expect("socket").permissions().mode() & 0o777, 0o777);
    let ask = |tool: Tool, verb: &str| tool.args(["-e", "-t", "30000", "-T", "100000"]).arg(&socket).args([verb, "1"]);
    let oneshots = || fs::read_to_string(ground.tree.root().join("oneshots")).unwrap_or_default();
    let root = || ground.tree.tool("s6-sudo");
    let ran = ground.run(ask(root(), "up"));
    assert_eq!((ran.code, oneshots().as_str()), (0, "up 1\n"), "{ran}");
    for verb in ["up", "down"] {
        let ran = ask(ground.tree.tool_as_account("s6-sudo"), verb).run();
        assert!(ran.code != 0 && oneshots() == "up 1\n", "{}: {ran}", oneshots());
    }
    let flood = [(); 3].map(|()| ground.tree.tool_as_account("perl").args(["-e", FLOOD]).arg(&socket).start());
    let flooded = |run: &crate::support::Running| ground.tree.scratch().join(format!("flooded{}", run.pid)).exists();
    wait_until("the flood", || flood.iter().all(flooded));
    // s6-rc waits for 30 s for its connection, too.
    let ran = ask(root(), "down").run();
    assert_eq!((ran.code, oneshots().as_str()), (0, "up 1\ndown 1\n"), "{ran}");
    assert!(
        ran.stdout.contains("profile=coder action=stopped\n") && crate::support::start_time(coder).is_none(),
        "{ran}"
    );
    assert!(flood.iter().all(crate::support::Running::is_running));
    ground.tree.kill_hard();
    ground.unharmed();
}

/// Give this order while the account writes `d` into the control FIFOs again and again, and the gateways ignore SIGTERM.
/// Each `d` starts `timeout-kill` anew, so s6-supervise alone never gets to its kill.
#[track_caller]
fn ends_heckled_gateways(names: &[&str], order: &[&str]) -> (Ground, crate::support::Ran) {
    let ground = Ground::new();
    fs::write(ground.tree.template().join("timeout-kill"), "3000\n").expect("timeout-kill");
    names.iter().for_each(|name| drop(runs(&ground.tree, name).stand_in("ignore_term=1\n")));
    all_up(&ground);
    let before: Vec<u32> = names.iter().map(|name| ground.tree.wait_up(name)).collect();
    let opened = names.iter().map(|name| {
        let control = ground.tree.slot(name).join("supervise/control");
        rustix::fs::open(control, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).expect("the FIFO")
    });
    // An open FIFO stays the same when its slot is hidden.
    let fifos: Vec<_> = opened.collect();
    let heckler = ground.keep_on(move || {
        for fifo in &fifos {
            let _ = rustix::io::write(fifo, b"d");
        }
        std::thread::sleep(Duration::from_millis(100));
    });
    let ran = soon(&ground, ground.tree.tool(order[0]).args(&order[1..]).args(["-t", "60000"]));
    wait_until("the gateways to be gone", || before.iter().all(|pid| crate::support::start_time(*pid).is_none()));
    drop(heckler);
    (ground, ran)
}

#[test]
fn a_stop_ends_gateways_whose_account_repeats_the_order() {
    let (ground, ran) = ends_heckled_gateways(&["bad0", "bad1"], &["hermes-svc-stop", "-w", "bad0", "bad1"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
    ground.tree.kill_hard();
}

#[test]
fn a_containers_drain_ends_gateways_whose_account_repeats_the_order() {
    let (ground, ran) = ends_heckled_gateways(&["bad0", "bad1"], &["hermes-svc-stop", "-a", "-k", "-w"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
    ground.tree.kill_hard();
}

#[test]
fn a_removal_ends_a_gateway_whose_account_repeats_the_order() {
    let (ground, ran) = ends_heckled_gateways(&["bad"], &["hermes-svc-unregister", "bad"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
    assert_eq!(ground.tree.slots(), ["default"]);
    ground.tree.kill_hard();
}

/// After the end of the old process the account's order may cross that of the restart, which then fails.
#[test]
fn a_restart_ends_gateways_whose_account_repeats_the_order() {
    let (ground, ran) = ends_heckled_gateways(&["bad0", "bad1"], &["hermes-svc-restart", "bad0", "bad1"]);
    assert!([0, 99, 102, 111].contains(&ran.code), "{ran}");
    ground.tree.kill_hard();
}
