//! Profiles that appear, go and change their names while the container runs, with the scandir sealed or open.

use crate::engine::{Container, open, until};
use std::time::{Duration, Instant};

/// Hermes Agent's own client, called without the shim.
const CLIENT: &str = "/opt/hermes/.venv/bin/hermes";

/// The warning of the client's hook if the hook may not publish.
const WARNING: &str = "⚠ Could not register s6 gateway service";

fn slots(container: &Container) -> String {
    container.exec(&["hermes-svc-list"]).ok()
}

/// Check that nothing of this profile is left: no slot, no hidden directory, no port, no process, no profile. A
/// directory without a SOUL.md does not count: a gateway that ends may write to its old path.
#[track_caller]
fn nothing_is_left(container: &Container, profile: &str) {
    let left = format!(
        "set +e; ls -A /run/service | grep -e '[.]gateway-' -e 'gateway-{profile}$'; grep -o '\"{profile}\"' /opt/data/gateway_ports.json
         ls /opt/data/profiles/{profile}/SOUL.md 2>/dev/null; ps -eo args | grep -e '-p {profile}\\( \\|$\\)' -e 'gateway-{profile}\\(/\\|$\\)' | grep -v grep; true"
    );
    until(&format!("nothing of {profile} is left: {}", container.sh(&left).ok()), 20, || {
        container.sh(&left).ok().is_empty()
    });
}

#[test]
fn create_through_the_shim_is_silent_and_ends_with_a_slot() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    for (user, profile) in [("hermes", "coder"), ("root", "writer")] {
        let ran = container.exec_as(user, &["hermes", "profile", "create", profile, "--no-alias"]).code(0);
        assert_eq!(ran.err, "");
        assert!(!ran.out.contains(WARNING), "{}", ran.out);
        let usable = format!("s6-svstat -o up,wantedup /run/service/gateway-{profile}");
        assert_eq!(container.sh(&usable).ok(), "false false");
        assert_eq!(
            container.exec_as("hermes", &["hermes-svc-start", "-w", profile]).ok(),
            format!("profile={profile} action=started")
        );
    }
}

/// Row B2 of docs/failures.md.
#[test]
fn create_without_the_shim_warns_at_most_and_the_slot_is_there_within_a_second() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    for profile in ["coder", "writer", "third"] {
        let ran = container.exec_as("hermes", &[CLIENT, "profile", "create", profile, "--no-alias"]).code(0);
        let over = Instant::now();
        let has = format!("[ -p /run/service/gateway-{profile}/supervise/control ]");
        until("the slot is there", 10, || container.sh(&has).code == 0);
        // One second for the slot, and one for two calls of the engine.
        assert!(over.elapsed() < Duration::from_secs(2), "{:?}", over.elapsed());
        assert!(ran.err.is_empty() && (!open() || !ran.out.contains(WARNING)), "{ran:?}");
    }
}

/// Rows B5, E9 of docs/failures.md.
#[test]
fn delete_leaves_nothing_with_the_shim_or_without() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    for client in ["hermes", CLIENT] {
        for running in [false, true] {
            container.make_profiles(&["coder"]);
            if running {
                container.exec(&["hermes-svc-start", "-w", "coder"]).code(0);
            }
            let ran = container.exec_as("hermes", &[client, "profile", "delete", "-y", "coder"]).code(0);
            assert_eq!(ran.err, "", "{client}, running {running}");
            nothing_is_left(&container, "coder");
            assert_eq!(slots(&container), "default");
        }
    }
}

/// Rows B4, B5 of docs/failures.md.
#[test]
fn removed_or_renamed_on_the_volume_a_profile_takes_its_slot_its_intent_and_its_port_along() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    container.make_profiles(&["coder", "quiet"]);
    container.start_ready(&["coder"]);
    container.exec(&["hermes-svc-start", "-w", "quiet"]).code(0);
    container.exec(&["hermes-svc-stop", "-w", "quiet"]).code(0);
    let ports = ["coder", "quiet"].map(|profile| container.port(profile));
    container.sh_as_hermes("cd /opt/data/profiles; mv coder poet; mv quiet silent").code(0);
    until("the new names have their slots", 60, || slots(&container) == "default\npoet\nsilent");
    until("poet is up", 60, || container.state("poet") == "up");
    assert_eq!(["poet", "silent"].map(|profile| container.port(profile)), ports);
    assert_eq!(["poet", "silent"].map(|profile| container.intent(profile)), ["running", "stopped"]);
    assert_eq!(container.state("silent"), "down");
    until("poet is healthy", 180, || container.healthy("poet"));
    for old in ["coder", "quiet"] {
        nothing_is_left(&container, old);
    }
    // The slot of the old name does not come back.
    container.exec(&["hermes-reconcile-all"]).code(0);
    container.sh("[ ! -e /opt/data/profiles/coder/SOUL.md ]").code(0);
    // The gateway of the removed profile may still write there, so the removal is repeated.
    until("it is removed", 30, || container.sh_as_hermes("rm -rf /opt/data/profiles/poet").code == 0);
    until("its slot is gone", 90, || slots(&container) == "default\nsilent");
    nothing_is_left(&container, "poet");
}

#[test]
fn a_profile_that_loses_its_soul_loses_its_slot_and_gets_it_back() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    container.make_profiles(&["coder"]);
    container.sh_as_hermes("mv /opt/data/profiles/coder/SOUL.md /opt/data/soul").code(0);
    until("the slot is gone", 30, || slots(&container) == "default");
    container.sh_as_hermes("mv /opt/data/soul /opt/data/profiles/coder/SOUL.md").code(0);
    until("the slot is back", 30, || slots(&container) == "default\ncoder");
}
