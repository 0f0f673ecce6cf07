//! The scandir: no entry of the account in root's, and no scandir of the account's own.

use super::ground::{Ground, runs};
use crate::support::{snapshot, wait_until};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// Every directory below `top`, and `top` itself.
fn directories(top: &Path) -> Vec<PathBuf> {
    let mut found = vec![top.to_path_buf()];
    let mut at = 0;
    while at < found.len() {
        let entries = fs::read_dir(&found[at]).expect("a directory").flatten();
        found.extend(entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
        at += 1;
    }
    found
}

#[test]
fn the_account_can_write_in_no_directory_of_a_sealed_tree() {
    let ground = Ground::new();
    runs(&ground.tree, "coder");
    ground.tool("hermes-svc-register -u -e TOKEN=hidden coder").is(
        0,
        "profile=coder action=registered port=9530\n",
        "",
    );
    ground.tree.wait_up("coder");
    let canary = ground.canary().join("file");
    let tops = [ground.tree.scandir(), ground.tree.template()];
    let all: Vec<PathBuf> = tops.iter().flat_map(|top| directories(top)).collect();
    for part in ["", "data", "env", "event", "supervise", "log", "log/event", "log/supervise"] {
        assert!(all.contains(&ground.tree.slot("coder").join(part).components().collect()), "{part}");
    }
    let before = snapshot(&[&ground.tree.scandir()]);
    ground.as_account(|| {
        for dir in &all {
            // s6-supervise opens a file of such a name for writing, as root.
            let name = dir.join("ftrig1:@4000000000000000000000000:012345678");
            let tries = [
                ("link", symlink(&canary, &name).map_err(|e| Errno::from_io_error(&e).expect("errno"))),
                ("FIFO", rustix::fs::mknodat(CWD, &name, FileType::Fifo, 0o666.into(), 0)),
                ("directory", rustix::fs::mkdir(&name, 0o755.into())),
                ("file", rustix::fs::open(&name, OFlags::WRONLY | OFlags::CREATE, Mode::RUSR).map(drop)),
                ("rename", rustix::fs::rename(dir, dir.with_extension("away"))),
                ("mode", rustix::fs::chmod(dir, 0o777.into())),
            ];
            for (what, done) in tries {
                assert!(matches!(done, Err(Errno::ACCESS | Errno::PERM)), "{what} in {}: {done:?}", dir.display());
            }
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                let gone = rustix::fs::unlinkat(CWD, &path, AtFlags::empty());
                assert!(
                    matches!(gone, Err(Errno::ACCESS | Errno::PERM | Errno::ISDIR)),
                    "{}: {gone:?}",
                    path.display()
                );
                let own_control = path == ground.tree.slot("coder").join("supervise/control");
                if !entry.file_type().is_ok_and(|t| t.is_dir() || t.is_symlink()) && !own_control {
                    let opened = rustix::fs::open(&path, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).map(drop);
                    assert_eq!(opened, Err(Errno::ACCESS), "{}", path.display());
                }
            }
        }
        for secret in ["env/TOKEN", "supervise/control"] {
            let read = fs::read(ground.tree.slot("coder").join(secret));
            assert_eq!(read.map_err(|e| e.kind()), Err(std::io::ErrorKind::PermissionDenied), "{secret}");
        }
    });
    before.still_holds();
    ground.unharmed();
    // The account may give orders to its own gateway.
    let slot = ground.tree.slot("coder");
    ground.tree.tool_as_account("s6-svc").arg("-d").arg(&slot).run().is(0, "", "");
    ground.tree.wait_down("coder");
    let told = ground.tree.tool_as_account("s6-svscanctl").arg("-a").arg(ground.tree.scandir()).run();
    assert_ne!(told.code, 0, "{told}");
    ground.tool("hermes-svc-status -j coder");
}

