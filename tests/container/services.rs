use crate::engine::{Container, docker, podman, until};

const HEALTH: &[&str] =
    &["curl", "-s", "-o", "/dev/null", "--max-time", "5", "-w", "%{http_code}", "http://127.0.0.1:9119/"];

fn svstat(container: &Container, field: &str, service: &str) -> String {
    container.exec(&["s6-svstat", "-o", field, &format!("/run/service/{service}")]).ok()
}

#[test]
fn the_dashboard_is_down_unless_asked_for_and_says_so() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    container.wait_for_log("dashboard: info: off; HERMES_DASHBOARD=1 turns it on");
    until("dashboard is down for good", 20, || svstat(&container, "up,wantedup", "dashboard") == "false false");
    until("main-hermes is up", 20, || svstat(&container, "up", "main-hermes") == "true");
}

#[test]
fn the_dashboard_is_supervised_restarted_and_the_accounts_to_control() {
    let container = Container::start(&["-e", "HERMES_DASHBOARD=1"], &["sleep", "infinity"]);
    let answers = || container.exec(HEALTH).out == "200";
    until("the dashboard answers", 120, answers);
    let pid = svstat(&container, "pid", "dashboard");
    assert_eq!(container.exec(&["stat", "-c", "%U", &format!("/proc/{pid}")]).ok(), "hermes");
    container.exec(&["kill", "-9", &pid]).code(0);
    until("another dashboard answers", 120, || svstat(&container, "pid", "dashboard") != pid && answers());
    let pid = svstat(&container, "pid", "main-hermes");
    container.exec(&["kill", "-9", &pid]).code(0);
    until("main-hermes is another process", 30, || {
        let state = svstat(&container, "up,pid", "main-hermes");
        state.starts_with("true") && !state.ends_with(&format!(" {pid}"))
    });

    for service in ["dashboard", "main-hermes"] {
        let path = format!("/run/service/{service}");
        container.exec_as("hermes", &["s6-svc", "-d", &path]).code(0);
        until("it is down", 30, || svstat(&container, "up", service) == "false");
        container.exec_as("hermes", &["s6-svc", "-u", &path]).code(0);
        until("it is up", 30, || svstat(&container, "up", service) == "true");
        // The account can give orders to the service, but cannot write to its directories, because s6 as root opens the
        // files that it finds there.
        let writable = format!("find {path}/ ! -type p -writable 2>/dev/null || true");
        assert_eq!(container.sh_as_hermes(&writable).ok(), "");
    }
}

/// Rows F5, F16 of docs/failures.md.
#[test]
fn a_dashboard_that_is_refused_is_left_down_after_some_tries() {
    // Hermes Agent requires a password unless the dashboard listens on the loopback interface.
    let container =
        Container::start(&["-e", "HERMES_DASHBOARD=1", "-e", "HERMES_DASHBOARD_HOST=0.0.0.0"], &["sleep", "infinity"]);
    container.wait_for_log("Refusing to bind dashboard to 0.0.0.0");
    until("it is left down", 280, || svstat(&container, "up,wantedup", "dashboard") == "false false");
    assert!(container.logs().matches("Refusing to bind dashboard to 0.0.0.0").count() <= 5);
}

/// Row H9 of docs/failures.md.
#[test]
fn the_health_of_the_container_is_that_what_is_wanted_is_up() {
    let options = ["--health-interval", "1s", "--health-start-period", "0s", "--health-retries", "1"];
    let container = Container::start(&options, &["sleep", "infinity"]);
    // Podman asks by itself only where systemd runs.
    let health = || match podman().then(|| docker(&["healthcheck", "run", &container.name]).code) {
        None => container.inspect("{{.State.Health.Status}}"),
        Some(code) => String::from(if code == 0 { "healthy" } else { "unhealthy" }),
    };
    // No gateway is wanted.
    until("it is healthy", 30, || health() == "healthy");
    container.exec(&["hermes-svc-start", "-w", "default"]).code(0);
    // `-k` keeps the intent. So the gateway is down although it is wanted, as a held gateway would be.
    container.exec(&["hermes-svc-stop", "-k", "-w", "default"]).code(0);
    until("the container is unhealthy", 30, || health() == "unhealthy");
    container.exec(&["hermes-svc-start", "-w", "default"]).code(0);
    until("it is healthy again", 30, || health() == "healthy");
    container.exec(&["hermes-svc-stop", "-w", "default"]).code(0);
    let checks = || container.inspect("{{len .State.Health.Log}} {{(index .State.Health.Log 0).Start}}");
    let before = checks();
    until("it was asked again", 30, || podman() || checks() != before);
    assert_eq!(health(), "healthy");
}

/// Row C2 of docs/failures.md.
#[test]
fn hermes_agent_sees_the_services_and_the_gateways() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    container.make_profiles(&["coder"]);
    // The questions of Hermes Agent's doctor, except those that need the network.
    let script = "from hermes_cli.service_manager import detect_service_manager, get_service_manager
m = get_service_manager()
print(detect_service_manager(), m.is_running('main-hermes'), m.is_running('dashboard'), sorted(m.list_profile_gateways()))";
    let said = container.exec_as("hermes", &["/opt/hermes/.venv/bin/python", "-c", script]).ok();
    assert_eq!(said, "s6 True False ['coder', 'default']");
}
