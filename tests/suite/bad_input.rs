//! Bad input gets a clear line that names verb and object, and the right exit code. Nothing is lost, half-written or
//! left behind.

use crate::support::{Profile, Tree, executable, link_of, snapshot};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

/// Each tool that looks at one profile, with what it needs to be asked about `name`.
fn about(name: &str) -> Vec<(&'static str, Vec<String>)> {
    let tools = [
        "hermes-svc-register",
        "hermes-svc-start",
        "hermes-svc-stop",
        "hermes-svc-restart",
        "hermes-svc-status",
        "hermes-reconcile-one",
        "hermes-port-alloc",
        "hermes-gateway-ready",
        "hermes-run-gateway",
    ];
    tools.map(|tool| (tool, vec![name.to_string()])).to_vec()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
}

// Profiles.

/// Rows B4, B12 of docs/failures.md.
#[test]
fn a_profile_that_does_not_exist_is_named() {
    let tree = Tree::up();
    tree.profile("coder");
    Profile::bare(&tree, "no-soul");
    Profile::bare(&tree, "soul-is-a-directory").directory("SOUL.md");
    fs::write(tree.home().join("profiles/a-file"), "").expect("file");
    link_of(tree.uid, "coder", &tree.home().join("profiles/a-link"));
    link_of(tree.uid, tree.home().join("profiles/coder"), &tree.home().join("profiles/an-absolute-link"));
    let before = snapshot(&[&tree.home(), &tree.scandir()]);
    for name in ["nobody", "no-soul", "soul-is-a-directory", "a-file", "a-link", "an-absolute-link"] {
        for (tool, args) in about(name) {
            let code = match tool {
                // `run` never creates a profile, and every restart would end in the same way.
                "hermes-run-gateway" => 78,
                _ => 100,
            };
            let ran = tree.tool(tool).args(args).run();
            ran.fails(code, &format!("no such profile: {name} (*)"));
        }
        tree.tool("hermes-svc-unregister").arg(name).run().is(0, &format!("profile={name} action=absent\n"), "");
    }
    before.still_holds();
}

// Homes and scandirs.

#[test]
fn a_home_that_is_no_directory_is_named() {
    let tree = Tree::up();
    let file = tree.scratch().join("a-file");
    fs::write(&file, "").expect("file");
    let before = snapshot(&[&tree.scandir()]);
    let missing = (tree.scratch().join("missing"), 102, "No such file or directory");
    for (home, code, why) in [missing, (file, 111, "Not a directory")] {
        let want = format!("unable to open {}: {why}", home.display());
        for (tool, args) in about("coder") {
            let ran = tree.tool(tool).args(args).env("HERMES_HOME", &home).run();
            if tool == "hermes-run-gateway" {
                let last = ran.stderr.lines().last().unwrap_or_default();
                assert!([78, 111].contains(&ran.code) && last.contains(&want), "{ran}");
            } else {
                ran.fails(code, &format!("{want}*"));
            }
        }
        tree.tool("hermes-reconcile-all").env("HERMES_HOME", &home).run().fails(code, &format!("{want}*"));
        tree.tool("hermes-svc-unregister")
            .arg("coder")
            .env("HERMES_HOME", &home)
            .run()
            .fails(code, &format!("{want}*"));
    }
    before.still_holds();
}

/// Row B7 of docs/failures.md.
#[test]
fn a_home_that_the_account_may_not_read_is_named() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    set_mode(&tree.home(), 0o000);
    for tool in ["hermes-svc-start", "hermes-reconcile-one", "hermes-port-alloc"] {
        let want = format!("unable to open {}: Permission denied*", tree.home().display());
        tree.tool(tool).arg("coder").run().fails(111, &want);
    }
    tree.tool("hermes-reconcile-all").run().fails(111, "unable to open *: Permission denied*");
    set_mode(&tree.home(), 0o755);
    // A directory that cannot be read affects no other profile.
    tree.profile("writer").intent("running");
    set_mode(&tree.profile_dir("coder"), 0o000);
    let stdout = "reconcile: profile=default * action=registered *\nreconcile: profile=coder * action=failed *\n\
                  reconcile: profile=writer prior_state=running action=started *\nreconcile: done profiles=3 *failed=1 *\n";
    let denied = "**hermes-reconcile-all: warning: *profiles/coder*: Permission denied*\n";
    tree.tool("hermes-reconcile-all").run().is(111, stdout, denied);
    tree.wait_up("writer");
    set_mode(&tree.profile_dir("coder"), 0o755);
    tree.tool("hermes-reconcile-all").run();
    let pid = tree.wait_up("coder");
    // A profile with a slot is not taken for one that is gone.
    set_mode(&tree.profile_dir("coder"), 0o000);
    tree.tool("hermes-reconcile-all").run().is(
        111,
        &stdout.replace("registered", "*").replace("started", "unchanged"),
        denied,
    );
    assert_eq!(tree.gateway("coder"), Some(pid));
    let ran = tree.tool("hermes-svc-start").arg("-a").run();
    ran.is(111, "profile=writer action=unchanged\n", "hermes-svc-start: fatal: *profiles/coder*: Permission denied*\n");
    set_mode(&tree.profile_dir("coder"), 0o755);
}

