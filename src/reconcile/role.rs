//! Is this container the one that owns the gateways? A dashboard beside it, on the same volume, must start none (G1 to G3).

use crate::process;
use crate::scandir;
use crate::settings::is_truthy;
use std::path::Path;

/// Why this container is not to own gateways, if so: the note of the `done` line.
pub fn why_not() -> Option<&'static str> {
    if std::env::var("HERMES_SKIP_PROFILE_RECONCILE").is_ok_and(|v| is_truthy(&v)) {
        return Some("skip-requested");
    }
    let command = command()?;
    (command.first().map(String::as_str) == Some("dashboard")).then_some("dashboard-container")
}

/// Was the container started as `gateway run`, to be supervised (A4)?
pub fn is_legacy_gateway_run() -> bool {
    let supervise = !std::env::var("HERMES_GATEWAY_NO_SUPERVISE").is_ok_and(|v| is_truthy(&v));
    supervise && command().is_some_and(|c| is_gateway_run(&c))
}

fn is_gateway_run(command: &[String]) -> bool {
    command.starts_with(&["gateway".to_string(), "run".to_string()]) && !command.iter().any(|a| a == "--no-supervise")
}

/// The container's command: the arguments behind `main-wrapper.sh` of PID 1, or of a child of it that belongs to the same
/// uid. Never of just any process: the account could start one of that name (G2), and a host sees those of all its
/// containers, which are in pid namespaces of their own.
fn command() -> Option<Vec<String>> {
    let owner = process::uid(1)?;
    let own_namespace = process::pid_namespace();
    let mut candidates = std::fs::read_dir("/proc").ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let near = pid == 1 || process::stat(pid).is_some_and(|stat| stat.parent == 1);
        // The real uid: /proc/PID itself shows the effective one, which is root's while the account runs `su`.
        let same_owner = || process::uid(pid) == Some(owner);
        let here = || match std::fs::read_link(entry.path().join("ns/pid")) {
            Ok(namespace) => Some(namespace.to_string_lossy().into_owned()) == own_namespace,
            // Not ours to look at: then only where there is no doubt that we are inside.
            Err(_) => scandir::s6_is_pid_1(),
        };
        (near && same_owner() && here()).then(|| entry.path())
    });
    candidates.find_map(|dir| behind_wrapper(&arguments(&dir)?))
}

fn arguments(process: &Path) -> Option<Vec<String>> {
    let raw = process::read(process.join("cmdline"))?;
    let text = raw.strip_suffix(b"\0").unwrap_or(&raw);
    Some(text.split(|b| *b == 0).map(|a| String::from_utf8_lossy(a).into_owned()).collect())
}

fn behind_wrapper(arguments: &[String]) -> Option<Vec<String>> {
    let wrapper = arguments.iter().position(|a| a == "main-wrapper.sh" || a.ends_with("/main-wrapper.sh"))?;
    let command = &arguments[wrapper + 1..];
    let hermes = command.first().is_some_and(|a| a == "hermes" || a.ends_with("/hermes"));
    Some(command[usize::from(hermes)..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_of(line: &str) -> Option<Vec<String>> {
        behind_wrapper(&line.split(' ').map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_is_what_stands_behind_the_wrapper() {
        for (line, gateway_run, dashboard) in [
            ("/init /opt/hermes/docker/main-wrapper.sh gateway run", true, false),
            (
                "/bin/sh -e /run/s6/basedir/scripts/rc.init top /opt/hermes/docker/main-wrapper.sh gateway run",
                true,
                false,
            ),
            ("/init /opt/hermes/docker/main-wrapper.sh hermes gateway run", true, false),
            ("/init /opt/hermes/docker/main-wrapper.sh gateway run --no-supervise", false, false),
            ("/init /opt/hermes/docker/main-wrapper.sh dashboard --port 1", false, true),
            ("/init /opt/hermes/docker/main-wrapper.sh sleep infinity", false, false),
            ("/init /opt/hermes/docker/main-wrapper.sh", false, false),
        ] {
            let command = command_of(line).unwrap();
            assert_eq!(is_gateway_run(&command), gateway_run, "{line}");
            assert_eq!(command.first().is_some_and(|c| c == "dashboard"), dashboard, "{line}");
        }
        assert_eq!(command_of("/usr/bin/vi not-main-wrapper.sh gateway run"), None);
    }
}
