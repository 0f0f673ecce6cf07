use crate::engine::{Container, Volume, until};

/// Row H11 of docs/failures.md.
#[test]
fn each_line_of_a_gateway_in_the_containers_log_says_whose_it_is_and_an_event_is_told() {
    let volume = Volume::with_profiles(&["coder", "writer"]);
    volume.script("printf '#!/bin/sh\\necho \"$(id -un) $* $(cat)\" >>/opt/data/events\\n' >tell; chmod 755 tell");
    let options = ["-v", &volume.at_home(), "-e", "HERMES_ON_EVENT=/opt/data/tell"];
    let container = Container::start(&options, &["sleep", "infinity"]);
    container.exec(&["hermes-svc-start", "coder", "writer"]).code(0);
    for name in ["coder", "writer"] {
        container.wait_for_log(&format!("{name} | run: {name} starts, "));
        container.wait_for_log(&format!("{name} | hermes-run-gateway: info: {name} in /opt/data/profiles/{name}, "));
    }
    let pid = container.status("coder", "pid").to_string();
    container.exec(&["kill", "-KILL", &pid]).code(0);
    container.wait_for_log("coder | finish: coder died of SIGKILL after ");
    let events = || container.sh("cat /opt/data/events 2>/dev/null || :").ok();
    until("the recovery", 240, || events().lines().count() == 2);
    let events = events();
    let (died, recovered) = events.split_once('\n').unwrap();
    assert!(died.starts_with("hermes died coder {\"time\":\"") && died.contains("\"died of SIGKILL after "), "{died}");
    assert!(recovered.starts_with("hermes recovered coder {\"time\":\""), "{recovered}");
    // Nobody else's line begins so.
    let logs = container.logs();
    let strange = logs.lines().filter(|line| line.contains("hermes-run-gateway: ") && !line.contains(" | "));
    assert_eq!(strange.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn the_profile_in_front_of_the_lines_can_be_left_out() {
    let volume = Volume::with_profiles(&["coder"]);
    let options = ["-v", &volume.at_home(), "-e", "HERMES_LOG_PREFIX=0"];
    let container = Container::start(&options, &["sleep", "infinity"]);
    container.exec(&["hermes-svc-start", "coder"]).code(0);
    container.wait_for_log("\nrun: coder starts, ");
    assert!(!container.logs().contains("coder | "));
    assert_eq!(container.exec(&["pgrep", "-c", "-f", "hermes-run-logger -L"]).out.trim(), "0");
}

#[test]
fn a_shell_in_the_container_completes_the_tools_and_has_their_pages() {
    let volume = Volume::with_profiles(&["coder"]);
    let container = Container::on(&volume);
    // Without a terminal the shell warns of that on standard error.
    let complete = "COMP_WORDS=(hermes-svc-start --o) COMP_CWORD=1; _hermes_s6; echo \"${COMPREPLY[@]}\"
        COMP_WORDS=(hermes-svc-stop c) COMP_CWORD=1; _hermes_s6; echo \"${COMPREPLY[@]}\"
        complete -p hermes-svc-status";
    for user in ["root", "hermes"] {
        let ran = container.exec_as(user, &["bash", "-ic", complete]).code(0);
        assert_eq!(ran.out, "--once\ncoder\ncomplete -F _hermes_s6 hermes-svc-status\n", "{}", ran.err);
    }
    let pages = "cd /usr/local/bin; for tool in hermes-*; do
            [ $tool = hermes-s6 ] || man $tool 2>&1 | grep -qi \"^$tool(8)\" || echo $tool
        done
        man 7 hermes-services | head -n 1; man hermes-profile | head -n 1";
    let ran = container.sh(pages).code(0);
    assert_eq!(ran.err, "");
    let said = ran.out;
    assert!(said.starts_with("HERMES-SERVICES(7)") && said.contains("\nHERMES-PROFILE(5)"), "{said}");
    assert_eq!(said.trim_end().lines().count(), 2, "{said}");
}
