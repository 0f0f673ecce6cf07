use crate::engine::run;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What the client makes of a compose file, without any variable of the operator's.
fn config(file: &str) -> String {
    let (program, first) = if run("docker", &["compose", "version"]).code == 0 {
        ("docker", vec!["compose"])
    } else {
        ("docker-compose", vec![])
    };
    let file = format!("{ROOT}/{file}");
    let mut arguments = vec!["-u", "HERMES_DASHBOARD_PASSWORD", program];
    arguments.extend(&first);
    arguments.extend(["-f", &file, "config"]);
    run("env", &arguments).ok()
}

/// `exec`, `ps` and `down` read the file as well, in a shell that does not have the password any more.
#[test]
fn compose_yaml_fits_its_schema_and_needs_no_variable() {
    let said = config("compose.yaml");
    assert!(said.contains("HERMES_DASHBOARD_BASIC_AUTH_PASSWORD: "), "{said}");
}

/// Swarm publishes on every address whatever the file says.
#[test]
fn the_stack_for_swarm_fits_its_schema_and_publishes_no_port() {
    let said = config("deploy/stack.yaml");
    assert!(said.contains("stop_grace_period: ") && !said.contains("ports:"), "{said}");
}

#[test]
fn the_kubernetes_manifests_fit_their_schemas() {
    let ran =
        run("sh", &[&format!("{ROOT}/image-build/kubernetes-validate"), &format!("{ROOT}/deploy/kubernetes.yaml")]);
    let said = format!("{}{}", ran.out, ran.err);
    assert_eq!(ran.code, 0, "{said}");
    assert!(said.contains("passed for resource statefulset/hermes"), "{said}");
}

/// Row F15 of docs/failures.md.
#[test]
fn the_manifests_leave_the_gateways_time_to_drain() {
    let text = |name: &str| std::fs::read_to_string(format!("{ROOT}/{name}")).unwrap();
    let number = |name: &str| text(name).split_whitespace().next().unwrap_or_default().parse::<u64>().unwrap();
    let kill = number("template/gateway/timeout-kill");
    let down = number("s6-rc.d/hermes-gateways/timeout-down");
    assert!(kill < down, "s6-rc gives up after {down} ms, before a gateway is killed after {kill}");
    // s6-overlay waits for three more seconds after the drain.
    let grace = (down + 3000).div_ceil(1000);
    for (file, key) in [
        ("compose.yaml", "stop_grace_period: "),
        ("deploy/stack.yaml", "stop_grace_period: "),
        ("deploy/kubernetes.yaml", "terminationGracePeriodSeconds: "),
    ] {
        let text = text(file);
        let value = text.split(key).nth(1).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let seconds: u64 = value.trim_end_matches('s').parse().unwrap();
        assert!(seconds >= grace, "{file} stops after {seconds} s, and the drain may take {grace}");
    }
}
