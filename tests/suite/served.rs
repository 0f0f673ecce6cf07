//! Hermes Agent from 0.21.4 on: the gateway of `default` serves every profile that has none of its own. The client is the
//! stand-in, which behaves so.

use crate::autostart::is;
use crate::support::{Profile, Tree, agent, kill, needs_root, preferred_port, wait_until};
use rustix::process::Signal;
use serde_json::json;
use std::fs;

const NEWEST: &str = "0.21.4";
const OWN: &str = "gateway:\n  standalone: true\n";

/// A tree with a client of this release, these variables, and an s6-svscan that listens.
fn with(version: &str, variables: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    tree.env.extend(variables.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    agent::stand_in(&tree, version);
    tree.svscan();
    tree
}

fn line(name: &str, prior: &str, action: &str, note: &str) -> String {
    let port = preferred_port(name);
    let note = if note.is_empty() { String::new() } else { format!(" note={note}") };
    format!("reconcile: profile={name} prior_state={prior} action={action} port={port} prior_exit=unknown{note}\n")
}

/// Check the lines of a pass about profiles, and what it says on stderr.
#[track_caller]
fn pass(tree: &Tree, lines: &[String], stderr: &str) {
    tree.tool("hermes-reconcile-all").run().is(0, &(lines.concat() + "reconcile: done *\n"), stderr);
}

/// Wait until the gateway of `default` says that it serves these profiles, itself included.
#[track_caller]
fn wait_serves(default: &Profile, names: &[&str]) {
    wait_until("default to serve them", || {
        let state = default.json();
        state["gateway_state"] == "running" && state["served_profiles"] == json!(names)
    });
}

/// Row I5 of docs/failures.md.
#[test]
fn a_standalone_profile_has_its_own_gateway_and_default_serves_the_others() {
    let tree = with(NEWEST, &[]);
    let trouble = r#"platforms='"writer:telegram":{"state":"retrying","error_message":"no token"}'"#;
    let default = tree.profile("default").intent("running").stand_in(trouble);
    let coder = tree.profile("coder").intent("running").file("config.yaml", OWN);
    let writer = tree.profile("writer").intent("running");
    tree.profile("idle");
    let lines = |note| {
        let action = |first| if note == "now-multiplexed" { first } else { "unchanged" };
        [
            line("default", "running", action("started"), ""),
            line("coder", "running", action("started"), ""),
            line("idle", "none", action("registered"), ""),
            line("writer", "running", action("registered"), note),
        ]
    };
    let config = writer.dir.join("config.yaml");
    let remedy = format!("gateway.standalone: true in {}, or HERMES_GATEWAY_PER_PROFILE=1 for all", config.display());
    let changed = format!(
        "hermes-reconcile-all: warning: this Hermes Agent serves all profiles from the gateway of default. writer and \
         others like it have none of their own, and keep their intents and ports: for one of its own, {remedy}\n"
    );
    pass(&tree, &lines("now-multiplexed"), &changed);
    wait_serves(&default, &["default", "idle", "writer"]);
    tree.wait_up("coder");
    wait_until("its gateway", || coder.json()["gateway_state"] == "running");
    // It is said once.
    pass(&tree, &lines("multiplexed"), "");

    let refusal =
        format!("writer is served by the gateway of default: start that one, or give writer its own: {remedy}");
    tree.tool_as_account("hermes-svc-start").arg("writer").run().fails(102, &refusal);
    tree.tool_as_account("hermes-svc-restart").arg("writer").run().fails(102, &refusal);
    tree.tool("hermes-run-gateway").arg("writer").run().fails(78, &refusal);
    tree.tool_as_account("hermes-svc-start").args(["-a"]).run().is(
        0,
        "profile=default action=unchanged\nprofile=coder action=unchanged\n",
        "",
    );
    tree.tool_as_account("hermes-svc-restart").args(["-n", "-a"]).run().is(
        0,
        "profile=default action=restarted\nprofile=coder action=restarted\n",
        "",
    );
    is(&tree, "coder", "up", "");
    is(&tree, "writer", "down", "multiplexed,telegram:retrying");
    is(&tree, "idle", "down", "multiplexed");
    let explained = tree.tool("hermes-svc-status").args(["-x", "writer"]).run();
    assert!(explained.stdout.contains("because default's gateway serves it\n"), "{explained}");
    assert!(explained.stdout.contains(&remedy), "{explained}");
    tree.tool("hermes-svc-status").arg("-c").run().is(0, "", "");
    // Nobody ends the gateway that serves the others.
    assert_eq!((default.starts(), coder.starts(), writer.starts()), (1, 1, 0));
    for (profile, name) in [(&default, "default"), (&coder, "coder")] {
        assert_eq!(profile.read("stand-in.args"), format!("-p {name} gateway run --force\n"));
    }

    // A profile that came since the last look of default's gateway is not served yet.
    tree.profile("later").intent("running");
    is(&tree, "later", "down", "not-registered,multiplexed,not-served");
}

/// Row I5 of docs/failures.md.
#[test]
fn default_starts_for_those_that_it_serves_unless_it_was_stopped() {
    for (intent, variables, prior, action, note) in [
        (None, &[][..], "none", "started", "wanted-by:coder"),
        (Some("stopped"), &[], "stopped", "registered", ""),
        (None, &[("HERMES_AUTOSTART_PROFILES", "!coder")], "none", "registered", ""),
    ] {
        let tree = with(NEWEST, variables);
        tree.profile("coder").intent("running");
        tree.profile("writer").intent("stopped");
        if let Some(intent) = intent {
            tree.profile("default").intent(intent);
        }
        let ran = tree.tool("hermes-reconcile-all").run();
        assert!(ran.stdout.starts_with(&line("default", prior, action, note)), "{ran}");
        assert_eq!(tree.profile("default").desired().as_deref(), intent);
    }
}

/// Row I5 of docs/failures.md.
#[test]
fn one_variable_gives_every_profile_a_gateway_of_its_own() {
    let tree = with(NEWEST, &[("HERMES_GATEWAY_PER_PROFILE", "1")]);
    let default = tree.profile("default").intent("running");
    let coder = tree.profile("coder").intent("running");
    let odd = tree.profile("odd").intent("running").file("config.yaml", "gateway: {x: 1}\n");
    let shy = tree.profile("shy").intent("running").file("config.yaml", "gateway:\n  standalone: false\n");
    let writer =
        tree.profile("writer").intent("running").file_mode("config.yaml", "model: x\ngateway:\n    x: 1\n", 0o640);
    let lines = [
        line("default", "running", "started", ""),
        line("coder", "running", "started", ""),
        line("odd", "running", "registered", "now-multiplexed"),
        line("shy", "running", "registered", "now-multiplexed"),
        line("writer", "running", "started", ""),
    ];
    let by_hand = format!(
        "**HERMES_GATEWAY_PER_PROFILE: unable to change {}: the key cannot be put in as a line: write \
         gateway.standalone: true there\n**",
        odd.dir.join("config.yaml").display()
    );
    pass(&tree, &lines, &by_hand);
    tree.wait_up("coder");
    tree.wait_up("writer");
    // They were written before the gateway of default started.
    wait_serves(&default, &["default", "odd", "shy"]);
    assert_eq!(coder.read("config.yaml"), OWN);
    assert_eq!(writer.read("config.yaml"), "model: x\ngateway:\n    standalone: true\n    x: 1\n");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(writer.dir.join("config.yaml")).expect("file").permissions(),
    );
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!((odd.starts(), shy.starts()), (0, 0));

    // A profile that appears, and one that is started before anybody has looked at it.
    let later = tree.profile("later");
    tree.tool("hermes-reconcile-one").arg("later").run().is(0, &line("later", "none", "registered", ""), "");
    assert_eq!(later.read("config.yaml"), OWN);
    let last = tree.profile("last");
    kill(tree.gateway("default").expect("a gateway"), Signal::USR2);
    wait_serves(&default, &["default", "last", "odd", "shy"]);
    tree.tool("hermes-svc-register").arg("last").run().is(0, "profile=last action=registered port=*\n", "");
    tree.tool_as_account("hermes-svc-start").arg("last").run().is(0, "profile=last action=started\n", "");
    assert_eq!(last.read("config.yaml"), OWN);
    // Its gateway waits until that of default has let go of it.
    let log = tree.svscan_log();
    let waits = "waiting for the gateway of default to let go of last, which it still serves";
    let log = || fs::read_to_string(&log).unwrap_or_default() + &last.read("../../logs/gateways/last/current");
    wait_until("it to wait", || log().contains(waits));
    assert_eq!(last.starts(), 0);
    kill(tree.gateway("default").expect("a gateway"), Signal::USR2);
    wait_serves(&default, &["default", "odd", "shy"]);
    wait_until("its gateway", || last.starts() == 1);
}

