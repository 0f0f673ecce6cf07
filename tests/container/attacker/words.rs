//! Hostile bytes of the account on their way to a record, a terminal or a shell.

use super::{Siege, clean};
use crate::engine::until;

/// A Python program. It makes profile directories and files whose names and contents would deceive a reader, a terminal
/// or a shell.
const SPEAK: &str = r#"
import json, os
os.chdir("/opt/data/profiles")
escape = "\x1b[2J\x1b]0;owned\x07\r\u009b2J\u202e"
names = ["a\nreconcile: profile=default prior_state=running action=started port=1 prior_exit=clean", "a action=started",
    "$(touch ran-as-0)", "`touch ran-as-0`", ";touch ran-as-0", "'a'", '"a"', "..a", "-rf", "--help", "a\\nb", escape, "A b", "x" * 255,
    "gateway-coder", "a|b&c>d<e*?[]{}~!#", "default", ".hidden"]
for name in names:
    os.makedirs(name, exist_ok=True)
    open(name + "/SOUL.md", "w").write("soul")
os.makedirs(b"\xff\xfe", exist_ok=True)
forged = escape + "\nreconcile: done profiles=0"
open("coder/gateway_state.json", "w").write(json.dumps({"desired_state": forged, "gateway_state": forged, "pid": forged}))
open("writer/gateway_state.json", "w").write('{"desired_state": ' + forged)
open("writer/.env", "w").write("API_SERVER_ENABLED=1\nAPI_SERVER_PORT='" + forged + "'\n")
open("writer/config.yaml", "w").write("platforms: {api_server: {enabled: !" + escape + " 1}}\n")
open("../gateway_ports.json", "w").write(json.dumps({forged: 1, "coder": forged}))
os.makedirs("../logs/gateways/coder", exist_ok=True)
open("../logs/gateways/coder/current", "w").write(forged + "\n")
"#;

#[test]
fn nothing_that_the_account_writes_moves_a_cursor_or_forges_a_record() {
    let siege = Siege::of(&["coder", "writer"]);
    siege.root("hermes-svc-stop", &["-w", "coder", "writer"]).code(0);
    siege.container.exec_as("hermes", &["python3", "-c", SPEAK]).code(0);
    for (program, arguments) in [
        ("hermes-svc-status", &[][..]),
        ("hermes-svc-status", &["-x"]),
        ("hermes-svc-status", &["-j"]),
        ("hermes-svc-status", &["-c"]),
        ("hermes-reconcile-all", &[]),
        ("hermes-svc-start", &["coder"]),
        ("hermes-svc-stop", &["writer"]),
        ("hermes-port-alloc", &["-l"]),
        ("hermes-port-alloc", &["coder"]),
        ("hermes-fix-attrs", &["-v"]),
        ("hermes", &["-p", "coder", "gateway", "status"]),
        ("hermes", &["-p", "$(touch /tmp/traps/ran-as-0)", "gateway", "start"]),
        ("hermes", &["-p", "../../etc", "gateway", "restart"]),
        ("hermes", &["-p", "a\nb", "gateway", "stop"]),
    ] {
        siege.root(program, arguments);
    }
    let health = siege.container.inspect("{{json .Config.Healthcheck.Test}}");
    assert!(health.contains("hermes-svc-status"), "{health}");
    siege.restart();
    // The boot log, and then the container's own log.
    let log = siege.container.sh("cat /opt/data/logs/container-boot.log").ok();
    clean(&log);
    let lines: Vec<&str> = log.lines().collect();
    assert!(
        lines.iter().all(|line| line
            .split_whitespace()
            .nth(1)
            .is_some_and(|w| w.starts_with("profile=") || w == "done" || w == "begin")),
        "{log}"
    );
    assert!(!log.contains("port=1 "), "{log}");
    let logs = siege.container.logs();
    clean(&logs);
    assert_eq!(logs.lines().filter(|line| line.starts_with("reconcile: done")).count(), 2, "{logs}");
    until("only names of profiles have a slot", 10, || {
        siege.root("hermes-svc-list", &[]).out == "default\ncoder\ngateway-coder\nwriter\n"
    });
    siege.unharmed();
}
