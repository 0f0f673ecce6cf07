//! Does this container own the gateways? A dashboard container beside it, on the same volume, must start none (G1 to
//! G3).

use crate::ground::environment::is_truthy;
use crate::ground::error::{Error, Kind, Result};
use crate::ground::process;
use crate::ground::profile::{Profile, home_of};
use crate::work::note::Note;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::OnceLock;

/// Is s6 the supervisor of this container? The answer is yes if `/proc/1/comm` is `s6-svscan` *and* `/run/s6/basedir`
/// is a directory. We never look at `/proc/1/exe`, and never guess from other signs of a container (C1, C2, C4).
///
/// # Errors
/// 111 if one of the two could not be looked at.
pub fn s6_is_pid_1() -> Result<bool> {
    let base = Path::new("/run/s6/basedir");
    if process::name(1)?.as_deref() != Some("s6-svscan") {
        return Ok(false);
    }
    match std::fs::metadata(base) {
        Ok(found) => Ok(found.is_dir()),
        Err(e) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&e.kind()) => Ok(false),
        Err(e) => Err(Error::system("stat", base.display(), e)),
    }
}

/// Is s6 about to start here? In the first second of a container, process 1 is s6-overlay's `/init` or one of the
/// programs that it executes in turn.
///
/// # Errors
/// 111 if process 1 cannot be looked at.
pub fn is_starting() -> Result<bool> {
    let of_overlay =
        |word: &String| word == "/init" || ["/s6-overlay/", "s6-linux-init"].iter().any(|p| word.contains(p));
    Ok(text(process::arguments(1)?).iter().take(2).any(of_overlay) || s6_is_pid_1()?)
}

/// Why this container is not to own gateways. `None` if it is to own them. The reason is the note of the `done` line.
///
/// # Errors
/// 111 if the container's command cannot be looked at.
pub fn why_not() -> Result<Option<Note>> {
    if std::env::var("HERMES_SKIP_PROFILE_RECONCILE").is_ok_and(|v| is_truthy(&v)) {
        return Ok(Some(Note::SkipRequested));
    }
    let command = command()?.unwrap_or_default();
    Ok((command.first().map(String::as_str) == Some("dashboard")).then_some(Note::DashboardContainer))
}

/// The sentence with which the tools say that this container owns no gateways, with the reason of `why_not`.
pub fn disowned(why: &Note) -> String {
    let cause = match why {
        Note::SkipRequested => "HERMES_SKIP_PROFILE_RECONCILE is true",
        _ => "its command is the dashboard",
    };
    format!("this container owns no gateways: {cause}")
}

/// Check that this container is to own gateways. With `force` nothing is checked.
///
/// # Errors
/// 102 if it is not to own gateways, 111 as for `why_not`.
pub fn require_owner(force: bool) -> Result<()> {
    match if force { None } else { why_not()? } {
        None => Ok(()),
        Some(why) => Err(Error::new(Kind::WrongState, format!("{} (-f does it all the same)", disowned(&why)))),
    }
}

/// Was the container started as `gateway run`? Then the gateway of `default` is to be supervised (A4).
///
/// # Errors
/// 111 if the container's command cannot be looked at.
pub fn is_legacy_gateway_run() -> Result<bool> {
    // With HERMES_HOME set to the directory of a named profile, the command means that profile.
    let home = std::env::var_os("HERMES_HOME").unwrap_or_default();
    let of_default = home_of(Path::new(&home)).1.is_default();
    Ok(!is_unsupervised() && of_default && command()?.is_some_and(|command| is_gateway_run(&command)))
}

/// The profile whose gateway is the container's own command, `gateway run --no-supervise`. s6 must not run a second
/// gateway for this profile.
///
/// # Errors
/// 111 if the container's command cannot be looked at.
pub fn in_foreground() -> Result<Option<Profile>> {
    Ok(command()?.and_then(|command| foreground(&command, is_unsupervised())))
}