#[test]
fn a_scandir_that_is_no_directory_is_named() {
    let tree = Tree::new();
    tree.profile("coder").intent("running");
    let file = tree.scratch().join("a-file");
    fs::write(&file, "").expect("file");
    let before = snapshot(&[&tree.home()]);
    let gone = "No such file or directory: -s or S6_PROFILE_GATEWAY_SCANDIR names another scandir";
    for (scandir, code, why) in [(tree.scratch().join("missing"), 102, gone), (file, 111, "Not a directory")] {
        let want = format!("unable to open {}: {why}", scandir.display());
        for tool in [
            "hermes-svc-register",
            "hermes-svc-unregister",
            "hermes-svc-start",
            "hermes-svc-stop",
            "hermes-svc-restart",
            "hermes-svc-status",
            "hermes-reconcile-one",
            "hermes-gateway-ready",
        ] {
            let ran = tree.tool(tool).arg("-s").arg(&scandir).arg("coder").run();
            ran.fails(code, &want);
        }
        tree.tool("hermes-svc-list").arg("-s").arg(&scandir).run().fails(code, &want);
        tree.tool("hermes-reconcile-all").arg("-s").arg(&scandir).run().fails(code, &want);
    }
    before.still_holds();
}

#[test]
fn a_scandir_that_the_caller_may_not_read_is_named() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    let before = snapshot(&[&tree.home()]);
    set_mode(&tree.scandir(), 0o000);
    let want = format!("unable to open {}: Permission denied", tree.scandir().display());
    for (tool, args) in
        about("coder").into_iter().filter(|(tool, _)| !["hermes-port-alloc", "hermes-run-gateway"].contains(tool))
    {
        tree.tool_as_account(tool).args(args).run().fails(111, &want);
    }
    tree.tool_as_account("hermes-svc-unregister").arg("coder").run().fails(111, &want);
    tree.tool_as_account("hermes-svc-list").run().fails(111, &want);
    tree.tool_as_account("hermes-reconcile-all").run().fails(111, &want);
    set_mode(&tree.scandir(), 0o755);
    before.still_holds();
}

/// Row B13 of docs/failures.md.
#[test]
fn where_no_s6_svscan_listens_nothing_is_registered() {
    let tree = Tree::new();
    tree.profile("coder");
    let before = snapshot(&[&tree.scandir()]);
    tree.tool("hermes-svc-register").arg("coder").run().fails(102, "no s6-svscan is running on *scandir");
    before.still_holds();
    // An s6-svscan that died has left its FIFO, but does not listen.
    tree.svscan();
    tree.kill_hard();
    assert!(tree.scandir().join(".s6-svscan/control").exists());
    tree.tool("hermes-svc-register").arg("coder").run().fails(102, "no s6-svscan is running on *scandir");
    assert_eq!((tree.slots(), tree.leftovers()), (vec![], vec![]));
    assert!(!tree.home().join("gateway_ports.json").exists(), "no port was taken");
}

// Templates.

