//! HERMES_OPEN_SCANDIR=1 gives the scandir to the account, as Hermes Agent's own image does. These tests set it
//! themselves, so they run in both modes of the suite.

use crate::engine::{Container, until};

/// Hermes Agent's own client, called without the shim.
const CLIENT: &str = "/opt/hermes/.venv/bin/hermes";

fn opened() -> Container {
    Container::start(&["-e", "HERMES_OPEN_SCANDIR=1"], &["sleep", "infinity"])
}

/// Stop the watcher, so that no process of root makes or removes slots.
fn without_the_watcher(container: &Container) {
    // The watcher is started after the boot pass.
    let watcher = "/run/service/hermes-profile-watch";
    until("the watcher is up", 60, || container.exec(&["s6-svstat", "-o", "up,ready", watcher]).ok() == "true true");
    container.exec(&["s6-svc", "-wD", "-d", watcher]).code(0);
}

#[test]
fn the_log_says_what_an_open_scandir_means_and_a_sealed_one_says_nothing() {
    let warning = "reconcile: warning: HERMES_OPEN_SCANDIR: /run/service belongs to hermes, and whatever is put there runs as root";
    assert_eq!(opened().logs().matches(warning).count(), 1);
    let sealed = Container::start(&["-e", "HERMES_OPEN_SCANDIR=0"], &["sleep", "infinity"]);
    assert!(!sealed.logs().contains("HERMES_OPEN_SCANDIR"), "{}", sealed.logs());
    let owners = "stat -c %U /run/service /run/service/.s6-svscan/control";
    assert_eq!(sealed.sh(owners).ok(), "root\nroot");
}

#[test]
fn it_means_what_it_says() {
    let container = opened();
    let plant =
        "mkdir /run/service/own; printf '#!/bin/sh\\nid -u >/tmp/who\\nexec sleep 1000\\n' >/run/service/own/run
        chmod 755 /run/service/own/run; s6-svscanctl -a /run/service";
    container.sh_as_hermes(plant).code(0);
    until("it has run as root", 20, || container.sh("cat /tmp/who 2>/dev/null || true").ok() == "0");
}

#[test]
fn hermes_agents_own_client_makes_and_removes_slots_by_itself() {
    let container = opened();
    without_the_watcher(&container);
    let client = |arguments: &[&str]| container.exec_as("hermes", &[&[CLIENT], arguments].concat());
    let ran = client(&["profile", "create", "theirs", "--no-alias"]).code(0);
    assert!(!ran.out.contains('⚠') || !ran.out.contains("s6"), "{}", ran.out);
    assert_eq!(container.exec(&["stat", "-c", "%U", "/run/service/gateway-theirs"]).ok(), "hermes");
    client(&["-p", "theirs", "gateway", "start"]).code(0);
    until("theirs is up", 30, || container.state("theirs") == "up");
    client(&["-p", "theirs", "gateway", "stop"]).code(0);
    until("theirs is down", 60, || container.state("theirs") == "down");
    client(&["profile", "delete", "-y", "theirs"]).code(0);
    until("its slot is gone", 30, || container.sh("[ ! -e /run/service/gateway-theirs ]").code == 0);
}

#[test]
fn so_do_our_tools_as_hermes() {
    let container = opened();
    without_the_watcher(&container);
    container.sh_as_hermes(&crate::engine::profiles_script(&["coder"])).code(0);
    let tool = |line: &str| container.exec_as("hermes", &line.split(' ').collect::<Vec<_>>());
    let port = tool("hermes-port-alloc -p coder").ok();
    let silent = |line: &str, out: &str| {
        let ran = tool(line).code(0);
        assert_eq!((ran.out.as_str(), ran.err.as_str()), (out, ""), "{line}");
    };
    silent("hermes-svc-register coder", &format!("profile=coder action=registered port={port}\n"));
    silent("hermes-svc-start -w coder", "profile=coder action=started\n");
    silent("hermes-svc-restart -w coder", "profile=coder action=restarted\n");
    silent("hermes-svc-stop -w coder", "profile=coder action=stopped\n");
    let line =
        format!("reconcile: profile=coder prior_state=stopped action=unchanged port={port} prior_exit=unknown\n");
    let ran = tool("hermes-reconcile-one coder").code(0);
    assert_eq!(ran.out.split(" prior_exit=").next(), line.split(" prior_exit=").next());
    // The tools take the same lock whether root or the account runs them, and handle each other's slots.
    container.exec(&["hermes-svc-start", "-w", "coder"]).code(0);
    container.exec(&["hermes-reconcile-all"]).code(0);
    silent("hermes-svc-unregister coder", "profile=coder action=unregistered\n");
    silent("hermes-svc-list", "default\n");
    // Only root can delete a slot that root has made. Root deletes it when root next publishes a slot.
    container.exec(&["hermes-svc-register", "coder"]).code(0);
    silent("hermes-svc-unregister coder", "profile=coder action=unregistered\n");
    container.exec(&["hermes-svc-register", "coder"]).code(0);
    assert_eq!(container.sh("ls -A /run/service | grep -c '[.]gateway' || true").ok(), "0");
}
