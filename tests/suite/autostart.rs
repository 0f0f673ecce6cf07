//! Which gateways a boot starts by the operator's lists, and a start that lasts until the next boot.

use crate::support::{Tree, glob, kill, needs_root, wait_for, wait_until};
use rustix::process::Signal;
use std::fs;

/// A tree with these variables, whose s6-svscan listens.
fn with(variables: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    tree.env.extend(variables.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    tree.svscan();
    tree
}

/// Check the record of a pass about this profile.
#[track_caller]
fn pass(tree: &Tree, name: &str, prior: &str, action: &str, note: &str) {
    let ran = tree.tool("hermes-reconcile-all").run();
    let start = format!("reconcile: profile={name} prior_state={prior} action={action} ");
    let line =
        ran.lines().into_iter().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{start}: {ran}"));
    assert_eq!(line.split_once(" note=").map_or("", |(_, note)| note), note, "{ran}");
    assert_eq!(ran.code, 0, "{ran}");
}

/// The state and the note of this profile.
fn status(tree: &Tree, name: &str) -> (String, String) {
    let ran = tree.tool("hermes-svc-status").args(["-j", name]).run();
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).expect("a record");
    let word = |key: &str| json[key].as_str().unwrap_or_default().to_string();
    (word("state"), word("note"))
}

/// Check the state and the note of this profile.
#[track_caller]
pub fn is(tree: &Tree, name: &str, state: &str, note: &str) {
    assert_eq!(status(tree, name), (state.to_string(), note.to_string()), "{name}");
}

/// Does a new s6-supervise start this gateway?
fn normally_up(tree: &Tree, name: &str) -> bool {
    tree.svstat(name, "normallyup").is_some_and(|words| words == ["true"])
}

/// Row H4 of docs/failures.md.
#[test]
fn a_boot_starts_no_gateway_that_the_list_leaves_out_and_an_operator_does() {
    let tree = with(&[("HERMES_AUTOSTART_PROFILES", "* !out")]);
    for name in ["in", "out", "stopped"] {
        tree.profile(name).intent(if name == "stopped" { name } else { "running" });
    }
    pass(&tree, "out", "running", "registered", "no-autostart");
    tree.wait_up("in");
    is(&tree, "out", "down", "no-autostart");
    assert!(!normally_up(&tree, "out"));
    // It is as the operator wants it, so it is well, and a start or a restart of all leaves it out.
    tree.tool("hermes-svc-status").arg("-c").run().is(0, "", "");
    tree.tool("hermes-svc-start").arg("-a").run().is(0, "profile=in action=unchanged\n", "");
    tree.tool("hermes-svc-restart").arg("-a").run().is(0, "profile=in action=restarted\n", "");
    let explained = "*\nout is down, and its intent is running\n  because no boot starts it: HERMES_AUTOSTART_PROFILES \
                     leaves it out\n  next: nothing: to start it until the next boot, hermes-svc-start -W out\n";
    tree.tool("hermes-svc-status").args(["-x", "out"]).run().is(0, explained, "");
    assert_eq!((tree.profile("out").starts(), tree.profile("out").desired().as_deref()), (0, Some("running")));

    // What an operator starts goes on, also after further passes, and can be restarted.
    tree.tool("hermes-svc-start").args(["-W", "out"]).run().is(0, "profile=out action=started\n", "");
    pass(&tree, "out", "running", "unchanged", "no-autostart");
    tree.tool("hermes-reconcile-one").arg("out").run().is(0, "*action=unchanged * note=no-autostart\n", "");
    is(&tree, "out", "up", "no-autostart");
    assert!(normally_up(&tree, "out"));
    let ran = tree.tool("hermes-svc-status").args(["-x", "out"]).run();
    ran.is(0, "*\n*\n  because a start counts until the next boot: HERMES_AUTOSTART_PROFILES leaves it out\n  next: nothing: *\n", "");
    tree.tool("hermes-svc-restart").args(["-W", "out"]).run().is(0, "profile=out action=restarted\n", "");
    assert_eq!(tree.profile("out").starts(), 2);
    // What an operator has started, and is down without a record of that, is not well.
    tree.tool("s6-svc").arg("-d").arg(tree.slot("out")).run().is(0, "", "");
    tree.wait_down("out");
    wait_until("it to be down", || status(&tree, "out") == ("down".into(), "no-autostart,wanted-but-down".into()));
    tree.tool("hermes-svc-status").args(["-c", "out"]).run().is(1, "", "*warning: out shall run and is down: *\n");

    tree.reboot();
    pass(&tree, "out", "running", "registered", "no-autostart");
    tree.wait_up("in");
    is(&tree, "out", "down", "no-autostart");
    assert_eq!(tree.profile("out").starts(), 2);
    // The profile has lost nothing of what it is.
    let mut tree = tree;
    tree.env.clear();
    tree.reboot();
    pass(&tree, "out", "running", "started", "");
    tree.wait_up("out");
}

