use crate::engine::{Container, Ran, Volume, image, once, until};

/// Hermes Agent's own client, called without the shim.
const CLIENT: &str = "/opt/hermes/.venv/bin/hermes";

/// What a user does with profiles and gateways in a day, as this user, by `docker exec`.
fn a_day_with_the_shim(user: &str) {
    let container = Container::start(&[], &["sleep", "infinity"]);
    let hermes = |arguments: &[&str]| {
        let mut command = vec!["hermes"];
        command.extend(arguments);
        container.exec_as(user, &command)
    };
    let up = || container.exec(&["hermes-svc-list", "-u"]).ok();

    hermes(&["profile", "create", "coder"]).code(0);
    assert_eq!(container.exec(&["hermes-svc-list"]).ok(), "default\ncoder");
    assert_eq!(container.state("coder"), "down");

    hermes(&["-p", "coder", "gateway", "start"]).code(0);
    assert_eq!(up(), "coder");
    let pid = container.status("coder", "pid");
    let said = hermes(&["-p", "coder", "gateway", "status"]).ok();
    assert!(said.starts_with("Manager: s6 (container supervisor)\n") && said.contains(&pid.to_string()), "{said}");
    hermes(&["--profile=coder", "gateway", "restart"]).code(0);
    assert_eq!(up(), "coder");
    assert_ne!(container.status("coder", "pid"), pid);
    hermes(&["gateway", "stop", "-p", "coder"]).code(0);
    assert_eq!(up(), "");
    assert_eq!(container.intent("coder"), "stopped");

    hermes(&["gateway", "start"]).code(0);
    assert_eq!(up(), "default");
    hermes(&["-p", "coder", "gateway", "start"]).code(0);
    hermes(&["gateway", "stop", "--all"]).code(0);
    assert_eq!(up(), "");

    // A profile whose gateway runs can be deleted as well, and nothing of it comes back.
    hermes(&["-p", "coder", "gateway", "start"]).code(0);
    hermes(&["profile", "delete", "-y", "coder"]).code(0);
    assert_eq!(container.exec(&["hermes-svc-list"]).ok(), "default");
    container.sh("[ ! -e /opt/data/profiles/coder ]; [ ! -e /run/service/gateway-coder ]").code(0);
    assert_eq!(container.exec(&["hermes-port-alloc", "-l"]).out.matches("coder").count(), 0);
    let processes = container.exec(&["ps", "-eo", "args"]).ok();
    assert!(!processes.contains("-p coder"), "{processes}");
    assert_eq!(container.exec(&["find", "/opt/data", "-user", "root"]).ok(), "");
}

/// Row H6 of docs/failures.md.
#[test]
fn root_makes_runs_and_deletes_profiles_with_the_client() {
    a_day_with_the_shim("root");
}

#[test]
fn hermes_makes_runs_and_deletes_profiles_with_the_client() {
    a_day_with_the_shim("hermes");
}

#[test]
fn hermes_agents_own_client_and_the_tools_understand_each_others_slots() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    let client = |arguments: &[&str]| {
        let mut command = vec![CLIENT];
        command.extend(arguments);
        container.exec_as("hermes", &command)
    };
    // The client's hook or the watcher makes this slot, and our tools handle it.
    client(&["profile", "create", "theirs", "--no-alias"]).code(0);
    until("theirs has a slot", 10, || container.exec(&["hermes-svc-list"]).ok() == "default\ntheirs");
    client(&["-p", "theirs", "gateway", "start"]).code(0);
    until("theirs is up", 30, || container.state("theirs") == "up");
    assert_eq!(container.intent("theirs"), "running");
    container.exec(&["hermes-svc-stop", "-w", "theirs"]).code(0);
    assert_eq!(container.state("theirs"), "down");

    // Our tools make this slot, and the client handles it.
    container.make_profiles(&["ours"]);
    client(&["-p", "ours", "gateway", "start"]).code(0);
    until("ours is up", 30, || container.state("ours") == "up");
    let pid = container.status("ours", "pid");
    client(&["-p", "ours", "gateway", "restart"]).code(0);
    until("ours is another process", 60, || {
        let now = container.status("ours", "pid");
        now.is_number() && now != pid
    });
    client(&["-p", "ours", "gateway", "stop"]).code(0);
    until("ours is down", 60, || container.state("ours") == "down");
    assert_eq!(container.intent("ours"), "stopped");
    container.exec(&["hermes-svc-start", "-w", "theirs", "ours"]).code(0);
    client(&["gateway", "stop", "--all"]).code(0);
    until("none is up", 60, || container.exec(&["hermes-svc-list", "-u"]).ok().is_empty());

    client(&["profile", "delete", "-y", "ours"]).code(0);
    client(&["profile", "delete", "-y", "theirs"]).code(0);
    container.exec(&["hermes-reconcile-all"]).code(0);
    assert_eq!(container.exec(&["hermes-svc-list"]).ok(), "default");
}

