//! Faults on the volume.

use super::{injected, is_system_error, running, state, under_fault};
use crate::support::{Ran, Tree, needs_root, snapshot, start_time, wait_until};
use std::fs;

const RECORD: &str = "gateway_ports.json";

/// Check that the gateway of coder still runs, and that neither its slot nor its port was taken away.
#[track_caller]
fn nobody_is_gone(tree: &Tree, gateway: u32, ran: &Ran) {
    assert!(!ran.stdout.contains("action=removed"), "{ran}");
    assert_eq!(tree.gateway("coder"), Some(gateway), "{ran}");
    assert_eq!(tree.leftovers(), Vec::<String>::new(), "{ran}");
    assert!(tree.slots().contains(&"coder".to_string()), "{ran}");
    assert!(tree.profile("default").read(RECORD).contains("\"coder\""), "{ran}");
}

#[test]
fn a_pass_that_runs_out_of_descriptors_takes_nobody_for_gone() {
    let tree = running("coder", "");
    let gateway = tree.wait_up("coder");
    let mut failed = 0;
    for limit in 4..=12 {
        let shell = format!("ulimit -n {limit}; exec hermes-reconcile-all");
        let ran = tree.tool("sh").args(["-c", &shell]).run();
        nobody_is_gone(&tree, gateway, &ran);
        match ran.code {
            0 => assert_eq!(ran.stderr, "", "{limit}"),
            code => {
                failed += 1;
                // With fewer than six descriptors the tool cannot even report the error.
                assert!(code == 111 || limit < 6, "ulimit -n {limit}: {ran}");
            }
        }
    }
    assert!(failed > 0, "no limit was too low");
}

#[test]
fn a_pass_that_cannot_look_at_a_profile_takes_it_for_there() {
    needs_root();
    let tree = running("coder", "");
    let gateway = tree.wait_up("coder");
    for (path, calls) in [("coder", "openat2"), ("profiles/coder", "openat2"), ("SOUL.md", "newfstatat")] {
        for fault in ["error=EIO:when=1", "error=EMFILE:when=1", "error=ESTALE"] {
            let ran = under_fault(&tree, path, &format!("{calls}:{fault}"), "hermes-reconcile-all").run();
            assert!(injected(&tree), "{path} {calls} {fault}: {ran}");
            nobody_is_gone(&tree, gateway, &ran);
            // If only the first look fails, the pass may look again and succeed.
            assert!(ran.code == 111 || ran.code == 0 && ran.stderr.is_empty(), "{path} {calls} {fault}: {ran}");
        }
    }
    let ran = under_fault(&tree, "profiles/coder", "openat2:error=EIO", "hermes-reconcile-all").run();
    assert!(ran.code == 111 && ran.stdout.contains("profile=coder prior_state=none action=failed"), "{ran}");
    nobody_is_gone(&tree, gateway, &ran);
}

#[test]
fn a_home_without_profiles_is_a_volume_that_is_not_mounted() {
    let tree = running("coder", "");
    let gateway = tree.wait_up("coder");
    let aside = tree.scratch().join("volume");
    fs::create_dir(&aside).expect("mkdir");
    for name in ["profiles", RECORD] {
        fs::rename(tree.home().join(name), aside.join(name)).expect("rename");
    }
    for (tool, args) in [("hermes-reconcile-all", &[][..]), ("hermes-reconcile-one", &["coder"][..])] {
        let ran = tree.tool(tool).args(args).run();
        assert!(ran.code == 111 && ran.stderr.contains("is the volume mounted?"), "{ran}");
        assert!(
            start_time(gateway).is_some() && tree.slots().contains(&"coder".to_string()) && tree.leftovers().is_empty(),
            "{ran}"
        );
    }
    for name in ["profiles", RECORD] {
        let _ = fs::remove_file(tree.home().join(name));
        fs::rename(aside.join(name), tree.home().join(name)).expect("rename back");
    }
    let ran = tree.tool("hermes-reconcile-all").run();
    assert_eq!(ran.code, 0, "{ran}");
    nobody_is_gone(&tree, gateway, &ran);
}

#[test]
fn a_stop_that_cannot_look_at_the_profile_stops_nothing() {
    needs_root();
    let tree = running("coder", "");
    let gateway = tree.wait_up("coder");
    for (path, calls) in [("profiles/coder", "openat2"), ("SOUL.md", "newfstatat")] {
        for error in ["EIO", "EMFILE", "ENOMEM"] {
            let fault = format!("{calls}:error={error}:when=1");
            let ran = under_fault(&tree, path, &fault, "hermes-svc-stop").args(["-w", "coder"]).run();
            is_system_error(&tree, "hermes-svc-stop", ran);
            assert_eq!(tree.gateway("coder"), Some(gateway), "{fault}");
            assert_eq!(tree.svstat("coder", "wantedup,normallyup"), Some(vec!["true".to_string(); 2]), "{fault}");
            assert_eq!(tree.profile("coder").desired().as_deref(), Some("running"), "{fault}");
        }
    }
    tree.tool("hermes-svc-stop").args(["-w", "coder"]).run().is(0, "profile=coder action=stopped\n", "");
}

