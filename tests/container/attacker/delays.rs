//! Delays that the account can cause, and how long they may be.

use super::Siege;
use crate::engine::{Container, Volume, docker, until};
use std::time::{Duration, Instant};

/// The longest delay that one profile may cause to all others together, on a busy machine.
const BOUND: Duration = Duration::from_secs(15);

/// The grace for a container's stop in compose.yaml and deploy/kubernetes.yaml, in seconds.
const GRACE: u32 = 90;

/// A Perl program. It takes locks of every kind on every file below its arguments that the account can open, writes the
/// number of locks to /tmp/held, and stays.
const LOCK: &str = r#"
use Fcntl qw(:DEFAULT :flock); $SIG{IO} = "IGNORE"; my @held;
chomp(my @files = `find @ARGV -follow -type f 2>/dev/null`);
for my $path (@files) {
    for my $mode (O_RDWR, O_RDONLY) {
        sysopen my $f, $path, $mode | O_NONBLOCK or next;
        my $kind = $mode == O_RDWR ? F_WRLCK : F_RDLCK;
        my $lock = pack "ssx4qqi", $kind, 0, 0, 0, 0;
        flock $f, LOCK_EX | LOCK_NB;
        fcntl $f, F_SETLK, $lock;
        # F_SETLEASE
        fcntl $f, 1024, $kind;
        push @held, $f;
    }
}
# The static services are in directories that the account cannot list, but it can open their locks by name.
for my $path (map { "$_/supervise/lock" } glob "/run/service/*") {
    open my $f, "<", $path or next;
    my $lock = pack "ssx4qqi", F_RDLCK, 0, 0, 0, 0;
    fcntl $f, F_SETLK, $lock;
    push @held, $f;
}
open my $done, ">", "/tmp/held"; print $done scalar @held; close $done;
sleep 1000;
"#;

#[test]
fn locks_of_every_kind_on_all_that_can_be_opened_delay_nobody_for_long_and_the_container_stops() {
    let siege = Siege::of(&["coder", "writer"]);
    siege
        .container
        .sh_as_hermes("for p in coder writer; do echo >/opt/data/profiles/$p/.hermes-s6.intent.lock; done")
        .code(0);
    let places = [
        "/opt/data",
        "/run",
        "/usr/local/lib",
        "/etc/s6-overlay",
        "/etc/cont-init.d",
        "/etc/passwd",
        "/opt/hermes/docker",
    ];
    siege.container.detach_as("hermes", &[&["perl", "-e", LOCK], &places[..]].concat());
    until("the locks are held", 30, || siege.container.sh("[ -s /tmp/held ]").code == 0);
    let held: u32 = siege.container.sh("cat /tmp/held").ok().parse().unwrap();
    assert!(held > 30, "{held}");
    // A tool that has to read a leased file reports that it could not read the file. The orders of an operator are
    // carried out all the same.
    for (program, arguments, codes) in [
        ("hermes-reconcile-all", &["-w"][..], &[0, 111][..]),
        ("hermes-svc-restart", &["-w", "writer"], &[0]),
        ("hermes-svc-status", &[], &[0, 111]),
        ("hermes-svc-stop", &["-w", "coder"], &[0]),
        ("hermes-fix-attrs", &[], &[0]),
    ] {
        let start = Instant::now();
        let ran = siege.root(program, arguments);
        assert!(codes.contains(&ran.code), "{program}: {ran:?}");
        assert!(start.elapsed() < BOUND, "{program} took {:?}", start.elapsed());
    }
    assert_eq!(siege.container.state("writer"), "up");
    let took = siege.container.stop(GRACE);
    assert!(took < Duration::from_secs(40), "{took:?}");
    assert_ne!(siege.container.exit_code(), 137);
    assert!(siege.container.logs().contains("profile=writer action=stopped"), "{}", siege.container.logs());
    assert_eq!(
        siege
            .volume
            .script("grep -o '\"desired_state\": *\"[a-z]*\"' profiles/writer/gateway_state.json | grep -c running"),
        "1"
    );
}

/// The socket of the server that runs s6-rc's oneshots. Everybody may connect to it.
const ONESHOTS: &str = "/run/s6-rc/servicedirs/s6rc-oneshot-runner/s";

/// A Perl program that connects to a socket without end, and keeps each connection as long as it can.
const FLOOD: &str = r#"
use Socket; my @held; $0 = "flood";
while (1) {
    socket my $s, AF_UNIX, SOCK_STREAM, 0 or die;
    fcntl $s, 4, 2048;
    push @held, $s if connect $s, pack_sockaddr_un($ARGV[0]);
    shift @held if @held > 200;
}
"#;

