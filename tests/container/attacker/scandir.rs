//! The scandir: no entry of the account in root's, and no scandir of the account's own.

use super::{Siege, traps};
use crate::engine::{Container, Volume, image, once, until};

/// The directories with files that root runs or follows.
const PLACES: [&str; 9] = [
    "/run/service",
    "/run/s6",
    "/run/s6-rc",
    "/run/s6-linux-init-container-results",
    "/usr/local/bin",
    "/usr/local/lib/hermes-s6",
    "/opt/hermes/docker",
    "/etc/s6-overlay",
    "/etc/cont-init.d",
];

/// A Perl program. In each of the directories it tries everything that changes a directory or a file, and prints what
/// succeeded. The link `home` of a slot leads to the volume, which belongs to the account. So changes of the link
/// itself count, and changes behind it do not.
const WRITE: &str = r#"
use POSIX qw(mkfifo); use Fcntl;
my @dirs = grep { -d } map { chomp; $_ } `find @ARGV -follow -path '/run/service/*/home' -prune -o -type d -print 2>/dev/null`;
for my $d (@dirs) {
    # s6-supervise opens a FIFO of such a name for writing, as root, and follows links.
    my $n = "$d/ftrig1:\@400000000000000000000000:abcdef";
    print "link in $d\n" if symlink "/srv/canary/file", $n;
    print "FIFO in $d\n" if mkfifo $n, 0666;
    print "directory in $d\n" if mkdir $n;
    print "file in $d\n" if open my $f, ">", $n;
    print "rename of $d\n" if rename $d, "$d.away";
    print "mode of $d\n" if chmod 0777, $d;
    # If the directory cannot be listed, try the names that s6-supervise uses.
    my $h;
    my @names = opendir($h, $d) ? grep { !/^\.\.?$/ } readdir $h : qw(control lock status death_tally);
    for my $e (@names) {
        my $p = "$d/$e";
        print "unlink of $p\n" if unlink $p;
        print "rename of $p\n" if rename $p, "$d/away";
        print "replacement of $p\n" if symlink "/srv/canary/dir", "/tmp/traps/l" and rename "/tmp/traps/l", $p;
        print "mode of $p\n" if !-l $p and chmod 0777, $p;
        print "times of $p\n" if $p !~ m{^/run/service/[^/]*/home$} and utime 1, 1, $p;
        print "write to $p\n" if !-d $p and sysopen my $f, $p, O_WRONLY|O_NONBLOCK;
        print "hard link to $p\n" if -f $p and link $p, "/tmp/traps/hard";
        unlink "/tmp/traps/l", "/tmp/traps/hard";
    }
}
for my $order (qw(-a -n -z -b -h -t -q)) {
    print "s6-svscanctl $order\n" if !system "s6-svscanctl $order /run/service 2>/dev/null";
}
print scalar @dirs, " directories\n";
"#;

/// Check that `WRITE` has succeeded only in writing to the control FIFOs of gateways and static services, which is
/// allowed.
#[track_caller]
fn only_controls(said: &str) {
    let mut lines: Vec<&str> = said.lines().collect();
    let count = lines.pop().unwrap_or_default();
    assert!(count.trim_end_matches(" directories").parse::<u32>().is_ok_and(|n| n > 50), "{said}");
    // A directory of the s6 layer leads to the static services as well.
    lines.retain(|line| !line.starts_with("write to /run/s6-rc/"));
    lines.sort_unstable();
    let slots = ["dashboard", "gateway-coder", "gateway-default", "main-hermes"];
    assert_eq!(lines, slots.map(|slot| format!("write to /run/service/{slot}/supervise/control")));
}

#[test]
fn the_account_can_change_nothing_that_root_runs_or_follows() {
    let siege = Siege::of(&["coder"]);
    let ran = siege.perl(WRITE, &PLACES).code(0);
    only_controls(&ran.out);
    siege.unharmed();
}