#[test]
fn a_scandir_that_is_not_roots_alone_is_refused_by_root() {
    let ground = Ground::without_svscan();
    runs(&ground.tree, "coder");
    let home = ground.tree.home();
    let own = home.join("service");
    fs::create_dir(&own).expect("scandir");
    ground.give(&own);
    // This scandir belongs to root, but its path goes through a directory in which the account can replace it.
    let roots = home.join("roots");
    fs::create_dir(&roots).expect("scandir");
    let link = home.join("link");
    symlink(ground.tree.scandir(), &link).expect("link");
    ground.give(&link);
    let wide = home.parent().expect("root").join("wide");
    fs::create_dir(&wide).expect("scandir");
    fs::set_permissions(&wide, fs::Permissions::from_mode(0o1777)).expect("mode");
    for scandir in [&own, &roots, &link, &wide] {
        let before = snapshot(&[&ground.tree.scandir()]);
        let profile = if scandir == &own { "gateway-coder" } else { "nothing" };
        let count = || fs::read_dir(scandir).expect("scandir").flatten().filter(|e| e.file_name() != profile).count();
        let there = count();
        // The control FIFO of this slot is a link to a file to which only root may write.
        if scandir == &own {
            fs::create_dir_all(scandir.join(profile).join("supervise")).expect("slot");
            symlink(ground.canary().join("file"), scandir.join(profile).join("supervise/control")).expect("link");
        }
        for line in [
            "hermes-reconcile-all",
            "hermes-reconcile-one coder",
            "hermes-svc-register coder",
            "hermes-svc-start coder",
            "hermes-svc-stop coder",
            "hermes-svc-stop -a -k",
            "hermes-svc-restart coder",
            "hermes-svc-unregister coder",
            "hermes-svc-status",
            "hermes-svc-list",
        ] {
            let mut words = line.split(' ');
            let tool = ground.tree.tool(words.next().expect("a tool")).arg("-s").arg(scandir).args(words);
            ground.run(tool).fails(102, &format!("unable to trust scandir {}: *", scandir.display()));
        }
        before.still_holds();
        assert_eq!(count(), there);
    }
    assert_eq!(ground.tree.profile("coder").desired().as_deref(), Some("running"));
}

#[test]
fn an_open_scandir_is_used_where_the_operator_says_so() {
    let ground = Ground::new();
    runs(&ground.tree, "coder");
    ground.give(&ground.tree.scandir());
    ground.tool("hermes-svc-list").fails(102, "unable to trust scandir *: it belongs to uid *");
    let tool = |name: &str| ground.tree.tool(name).env("HERMES_OPEN_SCANDIR", "1");
    ground.run(tool("hermes-svc-register").arg("coder")).is(0, "profile=coder action=registered *\n", "");
    ground.run(tool("hermes-svc-list")).is(0, "coder\n", "");
}

#[test]
fn a_template_that_the_account_could_change_is_refused_by_root() {
    let ground = Ground::new();
    runs(&ground.tree, "coder");
    let (home, template) = (ground.tree.home(), ground.tree.template());
    let root = home.parent().expect("root").to_path_buf();
    let copy = |to: &Path| {
        let done = std::process::Command::new("cp").arg("-R").arg(&template).arg(to).status();
        assert!(done.expect("cp").success());
    };
    // A template on the volume is refused, whether it belongs to the account or to root.
    let inside = home.join("template");
    copy(&inside);
    // A template behind a link of root that leads through a directory of the account is refused.
    let through = root.join("through");
    symlink(home.join("hop"), &through).expect("link");
    symlink(&template, home.join("hop")).expect("link");
    ground.give(&home.join("hop"));
    // A sound template is refused if one of its files is a link to a file of root in a directory of the account.
    let mixed = root.join("mixed");
    copy(&mixed);
    fs::copy(template.join("run"), home.join("run")).expect("run");
    fs::remove_file(mixed.join("run")).expect("run");
    symlink(home.join("run"), mixed.join("run")).expect("link");
    for bad in [&inside, &through, &mixed] {
        for line in [
            "hermes-svc-register coder",
            "hermes-svc-start coder",
            "hermes-reconcile-one coder",
            "hermes-reconcile-all",
        ] {
            let mut words = line.split(' ');
            let tool = ground.tree.tool(words.next().expect("a tool")).args(words).env("HERMES_SLOT_TEMPLATE", bad);
            ground.run(tool).fails(100, "unable to use template *");
        }
    }
    assert_eq!(ground.tree.slots(), Vec::<String>::new());
    assert_eq!(ground.tree.leftovers(), Vec::<String>::new());
}

#[test]
fn profiles_that_come_and_go_leave_nothing_in_the_scandir() {
    let ground = Ground::new();
    let profiles = ground.tree.profile("coder").dir.parent().expect("profiles").to_path_buf();
    let mischief = ground.keep_on(move || {
        let dir = profiles.join("fickle");
        let _ = fs::create_dir(&dir).and_then(|()| fs::write(dir.join("SOUL.md"), ""));
        let _ = fs::remove_dir_all(&dir);
    });
    let mut passes = 0;
    while passes < 10 || mischief.rounds() <= 10 {
        passes += 1;
        let ran = ground.tool("hermes-reconcile-one fickle");
        assert!([0, 99, 100, 111].contains(&ran.code), "{ran}");
    }
    drop(mischief);
    ground.tool("hermes-reconcile-all -w");
    wait_until("only the real ones to be left", || ground.tree.slots() == ["coder", "default"]);
    assert_eq!(ground.tree.leftovers(), Vec::<String>::new());
}