/// Check that the gateway of this profile is not the container's own command.
///
/// # Errors
/// 102 if the container's own command is the gateway of this profile, 111 as for `in_foreground`.
pub fn refuse_foreground(profile: &Profile) -> Result<()> {
    match in_foreground()? {
        Some(foreground) if foreground == *profile => {
            let text = format!("{profile} is run by the container's own command (gateway run --no-supervise)");
            Err(Error::new(Kind::WrongState, text))
        }
        _ => Ok(()),
    }
}

fn is_unsupervised() -> bool {
    std::env::var("HERMES_GATEWAY_NO_SUPERVISE").is_ok_and(|v| is_truthy(&v))
}

fn foreground(command: &[String], unsupervised: bool) -> Option<Profile> {
    let (mut name, mut words) = (None, Vec::new());
    let mut rest = command.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        match word {
            "-p" | "--profile" => name = rest.next(),
            _ => match word.strip_prefix("--profile=") {
                Some(value) => name = Some(value),
                None => words.push(word),
            },
        }
    }
    let runs = words.starts_with(&["gateway", "run"]) && (unsupervised || words.contains(&"--no-supervise"));
    runs.then(|| name.map_or(Some(Profile::default_profile()), |name| Profile::from_bytes(name.as_bytes()))).flatten()
}

fn is_gateway_run(command: &[String]) -> bool {
    command.starts_with(&["gateway".to_string(), "run".to_string()]) && !command.iter().any(|a| a == "--no-supervise")
}

/// The container's command: the arguments behind `main-wrapper.sh` of process 1, or of a child of process 1 with the
/// same uid. Any other process may be one of the account's that has taken this name (G2). On a host, process 1 may have
/// children of other containers, which are in other pid namespaces. A container keeps its command, so each run of a tool
/// looks at the processes once.
fn command() -> Result<Option<Vec<String>>> {
    static COMMAND: OnceLock<Option<Vec<String>>> = OnceLock::new();
    if COMMAND.get().is_none() {
        let _ = COMMAND.set(look_up_command()?);
    }
    Ok(COMMAND.get().cloned().flatten())
}

fn look_up_command() -> Result<Option<Vec<String>>> {
    let own_namespace = process::pid_namespace();
    for pid in std::iter::once(1).chain(process::children(1)?) {
        let Some(command) = behind_wrapper(&text(process::arguments(pid)?)) else { continue };
        // The real uid: /proc/PID itself shows the effective one, which is root's while the account runs `su`.
        let same_owner = process::uid(pid)? == process::uid(1)?;
        let here = match std::fs::read_link(format!("/proc/{pid}/ns/pid")) {
            Ok(namespace) => Some(namespace.to_string_lossy().into_owned()) == own_namespace,
            // If we may not look at its namespace, the process counts only if s6 is PID 1, which shows that we are in
            // the container.
            Err(_) => s6_is_pid_1()?,
        };
        if same_owner && here {
            return Ok(Some(command));
        }
    }
    Ok(None)
}

fn text(arguments: Vec<Vec<u8>>) -> Vec<String> {
    arguments.iter().map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
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
    fn the_profile_in_the_foreground_is_that_of_an_unsupervised_gateway_run() {
        for (command, variable, profile) in [
            ("gateway run --no-supervise", false, Some("default")),
            ("gateway run", true, Some("default")),
            ("gateway run", false, None),
            ("-p coder gateway run --no-supervise", false, Some("coder")),
            ("gateway run --profile=coder --replace", true, Some("coder")),
            ("gateway run --no-supervise --profile coder", false, Some("coder")),
            ("gateway run --no-supervise -p ../coder", false, None),
            ("gateway status --no-supervise", false, None),
            ("dashboard", true, None),
            ("", true, None),
        ] {
            let words: Vec<String> = command.split_ascii_whitespace().map(str::to_string).collect();
            assert_eq!(
                foreground(&words, variable),
                profile.and_then(|p| Profile::from_bytes(p.as_bytes())),
                "{command}"
            );
        }
    }

    /// Rows A4, G2 of docs/failures.md.
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