/// The drain of the gateways is a oneshot, and where root finds no place at the socket there is none. Then the gateways get
/// SIGTERM from s6-svscan (SECURITY.md).
#[test]
fn the_socket_of_the_oneshots_obeys_nobody_else_and_a_flood_of_it_keeps_no_container_from_its_end() {
    let siege = Siege::of(&["coder"]);
    assert_eq!(siege.container.sh(&format!("stat -L -c '%F %a' {ONESHOTS}")).ok(), "socket 777");
    // The one of s6-rc counts its oneshots, and that of the stand-in has them by name.
    for (verb, oneshot) in [("down", "hermes-gateways"), ("down", "0"), ("down", "1"), ("up", "2")] {
        let ask = ["s6-sudo", "-e", "-t", "5000", "-T", "5000", ONESHOTS, verb, oneshot];
        let ran = siege.container.exec_as("hermes", &ask);
        assert_ne!(ran.code, 0, "{oneshot}: {ran:?}");
    }
    assert_eq!(siege.container.state("coder"), "up");
    for _ in 0..3 {
        siege.container.detach_as("hermes", &["perl", "-e", FLOOD, ONESHOTS]);
    }
    until("the flood is there", 20, || siege.container.exec(&["pgrep", "-c", "-f", "^flood"]).out.trim() == "3");
    siege.root("hermes-svc-restart", &["-w", "coder"]).code(0);
    siege.unharmed();
    siege.container.stop(GRACE);
    assert_ne!(siege.container.exit_code(), 137);
    let intent = "grep -o '\"desired_state\": *\"[a-z]*\"' profiles/coder/gateway_state.json | grep -c running";
    assert_eq!(siege.volume.script(intent), "1");
}

/// A Perl program. Without end, it writes orders into every control FIFO that the account may write, and stops the
/// processes of the account's own gateways by SIGSTOP.
const HECKLE: &str = r#"
use Fcntl; my @bytes = split //, "xOpdDukq\0\nPX";
$0 = "heckler";
while (1) {
    for my $path (glob "/run/service/*/supervise/control") {
        sysopen my $f, $path, O_WRONLY | O_NONBLOCK or next;
        syswrite $f, $bytes[rand @bytes];
    }
    for my $pid (map { m{/proc/(\d+)$} } glob "/proc/[0-9]*") {
        next if $pid == $$;
        open my $c, "<", "/proc/$pid/comm" or next;
        kill "STOP", $pid if <$c> =~ /^(sleep|s6-log|python)/;
    }
    select undef, undef, undef, 0.005;
}
"#;

#[test]
fn heckled_and_stopped_gateways_keep_the_container_from_nothing() {
    let siege = Siege::of(&["coder", "writer"]);
    siege.container.detach_as("hermes", &["perl", "-e", HECKLE]);
    until("the heckler is there", 20, || siege.container.exec(&["pgrep", "-f", "^heckler"]).code == 0);
    for line in ["start -W -t 2000 coder", "restart -w -t 2000 writer", "stop -w -t 2000 coder", "status"] {
        let mut words = line.split(' ');
        let program = format!("hermes-svc-{}", words.next().unwrap_or_default());
        let start = Instant::now();
        let ran = siege.root(&program, &words.collect::<Vec<_>>());
        assert!([0, 99, 102, 111].contains(&ran.code), "{ran:?}");
        assert!(start.elapsed() < BOUND, "{line} took {:?}", start.elapsed());
    }
    // A profile that appears now gets its slot.
    siege.container.sh_as_hermes("mkdir -p /opt/data/profiles/late; echo >/opt/data/profiles/late/SOUL.md").code(0);
    until("late has its slot", 10, || siege.root("hermes-svc-list", &[]).out.contains("late\n"));
    let took = siege.container.stop(GRACE);
    assert!(took < Duration::from_secs(85), "{took:?}");
    assert_ne!(siege.container.exit_code(), 137);
    siege.container.revive();
    siege.root("hermes-svc-start", &["-w", "coder", "writer"]).code(0);
    siege.unharmed();
}

