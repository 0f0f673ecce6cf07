use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::engine::{Container, KEY, Ran, Volume, client, docker, image, label, once, run, until};

/// `docker run -it`, or podman's, at a terminal, which script(1) provides.
fn at_a_terminal(command: &str) -> Ran {
    let command = format!("{} run --rm -it --label {} {} {command}", client(), label(), image());
    let ran = run("script", &["-qec", &command, "/dev/null"]);
    Ran { out: ran.out.replace('\r', ""), ..ran }
}

/// The same. When the output ends with `when`, `keys` are typed.
fn typed_at_a_terminal(command: &str, when: &str, keys: &[u8]) -> Ran {
    let command = format!("{} run --rm -it --label {} {} {command}", client(), label(), image());
    let mut script = Command::new("timeout")
        .args(["-k", "5", "120", "script", "-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script");
    let (mut keyboard, mut screen) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let (mut out, mut byte) = (Vec::new(), [0]);
    while !out.ends_with(when.as_bytes()) && screen.read(&mut byte).is_ok_and(|read| read == 1) {
        out.push(byte[0]);
    }
    keyboard.write_all(keys).unwrap();
    let _ = screen.read_to_end(&mut out);
    let code = script.wait().unwrap().code().unwrap_or(-1);
    Ran { code, out: String::from_utf8_lossy(&out).replace('\r', ""), err: String::new() }
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
fn the_commands_standard_input_is_the_containers() {
    let command = format!("printf 'two  words' | {} run --rm -i {} cat", client(), image());
    assert!(run("sh", &["-c", &command]).code(0).out.ends_with("two  words"));
}

#[test]
fn the_containers_variables_reach_the_command_and_the_gateways_to_the_last_byte() {
    let options = ["-e", "T_EMPTY=", "-e", "T_LINES= two\n\n", "-e", "T_TAB=\t"];
    let container = Container::start(&options, &["sh", "-c", "echo $$ >/tmp/command; while :; do sleep 1; done"]);
    container.exec(&["hermes-svc-start", "-w", "default"]).code(0);
    // The services come up after the boot pass, and the command starts after them.
    until("the command runs", 60, || container.exec(&["test", "-s", "/tmp/command"]).code == 0);
    let command = container.exec(&["cat", "/tmp/command"]).ok();
    for pid in [command, container.status("default", "pid").to_string()] {
        let environ = format!("tr '\\0' '~' </proc/{pid}/environ | tr '~\\n\\t' '\\n^>' | grep ^T_ | sort");
        assert_eq!(container.sh_as_hermes(&environ).ok(), "T_EMPTY=\nT_LINES= two^^\nT_TAB=>");
    }
}

#[test]
fn anything_else_is_for_the_client() {
    assert!(once(&[], &["--version"]).code(0).out.contains("Hermes Agent v0.19.0"));
    let ran = once(&[], &["no-such-subcommand"]).code(2);
    assert!(ran.err.contains("invalid choice: 'no-such-subcommand'"), "{}", ran.err);
    // No model is configured, and the client says so.
    let ran = once(&[], &["chat", "-q", "hi"]).code(1);
    assert!(ran.out.contains("hermes setup"), "{}", ran.out);
}

#[test]
fn no_command_at_a_terminal_is_the_client() {
    // The client asks whether it is to be set up now, and ends with 1 if it is not.
    let ran = typed_at_a_terminal("", "Run:  hermes setup", b"n\n").code(1);
    assert!(ran.out.contains("isn't configured yet"), "{}", ran.out);
}

/// Row F10 of docs/failures.md.
#[test]
fn a_parked_container_ends_at_sigterm_and_not_by_force() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    let took = container.stop(60);
    assert!(took < Duration::from_secs(40), "{took:?}");
    assert_ne!(container.exit_code(), 137);
    assert_eq!(container.inspect("{{.State.OOMKilled}}"), "false");
}

#[test]
fn whatever_the_command_is_sigterm_ends_the_container_with_its_gateways_drained() {
    for (options, command) in [(&["-i", "-t"][..], &["bash"][..]), (&[], &["gateway", "run"])] {
        let container = Container::start(options, command);
        container.exec(&["hermes-svc-start", "-w", "default"]).code(0);
        container.stop(60);
        assert_ne!(container.exit_code(), 137, "{command:?}");
        assert!(container.logs().contains("profile=default action=stopped"), "{}", container.logs());
    }
}

#[test]
fn ctrl_c_without_a_terminal_drains_the_gateways_and_what_is_not_meant_to_end_it_does_not() {
    let container = Container::start(&[], &["gateway", "run"]);
    until("default is up", 60, || container.state("default") == "up");
    for signal in ["HUP", "QUIT", "WINCH"] {
        docker(&["kill", "-s", signal, &container.name]).code(0);
    }
    // A restart can only be carried out in a container that is not being stopped.
    container.exec(&["hermes-svc-restart", "-w", "default"]).code(0);
    container.exec(&["hermes-svc-status", "-c"]).code(0);
    docker(&["kill", "-s", "INT", &container.name]).code(0);
    until("it has ended", 60, || container.inspect("{{.State.Running}}") == "false");
    assert_ne!(container.exit_code(), 137);
    assert!(container.logs().contains("profile=default action=stopped"), "{}", container.logs());
}

#[test]
fn ctrl_c_at_a_terminal_is_for_the_command_and_ends_it() {
    // The word is split in two in the command, because script(1) may print the command itself.
    let ran = typed_at_a_terminal("sh -c 'echo RE\"\"ADY; exec sleep 1000'", "READY", b"\x03").code(130);
    assert!(ran.out.contains("READY"), "{}", ran.out);
}

#[test]
fn a_terminal_reaches_the_command_and_its_exit_code_comes_back() {
    let ran = at_a_terminal("sh -c 'test -t 0 && test -t 1 && test -t 2 && tty; ps -o tpgid= -p $$; exit 5'").code(5);
    assert!(ran.out.contains("/dev/pts/"), "{}", ran.out);
    // The command is in the foreground of its terminal. Otherwise Ctrl-C and raw mode would not work for it.
    assert!(!ran.out.lines().any(|line| line.trim() == "-1"), "{}", ran.out);
}

#[test]
fn the_terminal_interface_gets_its_terminal() {
    let key = "OPENROUTER_API_KEY=sk-or-v1-0123456789abcdef";
    let container = Container::launch(&["-i", "-t", "-e", key], &["--tui"]);
    // The interface runs in the foreground of its terminal, and has set it to raw mode, so it shows the typed
    // characters itself.
    until("the interface has its terminal", 120, || {
        let processes = container.exec(&["ps", "-eo", "tty,stat,args"]).out;
        let node = processes.lines().find(|line| line.contains("tui_dist/entry.js"));
        node.is_some_and(|line| line.starts_with("pts/0") && line.contains('+'))
            && container.exec(&["stty", "-a", "-F", "/dev/pts/0"]).out.contains("-icanon")
    });
}

/// Rows F10, F11 of docs/failures.md.
#[test]
fn gateway_run_is_the_supervised_gateway_of_default_and_says_so() {
    let key = format!("API_SERVER_KEY={KEY}");
    let container = Container::start(&["-e", "API_SERVER_ENABLED=true", "-e", &key], &["gateway", "run"]);
    container.wait_for_log("the gateway of default runs under s6");
    until("default is healthy", 180, || container.healthy("default"));
    assert_eq!(container.intent("default"), "running");
    // The command only waits. s6 restarts the gateway.
    let pid = container.status("default", "pid");
    container.exec(&["kill", "-9", &pid.to_string()]).code(0);
    until("another process is up", 60, || {
        let now = container.status("default", "pid");
        now.is_number() && now != pid
    });
    assert_eq!(container.inspect("{{.State.Running}}"), "true");
    // The command starts the gateway anew at every start of the container.
    container.exec(&["hermes-svc-stop", "-w", "default"]).code(0);
    docker(&["restart", "-t", "90", &container.name]).code(0);
    until("default is up again", 90, || container.state("default") == "up");
}

/// Row D7 of docs/failures.md.
#[test]
fn gateway_run_of_a_named_profile_serves_that_profile() {
    let volume = Volume::with_profiles(&["viewer"]);
    let container = Container::start(&["-v", &volume.at_home()], &["-p", "viewer", "gateway", "run"]);
    container.wait_for_log("the gateway of viewer runs under s6");
    assert_eq!(container.exec(&["hermes-svc-list", "-u"]).ok(), "viewer");
}

#[test]
fn gateway_run_no_supervise_is_the_gateway_itself() {
    for (options, command) in [
        (&[][..], &["gateway", "run", "--no-supervise"][..]),
        (&["-e", "HERMES_GATEWAY_NO_SUPERVISE=1"], &["gateway", "run"]),
    ] {
        let container = Container::start(options, command);
        container.wait_for_log("Hermes Gateway Starting");
        assert_eq!(container.exec(&["hermes-svc-list", "-u"]).ok(), "");
        let processes = container.exec(&["ps", "-eo", "args"]).ok();
        assert!(processes.contains(&format!("/hermes {}", command.join(" "))), "{processes}");
        container.stop(60);
        assert_ne!(container.exit_code(), 137);
    }
}

/// Row F17 of docs/failures.md.
#[test]
fn a_hundred_orphans_leave_no_zombie() {
    let container = Container::start(&[], &["sleep", "infinity"]);
    let pids = container
        .sh_as_hermes("for i in $(seq 100); do (sleep 5 >/dev/null 2>&1 & echo $!; exec true) & done; wait")
        .ok();
    let pids: Vec<_> = pids.lines().collect();
    assert_eq!(pids.len(), 100);
    // A zombie keeps its pid, so its directory in /proc would still be there.
    let still = format!("cd /proc; ls -d {} 2>/dev/null || true", pids.join(" "));
    assert_ne!(container.sh(&still).ok(), "");
    until("every one has been reaped", 60, || container.sh(&still).ok().is_empty());
}
