use crate::engine::{Ran, image, label, open, run, unique, until};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Compose's client that is here.
fn compose() -> &'static str {
    if run("docker", &["compose", "version"]).code == 0 { "docker compose" } else { "docker-compose" }
}

/// What the client makes of a compose file, without any variable of the operator's.
fn config(file: &str) -> String {
    let command = format!("{} -f {ROOT}/{file} config", compose());
    run("env", &["-u", "HERMES_DASHBOARD_PASSWORD", "sh", "-c", &command]).ok()
}

/// The commands in the comment at the top of a file.
fn header(text: &str) -> Vec<&str> {
    let comment = text.lines().take_while(|line| line.starts_with('#'));
    comment.filter_map(|line| line.strip_prefix("#   ")).collect()
}

/// compose.yaml in a directory of its own, with the image under test, and with ports of the host that are free.
struct Project {
    dir: String,
}

impl Project {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(unique("compose")).display().to_string();
        std::fs::create_dir(&dir).unwrap();
        let text = std::fs::read_to_string(format!("{ROOT}/compose.yaml")).unwrap();
        let labelled = format!("labels: [{}]", label());
        let text = text
            .replace("    build: .\n", "")
            .replace("image: hermes-s6\n", &format!("image: {}\n    {labelled}\n", image()))
            .replace("127.0.0.1:8642:8642", "127.0.0.1::8642")
            .replace("127.0.0.1:9119:9119", "127.0.0.1::9119")
            .replace("\n  data:\n", &format!("\n  data:\n    {labelled}\n"));
        std::fs::write(format!("{dir}/compose.yaml"), text).unwrap();
        Self { dir }
    }

    /// Type a command at a terminal, in a shell that does not know the password of the dashboard.
    fn typed(&self, command: &str) -> Ran {
        let command = command.replace("docker compose", compose());
        let shell = format!("cd {} && unset HERMES_DASHBOARD_PASSWORD; {command}", self.dir);
        let ran = run("script", &["-qec", &shell, "/dev/null"]);
        Ran { out: ran.out.replace('\r', ""), ..ran }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.typed("docker compose down -v -t 1");
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn the_commands_at_the_top_of_compose_yaml_do_what_they_say() {
    // What a scandir that is open changes is tested elsewhere.
    if open() {
        return;
    }
    let text = std::fs::read_to_string(format!("{ROOT}/compose.yaml")).unwrap();
    let commands = header(&text);
    let [up, create, start] = commands[..] else { panic!("{commands:?}") };
    let project = Project::new();
    project.typed(up).ok();
    let listed = || project.typed("docker compose exec gateway hermes-svc-list");
    until("the boot pass is over", 90, || listed().out.contains("default"));
    project.typed(create).ok();
    project.typed(start).ok();
    project.typed("docker compose ps").ok();
    let state = || project.typed("docker compose exec gateway hermes-svc-status -q default coder").code;
    until("both gateways are up", 90, || state() == 0);
    // The dashboard's container starts none.
    let other = project.typed("docker compose exec dashboard hermes-svc-start default").code(102);
    assert!(other.out.contains("this container owns no gateways"), "{}", other.out);
    // What was started comes back.
    project.typed("docker compose restart -t 90 gateway").ok();
    until("both gateways are back", 90, || state() == 0);
    project.typed("docker compose down -v -t 90").ok();
    assert_eq!(project.typed("docker compose ps -q").ok(), "");
}

/// Nothing here deploys to a swarm, so the command at the top is compared with the file.
#[test]
fn the_command_at_the_top_of_the_stack_reaches_what_the_file_deploys() {
    let text = std::fs::read_to_string(format!("{ROOT}/deploy/stack.yaml")).unwrap();
    let first = text.lines().next().unwrap_or_default();
    assert!(first.ends_with("docker stack deploy -c deploy/stack.yaml hermes"), "{first}");
    // The name of the stack comes before that of its network.
    assert_eq!(header(&text), ["docker run --rm --network hermes_api curlimages/curl http://gateway:8642/health"]);
    for part in ["\nservices:\n  gateway:\n", "\nnetworks:\n  api:\n    attachable: true\n", "API_SERVER_HOST: 0.0.0.0"]
    {
        assert!(text.contains(part), "{part}");
    }
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