#[test]
fn neither_can_a_gateway() {
    let siege = Siege::of(&["coder"]);
    let agent =
        format!("#!/usr/bin/perl\n@ARGV = qw({});\nopen STDOUT, '>', '/tmp/traps/said';\n{WRITE}", PLACES.join(" "));
    let plant = "cat >/opt/data/agent <<'END'\n".to_owned() + &agent + "END\nchmod 755 /opt/data/agent";
    siege.container.sh_as_hermes(&plant).code(0);
    siege.root("hermes-svc-restart", &["-w", "coder"]).code(0);
    let said = || siege.container.sh("cat /tmp/traps/said 2>/dev/null || true").ok();
    until("the gateway has tried it all", 60, || said().ends_with(" directories"));
    only_controls(&said());
    siege.unharmed();
}

/// If one directory of a slot belongs to the account, s6-supervise writes into a file of root. So the attack of the
/// other tests is a real one.
#[test]
fn an_event_directory_of_the_accounts_would_let_it_write_where_root_may() {
    let siege = Siege::of(&["coder"]);
    siege
        .container
        .sh("chown hermes: /run/service/gateway-coder/event; chmod 700 /run/service/gateway-coder/event")
        .code(0);
    let plant = "ln -s /srv/canary/file '/run/service/gateway-coder/event/ftrig1:@400000000000000000000000:abcdef'";
    siege.container.sh_as_hermes(plant).code(0);
    siege.container.exec_as("hermes", &["s6-svc", "-r", "/run/service/gateway-coder"]).code(0);
    until("the canary is harmed", 10, || !siege.container.sh("cat /srv/canary/file").ok().starts_with("{\"desired"));
}

/// A shell script. It makes a scandir of the account, with links where root's scripts and s6 would write.
const OWN_SCANDIR: &str = "mkdir -p service/.s6-svscan service/gateway-default/supervise
    for s in main-hermes dashboard; do
        mkdir -p service/$s/supervise; ln -s /etc service/$s/event; ln -s /etc/shadow service/$s/supervise/control
    done
    ln -s /etc/shadow service/.s6-svscan/control; ln -s /etc/passwd service/.s6-svscan/lock
    ln -s /etc/shadow service/gateway-default/supervise/control";

#[test]
fn a_scandir_in_the_volume_is_refused_at_boot_and_nothing_behind_its_links_is_given_away() {
    let volume = Volume::new();
    let look = "stat -c '%n %U:%G %a' /etc /etc/passwd /etc/shadow";
    let before = once(&["--entrypoint", "/bin/sh"], &["-c", look]).ok();
    volume.script(OWN_SCANDIR);
    let options = ["-v", &volume.at_home(), "-e", "S6_PROFILE_GATEWAY_SCANDIR=/opt/data/service"];
    let container = Container::launch(&options, &["sleep", "infinity"]);
    container.wait_for_log("hermes-reconcile-all: fatal: unable to trust scandir /opt/data/service");
    until("the container has started", 30, || container.exec(&["pgrep", "-f", "^sleep infinity"]).code == 0);
    assert_eq!(container.sh(look).ok(), before, "in {}", image());
    let ran = container.exec(&["hermes-svc-start", "default"]).code(102);
    assert!(ran.err.contains("unable to trust scandir"), "{}", ran.err);
}

#[test]
fn a_template_in_the_volume_is_refused_at_boot_and_not_run() {
    let volume = Volume::with_profiles(&["coder"]);
    volume.script("echo '{\"desired_state\":\"running\"}' >profiles/coder/gateway_state.json; mkdir template");
    let files = ["run", "finish", "log/run"].map(|file| format!("/opt/data/template/{file}"));
    volume.script(&traps(&files).replace("/tmp/traps", "/opt/data"));
    let options = ["-v", &volume.at_home(), "-e", "HERMES_SLOT_TEMPLATE=/opt/data/template"];
    let container = Container::launch(&options, &["sleep", "infinity"]);
    container.wait_for_log("hermes-reconcile-all: fatal: unable to use template /opt/data/template");
    until("the container has started", 30, || container.exec(&["pgrep", "-f", "^sleep infinity"]).code == 0);
    container.exec(&["hermes-reconcile-one", "coder"]).code(100);
    assert_eq!(
        // Leave out the services of s6-overlay itself.
        container.sh("ls /run/service | grep -v ^s6; ls /opt/data | grep ran- || true").ok(),
        "dashboard\nhermes-fix-attrs\nhermes-profile-watch\nmain-hermes"
    );
}