#[test]
fn a_port_whose_record_cannot_be_read_is_not_called_freed() {
    needs_root();
    let tree = Tree::up();
    tree.profile("coder");
    for error in ["EIO", "EMFILE", "ENOMEM"] {
        tree.tool("hermes-svc-register").arg("coder").run().is(0, "profile=coder action=registered port=9530\n", "");
        let before = tree.profile("default").read(RECORD);
        let fault = format!("openat2:error={error}");
        let ran = under_fault(&tree, RECORD, &fault, "hermes-port-alloc").args(["-d", "coder"]).run();
        is_system_error(&tree, "hermes-port-alloc", ran);
        assert_eq!(tree.profile("default").read(RECORD), before);
        let ran = under_fault(&tree, RECORD, &fault, "hermes-svc-unregister").arg("coder").run();
        is_system_error(&tree, "hermes-svc-unregister", ran.clone());
        assert!(ran.stderr.contains("its port is still recorded"), "{ran}");
        assert_eq!(tree.profile("default").read(RECORD), before);
        tree.tool("hermes-svc-unregister").arg("coder").run().is(0, "profile=coder action=absent\n", "");
        assert!(!tree.profile("default").read(RECORD).contains("coder"));
    }
}

/// If the port were forgotten now, no later pass would know of it, and it would never be freed.
#[test]
fn the_port_of_a_profile_that_is_gone_is_freed_by_a_later_pass_where_this_one_cannot() {
    needs_root();
    for error in ["EIO", "EMFILE"] {
        for (tool, args) in [("hermes-reconcile-one", &["dead"][..]), ("hermes-reconcile-all", &[][..])] {
            let tree = Tree::up();
            tree.profile("dead");
            tree.profile("coder");
            tree.tool("hermes-reconcile-all").arg("-w").run();
            tree.delete_profile("dead");
            let ran = under_fault(&tree, RECORD, &format!("openat2:error={error}"), tool).args(args).run();
            assert!(injected(&tree) && ran.code == 111, "{error}: {ran}");
            assert!(tree.profile("default").read(RECORD).contains("\"dead\""), "{error}: {ran}");
            let ran = tree.tool(tool).args(args).run();
            assert_eq!(ran.code, 0, "{error}: {ran}");
            assert!(!tree.profile("default").read(RECORD).contains("\"dead\""), "{error}: {ran}");
            assert_eq!((tree.slots(), tree.leftovers()), (vec!["coder".to_string(), "default".to_string()], vec![]));
        }
    }
}

/// If the state file cannot be read just now, an order changes nothing.
#[test]
fn an_order_with_a_state_file_that_cannot_be_read_just_now_changes_nothing() {
    needs_root();
    let fields =
        r#""hermes_s6_profile":"coder","pid":1,"x_big":123456789012345678901234567890,"x_list":[1,{"y":"\udcff"}]"#;
    for (tool, args, before) in [
        ("hermes-svc-start", &["coder"][..], "stopped"),
        ("hermes-svc-restart", &["coder"], "stopped"),
        ("hermes-svc-stop", &["-w", "coder"], "running"),
    ] {
        let tree = Tree::up();
        // This gateway does not write its state file, so the whole file can be compared.
        let coder =
            tree.profile("coder").stand_in("silent=1\n").state(format!("{{\"desired_state\":\"{before}\",{fields}}}"));
        tree.tool("hermes-reconcile-all").arg("-w").run();
        if before == "running" {
            wait_until("the gateway", || tree.gateway("coder").is_some());
        }
        let (gateway, written) = (tree.gateway("coder"), state(&coder));
        for (path, fault) in [
            ("gateway_state.json", "openat2:error=EIO"),
            ("gateway_state.json", "openat2:error=EMFILE:when=1"),
            ("gateway_state.json", "openat2:error=ENOMEM:when=1"),
            (&*coder.dir.join("gateway_state.json").to_string_lossy(), "read:error=EIO:when=1"),
            (&*coder.dir.join("gateway_state.json").to_string_lossy(), "fstat:error=ESTALE:when=1"),
        ] {
            let ran = under_fault(&tree, path, fault, tool).args(args).run();
            is_system_error(&tree, tool, ran);
            assert_eq!((state(&coder).as_str(), tree.gateway("coder")), (written.as_str(), gateway), "{tool} {fault}");
            assert!(fs::symlink_metadata(coder.dir.join("gateway_state.json.bad")).is_err(), "{tool} {fault}");
        }
        let ran = tree.tool(tool).args(args).run();
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
        for field in ["\"pid\":1,", "123456789012345678901234567890", r#"[1,{"y":"\udcff"}]"#] {
            assert!(state(&coder).contains(field), "{tool}: {}", state(&coder));
        }
    }
}

