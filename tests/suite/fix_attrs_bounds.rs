//! hermes-fix-attrs spends a bounded amount whatever the tree, and never reports success if it could not look at
//! something.

use crate::volume::{ACCOUNT, Volume};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::fs;

const TOOL: &str = env!("CARGO_BIN_EXE_hermes-fix-attrs");

fn fix(volume: &Volume, options: &[&str]) -> (i32, String, String) {
    volume.tool(TOOL).arg("-H").arg(&volume.home).args(options).run().triple()
}

/// The name of the directory in which the chain goes on. It is another one of three at each level, so on some levels
/// there are entries that are read after it.
fn next(level: usize) -> &'static str {
    ["a", "b", "c"][level % 3]
}

/// Make a chain of directories of the account below a profile. Each of them has two empty directories beside the next
/// one of the chain. A file of root is in the directory of each of the `levels`; level 0 is the profile's own
/// directory.
fn comb(volume: &Volume, depth: usize, levels: &[usize]) {
    let account = Some(rustix::process::Uid::from_raw(ACCOUNT));
    volume.profile("deep");
    let mut dir = rustix::fs::open(volume.path("profiles/deep"), OFlags::PATH, Mode::empty()).unwrap();
    for level in 0..=depth {
        if levels.contains(&level) {
            rustix::fs::openat(&dir, "roots", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
        }
        for name in ["a", "b", "c"] {
            rustix::fs::mkdirat(&dir, name, Mode::RWXU).unwrap();
            rustix::fs::chownat(&dir, name, account, None, AtFlags::empty()).unwrap();
        }
        dir = rustix::fs::openat(&dir, next(level), OFlags::PATH, Mode::empty()).unwrap();
    }
}

#[test]
fn what_is_nested_deeper_than_200_levels_is_left_to_root_and_said_once() {
    let volume = Volume::new();
    // The profile's own directory is at level 2 of the home.
    comb(&volume, 500, &[0, 198, 199]);
    let script = "ulimit -n 250; ulimit -s 512; exec \"$0\" -H \"$1\"";
    let (code, stdout, stderr) = volume.tool("sh").args(["-c", script, TOOL]).arg(&volume.home).run().triple();
    let path = (0..198).fold("profiles/deep".to_string(), |path, level| format!("{path}/{}", next(level)));
    assert_eq!(code, 111);
    let lines: Vec<&str> = stderr.lines().collect();
    let nested = |name| {
        format!(
            "hermes-fix-attrs: warning: {path}/{name} is nested deeper than 200 levels: left to root, and what is in it"
        )
    };
    assert!(["a", "b", "c"].map(nested).contains(&lines[0].to_string()), "{stderr}");
    assert_eq!(lines[1..], ["hermes-fix-attrs: warning: 2 more like these"]);
    assert_eq!(stdout.matches(" action=updated").count(), 2, "{stdout}");
    assert!(stdout.contains(&format!("path={path}/roots action=updated\n")), "{stdout}");
    assert!(!stdout.contains(&format!("path={path}/{}/roots ", next(198))), "{stdout}");
    // The walk looks at the home, `profiles`, the profile and its SOUL.md, three directories on each level, and the two
    // files.
    assert!(stdout.contains(&format!("fix-attrs: done checked={} updated=2 failed=3", 4 + 3 * 198 + 2)), "{stdout}");
}

#[test]
fn levels_that_were_not_asked_for_are_left_for_another_run() {
    let volume = Volume::new();
    // The profile's own directory is at level 2 of the home.
    comb(&volume, 5, &[0, 1, 2]);
    let (code, stdout, stderr) = fix(&volume, &["-d", "3"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let done = |updated| format!("fix-attrs: done checked=* updated={updated} failed=0 ms=*\n");
    let records = "fix-attrs: path=profiles/deep/*roots action=updated\n".repeat(2);
    assert!(crate::support::glob(&(records + &done(2)), &stdout), "{stdout}");
    assert_eq!(volume.owner("profiles/deep/a/b/roots"), 0);
    let (code, stdout, stderr) = fix(&volume, &[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with("fix-attrs: path=profiles/deep/a/b/roots action=updated\n"), "{stdout}");
    for options in [&["-d", "3", "-o", "1000"][..], &["-d", "x"], &["-d", "-1"], &["-o", "0"]] {
        let (code, stdout, stderr) = fix(&volume, options);
        assert_eq!((code, stdout.as_str()), (100, ""));
        assert!(stderr.starts_with("hermes-fix-attrs: fatal: ") && stderr.contains(": usage: "), "{stderr}");
    }
}

#[test]
fn a_pass_that_takes_too_long_ends_with_99_and_says_how_far_it_came() {
    let volume = Volume::new();
    volume.profile("coder");
    for n in 0..5000 {
        fs::File::create(volume.path(&format!("profiles/coder/{n}"))).unwrap();
    }
    let (code, stdout, stderr) = fix(&volume, &["-n", "-t", "1"]);
    assert_eq!(code, 99, "{stderr}");
    assert!(!stdout.contains("fix-attrs: done"), "{stdout}");
    let said = stderr.strip_prefix("hermes-fix-attrs: fatal: timed out after 1 ms in ").expect(&stderr);
    let (at, counts) = said.split_once(": ").expect(said);
    assert!([".", "profiles", "profiles/coder"].contains(&at), "{stderr}");
    let numbers: Vec<usize> = counts.split([' ', ',', '\n']).filter_map(|word| word.parse().ok()).collect();
    assert!((1..5000).contains(&numbers[0]) && numbers[1] <= numbers[0] && numbers[2] == 0, "{stderr}");
    assert_eq!(counts, format!("checked {}, updated {}, failed 0\n", numbers[0], numbers[1]));
    assert_eq!(fix(&volume, &["-n", "-t", "0"]).0, 0, "0 is no limit");
}

#[test]
fn a_thousand_objects_are_named_and_all_are_counted() {
    let volume = Volume::new();
    for n in 0..1010 {
        volume.root_file(&format!("state.db{n}"));
    }
    for n in 0..25 {
        fs::hard_link(volume.root_file(&format!("kanban.db{n}")), volume.path(&format!("kanban.db.two{n}"))).unwrap();
    }
    let (code, stdout, stderr) = fix(&volume, &["-v"]);
    assert_eq!((code, stdout.matches(" action=updated\n").count()), (0, 1000));
    assert!(stdout.contains("\nfix-attrs: done checked=1062 updated=1010 failed=0 "), "{stdout}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 11, "{stderr}");
    assert!(lines[..10].iter().all(|l| l.ends_with(" has 2 links: left to root")), "{stderr}");
    assert_eq!(lines[10], "hermes-fix-attrs: info: 40 more like these");
}

/// Each call that looks at or changes something fails once. The exit code is never 0, and everything else is done.
#[test]
fn whatever_could_not_be_seen_or_given_back_is_never_a_success() {
    let volume = Volume::new();
    comb(&volume, 80, &[0, 1, 80]);
    let mut failed = 0;
    for (call, step) in [("getdents64", 40), ("openat2", 9), ("statx", 1), ("fstat", 40), ("fchownat", 1)] {
        for n in (1..).step_by(step) {
            let inject = format!("inject={call}:error=EIO:when={n}");
            // The dry run changes nothing, so every run has the same work.
            let options: &[&str] = if call == "fchownat" { &[] } else { &["-n"] };
            let log = volume.outside("trace");
            let strace = volume.tool("strace").args(["-qq", "-e", &format!("trace={call}"), "-e", &inject, "-o"]);
            let (code, _, stderr) = strace.arg(&log).arg(TOOL).arg("-H").arg(&volume.home).args(options).run().triple();
            let trace = fs::read_to_string(&log).unwrap();
            let Some(injected) = trace.lines().find(|line| line.contains("(INJECTED)")) else { break };
            if call == "statx" && !injected.contains("AT_STATX_DONT_SYNC") {
                // The standard library asks for a file's size before it reads the file, and ignores an error.
                continue;
            }
            failed += 1;
            assert_eq!(code, 111, "{inject}: {stderr}");
            assert!(stderr.starts_with("hermes-fix-attrs: ") && stderr.contains("Input/output error"), "{stderr}");
            if call == "fchownat" {
                let roots = volume.path("profiles/deep/roots");
                std::os::unix::fs::chown(&roots, Some(0), Some(0)).unwrap();
            }
        }
    }
    assert!(failed > 40, "only {failed} calls failed");
}
