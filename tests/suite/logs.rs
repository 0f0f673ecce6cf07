//! hermes-svc-logs: the lines of the gateways and of the boot passes, in the order of their times.

use crate::support::{Ran, Running, Tree, is_root, wait_until};
use rustix::process::Signal;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A tree whose zone is two hours ahead, with the profiles `coder` and `writer`.
fn tree() -> Tree {
    let mut tree = Tree::new();
    tree.env.push(("TZ".to_string(), "<+02>-2".to_string()));
    for name in ["coder", "writer"] {
        tree.profile(name);
        fs::create_dir(tree.slot(name)).unwrap();
    }
    tree
}

fn dir(tree: &Tree, name: &str) -> PathBuf {
    tree.home().join("logs/gateways").join(name)
}

/// Write a file of a log, which belongs to the account.
fn give(tree: &Tree, path: &Path, text: &str) {
    let dir = path.parent().unwrap();
    fs::create_dir_all(dir).unwrap();
    fs::write(path, text).unwrap();
    let above = dir.ancestors().take_while(|dir| *dir != tree.home());
    above.chain([path]).for_each(|path| chown(path, Some(tree.uid), Some(tree.gid)).unwrap());
}

/// A line as s6-log writes it at this second.
fn line(second: u32, text: &str) -> String {
    format!("2026-11-26 10:00:{second:02}.500000000  {text}\n")
}

/// The name that s6-log gives to a file that it rotates at this second.
fn rotated(second: u32) -> String {
    // 2026-11-26 08:00:00 UTC.
    format!("@{:016x}00000000.s", (1u64 << 62) + 10 + 1_795_680_000 + u64::from(second))
}

fn logs(tree: &Tree, arguments: &[&str]) -> Ran {
    tree.tool("hermes-svc-logs").args(arguments).run()
}

/// The texts of the lines, without times and names.
fn texts(ran: &Ran) -> Vec<&str> {
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
    ran.stdout.lines().map(|line| line.split_once(" | ").map_or(line, |(_, text)| text)).collect()
}

/// Row H12 of docs/failures.md.
#[test]
fn the_lines_of_all_gateways_are_in_the_order_of_their_times_with_their_profiles() {
    let tree = tree();
    give(&tree, &dir(&tree, "coder").join("current"), &(line(1, "one") + &line(3, "three") + "  no time\n"));
    give(&tree, &dir(&tree, "writer").join("current"), &(line(2, "two") + &line(4, "four")));
    // A profile without a slot is not registered.
    tree.profile("other");
    give(&tree, &dir(&tree, "other").join("current"), &line(2, "other"));
    let out = "2026-11-26T10:00:01.500+0200 coder  | one\n\
               2026-11-26T10:00:02.500+0200 writer | two\n\
               2026-11-26T10:00:03.500+0200 coder  | three\n\
               2026-11-26T10:00:03.500+0200 coder  |   no time\n\
               2026-11-26T10:00:04.500+0200 writer | four\n";
    logs(&tree, &[]).is(0, out, "");
    let out = "2026-11-26T10:00:02.500+0200 other | other\n2026-11-26T10:00:04.500+0200 writer | four\n";
    logs(&tree, &["-n1", "writer", "other"]).is(0, &out.replace("other |", "other  |"), "");
    let json = "{\"time\":\"2026-11-26T10:00:04.500+0200\",\"profile\":\"writer\",\"line\":\"four\"}\n";
    logs(&tree, &["-j", "-n1", "writer"]).is(0, json, "");
}

