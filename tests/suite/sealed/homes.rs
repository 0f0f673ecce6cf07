//! The path of the home, and its owner.

use super::ground::Ground;
use crate::support::Profile;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// A home in a directory that belongs to the account, as in /home/NAME/.hermes. The account can replace the home by
/// anything. Returns the home and the directory.
fn moveable(ground: &Ground) -> (PathBuf, PathBuf) {
    let own = ground.tree.home().parent().expect("root").join("account");
    let home = own.join("home");
    for dir in [&own, &home, &home.join("profiles"), &home.join("profiles/coder")] {
        fs::create_dir(dir).expect("directory");
        ground.give(dir);
    }
    let marker = home.join("profiles/coder/SOUL.md");
    fs::write(&marker, "").expect("marker");
    ground.give(&marker);
    (own, home)
}

/// The command line of every tool that uses a home.
const LINES: [&str; 9] = [
    "hermes-fix-attrs",
    "hermes-reconcile-all",
    "hermes-reconcile-one coder",
    "hermes-svc-register coder",
    "hermes-svc-start coder",
    "hermes-svc-status",
    "hermes-port-alloc coder",
    "hermes-run-gateway coder true",
    "hermes-run-logger coder true",
];

#[test]
fn a_home_that_is_a_link_of_the_accounts_is_nobodys_home() {
    let ground = Ground::new();
    let (own, home) = moveable(&ground);
    fs::rename(&home, own.join("away")).expect("rename");
    // The account replaces the home by a link to files of root. Through the link, the tools would take root for the
    // account, and give the files away.
    symlink(ground.canary().join("dir"), &home).expect("link");
    ground.give(&home);
    for line in LINES {
        let mut words = line.split(' ');
        // No account is named, so it would be the owner of the home.
        let tool = ground.tree.tool(words.next().expect("a tool")).env("HERMES_USER", "");
        let ran = ground.run(tool.args(["-H"]).arg(&home).args(words));
        assert!([78, 111].contains(&ran.code), "{ran}");
    }
    ground.unharmed();
    assert_eq!(ground.tree.slots(), Vec::<String>::new());
}

#[test]
fn a_home_swapped_with_a_link_in_a_loop_gives_nothing_of_roots_away() {
    let ground = Ground::new();
    let (own, home) = moveable(&ground);
    let link = own.join("link");
    symlink(ground.canary().join("dir"), &link).expect("link");
    ground.give(&link);
    let mischief = ground.swap(&home, &link);
    let mut passes = 0;
    while passes < 60 || mischief.rounds() <= 1000 {
        passes += 1;
        for line in ["hermes-fix-attrs", "hermes-port-alloc coder"] {
            let mut words = line.split(' ');
            let tool = ground.tree.tool(words.next().expect("a tool")).args(["-H"]).arg(&home).args(words);
            let ran = ground.run(tool);
            assert!([0, 78, 100, 111].contains(&ran.code), "{ran}");
        }
    }
}

#[test]
fn a_home_behind_a_link_of_roots_is_a_home() {
    let ground = Ground::new();
    let link = ground.tree.home().parent().expect("root").join("data");
    symlink("home", &link).expect("link");
    let profile = Profile::new(&ground.tree, "coder").intent("running");
    fs::write(profile.dir.join("left"), "by root").expect("file");
    ground.run(ground.tree.tool("hermes-fix-attrs").arg("-H").arg(&link)).is(
        0,
        "fix-attrs: path=profiles/coder/left action=updated\nfix-attrs: done checked=* updated=1 failed=0 ms=*\n",
        "",
    );
    let ran = ground.run(ground.tree.tool("hermes-reconcile-all").arg("-H").arg(&link));
    assert_eq!(ran.code, 0, "{ran}");
    ground.tree.wait_up("coder");
    assert_eq!(profile.starts(), 1);
}
