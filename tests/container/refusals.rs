use crate::engine::{Container, Volume, docker, once, own_run, podman};

/// Check that the container refuses to start, with one line that names the remedy.
#[track_caller]
fn refused(options: &[&str], cause: &str, remedy: &str) {
    let ran = once(options, &["true"]).code(100);
    let lines: Vec<_> = ran.err.lines().collect();
    assert_eq!(lines.len(), 1, "{}", ran.err);
    assert!(lines[0].starts_with("hermes-s6: fatal: "), "{}", lines[0]);
    assert!(lines[0].contains(cause) && lines[0].contains(remedy), "{}", lines[0]);
    assert_eq!(ran.out, "");
    let table = include_str!("../../docs/TROUBLESHOOTING.md");
    assert!(table.contains(cause.trim_end_matches(' ')), "no row for {cause}");
}

/// Row C5 of docs/failures.md.
#[test]
fn another_init_before_ours_is_named() {
    refused(&["--init"], "/init is process ", "remove docker's --init");
}

/// Row C5 of docs/failures.md.
#[test]
fn a_pid_namespace_that_is_not_ours_alone_is_named() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    refused(&["--pid", &format!("container:{}", container.name)], "/init is process ", "shareProcessNamespace");
}

/// Row C10 of docs/failures.md.
#[test]
fn a_run_directory_that_nothing_can_be_executed_in_is_named() {
    // Docker's default.
    let run = if podman() { "/run:noexec" } else { "/run" };
    refused(&["--tmpfs", run], "/run is mounted noexec", "--tmpfs /run:exec");
    refused(
        &["--read-only", "--tmpfs", run, "-e", "S6_READ_ONLY_ROOT=1"],
        "/run is mounted noexec",
        "--tmpfs /run:exec",
    );
}

/// Row C9 of docs/failures.md.
#[test]
fn a_run_directory_that_cannot_be_written_is_named() {
    refused(&["--read-only"], "/run cannot be written", "-e S6_READ_ONLY_ROOT=1");
    refused(&["--read-only", "--user", "10000:10000"], "/run cannot be written", "--tmpfs /run:exec");
    let volume = Volume::new();
    refused(&["-v", &format!("{}:ro", volume.at("/run"))], "/run is mounted read-only", "--tmpfs /run:exec");
}

/// Row C9 of docs/failures.md.
#[test]
fn missing_capabilities_are_named() {
    refused(&["--cap-drop", "ALL"], "root lacks the capabilities ", "CHOWN DAC_OVERRIDE KILL SETGID SETUID");
    refused(&["--cap-drop", "KILL"], "root lacks the capabilities ", " KILL, needed");
}

#[test]
fn a_user_without_capabilities_and_with_set_user_ids_is_told_how() {
    let cause = "without capabilities cannot run s6's set-user-ID helper";
    let options = ["--user", "10000:10000", "--cap-drop", "ALL"];
    refused(&options, cause, "--security-opt no-new-privileges --tmpfs /run:exec,uid=10000,gid=10000");
    // A /run of the user's own is not enough.
    refused(&[&options[..], &own_run()].concat(), cause, "no-new-privileges");
}

#[test]
fn a_user_who_cannot_have_the_run_directory_is_told_how() {
    let options = ["--user", "10000:10000", "--security-opt", "no-new-privileges"];
    let cause = "/run belongs to root, and without privileges user ";
    refused(&options, cause, "--tmpfs /run:exec,uid=10000,gid=10000");
    // The variable that accepts a world-writable /run does not help if /run cannot be written.
    let promised = "S6_YES_I_WANT_A_WORLD_WRITABLE_RUN_BECAUSE_KUBERNETES=1";
    refused(&[&options[..], &["-e", promised]].concat(), cause, "an emptyDir");
}

/// Check that the container starts, that its log has a warning with the remedy, and that docs/TROUBLESHOOTING.md has
/// the row.
#[track_caller]
fn warned(options: &[&str], cause: &str, remedy: &str, row: &str) {
    let table = include_str!("../../docs/TROUBLESHOOTING.md");
    assert!(table.lines().any(|line| line.starts_with("| `") && line.contains(row)), "no row {row}");
    let container = Container::start(options, &["sleep", "infinity"]);
    let logs = container.logs();
    let line = logs.lines().find(|line| line.starts_with("hermes-setup: warning: ") && line.contains(cause));
    let line = line.unwrap_or_else(|| panic!("no warning of {cause}: {logs}"));
    assert!(line.contains(remedy), "{line}");
}

#[test]
fn a_read_only_home_is_named() {
    let volume = Volume::with_profiles(&["coder"]);
    warned(
        &["-v", &format!("{}:ro", volume.at_home())],
        "/opt/data is mounted read-only",
        "without :ro",
        "HOME is mounted read-only",
    );
}

/// Row C8 of docs/failures.md.
#[test]
fn somebody_elses_home_is_named_with_the_ids_that_would_do() {
    let volume = Volume::with_profiles(&["coder"]);
    volume.script_as("root", "chown 1234:1235 .; chmod 755 .");
    let at_home = volume.at_home();
    const OWNER: &str = "PATH belongs to U:G and cannot be written by U:G";
    warned(&["-v", &at_home], "/opt/data belongs to 1234:1235", "HERMES_UID=1234 and HERMES_GID=1235", OWNER);
    warned(&["-v", &at_home, "--user", "10000:10000"], "/opt/data belongs to 1234:1235", "--user 1234:1235", OWNER);
    // The owner of a home that belongs to somebody else is not changed.
    assert_eq!(volume.script("stat -c %u:%g ."), "1234:1235");
}

/// Row C8 of docs/failures.md.
#[test]
fn ids_that_will_not_do_are_refused_and_the_image_s_own_stay() {
    warned(&["-e", "PUID=0"], "PUID=0 is refused", "a uid from 1 to 65534", "HERMES_UID=0 is refused");
    warned(&["-e", "HERMES_UID=me"], "HERMES_UID is not a number", "a uid from 1 to 65534", "is not a number");
    warned(&["-e", "HERMES_GID=65535"], "HERMES_GID=65535 is refused", "a gid from 1 to 65534", "is refused");
    let container = Container::start(&["-e", "HERMES_UID=0"], &["sleep", "infinity"]);
    assert_eq!(container.exec(&["id", "-u", "hermes"]).ok(), "10000");
}

#[test]
fn ids_that_cannot_be_had_on_a_read_only_root_are_named() {
    let options = ["--read-only", "--tmpfs", "/run:exec", "-e", "S6_READ_ONLY_ROOT=1", "-e", "HERMES_UID=1234"];
    warned(&options, "unable to make hermes uid 1234", "--user 1234:10000", "unable to make NAME uid N");
}

/// Row F15 of docs/failures.md.
#[test]
fn a_grace_that_is_too_short_is_named() {
    warned(&["-e", "S6_KILL_GRACETIME=100"], "S6_KILL_GRACETIME=100", "3000 or more", "S6_KILL_GRACETIME=N");
    warned(&["-e", "S6_KILL_GRACETIME=soon"], "S6_KILL_GRACETIME is not a number", "3000", "S6_KILL_GRACETIME");
}

#[test]
fn a_sound_set_up_warns_of_nothing() {
    let volume = Volume::new();
    let container = Container::on(&volume);
    docker(&["restart", "-t", "90", &container.name]).code(0);
    container.wait_for_boot(2);
    assert!(!container.logs().contains("hermes-setup: warning"), "{}", container.logs());
}
