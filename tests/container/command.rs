use std::time::Duration;

use crate::engine::{Container, KEY, Ran, Volume, docker, image, once, run, until};

/// `docker run -it` as somebody at a terminal would, by way of script(1).
fn at_a_terminal(command: &str) -> Ran {
    let command = format!("docker run --rm -it {} {command}", image());
    let ran = run("script", &["-qec", &command, "/dev/null"]);
    Ran { out: ran.out.replace('\r', ""), ..ran }
}

#[test]
fn an_executable_is_run_as_itself_by_the_account_and_its_exit_code_is_the_containers() {
    let ran = once(&[], &["sh", "-c", "id -un; echo $HOME $HERMES_HOME; pwd; exit 37"]).code(37);
    assert!(ran.out.contains("hermes\n/opt/data /opt/data\n/opt/data\n"), "{}", ran.out);
}

#[test]
fn a_working_directory_that_was_asked_for_is_kept() {
    assert!(once(&["-w", "/srv"], &["pwd"]).code(0).out.contains("/srv\n"));
}

#[test]
fn the_containers_variables_reach_the_command() {
    let ran = once(&["-e", "GREETING=two  words\nand a line"], &["sh", "-c", "echo \"[$GREETING]\""]).code(0);
    assert!(ran.out.contains("[two  words\nand a line]"), "{}", ran.out);
}

#[test]
fn anything_else_is_for_the_client() {
    assert!(once(&[], &["--version"]).code(0).out.contains("Hermes Agent v0.19.0"));
    let ran = once(&[], &["no-such-subcommand"]).code(2);
    assert!(ran.err.contains("invalid choice: 'no-such-subcommand'"), "{}", ran.err);
    // Nobody has told it whom to ask, and it says so.
    let ran = once(&[], &["chat", "-q", "hi"]).code(1);
    assert!(ran.out.contains("hermes setup"), "{}", ran.out);
}

#[test]
fn no_command_is_the_client() {
    let ran = once(&[], &[]).code(1);
    assert!(ran.out.contains("hermes setup"), "{}", ran.out);
}

#[test]
fn a_parked_container_ends_at_sigterm_and_not_by_force() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    let took = container.stop(60);
    assert!(took < Duration::from_secs(40), "{took:?}");
    assert_ne!(container.exit_code(), 137);
    assert_eq!(container.inspect("{{.State.OOMKilled}}"), "false");
}

#[test]
fn a_terminal_reaches_the_command_and_its_exit_code_comes_back() {
    let ran = at_a_terminal("sh -c 'test -t 0 && test -t 1 && test -t 2 && tty; ps -o tpgid= -p $$; exit 5'").code(5);
    assert!(ran.out.contains("/dev/pts/"), "{}", ran.out);
    // In the foreground of its terminal, or Ctrl-C and raw mode would not be its own.
    assert!(!ran.out.lines().any(|line| line.trim() == "-1"), "{}", ran.out);
}

#[test]
fn the_terminal_interface_gets_its_terminal() {
    let volume = Volume::new();
    volume.script("umask 077; echo OPENROUTER_API_KEY=sk-or-v1-0123456789abcdef >.env");
    let name = crate::engine::unique("tui");
    let command = format!("docker run --rm -it --name {name} -v {} {} --tui", volume.at_home(), image());
    let mut terminal = std::process::Command::new("timeout")
        .args(["-k", "5", "120", "script", "-qec", &command, "/dev/null"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Node has the terminal, and it is raw: what is typed is for the interface to show.
    let raw = || {
        let script =
            "pid=$(pgrep -f tui_dist/entry.js | head -n 1); [ -n \"$pid\" ]; stty -a <\"$(readlink /proc/$pid/fd/0)\"";
        let ran = docker(&["exec", "--user", "hermes", &name, "sh", "-ec", script]);
        ran.code == 0 && ran.out.contains("-icanon")
    };
    let start = std::time::Instant::now();
    while !raw() && start.elapsed() < Duration::from_secs(90) {
        std::thread::sleep(Duration::from_millis(500));
    }
    let there = raw();
    docker(&["rm", "-f", &name]);
    drop(terminal.stdin.take());
    let _ = terminal.wait();
    assert!(there, "the interface is not up, or has no raw terminal");
}

#[test]
fn gateway_run_is_the_supervised_gateway_of_default_and_says_so() {
    let key = format!("API_SERVER_KEY={KEY}");
    let container = Container::start(&["-e", "API_SERVER_ENABLED=true", "-e", &key], &["gateway", "run"]);
    container.wait_for_log("the gateway of default runs under s6");
    until("default is healthy", 180, || container.healthy("default"));
    assert_eq!(container.intent("default"), "running");
    // The command parks; the gateway is s6's to restart.
    let pid = container.status("default", "pid");
    container.exec(&["kill", "-9", &pid.to_string()]).code(0);
    until("another process is up", 60, || {
        let now = container.status("default", "pid");
        now.is_number() && now != pid
    });
    assert_eq!(container.inspect("{{.State.Running}}"), "true");
}

#[test]
fn gateway_run_of_a_named_profile_serves_that_profile() {
    let volume = Volume::with_profiles(&["viewer"]);
    let container = Container::start(&["-v", &volume.at_home()], &["-p", "viewer", "gateway", "run"]);
    container.wait_for_log("the gateway of viewer runs under s6");
    assert_eq!(container.exec(&["hermes-svc-list", "-u"]).ok(), "viewer");
}

#[test]
fn gateway_run_no_supervise_is_the_gateway_itself() {
    let container = Container::start(&[], &["gateway", "run", "--no-supervise"]);
    container.wait_for_log("Hermes Gateway Starting");
    assert_eq!(container.exec(&["hermes-svc-list", "-u"]).ok(), "");
    let processes = container.exec(&["ps", "-eo", "args"]).ok();
    assert!(processes.contains("gateway run --no-supervise"), "{processes}");
    container.stop(60);
    assert_ne!(container.exit_code(), 137);
}

#[test]
fn a_hundred_orphans_leave_no_zombie() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    container.sh_as_hermes("for i in $(seq 100); do (sleep 0.2 & exec true) & done; wait").code(0);
    until("no zombie is left", 30, || !container.exec(&["ps", "-eo", "stat="]).out.contains('Z'));
}
