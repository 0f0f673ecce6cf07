//! hermes-fix-attrs on a real file system, run as root, while an account swaps the files that it looks at.

use crate::support::Tool;
use crate::volume::{ACCOUNT, Volume};
use rustix::fs::{CWD, Mode, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const TOOL: &str = env!("CARGO_BIN_EXE_hermes-fix-attrs");

fn run(tool: Tool) -> (i32, String, String) {
    tool.run().triple()
}

fn fix(volume: &Volume, options: &[&str]) -> (i32, String, String) {
    run(volume.tool(TOOL).arg("-H").arg(&volume.home).args(options))
}

/// The shell sees the tool as `$1` and the home as `$2`.
fn fix_in(volume: &Volume, script: &str) -> (i32, String, String) {
    run(volume.tool("unshare").args(["-m", "sh", "-ec", script, "sh", TOOL]).arg(&volume.home))
}

/// The lines about objects, sorted, and the counts of the last line.
fn records(stdout: &str) -> (Vec<String>, String) {
    let mut lines: Vec<String> = stdout.lines().map(str::to_string).collect();
    let last = lines.pop().unwrap();
    lines.sort();
    let counts = last.strip_prefix("fix-attrs: done ").unwrap().rsplit_once(" ms=").unwrap().0;
    (lines, counts.to_string())
}

/// Rows H3, H5 of docs/failures.md.
#[test]
fn what_root_left_is_the_accounts_again_and_a_second_run_changes_nothing() {
    let volume = Volume::new();
    volume.profile("coder");
    let soul = volume.root_file("profiles/coder/SOUL.md");
    volume.root_file(".env");
    fs::create_dir_all(volume.path("logs/gateways")).unwrap();
    fs::create_dir(volume.path("cron")).unwrap();
    volume.root_file("cron/jobs.json");
    volume.give(&soul);
    rustix::fs::chown(&soul, Some(rustix::process::Uid::ROOT), None).unwrap();
    rustix::fs::chown(&volume.home, Some(rustix::process::Uid::from_raw(0)), None).unwrap();
    // The tree took its account from the owner of the home. From here on the account is `nobody`.
    let as_nobody = |options: &[&str]| {
        run(volume.tool(TOOL).env("HERMES_USER", "nobody").arg("-H").arg(&volume.home).args(options))
    };

    let wanted: Vec<String> =
        [".", ".env", "cron", "cron/jobs.json", "logs", "logs/gateways", "profiles/coder/SOUL.md"]
            .map(|path| format!("fix-attrs: path={path} action=updated"))
            .to_vec();
    let (code, stdout, stderr) = as_nobody(&["-n"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(records(&stdout), (wanted.clone(), "checked=9 updated=7 failed=0".to_string()));
    assert_eq!(volume.owner(".env"), 0, "a dry run changed something");

    let (code, stdout, stderr) = as_nobody(&[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(records(&stdout), (wanted, "checked=9 updated=7 failed=0".to_string()));
    let nobody = fs::metadata(&volume.home).unwrap();
    assert_eq!((nobody.uid(), nobody.gid()), (65534, 65534));
    assert_eq!(fs::metadata(&soul).unwrap().permissions().mode() & 0o777, 0o600, "a mode was changed");
    assert_eq!(volume.owner("profiles/coder"), ACCOUNT, "another account lost what is its own");

    let (code, stdout, stderr) = as_nobody(&[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(records(&stdout), (Vec::new(), "checked=9 updated=0 failed=0".to_string()));
}

/// Row C13 of docs/failures.md.
#[test]
fn everything_else_stays_untouched() {
    let volume = Volume::new();
    let profile = volume.profile("coder");
    let outside = volume.outside("secret");
    fs::write(&outside, "secret").unwrap();
    fs::create_dir(volume.path("media")).unwrap();
    volume.root_file("media/film");
    volume.root_file("host_secret.json");
    volume.root_file(".envrc");
    symlink(&outside, profile.join("link")).unwrap();
    symlink(volume.outside(""), volume.path("logs")).unwrap();
    volume.root_file("profiles/coder/one");
    fs::hard_link(profile.join("one"), profile.join("two")).unwrap();
    rustix::fs::mknodat(CWD, profile.join("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::write(profile.join("foreign"), "").unwrap();
    std::os::unix::fs::chown(profile.join("foreign"), Some(1234), Some(0)).unwrap();

    let (code, stdout, stderr) = fix(&volume, &[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(records(&stdout).0, Vec::<String>::new());
    assert_eq!(fs::metadata(&outside).unwrap().uid(), 0);
    let here = ["media", "media/film", "host_secret.json", ".envrc", "logs"];
    for kept in here.into_iter().chain(["profiles/coder/link", "profiles/coder/one", "profiles/coder/fifo"]) {
        assert_eq!(volume.owner(kept), 0, "{kept}");
    }
    assert_eq!(volume.owner("profiles/coder/foreign"), 1234);

    let (_, _, stderr) = fix(&volume, &["-v"]);
    assert!(stderr.contains("hermes-fix-attrs: info: profiles/coder/two has 2 links: left to root\n"), "{stderr}");
}

#[test]
fn a_file_handed_over_is_no_longer_set_uid() {
    let volume = Volume::new();
    volume.profile("coder");
    let file = volume.root_file("profiles/coder/tool");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o6755)).unwrap();
    assert_eq!(fix(&volume, &[]).0, 0);
    let after = fs::metadata(&file).unwrap();
    assert_eq!((after.uid(), after.permissions().mode() & 0o7777), (ACCOUNT, 0o755));
}

#[test]
fn paths_are_escaped_in_both_forms() {
    let volume = Volume::new();
    volume.dir("cron");
    volume.root_file("cron/a b\n\u{1b}[2J");
    let (code, stdout, stderr) = fix(&volume, &["-n"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(records(&stdout).0, ["fix-attrs: path=cron/a\\x20b\\n\\u{1b}[2J action=updated"]);
    let (_, stdout, _) = fix(&volume, &["-n", "-j"]);
    let (first, last) = stdout.split_once('\n').unwrap();
    assert_eq!(first, r#"{"path":"cron/a b\\n\\u{1b}[2J","action":"updated","dry_run":true}"#);
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!((&last["checked"], &last["updated"], &last["dry_run"]), (&4.into(), &1.into(), &true.into()));
}

#[test]
fn another_file_system_below_the_home_is_left_alone() {
    let volume = Volume::new();
    volume.profile("coder");
    volume.dir("profiles/coder/mnt");
    let host = volume.outside("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("file"), "").unwrap();
    fs::write(volume.outside("one"), "").unwrap();
    volume.file("profiles/coder/one");
    let script = "mount --bind \"$2\"/../host \"$2\"/profiles/coder/mnt
        mount --bind \"$2\"/../one \"$2\"/profiles/coder/one
        exec \"$1\" -v -H \"$2\"";
    let (code, stdout, stderr) = fix_in(&volume, script);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(records(&stdout).0, Vec::<String>::new());
    for mount in ["mnt", "one"] {
        let info = format!("hermes-fix-attrs: info: profiles/coder/{mount} is a mount point: left alone\n");
        assert!(stderr.contains(&info), "{stderr}");
    }
    assert_eq!(fs::metadata(host.join("file")).unwrap().uid(), 0);
    assert_eq!(fs::metadata(volume.outside("one")).unwrap().uid(), 0);
}

#[test]
fn files_stay_roots_where_an_account_may_link_what_is_not_its_own() {
    let volume = Volume::new();
    volume.root_file(".env");
    fs::create_dir(volume.path("logs")).unwrap();
    fs::write(volume.outside("zero"), "0\n").unwrap();
    let script = "mount --bind \"$2\"/../zero /proc/sys/fs/protected_hardlinks; exec \"$1\" -H \"$2\"";
    let (code, stdout, stderr) = fix_in(&volume, script);
    assert_eq!(code, 111);
    assert_eq!(
        stderr,
        "hermes-fix-attrs: warning: leaving .env to root: fs.protected_hardlinks is not 1 on this machine\n"
    );
    let wanted = (vec!["fix-attrs: path=logs action=updated".to_string()], "checked=4 updated=1 failed=1".to_string());
    assert_eq!(records(&stdout), wanted);
}

/// Row C8 of docs/failures.md.
#[test]
fn what_cannot_be_handed_over_is_named_ten_times_and_then_counted() {
    let volume = Volume::new();
    for n in 0..25 {
        volume.root_file(&format!("state.db{n}"));
    }
    let no_cap = ["--bounding-set=-chown", "--inh-caps=-chown", TOOL, "-H"];
    let read_only = "mount --bind \"$2\" \"$2\"; mount -o remount,bind,ro \"$2\"; exec \"$1\" -H \"$2\"";
    for ((code, stdout, stderr), cause) in [
        (run(volume.tool("setpriv").args(no_cap).arg(&volume.home)), "Operation not permitted (CAP_CHOWN is needed)"),
        (fix_in(&volume, read_only), "Read-only file system"),
    ] {
        assert_eq!(code, 111);
        assert_eq!(records(&stdout), (Vec::new(), "checked=27 updated=0 failed=25".to_string()));
        let lines: Vec<&str> = stderr.lines().collect();
        assert_eq!(lines.len(), 11, "{stderr}");
        assert!(lines[0].starts_with("hermes-fix-attrs: warning: unable to change the owner of state.db"), "{stderr}");
        assert!(lines[0].ends_with(cause), "{stderr}");
        assert_eq!(lines[10], "hermes-fix-attrs: warning: 15 more like these");
    }
}

#[test]
fn a_caller_who_is_not_root_finds_nothing_to_do_or_says_what_is_wrong() {
    let volume = Volume::new();
    volume.profile("coder");
    let ids = [format!("--reuid={ACCOUNT}"), format!("--regid={ACCOUNT}"), "--clear-groups".to_string()];
    let as_account = || run(volume.tool("setpriv").args(&ids).args([TOOL, "-H"]).arg(&volume.home));
    let (code, stdout, stderr) = as_account();
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(records(&stdout), (Vec::new(), "checked=4 updated=0 failed=0".to_string()));
    volume.root_file(".env");
    let (code, _, stderr) = as_account();
    assert_eq!(code, 111);
    assert_eq!(stderr, "hermes-fix-attrs: warning: unable to change the owner of .env: Operation not permitted\n");
}

#[test]
fn bad_input_has_one_line_and_its_exit_code() {
    let volume = Volume::new();
    let file = volume.root_file("file").display().to_string();
    let missing = volume.path("missing").display().to_string();
    let usage = |wrong: &str| {
        let options = "[ -H home ] [ -v ] [ -n ] [ -j ] [ -d levels | -o uid ] [ -t ms ]";
        format!("fatal: {wrong}\nhermes-fix-attrs: usage: hermes-fix-attrs {options}")
    };
    for (arguments, code, line) in [
        (["-H", "/"], 100, "fatal: refusing to give / away: it is no home".to_string()),
        (["-H", "/etc/ssl"], 100, "fatal: refusing to give /etc/ssl away: it is no home".to_string()),
        (["-H", &missing], 111, format!("fatal: unable to open {missing}: No such file or directory")),
        (["-H", &file], 111, format!("fatal: unable to open {file}: Not a directory")),
        (["-n", "operand"], 100, usage("an operand too many: operand")),
        (["-n", "-x"], 100, usage("unknown option -x")),
    ] {
        let (ended, stdout, stderr) = run(volume.tool(TOOL).args(arguments));
        assert_eq!((ended, stdout.as_str()), (code, ""), "{arguments:?}");
        assert_eq!(stderr, format!("hermes-fix-attrs: {line}\n"), "{arguments:?}");
    }
}

/// CWE-59, CWE-367: the account exchanges files that root left with links that lead elsewhere, as fast as it can.
/// Row H2 of docs/failures.md.
#[test]
fn nothing_outside_changes_hands_while_the_account_swaps_what_is_inside() {
    for decoy in ["symlink", "directory symlink", "hard link", "FIFO"] {
        let volume = Volume::new();
        let profile = volume.profile("coder");
        let secret = volume.outside("secret");
        fs::create_dir(volume.outside("etc")).unwrap();
        fs::write(&secret, "secret").unwrap();
        fs::write(volume.outside("etc/passwd"), "secret").unwrap();
        let (bait, trap) = (profile.join("bait"), profile.join("trap"));
        let mut handed = volume.path("profiles/coder/bait");
        match decoy {
            "directory symlink" => {
                volume.dir("profiles/coder/bait");
                handed = volume.root_file("profiles/coder/bait/passwd");
                symlink("../../../etc", &trap).unwrap();
            }
            _ => {
                volume.root_file("profiles/coder/bait");
                match decoy {
                    "symlink" => symlink("../../../secret", &trap).unwrap(),
                    "hard link" => fs::hard_link(&secret, &trap).unwrap(),
                    _ => rustix::fs::mknodat(CWD, &trap, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap(),
                }
            }
        }
        let held = fs::File::open(&handed).unwrap();
        let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut updated = 0;
        std::thread::scope(|threads| {
            threads.spawn(|| {
                rustix::thread::set_thread_res_uid(None, rustix::process::Uid::from_raw(ACCOUNT), None).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    renameat_with(CWD, &bait, CWD, &trap, RenameFlags::EXCHANGE).unwrap();
                    swaps.fetch_add(1, Ordering::Relaxed);
                }
            });
            for _ in 0..100 {
                std::os::unix::fs::fchown(&held, Some(0), Some(0)).unwrap();
                let (code, stdout, stderr) = fix(&volume, &[]);
                assert_eq!((code, stderr.as_str()), (0, ""), "{decoy}");
                updated += stdout.matches("action=updated").count();
                assert!(stdout.lines().last().unwrap().starts_with("fix-attrs: done "));
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(updated > 0 && swaps.load(Ordering::Relaxed) > 100, "{decoy}: nothing was at stake");
        for kept in [&secret, &volume.outside("etc"), &volume.outside("etc/passwd")] {
            assert_eq!(fs::metadata(kept).unwrap().uid(), 0, "{decoy}: {}", kept.display());
        }
        if decoy == "FIFO" {
            let ends = [&bait, &trap].map(|path| fs::symlink_metadata(path).unwrap());
            assert!(ends.iter().any(|m| !m.is_file() && m.uid() == 0), "the FIFO changed hands");
        }
    }
}

/// Row C8 of docs/failures.md.
#[test]
fn what_the_account_had_under_another_uid_is_its_own_again() {
    let volume = Volume::new();
    volume.profile("coder");
    for dir in ["media", "media/deep"] {
        volume.dir(dir);
    }
    volume.file("media/deep/one");
    fs::hard_link(volume.path("media/deep/one"), volume.path("two")).unwrap();
    symlink("one", volume.path("media/deep/link")).unwrap();
    std::os::unix::fs::lchown(volume.path("media/deep/link"), Some(ACCOUNT), Some(ACCOUNT)).unwrap();
    rustix::fs::mknodat(CWD, volume.path("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    volume.give(&volume.path("fifo"));
    volume.root_file("media/roots");
    volume.root_file("media/others");
    std::os::unix::fs::chown(volume.path("media/others"), Some(1234), None).unwrap();
    volume.root_file("profiles/coder/roots");
    fs::set_permissions(&volume.home, fs::Permissions::from_mode(0o700)).unwrap();
    let all = [
        "",
        "profiles",
        "profiles/coder",
        "profiles/coder/SOUL.md",
        "profiles/coder/roots",
        "media",
        "media/deep",
        "media/deep/one",
        "two",
        "media/deep/link",
        "fifo",
    ];
    let moved = |from: u32, to: u32, options: &[&str]| {
        let tool = volume.tool(TOOL).env("HERMES_USER", format!("{to}:{to}")).arg("-H").arg(&volume.home);
        run(tool.args(["-o", &from.to_string()]).args(options))
    };
    // The uid changes, and then changes back.
    for (from, to) in [(ACCOUNT, 1000), (1000, ACCOUNT)] {
        let (code, stdout, stderr) = moved(from, to, &["-n"]);
        assert_eq!((code, stderr.as_str(), volume.owner("")), (0, "", from), "{stdout}");
        let (code, stdout, stderr) = moved(from, to, &[]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
        // The home comes last. If the run is cut short, the next one still finds the former owner there.
        let last = stdout.lines().rev().nth(1);
        assert_eq!(last, Some("fix-attrs: path=. action=updated"), "{stdout}");
        for path in all {
            let at = fs::symlink_metadata(volume.path(path)).unwrap();
            assert_eq!((at.uid(), at.gid()), (to, to), "{path}");
        }
        assert_eq!((volume.owner("media/roots"), volume.owner("media/others")), (0, 1234));
    }
    for wrong in ["0", "-1", "4294967295", "me", ""] {
        let (code, stdout, _) = run(volume.tool(TOOL).args(["-o", wrong]).arg("-H").arg(&volume.home));
        assert_eq!((code, stdout.as_str()), (100, ""), "{wrong}");
    }
}
