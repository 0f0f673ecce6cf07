//! Attacks on processes of root, at every moment of their lives.

use super::Siege;
use crate::engine::until;

/// A Perl program. For a number of seconds it tries everything that gives power over a process of root, and prints what
/// succeeded. A success does not count if the process became the account's for good in between.
const SEIZE: &str = r#"
my ($seconds, $own) = @ARGV; my $end = time + $seconds; my ($tries, $inside) = (0, 0); my %all;
sub uids { my ($s) = @_; open my $f, "<", "/proc/$s/status" or return; while (<$f>) { return ($1, $2) if /^Uid:\s+(\d+)\s+(\d+)/ } () }
sub seize {
    my ($pid) = @_; my @won;
    push @won, "signal" if kill 0, $pid;
    push @won, "priority" if setpriority 0, $pid, 19;
    for my $name (qw(mem oom_score_adj coredump_filter comm autogroup clear_refs)) {
        push @won, "write to $name" if open my $f, "+<", "/proc/$pid/$name";
    }
    for my $name (qw(environ maps auxv stack syscall io)) {
        my ($f, $bytes);
        push @won, "read of $name" if open $f, "<", "/proc/$pid/$name" and sysread $f, $bytes, 1;
    }
    for my $name (qw(cwd root exe)) { push @won, "link $name" if readlink "/proc/$pid/$name" }
    push @won, "descriptors" if opendir my $d, "/proc/$pid/fd";
    @won
}
if ($own) { print join("\n", seize($own)), "\n"; exit }
while (time < $end) {
    opendir my $d, "/proc";
    for my $pid (grep /^\d+$/, readdir $d) {
        my ($real, $effective) = uids($pid) or next;
        next if $real;
        my @won = seize($pid);
        $tries++; $inside++ if $effective;
        my ($still) = uids($pid);
        if (@won and defined $still and !$still) { print "$_ of $pid\n" for @won }
    }
}
print "tries $tries inside $inside\n";
"#;

#[test]
fn no_process_of_roots_can_be_signalled_traced_slowed_or_read() {
    let siege = Siege::of(&["coder", "writer"]);
    // Used on the account's own gateway, each of the attacks succeeds. So the program can detect a success.
    let gateway = siege.container.status("coder", "pid").to_string();
    let own = siege.perl(SEIZE, &["0", &gateway]).ok();
    for what in
        ["signal", "priority", "write to mem", "write to oom_score_adj", "read of environ", "link exe", "descriptors"]
    {
        assert!(own.lines().any(|line| line == what), "{what} is not in {own}");
    }
    let attacks = std::thread::scope(|scope| {
        let attacks: Vec<_> = (0..2).map(|_| scope.spawn(|| siege.perl(SEIZE, &["12", ""]).ok())).collect();
        while attacks.iter().any(|attack| !attack.is_finished()) {
            siege.root("hermes-svc-restart", &["-w", "coder"]).code(0);
            siege.root("hermes-svc-status", &[]).code(0);
            siege.root("hermes-reconcile-all", &[]).code(0);
            siege.root("hermes-fix-attrs", &[]).code(0);
            siege.root("hermes", &["-p", "writer", "gateway", "stop"]).code(0);
            siege.root("hermes", &["-p", "writer", "gateway", "start"]).code(0);
            // Make the watcher and its children run.
            siege.container.sh_as_hermes("cd /opt/data/profiles; mkdir x; echo >x/SOUL.md; sleep 0.1; rm -r x").code(0);
        }
        attacks.into_iter().map(|attack| attack.join().unwrap()).collect::<Vec<_>>()
    });
    for said in attacks {
        let mut words = said.split(' ');
        assert_eq!(words.next(), Some("tries"), "{said}");
        assert!(words.next().is_some_and(|n| n.parse::<u64>().is_ok_and(|n| n > 200)), "{said}");
    }
    siege.unharmed();
}

/// The program of an agent. It writes down which descriptors and rights its own process has.
const LOOK: &str = r#"#!/usr/bin/perl
opendir my $d, "/proc/self/fd";
my @fds = map { "$_ " . readlink "/proc/self/fd/$_" } grep { !/^\./ } readdir $d;
open my $status, "<", "/proc/self/status";
my @status = grep /^(Uid|Gid|Groups|CapPrm|CapEff|CapInh|CapAmb)/, <$status>;
sub say_in { open my $f, ">", "/tmp/traps/$_[0]"; print $f $_[1] }
say_in("fds", join "\n", @fds);
say_in("status", join "", @status);
say_in("tty", `ps -o tty= -p $$`);
say_in("done", "");
"#;

#[test]
fn a_gateway_has_nothing_of_roots_but_its_log_and_its_lock() {
    let siege = Siege::of(&["coder"]);
    siege
        .container
        .sh_as_hermes(&format!("cat >/opt/data/agent <<'END'\n{LOOK}END\nchmod 755 /opt/data/agent"))
        .code(0);
    siege.root("hermes-svc-restart", &["-w", "coder"]).code(0);
    until("the gateway has looked", 30, || siege.container.sh("[ -e /tmp/traps/done ]").code == 0);
    let fds = siege.container.sh("cat /tmp/traps/fds").ok();
    let kinds: Vec<(&str, &str)> = fds.lines().filter_map(|line| line.split_once(' ')).collect();
    for (fd, what) in &kinds {
        let fine = match *fd {
            "0" => *what == "/dev/null",
            "1" | "2" => what.starts_with("pipe:["),
            // The descriptor of the gateway lock, that of the script, and that of the directory which the script lists.
            _ => ["/.hermes-s6.gateway.lock", "/agent", "/fd"].iter().any(|end| what.ends_with(end)),
        };
        assert!(fine, "{fds}");
    }
    assert!(kinds.len() >= 5, "{fds}");
    let status = siege.container.sh("cat /tmp/traps/status").ok();
    for line in status.lines() {
        let values: Vec<&str> = line.split_ascii_whitespace().skip(1).collect();
        assert!(values.iter().all(|value| ["10000", "0000000000000000"].contains(value)), "{line}");
    }
    assert_eq!(siege.container.sh("cat /tmp/traps/tty").ok(), "?");
}