#[test]
fn rotated_files_come_first_and_the_end_of_a_log_may_lie_in_one() {
    let tree = tree();
    let dir = dir(&tree, "coder");
    give(&tree, &dir.join(rotated(2)), &(line(1, "1") + &line(2, "2")));
    give(&tree, &dir.join(rotated(4)), &(line(3, "3") + &line(4, "4")));
    give(&tree, &dir.join("previous"), &(line(5, "5") + &line(6, "6")));
    give(&tree, &dir.join("current"), &(line(7, "7") + &line(8, "8")));
    give(&tree, &dir.join("state"), "no line\n");
    let all = ["1", "2", "3", "4", "5", "6", "7", "8"];
    for last in 0..=9 {
        let wanted = &all[8_usize.saturating_sub(last)..];
        assert_eq!(texts(&logs(&tree, &["-n", &last.to_string(), "coder"])), wanted, "the last {last}");
    }
    for (since, wanted) in [("10:00:04", 3), ("10:00:08", 7), ("10:00:09", 8), ("00:00", 0)] {
        let since = format!("2026-11-26 {since}");
        assert_eq!(texts(&logs(&tree, &["-S", &since, "coder"])), all[wanted..], "since {since}");
    }
    assert_eq!(texts(&logs(&tree, &["-S", "2026-11-26 10:00:04", "-n2", "coder"])), ["7", "8"]);
    // In the middle of a rotation there is no current file.
    fs::remove_file(dir.join("current")).unwrap();
    assert_eq!(texts(&logs(&tree, &["-n3", "coder"])), ["4", "5", "6"]);
}