#[test]
fn a_template_that_cannot_be_supervised_or_trusted_is_refused() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    let base = tree.template().with_file_name("templates");
    fs::create_dir(&base).expect("mkdir");
    let script = |dir: &Path, mode: u32| {
        executable(&dir.join("run"), "#!/bin/sh\n");
        set_mode(&dir.join("run"), mode);
    };
    let make = |name: &str| {
        let dir = base.join(name);
        fs::create_dir(&dir).expect("mkdir");
        dir
    };
    let mut bad: Vec<(PathBuf, &str)> = vec![(base.join("missing"), "No such file or directory")];
    fs::write(base.join("file"), "").expect("file");
    bad.push((base.join("file"), "Not a directory"));
    bad.push((make("empty"), "run: No such file or directory"));
    let dangling = make("dangling");
    symlink("/no/such/run", dangling.join("run")).expect("link");
    bad.push((dangling, "run: No such file or directory"));
    let plain = make("not-executable");
    script(&plain, 0o644);
    bad.push((plain, "run: not executable"));
    let directory = make("directory");
    fs::create_dir(directory.join("run")).expect("mkdir");
    bad.push((directory, "run: not a regular file"));
    let half = make("half-a-logger");
    script(&half, 0o755);
    fs::create_dir(half.join("log")).expect("mkdir");
    bad.push((half, "log/run: No such file or directory"));
    if crate::support::is_root() {
        let open = make("open");
        script(&open, 0o755);
        set_mode(&open, 0o775);
        bad.push((open, "others than root may write there"));
        let file = make("open-file");
        script(&file, 0o757);
        bad.push((file, "others than root may write there"));
        let owned = make("owned");
        script(&owned, 0o755);
        chown(owned.join("run"), Some(tree.uid), None).expect("chown");
        bad.push((owned, "it belongs to uid"));
        // Check a component of the path, and the target of a link.
        let below = tree.scratch().join("below");
        fs::create_dir(&below).expect("mkdir");
        script(&below, 0o755);
        bad.push((below, "it belongs to uid"));
        let linked = make("linked");
        tree.script("run", "#!/bin/sh\n");
        symlink(tree.scratch().join("run"), linked.join("run")).expect("link");
        bad.push((linked, "it belongs to uid"));
        let link = base.join("link-to-below");
        symlink(tree.scratch().join("below"), &link).expect("link");
        bad.push((link, "it belongs to uid"));
    }
    let before = snapshot(&[&tree.scandir(), &tree.home()]);
    for (template, why) in bad {
        let want =
            format!("unable to use template *: {}*", why.strip_prefix("run: ").unwrap_or(why).replace("log/run: ", ""));
        for args in
            [&["hermes-svc-register", "coder"][..], &["hermes-reconcile-one", "coder"], &["hermes-reconcile-all"]]
        {
            let ran = tree.tool(args[0]).arg("-T").arg(&template).args(&args[1..]).run();
            ran.fails(100, &want);
            let ran = tree.tool(args[0]).env("HERMES_SLOT_TEMPLATE", &template).args(&args[1..]).run();
            ran.fails(100, &want);
        }
    }
    before.still_holds();
}

// State files.

