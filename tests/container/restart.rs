use std::time::Duration;

use crate::engine::{Container, Volume, docker, until};

const PATIENCE: u32 = 90;

/// Check that the gateways of `a` and `d` are up on their old ports, and that no other gateway is up.
#[track_caller]
fn only_a_and_d_are_up(container: &Container, ports: &[String; 4]) {
    until("a and d are healthy", 240, || container.healthy("a") && container.healthy("d"));
    assert_eq!(container.exec(&["hermes-svc-list", "-u"]).ok(), "a\nd");
    assert_eq!(&["a", "b", "c", "d"].map(|profile| container.port(profile)), ports);
    assert_eq!(["a", "b", "d"].map(|profile| container.intent(profile)), ["running", "stopped", "running"]);
}

/// Rows A1, E1 of docs/failures.md.
#[test]
fn exactly_the_intended_gateways_come_back_on_their_old_ports() {
    let volume = Volume::with_profiles(&["a", "b", "c", "d"]);
    let container = Container::on(&volume);
    container.start_ready(&["a", "b", "d"]);
    container.exec(&["hermes-svc-stop", "-w", "b"]).code(0);
    let ports = ["a", "b", "c", "d"].map(|profile| container.port(profile));
    only_a_and_d_are_up(&container, &ports);

    docker(&["restart", "-t", &PATIENCE.to_string(), &container.name]).code(0);
    container.wait_for_boot(2);
    only_a_and_d_are_up(&container, &ports);

    // The gateway is killed by SIGKILL, and the whole container right after it.
    let pid = container.status("d", "pid").to_string();
    container.exec(&["kill", "-9", &pid]).code(0);
    docker(&["kill", &container.name]).code(0);
    docker(&["start", &container.name]).code(0);
    container.wait_for_boot(3);
    only_a_and_d_are_up(&container, &ports);

    drop(container);
    let container = Container::on(&volume);
    only_a_and_d_are_up(&container, &ports);
}

#[test]
fn twenty_restarts_in_a_row_lose_no_intent() {
    let volume = Volume::with_profiles(&["up", "down", "never"]);
    let container = Container::start(&["-v", &volume.at_home(), "-e", "S6_KILL_GRACETIME=500"], &["sleep", "infinity"]);
    container.exec(&["hermes-svc-start", "up", "down"]).code(0);
    container.exec(&["hermes-svc-stop", "-w", "down"]).code(0);
    for restart in 1..=20 {
        docker(&["restart", "-t", &PATIENCE.to_string(), &container.name]).code(0);
        container.wait_for_boot(restart + 1);
        until("up is up", 30, || container.exec(&["hermes-svc-list", "-u"]).ok() == "up");
        assert_eq!(["up", "down", "never"].map(|profile| container.intent(profile)), ["running", "stopped", "none"]);
    }
}

#[test]
fn a_restart_in_the_middle_of_a_start_or_a_stop_leaves_one_of_the_two() {
    let volume = Volume::with_profiles(&["coder"]);
    let container = Container::start(&["-v", &volume.at_home(), "-e", "S6_KILL_GRACETIME=500"], &["sleep", "infinity"]);
    let mut boots = 1;
    for (round, tool) in ["hermes-svc-start", "hermes-svc-stop"].into_iter().cycle().take(8).enumerate() {
        std::thread::scope(|scope| {
            scope.spawn(|| container.exec(&[tool, "-w", "coder"]));
            // The restart comes at a different moment of the tool in each round.
            std::thread::sleep(Duration::from_millis(120 * round as u64));
            docker(&["restart", "-t", &PATIENCE.to_string(), &container.name]).code(0);
        });
        boots += 1;
        container.wait_for_boot(boots);
        let intent = container.intent("coder");
        assert!(["running", "stopped", "none"].contains(&intent.as_str()), "{intent}");
        let wanted = if intent == "running" { "up" } else { "down" };
        until(&format!("coder is {wanted}, as its intent says"), 60, || container.state("coder") == wanted);
    }
}

/// Rows A1, F15 of docs/failures.md.
#[test]
fn stopping_the_container_drains_the_gateways_and_keeps_what_was_wanted() {
    let volume = Volume::with_profiles(&["default", "coder"]);
    let container = Container::on(&volume);
    container.start_ready(&["default", "coder"]);
    let took = container.stop(PATIENCE);
    assert!(took < Duration::from_secs(45), "{took:?}");
    assert_ne!(container.exit_code(), 137);
    let logs = container.logs();
    assert!(logs.contains("profile=coder action=stopped") && logs.contains("profile=default action=stopped"), "{logs}");
    // The gateways ended in order, their listeners were closed, and their intent is still to run.
    for home in [".", "profiles/coder"] {
        let state = volume.script(&format!("cat {home}/gateway_state.json"));
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        assert_eq!(state["platforms"]["api_server"]["state"], "disconnected", "{state}");
        assert_eq!(state["desired_state"], "running", "{state}");
    }
    docker(&["start", &container.name]).code(0);
    container.wait_for_boot(2);
    for profile in ["default", "coder"] {
        until("it is up again", 60, || container.state(profile) == "up");
    }
}

/// Row F14 of docs/failures.md.
#[test]
fn a_gateway_that_will_not_end_has_its_minute_and_the_container_ends_within_the_documented_grace() {
    let volume = Volume::with_profiles(&["deaf"]);
    let container = Container::on(&volume);
    // A gateway that ignores SIGTERM takes the place of Hermes Agent's.
    container
        .sh("cd /opt/hermes/.venv/bin; rm hermes
             printf '#!/bin/sh\\ntrap \"\" TERM\\necho deaf\\nwhile :; do sleep 1; done\\n' >hermes; chmod 755 hermes")
        .code(0);
    container.exec(&["hermes-svc-start", "-w", "deaf"]).code(0);
    let took = container.stop(PATIENCE);
    assert!(took > Duration::from_secs(55) && took < Duration::from_secs(85), "{took:?}");
    assert_ne!(container.exit_code(), 137);
    docker(&["start", &container.name]).code(0);
    container.wait_for_boot(2);
    assert_eq!(container.intent("deaf"), "running");
    docker(&["kill", &container.name]).code(0);
}