#[test]
fn a_pass_with_a_state_file_that_cannot_be_read_just_now_registers_nobody_down() {
    needs_root();
    for (tool, args) in [("hermes-reconcile-one", &["coder"][..]), ("hermes-reconcile-all", &[][..])] {
        let tree = Tree::up();
        let coder = tree.profile("coder").intent("running");
        for fault in ["openat2:error=EIO", "openat2:error=EMFILE", "openat2:error=ENOMEM"] {
            let path = "gateway_state.json";
            let ran = under_fault(&tree, path, fault, tool).args(args).run();
            assert!(injected(&tree) && ran.code == 111, "{fault}: {ran}");
            assert!(
                ran.stdout.contains("profile=coder prior_state=") && ran.stdout.contains(" action=failed "),
                "{ran}"
            );
            assert!(!tree.slots().contains(&"coder".to_string()), "{fault}: {ran}");
        }
        // The next run starts the gateway.
        let ran = tree.tool(tool).args(args).run();
        assert!(ran.code == 0 && ran.stdout.contains("profile=coder prior_state=running action=started"), "{ran}");
        let gateway = tree.wait_up("coder");
        // A gateway that runs is left as it is.
        let ran = under_fault(&tree, "gateway_state.json", "openat2:error=EMFILE", tool).args(args).run();
        assert!(injected(&tree) && ran.code == 111, "{ran}");
        assert_eq!((tree.gateway("coder"), coder.desired().as_deref()), (Some(gateway), Some("running")));
        assert_eq!(tree.svstat("coder", "wantedup,normallyup"), Some(vec!["true".to_string(); 2]));
    }
}

#[test]
fn a_killed_start_leaves_no_temporary_file_behind_the_next() {
    needs_root();
    let tree = Tree::up();
    let coder = tree.profile("coder").state(r#"{"desired_state":"stopped","x":1}"#).stand_in("silent=1\n");
    tree.tool("hermes-reconcile-all").arg("-w").run();
    let temporary = || {
        let names = fs::read_dir(&coder.dir).expect("profile").flatten().map(|e| e.file_name());
        names.filter(|name| name.to_string_lossy().starts_with(".gateway_state.json")).count()
    };
    for call in ["fsync", "renameat"] {
        let ran = under_fault(&tree, "", &format!("{call}:signal=KILL:when=1"), "hermes-svc-start").arg("coder").run();
        assert_eq!(ran.code, 137, "{call}: {ran}");
        assert_eq!(
            (coder.desired().as_deref(), temporary()),
            (Some("stopped"), 1),
            "{call}: no start was killed in the middle"
        );
        tree.tool("hermes-svc-start").arg("coder").run().is(0, "profile=coder action=started\n", "");
        assert_eq!((coder.desired().as_deref(), temporary()), (Some("running"), 0), "{call}");
        tree.tool("hermes-svc-stop").args(["-w", "coder"]).run().is(0, "profile=coder action=stopped\n", "");
    }
    assert_eq!(coder.json()["x"], 1);
}

/// FUSE, CIFS and 9p refuse to sync a directory.
#[test]
fn a_volume_that_cannot_sync_takes_an_intent_all_the_same() {
    needs_root();
    let tree = Tree::up();
    let coder = tree.profile("coder");
    tree.tool("hermes-svc-register").arg("coder").run();
    let dir = coder.dir.to_string_lossy().into_owned();
    for (tool, action, desired) in
        [("hermes-svc-start", "started", "running"), ("hermes-svc-stop", "stopped", "stopped")]
    {
        // Neither the file nor its directory.
        let ran = under_fault(&tree, "", "fsync:error=EINVAL", tool).arg("coder").run();
        assert!(injected(&tree), "{ran}");
        ran.is(0, &format!("profile=coder action={action}\n"), "");
        assert_eq!(coder.desired().as_deref(), Some(desired));
    }
    // If a file system has become read-only after an error, the file is lost.
    let ran = under_fault(&tree, "", "fsync:error=EROFS:when=1", "hermes-svc-start").arg("coder").run();
    is_system_error(&tree, "hermes-svc-start", ran);
    assert_eq!(coder.desired().as_deref(), Some("stopped"));
    // If the disk itself fails, that is an error.
    let ran = under_fault(&tree, &dir, "fsync:error=EIO", "hermes-svc-start").arg("coder").run();
    is_system_error(&tree, "hermes-svc-start", ran);
}

#[test]
fn the_port_of_a_profile_that_is_gone_is_kept_until_its_gateway_has_gone() {
    for (tool, args) in [("hermes-reconcile-one", &["coder"][..]), ("hermes-reconcile-all", &[][..])] {
        let tree = running("coder", "drain_ms=1500\n");
        let gateway = tree.wait_up("coder");
        tree.profile("writer");
        fs::rename(tree.profile_dir("coder"), tree.scratch().join("coder")).expect("rename");
        let run = tree.tool(tool).args(args).start();
        let mut looks = 0;
        while run.is_running() {
            let recorded = tree.profile("default").read(RECORD).contains("\"coder\"");
            // The gateway is looked at after the record. If it is alive now, it was alive when the record was read.
            let alive = start_time(gateway).is_some();
            assert!(recorded || !alive, "{tool}: the port was free and its gateway alive");
            looks += usize::from(recorded && alive);
        }
        let ran = run.wait();
        assert!(ran.code == 0 && looks > 0, "{ran}");
        assert!(!tree.profile("default").read(RECORD).contains("coder") && start_time(gateway).is_none());
    }
}

#[test]
fn entries_of_the_record_that_no_machine_can_hold_survive_a_change() {
    let tree = Tree::up();
    tree.profile("coder");
    let record =
        tree.profile("default").file(RECORD, r#"{"big":123456789012345678901234567890,"huge":1e400,"writer":9600}"#);
    let ran = tree.tool("hermes-port-alloc").arg("coder").run();
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "9530\n"), "{ran}");
    let kept = r#"{"big":123456789012345678901234567890,"coder":9530,"huge":1e400,"writer":9600}"#;
    assert_eq!(record.read(RECORD).trim_end(), kept);
    assert!(fs::symlink_metadata(record.dir.join(format!("{RECORD}.bad"))).is_err());
}

