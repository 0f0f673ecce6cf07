use super::ground::{GID, Ground, UID, ended};
use crate::support::{link_of, wait_until};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Run the logger on these lines. Its descriptor 3, for readiness, is open. Returns the exit code, stdout and stderr.
fn log(ground: &Ground, arguments: &[&str], lines: &str) -> (i32, String, String) {
    log_through(ground, env!("CARGO_BIN_EXE_hermes-run-logger"), arguments, lines)
}

fn log_through(ground: &Ground, program: &str, arguments: &[&str], lines: &str) -> (i32, String, String) {
    let mut command: Command = ground.command("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 3>ready", program]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    ended(&child.wait_with_output().unwrap())
}

/// Row C8 of docs/failures.md. s6-log would end at once, or try for ever, and the gateway would block on a full pipe.
#[test]
fn where_the_volume_refuses_what_s6_log_needs_no_line_is_lost() {
    let [fchmod, fsync] = if cfg!(target_arch = "x86_64") { [91, 74] } else { [52, 82] };
    let without_calls = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/without-calls");
    for (refused, why) in [
        (format!("{fchmod}=1"), "change the mode of HOME/logs/gateways/coder/lock: Operation not permitted"),
        (format!("{fchmod}=95"), "change the mode of HOME/logs/gateways/coder/lock: Operation not supported"),
        (format!("{fsync}=22"), "sync HOME/logs/gateways/coder/lock: Invalid argument"),
    ] {
        let ground = Ground::new();
        let arguments = [&refused, "--", env!("CARGO_BIN_EXE_hermes-run-logger"), "coder"];
        let (code, stdout, stderr) = log_through(&ground, without_calls, &arguments, "one\ntwo\n");
        let why = why.replace("HOME", &ground.home().display().to_string());
        let warning = format!("unable to {why}: the log of coder goes to the container's log only\n");
        assert!((code, stdout.as_str()) == (0, "coder | one\ncoder | two\n"), "{refused}: {code} {stdout} {stderr}");
        assert_eq!(stderr, format!("hermes-run-logger: warning: {warning}"), "{refused}");
    }
}

/// Rows H1, H11 of docs/failures.md.
#[test]
fn lines_go_into_the_home_with_a_time_and_on_to_the_container_with_the_profile() {
    let ground = Ground::new();
    let passed_on = "coder | one\ncoder | two\n".to_string();
    assert_eq!(log(&ground, &["coder"], "one\ntwo\n"), (0, passed_on, String::new()));
    let text = ground.log("coder");
    let lines: Vec<&str> = text.lines().filter_map(|line| line.split_once("  ")).map(|(_, rest)| rest).collect();
    assert_eq!(lines, ["one", "two"]);
    assert_eq!(fs::read(ground.dir().join("ready")).unwrap(), b"\n", "it says when it is ready");
    for path in ["logs", "logs/gateways", "logs/gateways/coder", "logs/gateways/coder/current"] {
        assert_eq!(fs::metadata(ground.home().join(path)).unwrap().uid(), UID, "{path}");
    }
}

#[test]
fn the_profile_is_left_out_where_the_container_says_so() {
    for (value, out) in [("0", "one\n"), ("off", "one\n"), ("1", "coder | one\n"), ("", "coder | one\n")] {
        let mut ground = Ground::new();
        ground.tree.env.push(("HERMES_LOG_PREFIX".to_string(), value.to_string()));
        assert_eq!(log(&ground, &["coder"], "one\n"), (0, out.to_string(), String::new()), "{value:?}");
    }
}

/// The part of a line that has come is passed on, so that a question without a newline is seen.
#[test]
fn only_the_beginning_of_a_line_gets_the_profile() {
    let ground = Ground::new();
    let mut copier = ground.command("hermes-run-logger");
    let out = ground.dir().join("out");
    copier.args(["-L", "coder"]).stdin(Stdio::piped()).stdout(fs::File::create(&out).unwrap());
    let mut copier = copier.spawn().unwrap();
    let mut lines = copier.stdin.take().unwrap();
    let mut said = String::new();
    for (part, passed) in [("on", "coder | on"), ("e\n\ntw", "e\ncoder | \ncoder | tw"), ("o", "o")] {
        lines.write_all(part.as_bytes()).unwrap();
        said += passed;
        wait_until("the part to pass", || fs::read_to_string(&out).unwrap() == said);
    }
    drop(lines);
    assert!(copier.wait().unwrap().success());
    assert_eq!(fs::read_to_string(&out).unwrap(), said);
}

