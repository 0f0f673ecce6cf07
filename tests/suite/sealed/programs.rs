//! Programs and variables that root must not take from the account.

use super::ground::{Ground, runs};
use crate::support::wait_until;
use std::fs;
use std::path::PathBuf;

/// Every program that the template's scripts and the tools run.
const PROGRAMS: [&str; 20] = [
    "[",
    "cat",
    "date",
    "env",
    "hermes-gateway-ready",
    "hermes-run-gateway",
    "hermes-run-hook",
    "hermes-run-logger",
    "id",
    "mv",
    "rm",
    "s6-log",
    "s6-setuidgid",
    "s6-svc",
    "s6-svdt",
    "s6-svdt-clear",
    "s6-svscanctl",
    "s6-svstat",
    "sh",
    "sleep",
];

/// Make a directory of the account with traps in it.
fn traps(ground: &Ground) -> PathBuf {
    let dir = ground.tree.home().join("bin");
    fs::create_dir(&dir).expect("directory");
    ground.give(&dir);
    for name in PROGRAMS {
        ground.trap(&dir.join(name));
    }
    dir
}

#[test]
fn scripts_of_a_slot_run_nothing_of_the_accounts_as_root_even_first_on_the_path() {
    let ground = Ground::without_svscan();
    let bin = traps(&ground);
    let path = format!("{}:{}", bin.display(), ground.tree.path());
    let svscan = ground.tree.tool("s6-svscan").arg(ground.tree.scandir()).env("PATH", &path).spawn();
    // The gateway comes up, dies until it is held, and comes up again. So run, finish, check and log/run have all run.
    let profile = runs(&ground.tree, "coder").stand_in("die_ms=50\ndie=78\n");
    let tool = |name: &str| ground.tree.tool(name).env("PATH", &path);
    wait_until("s6-svscan to listen", || tool("hermes-svc-register").arg("coder").run().code == 0);
    ground.run(tool("hermes-svc-start").arg("coder"));
    wait_until("coder to be held", || ground.tree.slot("coder").join("data/held").exists());
    let profile = profile.stand_in("");
    ground.run(tool("hermes-svc-start").arg("-w").arg("coder")).is(0, "profile=coder action=started\n", "");
    wait_until("the log of coder", || ground.tree.home().join("logs/gateways/coder/current").exists());
    ground.run(tool("hermes-svc-restart").arg("-w").arg("coder"));
    ground.run(tool("hermes-svc-status"));
    ground.run(tool("hermes-reconcile-all"));
    ground.run(tool("hermes-svc-unregister").arg("coder"));
    assert!(profile.starts() >= 3);
    drop(svscan);
    ground.unharmed();
}

#[test]
fn variables_of_a_profile_reach_no_process_of_roots() {
    let ground = Ground::new();
    let bin = traps(&ground);
    let library = bin.join("evil.so");
    fs::write(&library, "not a library").expect("file");
    let rc = bin.join("rc");
    ground.trap(&rc);
    let env = format!(
        "PATH={0}\nLD_PRELOAD={1}\nLD_LIBRARY_PATH={0}\nIFS=/\nENV={2}\nBASH_ENV={2}\nHERMES_USER=root\nHERMES_SLOT_TEMPLATE={0}\n\
         S6_PROFILE_GATEWAY_SCANDIR={0}\nHERMES_OPEN_SCANDIR=1\nHERMES_HOME=/\nHOME=/root\n",
        bin.display(),
        library.display(),
        rc.display()
    );
    // Put the variables into the profile, into the home, and where a tool might look for those of a slot.
    let profile = runs(&ground.tree, "coder").env(&env).directory("env");
    fs::write(ground.tree.home().join(".env"), &env).expect("file");
    for (name, value) in [("PATH", bin.display().to_string()), ("HERMES_USER", "root".to_string())] {
        fs::write(profile.dir.join("env").join(name), value).expect("file");
    }
    fs::create_dir(profile.dir.join("supervise")).expect("directory");
    ground.tool("hermes-reconcile-all -w").is(0, "*\n*\n*\n", "");
    ground.tree.wait_up("coder");
    let uid = format!("ran-as-{}", ground.tree.uid);
    assert!(!ground.tree.scratch().join(&uid).exists());
    // A person types the tool in a directory of the account.
    for tool in ["hermes-run-gateway", "hermes-run-logger", "hermes-gateway-ready"] {
        let ran = ground.run(ground.tree.tool(tool).directory(&profile.dir).args(["nobody", "false"]));
        assert_ne!(ran.code, 0, "{ran}");
    }
    let told = ground.tree.tool("hermes-run-gateway").directory(&profile.dir).args(["default", "id", "-u"]);
    let ran = ground.run(told);
    assert_eq!((ran.code, ran.stdout.trim()), (0, ground.tree.uid.to_string().as_str()), "{ran}");
}

/// Row H6 of docs/failures.md.
#[test]
fn tools_of_root_look_for_s6_only_where_root_alone_can_write() {
    let ground = Ground::new();
    let bin = traps(&ground);
    runs(&ground.tree, "coder");
    let path = format!("{}:.:{}", bin.display(), ground.tree.path());
    for line in ["hermes-reconcile-all -w", "hermes-svc-status", "hermes-svc-stop -w coder", "hermes-svc-start coder"] {
        let mut words = line.split(' ');
        let tool = ground.tree.tool(words.next().expect("a tool")).args(words).env("PATH", &path).directory(&bin);
        assert_eq!(ground.run(tool).code, 0);
    }
    assert_eq!(fs::read_dir(ground.tree.scratch()).expect("scratch").count(), 0);
}