#[test]
fn a_mistyped_account_is_nobodys_and_changes_nothing() {
    needs_root();
    let tree = running("coder", "");
    let before = snapshot(&[&tree.home()]);
    for wanted in ["no-such-account-x", "54321", "54321:", "4294967295:1", "a:b"] {
        for (tool, args) in [
            ("hermes-reconcile-all", &[][..]),
            ("hermes-svc-stop", &["coder"]),
            ("hermes-svc-register", &["coder"]),
            ("hermes-port-alloc", &["-d", "coder"]),
        ] {
            let ran = tree.tool(tool).env("HERMES_USER", wanted).args(args).run();
            ran.fails(100, &format!("no such user: {wanted}: add it to /etc/passwd, or correct HERMES_USER"));
        }
    }
    before.still_holds();
    assert!(tree.gateway("coder").is_some() && tree.profile("default").read(RECORD).contains("coder"));
}

/// Row C8 of docs/failures.md. TrueNAS and CIFS refuse a chmod. Network and FUSE file systems refuse locks, with
/// various errors.
#[test]
fn a_volume_without_modes_or_locks_takes_every_order() {
    needs_root();
    for (fault, warned) in [
        ("fchmod:error=EPERM", false),
        ("fchmod:error=EOPNOTSUPP", false),
        ("flock:error=EBADF", false),
        ("flock:error=EIO", false),
        ("flock:error=ENOLCK", false),
        ("fcntl:error=EBADF:when=1", true),
        ("fcntl:error=EIO:when=1", true),
        ("fcntl:error=ENOLCK:when=1", true),
    ] {
        let tree = Tree::up();
        let coder = tree.profile("coder");
        let [ports, intent] = [tree.home().join(".hermes-s6.ports.lock"), coder.dir.join(".hermes-s6.intent.lock")]
            .map(|path| {
                fs::write(&path, "").expect("lock");
                std::os::unix::fs::chown(&path, Some(tree.uid), Some(tree.gid)).expect("owner");
                path.to_string_lossy().into_owned()
            });
        let run = |path: &str, tool: &str, args: &[&str], action: &str| {
            let path = if warned { path } else { "" };
            let ran = under_fault(&tree, path, fault, tool).args(args).run();
            assert!(injected(&tree), "{fault}: {ran}");
            let stderr = if warned {
                format!("{tool}: warning: unable to lock {path}: *; going on without it\n")
            } else {
                String::new()
            };
            ran.is(0, &format!("profile=coder action={action}\n"), &stderr);
        };
        run(&ports, "hermes-svc-register", &["coder"], "registered port=9530");
        run(&intent, "hermes-svc-start", &["coder"], "started");
        tree.wait_up("coder");
        run(&intent, "hermes-svc-stop", &["coder"], "stopped");
        assert_eq!(coder.desired().as_deref(), Some("stopped"));
        assert!(!coder.dir.join(".gateway_state.json.new").exists(), "{fault}");
    }
}