#[test]
fn without_a_number_the_last_twenty_lines_of_each_log_are_shown() {
    let tree = tree();
    let text: String = (0..30).map(|n| line(n, &n.to_string())).collect();
    give(&tree, &dir(&tree, "coder").join("current"), &text);
    let ran = logs(&tree, &["coder"]);
    assert_eq!(texts(&ran), (10..30).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(texts(&logs(&tree, &["-S", "2026-11-26", "coder"])).len(), 30);
}

/// Row H12 of docs/failures.md.
#[test]
fn what_a_gateway_wrote_moves_no_cursor_and_a_line_is_of_bounded_length() {
    let tree = tree();
    let odd = format!("a\tb \u{1b}[2J\r {}\n", "x".repeat(70_000));
    give(&tree, &dir(&tree, "coder").join("current"), &(line(1, &odd) + "no newline"));
    let ran = logs(&tree, &["coder"]);
    let lines = texts(&ran);
    assert!(lines[0].starts_with("a\tb \\u{1b}[2J\\r xxx") && lines[0].len() < 66_000, "{:.80}", lines[0]);
    assert!(lines[1].chars().all(|c| c == 'x'), "{:.80}", lines[1]);
    assert_eq!((lines[2], lines[3], lines.len()), ("", "no newline", 4));
}

#[test]
fn no_such_profile_is_100_and_the_others_are_shown_all_the_same() {
    let tree = tree();
    give(&tree, &dir(&tree, "coder").join("current"), &line(1, "one"));
    let shown = "2026-11-26T10:00:01.500+0200 coder | one\n";
    let none = "hermes-svc-logs: fatal: no such profile: codr (no */profiles/codr/SOUL.md)\n";
    logs(&tree, &["codr", "coder"]).is(100, shown, none);
    logs(&tree, &["codr"]).is(100, "", none);
    logs(&tree, &["Coder"]).fails(100, "invalid profile name \"Coder\"*");
    logs(&tree, &["-S", "soon", "coder"]).fails(100, "invalid time \"soon\": it must be a time *");
    logs(&tree, &["-n", "-1", "coder"]).fails(100, "invalid number of lines \"-1\"*");
    logs(&tree, &["-b", "coder"]).is(
        100,
        "",
        "hermes-svc-logs: fatal: -b and profiles exclude each other\nhermes-svc-logs: usage: *\n",
    );
    let warning = "hermes-svc-logs: warning: writer has no log yet: no */logs/gateways/writer/current\n";
    logs(&tree, &["writer"]).is(0, "", warning);
}

/// Row H12 of docs/failures.md.
#[test]
fn a_link_or_a_directory_in_place_of_a_log_is_not_read_and_the_others_are() {
    let tree = tree();
    give(&tree, &dir(&tree, "coder").join("current"), &line(1, "one"));
    let secret = tree.root().join("secret");
    fs::write(&secret, "secret\n").unwrap();
    let writer = dir(&tree, "writer");
    fs::create_dir_all(&writer).unwrap();
    chown(&writer, Some(tree.uid), Some(tree.gid)).unwrap();
    let shown = "2026-11-26T10:00:01.500+0200 coder  | one\n";
    symlink(&secret, writer.join("current")).unwrap();
    let fatal = "hermes-svc-logs: fatal: unable to open logs/gateways/writer/current: it is a symbolic link\n";
    logs(&tree, &[]).is(111, shown, fatal);
    fs::remove_file(writer.join("current")).unwrap();
    fs::create_dir(writer.join("current")).unwrap();
    let fatal = "hermes-svc-logs: fatal: unable to read logs/gateways/writer/current: it is not a regular file\n";
    logs(&tree, &[]).is(111, shown, fatal);
    fs::remove_dir(writer.join("current")).unwrap();
    // The account may not read this file, so root does not read it for the account either.
    give(&tree, &writer.join("current"), &line(2, "secret"));
    fs::set_permissions(writer.join("current"), fs::Permissions::from_mode(0o000)).unwrap();
    let fatal = "hermes-svc-logs: fatal: unable to open logs/gateways/writer/current: Permission denied\n";
    if is_root() {
        logs(&tree, &[]).is(111, shown, fatal);
    }
}

#[test]
fn the_boot_log_is_shown_with_its_rotated_file() {
    let tree = tree();
    let boot = |name: &str, text: &str| give(&tree, &tree.home().join("logs").join(name), text);
    boot("container-boot.log.1", "2026-11-26T09:00:00+0000 profile=coder action=started\n");
    boot("container-boot.log", "2026-11-26T10:00:00+0000 done profiles=1\n");
    let out =
        "2026-11-26T11:00:00.000+0200 profile=coder action=started\n2026-11-26T12:00:00.000+0200 done profiles=1\n";
    logs(&tree, &["-b"]).is(0, out, "");
    logs(&tree, &["-b", "-n1"]).is(0, "2026-11-26T12:00:00.000+0200 done profiles=1\n", "");
}

/// Follow with these arguments, into a file.
struct Following {
    running: Running,
    out: PathBuf,
}

impl Following {
    fn new(tree: &Tree, arguments: &str) -> Following {
        let out = tree.scratch().join("out");
        fs::write(&out, "").unwrap();
        let script = format!("exec hermes-svc-logs -f {arguments} >{}", out.display());
        Following { running: tree.tool("sh").args(["-c", &script]).start(), out }
    }

    fn texts(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.out).unwrap();
        text.lines().map(|line| line.split_once(" | ").map_or(line, |(_, text)| text).to_string()).collect()
    }

    #[track_caller]
    fn until(&self, wanted: &[&str]) {
        wait_until(&format!("{wanted:?}"), || self.texts() == wanted);
    }

    fn end(self) {
        crate::support::kill(self.running.pid, Signal::TERM);
        let ran = self.running.wait();
        assert_eq!((ran.code, ran.stderr.as_str()), (128 + 15, ""), "{ran}");
    }
}