fn logs(ground: &Ground) -> PathBuf {
    ground.home().join("logs/gateways/coder")
}

/// Make a log file that belongs to root, in a directory that belongs to the account.
fn of_root(ground: &Ground, name: &str) {
    fs::create_dir_all(logs(ground)).unwrap();
    chown(logs(ground), Some(UID), None).unwrap();
    fs::write(logs(ground).join(name), "old\n").unwrap();
}

#[test]
fn where_the_directory_is_of_no_use_no_line_is_lost() {
    type Spoil = fn(&Ground);
    let cases: [(&str, Spoil); 9] = [
        ("unable to open HOME/logs: Too many levels of symbolic links", |ground| {
            fs::create_dir(ground.dir().join("elsewhere")).unwrap();
            link_of(UID, ground.dir().join("elsewhere"), &ground.home().join("logs"));
        }),
        ("unable to create HOME/logs/gateways: Permission denied", |ground| {
            fs::create_dir(ground.home().join("logs")).unwrap();
        }),
        ("unable to write in HOME/logs/gateways/coder: Permission denied", |ground| {
            fs::create_dir_all(ground.home().join("logs/gateways/coder")).unwrap();
        }),
        ("unable to write HOME/logs/gateways/coder/current: it is not a regular file", |ground| {
            fs::create_dir_all(ground.home().join("logs/gateways/coder/current")).unwrap();
            chown(ground.home().join("logs/gateways/coder"), Some(UID), None).unwrap();
        }),
        ("unable to write HOME/logs/gateways/coder/processed: it is not a regular file", |ground| {
            fs::create_dir_all(logs(ground).join("processed")).unwrap();
            chown(logs(ground), Some(UID), None).unwrap();
        }),
        ("unable to write HOME/logs/gateways/coder/lock: it is not a regular file", |ground| {
            fs::create_dir_all(logs(ground)).unwrap();
            let lock = logs(ground).join("lock");
            assert!(Command::new("mkfifo").arg(&lock).status().unwrap().success());
            for path in [logs(ground), lock] {
                chown(path, Some(UID), None).unwrap();
            }
        }),
        (
            "unable to write HOME/logs/gateways/coder/current: it belongs to uid 0: hermes-fix-attrs gives it back",
            |g| {
                of_root(g, "current");
            },
        ),
        (
            "unable to write HOME/logs/gateways/coder/previous: it belongs to uid 0: hermes-fix-attrs gives it back",
            |g| {
                of_root(g, "previous");
            },
        ),
        ("unable to open HOME: Permission denied (for uid 54321)", |ground| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o300);
            fs::set_permissions(ground.home(), mode).unwrap();
        }),
    ];
    for (why, spoil) in cases {
        let ground = Ground::new();
        spoil(&ground);
        let why = why.replace("HOME", ground.home().to_str().unwrap());
        let warning = format!("hermes-run-logger: warning: {why}: the log of coder goes to the container's log only\n");
        assert_eq!(log(&ground, &["coder"], "one\n"), (0, "coder | one\n".to_string(), warning));
        assert!(!ground.dir().join("elsewhere/gateways").exists());
    }
}

/// The logger of another container, which holds the lock of this directory.
fn other_logger(ground: &Ground, directory: &Path) -> Child {
    let other = ground.command("s6-log").arg(directory).stdin(Stdio::piped()).spawn().unwrap();
    let inode = fs::metadata(directory.join("lock")).unwrap().ino();
    wait_until("the other logger to hold the lock", || {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|line| line.contains("POSIX") && line.contains(&format!(":{inode} ")))
    });
    other
}