#[test]
fn install_and_uninstall_point_to_profile_create_and_delete() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    let said = container.exec(&["hermes", "gateway", "install"]).ok();
    assert!(said.contains("hermes profile create NAME"), "{said}");
    let said = container.exec(&["hermes", "gateway", "uninstall"]).ok();
    assert!(said.contains("hermes profile delete NAME"), "{said}");
}

/// Rows B12, C6 of docs/failures.md.
#[test]
fn the_shim_ends_with_the_tools_exit_codes_and_their_one_line() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    for (profile, code) in [("nosuch", 100), ("Coder", 100), ("../x", 100)] {
        let ran = container.exec(&["hermes", "-p", profile, "gateway", "start"]).code(code);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        assert!(ran.err.starts_with("hermes-svc-start: fatal: "), "{}", ran.err);
    }
}

#[test]
fn a_deletion_that_was_not_confirmed_changes_nothing() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    container.make_profiles(&["coder"]);
    container.exec(&["hermes-svc-start", "-w", "coder"]).code(0);
    let pid = container.status("coder", "pid");
    container.sh("echo no | hermes profile delete coder").code(0);
    assert_eq!(container.status("coder", "pid"), pid);
    container.sh("[ -e /opt/data/profiles/coder/SOUL.md ]").code(0);
}

/// Row D4 of docs/failures.md.
#[test]
fn the_chosen_profile_is_the_one_that_the_client_means() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    container.make_profiles(&["coder"]);
    container.exec(&["hermes", "profile", "use", "coder"]).code(0);
    container.exec(&["hermes", "gateway", "start"]).code(0);
    until("coder is up", 30, || container.exec(&["hermes-svc-list", "-u"]).ok() == "coder");
    // A profile that is named counts more than the chosen one.
    container.exec(&["hermes", "-p", "default", "gateway", "start"]).code(0);
    assert_eq!(container.exec(&["hermes-svc-list", "-u"]).ok(), "default\ncoder");
}

/// Row B13 of docs/failures.md.
#[test]
fn outside_s6_the_shim_changes_nothing() {
    let volume = Volume::with_profiles(&["coder"]);
    let at_home = volume.at_home();
    let with = |client: &str, arguments: &[&str]| -> (i32, String, String) {
        let Ran { code, out, err } = once(&["-v", &at_home, "--user", "hermes", "--entrypoint", client], arguments);
        (code, out, err)
    };
    for arguments in [&["--version"][..], &["gateway", "install"], &["-p", "coder", "gateway", "stop"]] {
        assert_eq!(with("/opt/hermes/bin/hermes", arguments), with(CLIENT, arguments), "{arguments:?} in {}", image());
    }
}

#[test]
fn the_agents_own_shell_inside_a_named_gateway_means_that_profile() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    container.make_profiles(&["coder"]);
    let inside =
        ["--user", "hermes", "-e", "HERMES_HOME=/opt/data/profiles/coder", "-e", "HERMES_S6_SUPERVISED_CHILD=1"];
    container.exec_with(&inside, &["hermes", "gateway", "start"]).code(0);
    assert_eq!(container.exec(&["hermes-svc-list", "-u"]).ok(), "coder");
}