fn append(path: &Path, text: &str) {
    fs::File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Row H12 of docs/failures.md.
#[test]
fn a_log_is_followed_across_its_rotations() {
    let tree = tree();
    let dir = dir(&tree, "coder");
    let current = dir.join("current");
    give(&tree, &dir.join(rotated(1)), &line(1, "old"));
    give(&tree, &current, &line(2, "1"));
    let following = Following::new(&tree, "coder writer");
    following.until(&["old", "1"]);
    append(&current, &line(3, "2"));
    following.until(&["old", "1", "2"]);
    // Half a line is not shown before its rest is there.
    append(&current, "2026-11-26 10:00:04.5  ha");
    append(&current, "lf\n");
    following.until(&["old", "1", "2", "half"]);
    // As s6-log does it, twice in a row.
    for second in [5, 6] {
        append(&current, &line(second, &format!("end {second}")));
        fs::rename(&current, dir.join("previous")).unwrap();
        give(&tree, &current, &line(second, &format!("begin {second}")));
        fs::rename(dir.join("previous"), dir.join(rotated(second))).unwrap();
    }
    following.until(&["old", "1", "2", "half", "end 5", "begin 5", "end 6", "begin 6"]);
    // A log that is not there at the beginning.
    give(&tree, &self::dir(&tree, "writer").join("current"), &line(7, "new"));
    wait_until("the new log", || following.texts().last().is_some_and(|text| text == "new"));
    following.end();
}

#[test]
fn without_a_name_the_log_of_a_new_slot_is_followed_as_well() {
    let tree = tree();
    give(&tree, &dir(&tree, "coder").join("current"), &line(1, "one"));
    let following = Following::new(&tree, "-n0");
    wait_until("it to wait", || following.running.waits_for_events());
    append(&dir(&tree, "coder").join("current"), &line(2, "two"));
    following.until(&["two"]);
    give(&tree, &dir(&tree, "other").join("current"), "");
    fs::create_dir(tree.slot("other")).unwrap();
    let mut count = 0;
    wait_until("the new slot's log", || {
        count += 1;
        append(&dir(&tree, "other").join("current"), &line(3, &format!("three {count}")));
        following.texts().iter().any(|text| text.starts_with("three"))
    });
    following.end();
}

/// Row H12 of docs/failures.md.
#[test]
fn s6_logs_own_rotations_lose_no_line_and_repeat_none() {
    let tree = tree();
    let dir = dir(&tree, "coder");
    give(&tree, &dir.join("current"), "");
    let mut command = tree.tool_as_account("s6-log").args(["n20", "s4096", "T"]).arg(&dir).command();
    let mut logger = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = logger.stdin.take().unwrap();
    let following = Following::new(&tree, "-n0 coder");
    wait_until("it to wait", || following.running.waits_for_events());
    let wanted: Vec<String> = (0..400).map(|n| n.to_string()).collect();
    let number = |text: &str| text.trim_end_matches('.').to_string();
    for some in wanted.chunks(40) {
        let text: String = some.iter().map(|n| format!("{n}{}\n", ".".repeat(100))).collect();
        lines.write_all(text.as_bytes()).unwrap();
        wait_until("the lines to be there", || {
            following.texts().last().map(|text| number(text)).as_ref() == some.last()
        });
    }
    assert_eq!(following.texts().iter().map(|text| number(text)).collect::<Vec<_>>().join(" "), wanted.join(" "));
    drop(lines);
    assert!(logger.wait().unwrap().success());
    following.end();
    let ran = logs(&tree, &["-n400", "coder"]);
    assert_eq!(texts(&ran).into_iter().map(number).collect::<Vec<_>>(), wanted);
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_tool_without_a_word() {
    let tree = tree();
    give(&tree, &dir(&tree, "coder").join("current"), &(line(1, "one") + &line(2, "two")));
    let err = tree.scratch().join("err");
    for (follow, count) in [("", 2), ("-f", 2)] {
        let script =
            format!("hermes-svc-logs {follow} -n{count} coder 2>{} | head -n 1; cat {}", err.display(), err.display());
        tree.tool("sh").args(["-c", &script]).run().is(0, "* coder | one\n", "");
    }
}

#[test]
fn a_log_that_does_not_end_takes_a_bounded_amount_of_memory() {
    let tree = tree();
    let current = dir(&tree, "coder").join("current");
    give(&tree, &current, "");
    // A sparse file of a terabyte, without one newline.
    fs::File::options().write(true).open(&current).unwrap().set_len(1 << 40).unwrap();
    let script = "ulimit -v 200000; hermes-svc-logs -n 20 coder | wc -l";
    let ran = tree.tool("sh").args(["-c", script]).run();
    ran.is(0, "20\n", "");
}