/// Row I5 of docs/failures.md.
#[test]
fn an_upgrade_to_such_a_release_and_back_loses_no_intent_and_no_port() {
    let tree = with("0.19.0", &[]);
    let default = tree.profile("default").intent("running");
    let profiles = [tree.profile("coder").intent("running"), tree.profile("writer").intent("stopped")];
    let kept = |action: &str, note: &str| {
        [
            line("default", "running", "started", ""),
            line("coder", "running", action, note),
            line("writer", "stopped", "registered", ""),
        ]
    };
    let boot = |lines: &[String], stderr: &str| {
        pass(&tree, lines, stderr);
        tree.wait_up("default");
        wait_until("its state", || default.json()["gateway_state"] == "running");
        let intents = profiles.each_ref().map(|profile| profile.desired().unwrap_or_default());
        assert_eq!((default.desired().as_deref(), intents), (Some("running"), ["running".into(), "stopped".into()]));
        let ports = fs::read_to_string(tree.home().join("gateway_ports.json")).expect("ports");
        assert_eq!(ports, "{\"coder\":9530,\"default\":9495,\"writer\":9685}\n");
    };
    boot(&kept("started", ""), "");
    wait_until("its gateway", || profiles[0].json()["gateway_state"] == "running");
    let starts = profiles[0].starts();

    agent::stand_in(&tree, NEWEST);
    tree.reboot();
    boot(&kept("registered", "now-multiplexed"), "**this Hermes Agent serves all profiles**");
    wait_serves(&default, &["default", "coder", "writer"]);
    tree.reboot();
    boot(&kept("registered", "multiplexed"), "");
    assert_eq!(profiles[0].starts(), starts);

    // The newest client has written this, and older ones go by it.
    assert_eq!(default.read("config.yaml"), "multiplex_profiles: true\n");
    agent::stand_in(&tree, "0.19.0");
    tree.reboot();
    boot(&kept("registered", "multiplexed"), "**which the Hermes Agent of the last boot wrote**");

    agent::stand_in(&tree, NEWEST);
    tree.reboot();
    boot(&kept("registered", "now-multiplexed"), "**");
    wait_serves(&default, &["default", "coder", "writer"]);
    let default = default.file("config.yaml", "multiplex_profiles: false\n");
    agent::stand_in(&tree, "0.19.0");
    tree.reboot();
    pass(&tree, &kept("started", "now-its-own"), "");
    wait_until("its gateway", || profiles[0].starts() > starts);
    drop(default);
}