#[test]
fn the_watchers_run_starts_no_gateway_that_the_list_leaves_out() {
    needs_root();
    let tree = with(&[("HERMES_AUTOSTART_PROFILES", "in"), ("HERMES_EXTRA_PROFILES", "extra")]);
    tree.tool("hermes-reconcile-all").run();
    let watcher = tree.tool("hermes-profile-watch").args(["hermes-reconcile-one", "-q"]).start();
    // Each comes whole, with its own state, as a profile does that is moved to this volume.
    for name in ["out", "extra", "in"] {
        let profile = tree.profile(&format!("{name}-new"));
        let (new, dir) = (profile.dir.clone(), tree.profile_dir(name));
        if name != "extra" {
            drop(profile.state(format!("{{\"desired_state\":\"running\",\"hermes_s6_profile\":\"{name}\"}}")));
        }
        fs::rename(new, dir).expect("rename");
    }
    tree.wait_up("in");
    for name in ["out", "extra"] {
        tree.wait_down(name);
        assert_eq!(tree.profile(name).starts(), 0);
    }
    is(&tree, "out", "down", "no-autostart");
    // An extra profile is started by the next boot, if the list does not leave it out.
    is(&tree, "extra", "down", "");
    assert!(watcher.is_running());
}

#[test]
fn a_boot_starts_the_extra_profiles_of_which_nobody_has_recorded_an_intent() {
    let list = "new,manual,stopped copy broken out";
    let mut tree = with(&[("HERMES_EXTRA_PROFILES", list), ("HERMES_AUTOSTART_PROFILES", "!out")]);
    for name in ["new", "other", "out"] {
        tree.profile(name);
    }
    // A gateway that was run by hand has left its last state.
    tree.profile("manual").state(r#"{"gateway_state":"stopped","argv":["hermes","-p","manual"]}"#);
    tree.profile("stopped").intent("stopped");
    tree.profile("copy").state(r#"{"hermes_s6_profile":"other"}"#);
    tree.profile("broken").state("{");
    let names = ["broken", "copy", "manual", "new", "other", "out", "stopped"];
    let intents = |tree: &Tree| names.map(|name| tree.profile(name).desired());
    let before = intents(&tree);
    let wanted = [
        ("broken", "invalid", "registered"),
        ("copy", "foreign", "registered"),
        ("manual", "running", "started"),
        ("new", "running", "started"),
        ("other", "none", "registered"),
        ("out", "none", "registered"),
        ("stopped", "stopped", "registered"),
    ];
    let line = |(name, prior, action): &(&str, &str, &str)| {
        format!("reconcile: profile={name} prior_state={prior} action={action} port=* prior_exit=unknown\n")
    };
    let lines = format!("*profile=default *\n{}*done *started=2 *\n", wanted.iter().map(line).collect::<String>());
    let broken = "*broken/gateway_state.json is not JSON*\n";
    tree.tool("hermes-reconcile-all").arg("-n").run().is(0, &lines, broken);
    assert_eq!(intents(&tree), before);
    tree.tool("hermes-reconcile-all").run().is(0, &lines, broken);
    let running = Some("running".to_string());
    assert_eq!(intents(&tree), [None, None, running.clone(), running, None, None, Some("stopped".to_string())]);
    for name in ["manual", "new"] {
        tree.wait_up(name);
        is(&tree, name, "up", "");
    }
    // A stop counts, and so does the record of the start without the list.
    tree.tool("hermes-svc-stop").args(["-w", "manual"]).run().is(0, "profile=manual action=stopped\n", "");
    tree.env.retain(|(name, _)| name != "HERMES_EXTRA_PROFILES");
    tree.reboot();
    pass(&tree, "new", "running", "started", "");
    tree.env.push(("HERMES_EXTRA_PROFILES".to_string(), list.to_string()));
    tree.reboot();
    pass(&tree, "manual", "stopped", "registered", "");
}

#[test]
fn an_extra_profile_whose_intent_cannot_be_recorded_is_registered_down() {
    needs_root();
    let tree = with(&[("HERMES_EXTRA_PROFILES", "new")]);
    tree.profile("new");
    let ran = tree.on_read_only_volume("hermes-reconcile-all");
    let line = "*profile=new prior_state=none action=registered port=* prior_exit=unknown\n";
    let warning = "*warning: new: unable to write */new/gateway_state.json: Read-only file system\n";
    assert!(ran.stderr.lines().any(|l| glob(warning.trim_end(), l)), "{ran}");
    ran.is(111, &format!("*\n{line}*done *\n"), "**");
    tree.wait_down("new");
}

#[test]
fn a_word_of_a_list_that_names_no_profile_is_one_warning_of_the_boot_pass() {
    let lists = [
        ("HERMES_AUTOSTART_PROFILES", "a,Coder !gone"),
        ("HERMES_EXTRA_PROFILES", "* a"),
        ("HERMES_START_ORDER", "b, gone ../x"),
    ];
    let tree = with(&lists);
    for name in ["a", "b"] {
        tree.profile(name);
    }
    tree.profile("b").intent("running");
    let warning = |text: &str| format!("hermes-reconcile-all: warning: {text}\n");
    let warnings = warning("HERMES_AUTOSTART_PROFILES: \"Coder\" is no profile name: it is passed over")
        + &warning("HERMES_EXTRA_PROFILES: \"*\" is no profile name: it is passed over")
        + &warning("HERMES_START_ORDER: \"../x\" is no profile name: it is passed over")
        + &warning("HERMES_AUTOSTART_PROFILES: there is no profile gone")
        + &warning("HERMES_START_ORDER: there is no profile gone");
    let stdout = "*profile=default *\n*profile=a prior_state=running action=started *\n\
                  *profile=b prior_state=running action=registered * note=no-autostart\n*done *\n";
    tree.tool("hermes-reconcile-all").run().is(0, stdout, &warnings);
    tree.wait_up("a");
    tree.tool("hermes-reconcile-one").arg("b").run().is(0, "*profile=b *action=unchanged *\n", "");
}

#[test]
fn a_start_for_once_counts_until_the_next_boot() {
    let tree = with(&[("HERMES_AUTOSTART_PROFILES", "!out")]);
    for (name, intent) in [("new", None), ("stopped", Some("stopped")), ("out", Some("running"))] {
        let profile = tree.profile(name);
        if let Some(intent) = intent {
            drop(profile.intent(intent));
        }
    }
    tree.tool("hermes-reconcile-all").run();
    // One without a slot: only a boot pass, and not a watcher, is run in this tree.
    tree.profile("late");
    let names = ["late", "new", "out", "stopped"];
    let records = |action: &str| names.map(|name| format!("profile={name} action={action}\n")).concat();
    let start = |options: &[&str]| tree.tool("hermes-svc-start").args(options).args(names).run();
    start(&["-n", "-o"]).is(0, &records("started"), "");
    assert!(tree.profile("new").desired().is_none() && !tree.slot("late").exists());
    start(&["--once", "-W"]).is(0, &records("started"), "");
    start(&["-o", "-w"]).is(0, &records("unchanged"), "");
    // What is recorded stays. Where nothing was, the gateway's own last state must not count at the next boot.
    let intents = || names.map(|name| tree.profile(name).desired().unwrap_or_default());
    let recorded = ["stopped", "stopped", "running", "stopped"];
    assert_eq!(intents(), recorded);
    assert!(names.iter().all(|name| !normally_up(&tree, name)));
    is(&tree, "new", "up", "drifting");
    let ran = tree.tool("hermes-svc-status").args(["-x", "new"]).run();
    ran.is(
        0,
        "*\n*\n  because it was brought up without recording it (hermes-svc-start -o, s6-svc -u): *\n  next: *\n",
        "",
    );
    // It is supervised like any other.
    let old = tree.wait_up("new");
    kill(old, Signal::KILL);
    let again = wait_for("another one", || tree.gateway("new").filter(|pid| *pid != old));
    assert_eq!(tree.wait_up("new"), again);
    // The container's stop and the next boot.
    tree.tool("hermes-svc-stop").args(["-a", "-k", "-w"]).run().is(0, &records("stopped"), "");
    assert_eq!(intents(), recorded);
    tree.reboot();
    tree.tool("hermes-reconcile-all").run();
    for name in names {
        tree.wait_down(name);
    }
    // A start without -o lasts.
    tree.tool("hermes-svc-start").args(["-o", "-w", "new"]).run().is(0, "profile=new action=started\n", "");
    tree.tool("hermes-svc-start").args(["-w", "new"]).run().is(0, "profile=new action=started\n", "");
    assert!(normally_up(&tree, "new"));
    assert_eq!(tree.profile("new").desired().as_deref(), Some("running"));
}

/// A hard end of the container leaves the gateway's own last state, which is `running`.
#[test]
fn a_start_for_once_is_over_after_a_hard_end_of_the_container() {
    let tree = with(&[]);
    tree.profile("new");
    tree.tool("hermes-svc-start").args(["-o", "-W", "new"]).run().is(0, "profile=new action=started\n", "");
    tree.wait_up("new");
    tree.reboot();
    pass(&tree, "new", "stopped", "registered", "");
    tree.wait_down("new");
    assert_eq!(tree.profile("new").json()["gateway_state"], "running");
}

/// Row E8 of docs/failures.md.
#[test]
fn of_two_profiles_that_pin_one_port_the_one_that_the_list_allows_has_it() {
    let tree = with(&[("HERMES_AUTOSTART_PROFILES", "!archive")]);
    for name in ["archive", "coder"] {
        tree.profile(name).env("API_SERVER_ENABLED=true\nAPI_SERVER_PORT=9333\n").intent("running");
    }
    let ran = tree.tool("hermes-reconcile-all").run();
    ran.is(
        111,
        "*profile=default *\n*profile=archive prior_state=running action=failed port=none *\n\
         *profile=coder prior_state=running action=started port=9333 *\n*done *\n",
        "*warning: archive: it pins port 9333, and so does coder\n",
    );
    tree.wait_up("coder");
    // The one that is left out is refused as long as the other one is wanted.
    let ran = tree.tool("hermes-svc-start").arg("archive").run();
    assert!(ran.code == 100 && ran.stderr.contains("9333") && ran.stderr.contains("coder"), "{ran}");
    tree.tool("hermes-svc-stop").args(["-w", "coder"]).run().is(0, "profile=coder action=stopped\n", "");
    tree.tool("hermes-svc-start").args(["-w", "archive"]).run().is(0, "profile=archive action=started\n", "");
    assert!(tree.profile("archive").read("stand-in.env").contains("API_SERVER_PORT=9333\n"));
}

/// Nothing says that it is wanted, but that it is started.
#[test]
fn one_that_is_started_for_once_has_the_port_that_an_unwanted_one_pins_too() {
    let tree = with(&[]);
    for name in ["clone", "coder"] {
        tree.profile(name).env("API_SERVER_ENABLED=true\nAPI_SERVER_PORT=9333\n");
    }
    tree.tool("hermes-reconcile-all").run();
    tree.tool("hermes-svc-start").args(["-o", "-w", "coder"]).run().is(0, "profile=coder action=started\n", "");
    assert!(tree.profile("coder").read("stand-in.env").contains("API_SERVER_PORT=9333\n"));
    let ran = tree.tool("hermes-svc-start").args(["-o", "clone"]).run();
    assert!(ran.code == 100 && ran.stderr.contains("coder"), "{ran}");
}