/// The forms of gateway_state.json, and the files that must still be there afterwards.
fn odd_states(tree: &Tree) -> Vec<&'static str> {
    let deep = format!("{{\"desired_state\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let big = format!("{{\"desired_state\":\"running\",\"x\":\"{}\"}}", "x".repeat(2 << 20));
    let outside = tree.scratch().join("outside.json");
    fs::write(&outside, r#"{"desired_state":"running"}"#).expect("file");
    tree.profile("bom").state("\u{feff}{\"desired_state\":\"running\"}");
    tree.profile("deep").state(deep);
    tree.profile("directory").directory("gateway_state.json");
    tree.profile("fifo").fifo("gateway_state.json");
    tree.profile("huge").state(big);
    tree.profile("latin").state(b"{\"desired_state\":\"running\",\"x\":\"caf\xe9\"}");
    tree.profile("link").link("gateway_state.json", outside);
    tree.profile("list").state(r#"[{"desired_state":"running"}]"#);
    tree.profile("truncated").state(r#"{"desired_state":"running","#);
    tree.profile("unreadable").state(r#"{"desired_state":"running"}"#);
    set_mode(&tree.profile_dir("unreadable").join("gateway_state.json"), 0o000);
    vec!["bom", "deep", "directory", "fifo", "huge", "latin", "link", "list", "truncated", "unreadable"]
}

/// Row A15 of docs/failures.md.
#[test]
fn a_state_file_that_cannot_be_understood_registers_down_with_a_warning() {
    let tree = Tree::up();
    let names = odd_states(&tree);
    tree.profile("good").intent("running");
    let ran = tree.tool("hermes-reconcile-all").run();
    let ran = ran.is(0, "**reconcile: done profiles=12 started=1 registered=11 *\n", "**");
    for name in &names {
        assert!(
            ran.stdout.contains(&format!("profile={name} prior_state=invalid action=registered ")),
            "{name}: {ran}"
        );
        let warnings =
            ran.stderr.lines().filter(|l| l.contains(&format!("profiles/{name}/gateway_state.json"))).count();
        assert_eq!(warnings, 1, "{name}: {ran}");
    }
    assert_eq!(ran.stderr.lines().count(), names.len(), "{ran}");
    tree.wait_up("good");
    for name in names {
        tree.wait_down(name);
        assert_eq!(tree.profile(name).starts(), 0, "{name}");
    }
}

/// Row A15 of docs/failures.md.
#[test]
fn an_order_replaces_what_cannot_be_understood_and_loses_nothing() {
    let tree = Tree::up();
    let names = odd_states(&tree);
    tree.tool("hermes-reconcile-all").run();
    for name in names {
        let dir = tree.profile_dir(name);
        tree.profile(name).stand_in("silent=1\n");
        let old = fs::symlink_metadata(dir.join("gateway_state.json")).expect("state");
        let ran = tree.tool("hermes-svc-start").arg(name).run();
        ran.is(0, &format!("profile={name} action=started\n"), "hermes-svc-start: warning: *gateway_state.json*\n");
        assert_eq!(tree.profile(name).desired().as_deref(), Some("running"), "{name}");
        let aside = fs::symlink_metadata(dir.join("gateway_state.json.bad")).expect("what was there");
        assert_eq!((old.file_type(), old.len()), (aside.file_type(), aside.len()), "{name}");
    }
    assert_eq!(
        fs::read_to_string(tree.scratch().join("outside.json")).expect("file"),
        r#"{"desired_state":"running"}"#
    );
}

/// Row H2 of docs/failures.md.
#[test]
fn what_the_account_planted_is_neither_followed_nor_waited_for() {
    // The volume is untrusted: it has links that lead out of it, and FIFOs in place of files.
    let tree = Tree::up();
    let outside = tree.template().with_file_name("precious");
    fs::write(&outside, "precious\n").expect("file");
    tree.profile("default").link("gateway_ports.json", &outside).link("logs", tree.template());
    let coder = tree.profile("coder").intent("running").link(".gateway-planned-stop.json", &outside);
    let coder =
        coder.link(".env", "/etc/passwd").fifo("config.yaml").fifo("gateway.pid").link("processes.json", &outside);
    let writer = tree.profile("writer").link(".hermes-s6.intent.lock", &outside).fifo("gateway_state.json");
    let before = snapshot(&[&tree.template()]);
    let ran = tree.tool("hermes-reconcile-all").run();
    assert!(ran.stdout.contains("profile=coder prior_state=running action=started"), "{ran}");
    tree.tool("hermes-svc-stop").arg("coder").run().is(0, "profile=coder action=stopped\n", "**");
    tree.tool("hermes-svc-start").arg("writer").run().is(0, "profile=writer action=started\n", "**");
    before.still_holds();
    assert_eq!(fs::read_to_string(&outside).expect("file"), "precious\n");
    assert_eq!(writer.desired().as_deref(), Some("running"));
    assert_eq!(coder.desired().as_deref(), Some("stopped"));
}

// Numbers.

#[test]
fn a_timeout_that_is_no_number_of_milliseconds_is_refused() {
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    let before = snapshot(&[&tree.home(), &tree.scandir()]);
    for bad in ["-1", "4294967296", "99999999999999999999999", "soon", "", "1.5", "5s", " 5", "0x5", "+5"] {
        for tool in [
            "hermes-svc-register",
            "hermes-svc-unregister",
            "hermes-svc-start",
            "hermes-svc-stop",
            "hermes-svc-restart",
            "hermes-reconcile-one",
            "hermes-reconcile-all",
        ] {
            let operand: &[&str] = if tool == "hermes-reconcile-all" { &[] } else { &["coder"] };
            let ran = tree.tool(tool).args(["-t", bad]).args(operand).run();
            ran.fails(100, &format!("invalid timeout \"{bad}\"*"));
        }
    }
    before.still_holds();
    // The largest timeout is accepted, and so is 0, which means no limit.
    tree.tool("hermes-svc-register").args(["-t", "4294967295", "coder"]).run().is(
        0,
        "profile=coder action=registered *\n",
        "",
    );
    tree.tool("hermes-svc-start").args(["-t", "0", "-w", "coder"]).run().is(0, "profile=coder action=started\n", "");
}

#[test]
fn a_port_range_that_is_reversed_or_out_of_bounds_is_refused() {
    let tree = Tree::up();
    tree.profile("coder");
    let before = snapshot(&[&tree.home(), &tree.scandir()]);
    for bad in [
        "9300-9200",
        "0-10",
        "9200-65536",
        "70000-70001",
        "9200",
        "9200-",
        "-9300",
        "a-b",
        "9200-9300-9400",
        "9200 9300",
        "-1-5",
    ] {
        let ran = tree.tool("hermes-port-alloc").arg("-r").arg(bad).arg("coder").run();
        ran.fails(100, &format!("invalid *\"{bad}\"*"));
        let ran = tree.tool("hermes-port-alloc").env("HERMES_PORT_RANGE", bad).arg("coder").run();
        ran.fails(100, &format!("invalid *\"{bad}\"*"));
    }
    tree.tool("hermes-port-alloc").args(["-r", "", "coder"]).run().fails(100, "invalid *\"\"*");
    before.still_holds();
    tree.tool("hermes-port-alloc").args(["-r", "1-65535", "-n", "coder"]).run().is(0, "*\n", "");
    tree.tool("hermes-port-alloc").args(["-r", "9300-9300", "coder"]).run().is(0, "9300\n", "");
}

/// Row E8 of docs/failures.md.
#[test]
fn two_profiles_that_pin_one_port_are_both_named() {
    let tree = Tree::up();
    let pin = "API_SERVER_ENABLED=true\nAPI_SERVER_KEY=0123456789abcdef0123456789abcdef\nAPI_SERVER_PORT=9777\n";
    tree.profile("first").env(pin);
    tree.profile("second").env(pin);
    tree.profile("third");
    for name in ["first", "second"] {
        for tool in ["hermes-port-alloc", "hermes-svc-register"] {
            let ran = tree.tool(tool).arg(name).run();
            assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (100, "", 1), "{ran}");
            assert!(
                ran.stderr.contains("first") && ran.stderr.contains("second") && ran.stderr.contains("9777"),
                "{ran}"
            );
        }
    }
    assert_eq!((tree.slots(), tree.leftovers()), (vec![], vec![]));
    tree.tool("hermes-svc-register").arg("third").run().is(0, "profile=third action=registered port=*\n", "");
}

// The volume itself.

#[test]
fn on_a_read_only_or_full_volume_a_port_that_cannot_be_recorded_is_not_promised() {
    crate::support::needs_root();
    let tree = Tree::up();
    tree.profile("coder");
    let ran = tree.on_read_only_volume("exec hermes-svc-register coder");
    ran.is(111, "", "hermes-svc-register: fatal: *: Read-only file system\n");
    let setup = "mkdir -p $HERMES_HOME/profiles/writer; : > $HERMES_HOME/profiles/writer/SOUL.md";
    let ran = tree.on_full_volume(setup, "hermes-svc-register writer; echo $?; ls -A $HERMES_HOME");
    let ran = ran.is(0, "111\n**", "hermes-svc-register: fatal: *: No space left on device\n");
    let left: Vec<&str> = ran.lines()[1..].iter().copied().filter(|n| !n.ends_with(".lock")).collect();
    assert_eq!(left, ["fill", "profiles"], "no half a file");
    // A broken record keeps its name as long as there is no room for a new one.
    let setup = format!("{setup}; echo broken >$HERMES_HOME/gateway_ports.json");
    let ran = tree.on_full_volume(&setup, "hermes-svc-register writer; cat $HERMES_HOME/gateway_ports.json");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "broken\n"), "{ran}");
    assert_eq!((tree.slots(), tree.leftovers()), (vec![], vec![]));
}

#[test]
fn a_scandir_that_is_full_keeps_what_it_has() {
    crate::support::needs_root();
    let tree = Tree::new();
    tree.profile("coder").intent("running");
    tree.profile("writer").intent("running");
    // There is room for little more than one slot: the inodes run out in the middle of the second.
    let script = "mount -t tmpfs -o nr_inodes=45,mode=0755 none $S6_PROFILE_GATEWAY_SCANDIR || exit 97\n\
                  hermes-reconcile-all; echo \"exit $?\"; ls -A $S6_PROFILE_GATEWAY_SCANDIR\n";
    let ran = tree.tool("unshare").args(["--mount", "sh", "-c", script]).run();
    let published =
        ran.lines().iter().filter(|l| l.contains("action=started") || l.contains("action=registered")).count();
    let failed = ran.lines().iter().filter(|l| l.contains("action=failed")).count();
    assert!(published >= 1 && failed >= 1 && published + failed == 3, "{ran}");
    assert!(ran.stdout.contains("exit 111\n") && ran.stderr.contains("No space left on device"), "{ran}");
    let slots = ran.lines().iter().filter(|l| l.starts_with("gateway-")).count();
    let hidden = ran.lines().iter().filter(|l| l.starts_with(".gateway-")).count();
    assert_eq!((slots, hidden), (published, 0), "whole slots only: {ran}");
}