#[test]
fn a_profile_that_hermes_agent_has_deleted_has_no_slot_and_an_older_release_does_not_know_the_mark() {
    let tree = with("0.19.0", &[]);
    tree.profile("coder").intent("running");
    let deleted = tree.home().join("profiles/.deleted");
    fs::create_dir(&deleted).expect("directory");
    fs::write(deleted.join("coder"), "deleted\n").expect("mark");
    let default = line("default", "none", "registered", "");
    pass(&tree, &[default.clone(), line("coder", "running", "started", "")], "");
    tree.wait_up("coder");
    agent::stand_in(&tree, "0.20.0");
    let why = "no such profile: coder (it was deleted: remove its name from profiles/.deleted to have it back)";
    tree.tool("hermes-svc-start").arg("coder").run().fails(100, why);
    let ran = tree.tool("hermes-reconcile-all").run();
    let line = ran.lines()[1];
    assert!(line.starts_with("reconcile: profile=coder ") && line.contains(" action=removed "), "{ran}");
    assert_eq!(tree.slots(), ["default"]);
    let ran = tree.tool("hermes-reconcile-all").run();
    assert!(ran.lines()[1].contains(" action=skipped ") && ran.lines()[1].ends_with(" note=deleted"), "{ran}");
    fs::remove_file(deleted.join("coder")).expect("mark");
    tree.tool("hermes-reconcile-one").arg("coder").run().is(0, "reconcile: profile=coder *\n", "");
    assert_eq!(tree.slots(), ["coder", "default"]);
}

