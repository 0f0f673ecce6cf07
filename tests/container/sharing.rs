use crate::engine::{Container, Volume, until};

/// Rows G1, G4, G7 of docs/failures.md.
#[test]
fn the_second_container_on_a_volume_waits_and_takes_over() {
    let volume = Volume::with_profiles(&["coder"]);
    let first = Container::on(&volume);
    first.start_ready(&["coder"]);
    let port = first.port("coder");
    let second = Container::on(&volume);
    until("the second waits", 60, || second.state("coder") == "waiting");
    assert_eq!(first.state("coder"), "up");
    assert!(first.healthy("coder") && !second.healthy("coder"));
    // A gateway that waits counts as healthy.
    second.exec(&["hermes-svc-status", "-c"]).code(0);
    drop(first);
    until("the second serves", 240, || second.healthy("coder"));
    assert_eq!(second.state("coder"), "up");
    assert_eq!(second.port("coder"), port);
}

/// Rows G1, H9 of docs/failures.md.
#[test]
fn a_container_whose_command_is_the_dashboard_starts_no_gateway_and_is_not_ill() {
    let volume = Volume::with_profiles(&["coder"]);
    let gateways = Container::on(&volume);
    gateways.exec(&["hermes-svc-start", "-w", "coder"]).code(0);
    let dashboard = Container::start(&["-v", &volume.at_home()], &["dashboard", "--no-open"]);
    assert_eq!(dashboard.exec(&["hermes-svc-list"]).ok(), "");
    dashboard.exec(&["hermes-svc-status", "-c"]).code(0);
    let refused = dashboard.exec(&["hermes-svc-start", "coder"]).code(102);
    assert!(refused.err.contains("its command is the dashboard (-f does it all the same)"), "{}", refused.err);
    let health = ["curl", "-s", "-o", "/dev/null", "--max-time", "5", "-w", "%{http_code}", "http://127.0.0.1:9119/"];
    until("the dashboard answers", 120, || dashboard.exec(&health).out == "200");
    assert_eq!(gateways.state("coder"), "up");
}

/// Row G3 of docs/failures.md.
#[test]
fn a_container_that_is_told_so_starts_no_gateway() {
    let volume = Volume::with_profiles(&["coder"]);
    volume.script("echo '{\"desired_state\":\"running\"}' >profiles/coder/gateway_state.json");
    let options = ["-v", &volume.at_home(), "-e", "HERMES_SKIP_PROFILE_RECONCILE=1"];
    let container = Container::start(&options, &["sleep", "infinity"]);
    assert_eq!(container.exec(&["hermes-svc-list"]).ok(), "");
    container.exec(&["hermes-svc-status", "-c"]).code(0);
}