#[test]
fn a_dashboard_that_will_not_end_keeps_the_container_for_ten_seconds() {
    let container = Container::start(&["-e", "HERMES_DASHBOARD=1"], &["sleep", "infinity"]);
    let deaf = "cd /opt/hermes/.venv/bin; rm hermes; printf '#!/bin/sh\\ntrap \"\" TERM\\nwhile :; do sleep 1; done\\n' >hermes; chmod 755 hermes";
    container.sh(deaf).code(0);
    container.exec_as("hermes", &["s6-svc", "-k", "/run/service/dashboard"]).code(0);
    until("the deaf one is up", 30, || {
        container.exec(&["pgrep", "-f", "^/bin/sh /opt/hermes/.venv/bin/hermes dashboard"]).code == 0
    });
    let took = container.stop(GRACE);
    assert!(took < Duration::from_secs(40), "{took:?}");
    assert_ne!(container.exit_code(), 137);
}

#[test]
fn storms_of_changes_delay_a_new_profile_by_seconds() {
    let siege = Siege::of(&["coder"]);
    let storm = "cd /opt/data/profiles; while :; do for n in 0 1 2 3 4 5 6 7 8 9; do
        mkdir $0-$n; echo >$0-$n/SOUL.md; mv $0-$n $0-m$n; : >$0-m$n/SOUL.md; rm -r $0-m$n; done; done 2>/dev/null";
    for name in ["storma", "stormb", "stormc", "stormd"] {
        siege.container.detach_as("hermes", &["sh", "-c", storm, name]);
    }
    std::thread::sleep(Duration::from_secs(2));
    let most = || siege.container.sh("pgrep -c hermes-reconcil || true").ok().parse::<u32>().unwrap_or(0);
    let mut worst = most();
    siege.container.sh_as_hermes("mkdir -p /opt/data/profiles/late; echo >/opt/data/profiles/late/SOUL.md").code(0);
    let start = Instant::now();
    until("late has its slot", 30, || {
        worst = worst.max(most());
        siege.container.sh("[ -e /run/service/gateway-late/supervise/control ]").code == 0
    });
    eprintln!("late had its slot after {:?}, {worst} at a time", start.elapsed());
    assert!(worst <= 64, "{worst} at a time");
    siege.root("hermes-svc-restart", &["-w", "coder"]).code(0);
    siege.container.exec_as("hermes", &["pkill", "-f", "mkdir"]);
    siege.container.sh_as_hermes("rm -rf /opt/data/profiles/storm*").code(0);
    until("the storm is over", 60, || siege.root("hermes-svc-list", &[]).out == "default\ncoder\nlate\n");
    siege.unharmed();
}

fn slots_of(container: &Container) -> usize {
    container.sh("ls -d /run/service/gateway-* | wc -l").ok().parse().unwrap()
}

/// s6-svscan supervises at most 1000 services, loggers and those of s6-rc included.
#[test]
fn of_a_thousand_profiles_as_many_as_there_is_room_for_have_slots_and_the_rest_say_so() {
    let volume = Volume::with_profiles(&["a-first"]);
    volume.script(
        "echo '{\"desired_state\":\"running\"}' >profiles/a-first/gateway_state.json; cd profiles
         for n in $(seq -w 1000); do mkdir p$n; echo >p$n/SOUL.md; done",
    );
    let container = Container::launch(&["-v", &volume.at_home()], &["sleep", "infinity"]);
    let start = Instant::now();
    until("the boot pass is over", 120, || container.logs().contains("reconcile: done"));
    eprintln!("the pass was over after {:?}", start.elapsed());
    until("the first one is up", 60, || container.state("a-first") == "up");
    let logs = container.logs();
    let named =
        logs.lines().filter(|line| line.starts_with("reconcile: profile=") && line.contains(" action=failed")).count();
    let done = logs.lines().find(|line| line.starts_with("reconcile: done ")).expect("the last line");
    let field = |name: &str| done.split(' ').find_map(|field| field.strip_prefix(name)?.parse::<usize>().ok());
    let slots = slots_of(&container);
    // The profiles without room are all counted, and ten of them are named.
    assert_eq!(field("failed=").map(|failed| slots + failed), Some(1002), "{slots} slots: {done}");
    assert_eq!(field("unlisted=").map(|unlisted| slots + unlisted + named), Some(1002), "{slots} slots: {done}");
    assert_eq!(named, 10, "{done}");
    assert!((490..=500).contains(&slots), "{slots}");
    assert!(logs.contains("1000"), "nothing says what the limit is");
    // The other profiles can still be used.
    container.exec(&["hermes-svc-restart", "-w", "a-first"]).code(0);
    docker(&["kill", &container.name]);
}