/// Row A15 of docs/failures.md.
#[test]
fn a_state_file_with_a_byte_order_mark_counts_for_a_release_that_reads_it() {
    for (version, prior, action) in [("0.19.0", "invalid", "registered"), ("0.20.0", "running", "started")] {
        let tree = with(version, &[]);
        let coder = tree.profile("coder").state("\u{feff}{\"desired_state\":\"running\"}");
        let ran = tree.tool("hermes-reconcile-all").run();
        assert!(ran.stdout.contains(&line("coder", prior, action, "")), "{version}: {ran}");
        drop(coder);
    }
}

/// Two clients, the newest one and an older one, are on the PATH of the container and on that of the caller, which is a
/// boot script or an agent. The gateways are of the container's.
#[test]
fn the_client_is_that_of_the_containers_path_whatever_the_path_of_the_caller_is() {
    needs_root();
    for (of_the_container, of_the_caller) in [("0.21.4", "0.19.0"), ("0.19.0", "0.21.4"), ("0.21.4", "none")] {
        let tree = Tree::new();
        for version in ["0.21.4", "0.19.0", "none"] {
            let client = tree.root().join(version);
            let metadata = client.join(format!("lib/python3.14/site-packages/hermes_agent-{version}.dist-info"));
            fs::create_dir_all(if version == "none" { client.clone() } else { metadata }).expect("metadata");
            fs::create_dir_all(client.join("bin")).expect("bin");
            fs::rename(tree.bin().join("hermes"), client.join("bin/hermes"))
                .or_else(|_| fs::copy(tree.root().join("0.21.4/bin/hermes"), client.join("bin/hermes")).map(drop))
                .expect("the stand-in");
        }
        tree.profile("coder").intent("running");
        tree.profile("marked").intent("running");
        tree.profile("with-mark").state("\u{feff}{\"desired_state\":\"running\"}");
        fs::create_dir_all(tree.home().join("profiles/.deleted")).expect("directory");
        fs::write(tree.home().join("profiles/.deleted/marked"), "").expect("mark");
        let setup = format!(
            "mkdir -p /run/s6/container_environment\n\
             echo /mnt/tree/{of_the_container}/bin:$PATH >/run/s6/container_environment/PATH\n\
             chmod 755 /run/s6 /run/s6/container_environment"
        );
        let command = format!(
            "export PATH=/mnt/tree/{of_the_caller}/bin:$PATH; hermes-reconcile-all -w; hermes-svc-start coder; \
             echo \"start $?\"; hermes-svc-restart coder; echo \"restart $?\"; cat $HERMES_HOME/logs/container-boot.log"
        );
        let ran = tree.in_a_container(&setup, &command);
        let is_newest = of_the_container == "0.21.4";
        let says = |text: &str| assert!(ran.stdout.contains(text), "{of_the_container}: no {text}: {ran}");
        says(&format!(" client={of_the_container} "));
        says(if is_newest { "\nstart 102\nrestart 102\n" } else { "\nstart 0\n" });
        says(if is_newest { " note=now-multiplexed\n" } else { "profile=coder prior_state=running action=started" });
        says(if is_newest {
            "profile=marked prior_state=none action=skipped"
        } else {
            "profile=marked prior_state=running"
        });
        says(&format!("profile=with-mark prior_state={} ", if is_newest { "running" } else { "invalid" }));
    }
}