/// Rows G1, G5, G7 of docs/failures.md.
#[test]
fn a_log_that_another_container_writes_is_left_to_it_until_it_is_gone() {
    let ground = Ground::new();
    log(&ground, &["coder"], "first\n");
    let directory = ground.home().join("logs/gateways/coder");
    let mut other = other_logger(&ground, &directory);
    let out = ground.dir().join("out");
    let mut command = ground.command("hermes-run-logger");
    command.args(["coder", "s6-log", "1", "T"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut ours = command.stdout(fs::File::create(&out).unwrap()).spawn().unwrap();
    let mut lines = ours.stdin.take().unwrap();
    lines.write_all(b"second\nthi").unwrap();
    wait_until("the line to pass", || fs::read(&out).unwrap() == b"coder | second\ncoder | thi");
    drop(other.stdin.take());
    other.wait().unwrap();
    // The lock is free, but the logger must not change in the middle of a line.
    lines.write_all(b"rd\n").unwrap();
    wait_until("s6-log", || {
        let name = fs::read_to_string(format!("/proc/{}/comm", ours.id())).unwrap();
        name.trim() == "s6-log"
    });
    lines.write_all(b"fourth\n").unwrap();
    drop(lines);
    let (code, _, err) = ended(&ours.wait_with_output().unwrap());
    let shown = directory.display();
    let text =
        format!("another logger writes in {shown}: until it ends, the log of coder goes to the container's log only");
    assert_eq!((code, err), (0, format!("hermes-run-logger: warning: {text}\n")));
    assert_eq!(fs::read_to_string(&out).unwrap(), "coder | second\ncoder | third\ncoder | fourth\n");
    let log = ground.log("coder");
    assert!(log.contains("first") && !log.contains("second") && !log.contains("rd") && log.contains("fourth"), "{log}");
}

#[test]
fn lines_that_end_while_another_container_writes_the_log_end_the_logger() {
    let ground = Ground::new();
    log(&ground, &["coder"], "first\n");
    let directory = ground.home().join("logs/gateways/coder");
    let mut other = other_logger(&ground, &directory);
    let (code, out, _) = log(&ground, &["coder"], "second\n");
    assert_eq!((code, out.as_str()), (0, "coder | second\n"));
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
    assert!(!ground.log("coder").contains("second"));
}

#[test]
fn where_no_process_and_no_thread_can_be_had_no_line_is_lost() {
    let mut ground = Ground::new();
    // Limits of processes count per uid, so this test needs a uid of its own, also if it runs several times at once.
    let uid = UID + 1000 + std::process::id();
    ground.tree.env.push(("HERMES_USER".to_string(), format!("{uid}:{GID}")));
    chown(ground.home(), Some(uid), None).unwrap();
    // A second process of the first logger could still be ending when the limit counts.
    ground.tree.env.push(("HERMES_LOG_PREFIX".to_string(), "0".to_string()));
    log(&ground, &["coder"], "first\n");
    ground.tree.env.pop();
    let mut other = other_logger(&ground, &logs(&ground));
    let arguments = ["--nproc=1", env!("CARGO_BIN_EXE_hermes-run-logger"), "coder"];
    let (code, out, err) = log_through(&ground, "prlimit", &arguments, "one\n");
    assert_eq!((code, out.as_str()), (0, "one\n"), "{err}");
    assert!(err.contains(": the lines of coder do not say whose they are\n"), "{err}");
    assert!(
        err.ends_with(": Resource temporarily unavailable: the log of coder goes to the container's log only\n"),
        "{err}"
    );
    drop(other.stdin.take());
    other.wait().unwrap();
}

#[test]
fn prog_takes_the_place_of_s6_log() {
    let ground = Ground::new();
    let (code, out, err) = log(&ground, &["coder", "sh", "-c", "id -u; echo \"$1\"; cat", "sh"], "one\n");
    let dir = ground.home().join("logs/gateways/coder");
    assert_eq!(
        (code, out, err),
        (0, format!("coder | {UID}\ncoder | {}\ncoder | one\n", dir.display()), String::new())
    );
}

#[test]
fn a_bad_name_is_wrong_usage() {
    let ground = Ground::new();
    let (code, out, err) = log(&ground, &["Coder"], "");
    assert_eq!((code, out.as_str()), (100, ""));
    assert!(err.starts_with("hermes-run-logger: fatal: invalid profile name \"Coder\": "), "{err}");
}

/// Row H11 of docs/failures.md.
#[test]
fn in_a_slot_the_lines_reach_the_container() {
    let ground = Ground::new();
    let slot = ground.slot("coder");
    ground.tree.svscan();
    ground.until_svstat(&slot.join("log"), "up,ready", "true true");
    wait_until("the line", || ground.container_log().contains("coder | stand-in gateway of coder\n"));
    wait_until("the line", || ground.log("coder").contains("stand-in gateway of coder\n"));
}
