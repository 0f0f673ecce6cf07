//! The explanation for `-x`: the chain of causes, and the next command to type.

use super::{Doing, Manager, Status, held};
use crate::volume::home::Home;
use crate::volume::last_words;
use crate::volume::state::Prior;
use crate::volume::writable;
use crate::work::container;
use crate::work::note::Note;

/// Lines for a person. The first one is about the profile, the last one says what to do next.
pub fn lines(home: &Home, manager: &Manager, status: &Status) -> Vec<String> {
    let profile = &status.profile;
    let mut lines =
        vec![format!("{profile} is {}, and its intent is {}", status.doing.as_str(), status.intent.as_str())];
    let mut because = |text: String| lines.push(format!("  because {text}"));
    let volume = writable::hindrance(home, profile);
    match &volume {
        Ok(None) => {}
        Ok(Some(hindrance)) => because(hindrance.why.to_string()),
        Err(error) => because(error.text.clone()),
    }
    let hindrance = volume.unwrap_or_default();
    // If nothing can be written to the volume, the last line of the log is from an earlier run.
    let log = |tells: &str| {
        let told = || format!("its log {tells} why: {}", last_words::hint(home, profile));
        hindrance.is_none().then(told)
    };
    let disowned = status.notes.iter().find(|note| matches!(note, Note::DashboardContainer | Note::SkipRequested));
    let next = if !manager.is_s6 {
        because("no s6-svscan is running on the scandir: nothing is supervised".to_string());
        "start the container's /init, or s6-svscan, then: hermes-reconcile-all".to_string()
    } else if let Some(Note::OfHome(other)) = status.notes.iter().find(|note| matches!(note, Note::OfHome(_))) {
        because(format!("its slot belongs to home {}, not to {}", other.display(), home.path.display()));
        format!("hermes-svc-status -x -H {} {profile}", other.display())
    } else if let (Some(why), true) = (disowned, status.has_note(&Note::NotRegistered)) {
        because(container::disowned(why));
        format!(
            "hermes-svc-status -x {profile} in the container that owns it   (or, to start it here: hermes-svc-start {profile})"
        )
    } else if status.notes.iter().any(|note| matches!(note, Note::Link(_))) {
        because(home.no_such(profile).text);
        format!("mend the link, then: hermes-reconcile-one {profile}")
    } else if status.has_note(&Note::NoProfile) {
        because(format!("the profile is gone: there is no {}", home.shown(profile, crate::ground::profile::MARKER)));
        let tool = if disowned.is_some() { "hermes-svc-unregister" } else { "hermes-reconcile-one" };
        format!("{tool} {profile}")
    } else if status.has_note(&Note::NotRegistered) {
        because("it has no slot: nobody has registered it since the container started".to_string());
        format!("hermes-svc-start {profile}   (or, to leave it down: hermes-reconcile-one {profile})")
    } else if status.has_note(&Note::NotSupervised) {
        because("its slot is there, but no s6-supervise holds it".to_string());
        let tool = if disowned.is_some() { "hermes-svc-register -f" } else { "hermes-reconcile-one" };
        format!("{tool} {profile}")
    } else if status.has_note(&Note::Multiplexed) {
        because("default's gateway serves all profiles (multiplex_profiles)".to_string());
        "hermes-svc-status default".to_string()
    } else {
        match status.doing {
            Doing::Held => {
                because(status.held.as_deref().map_or_else(String::new, held::words));
                log("tells").into_iter().for_each(&mut because);
                match hindrance {
                    Some(_) => format!("hermes-svc-start -W {profile}"),
                    None => format!("mend the cause, then: hermes-svc-start -W {profile}"),
                }
            }
            Doing::Waiting | Doing::Draining if status.notes.iter().any(names_a_process) => {
                for note in &status.notes {
                    match note {
                        Note::Turn(before) => because(format!("it waits for its turn to start, {before} before it")),
                        Note::Memory => because("it is the next to start, and too little memory is left".to_string()),
                        Note::HeldBy(who) => {
                            because(format!("{who} serves it; this one takes over when that one goes"))
                        }
                        Note::Orphan(who) => {
                            because(format!("its supervisor was killed, and its last gateway still runs: {who}"))
                        }
                        _ => {}
                    }
                }
                format!("hermes-svc-status -F {profile}")
            }
            Doing::Draining if status.intent.starts() => {
                because(
                    "it was told to end, but nobody recorded that it shall stay down (s6-svc -d, hermes-svc-stop -k)"
                        .to_string(),
                );
                format!("hermes-svc-start -W {profile}")
            }
            Doing::Draining => {
                because(
                    "it was told to end and finishes its work, for at most the template's timeout-kill".to_string(),
                );
                format!("hermes-svc-stop -w {profile}")
            }
            Doing::Foreground => {
                because(
                    "the container's own command runs it (gateway run --no-supervise), and s6 does not".to_string(),
                );
                "nothing: to restart it, restart the container".to_string()
            }
            Doing::Down if status.has_note(&Note::BetweenTries) => {
                because("it has ended, and s6-supervise starts it again in a moment".to_string());
                log("may tell").into_iter().for_each(&mut because);
                format!("hermes-svc-status -F {profile}")
            }
            Doing::Down if status.intent.starts() => {
                because("somebody took it down without recording it (s6-svc -d, hermes-svc-stop -k)".to_string());
                log("may tell").into_iter().for_each(&mut because);
                format!("hermes-svc-start -W {profile}")
            }
            Doing::Down => {
                because(match status.intent {
                    Prior::Stopped => "the operator stopped it".to_string(),
                    Prior::None => "nobody has ever started it".to_string(),
                    Prior::Foreign => {
                        "its state file is a copy of another profile's: nobody has started it".to_string()
                    }
                    Prior::Invalid => {
                        format!("{} cannot be understood", home.shown(profile, crate::volume::state::FILE))
                    }
                    other => format!("its last word was {}, which does not start by itself", other.as_str()),
                });
                format!("hermes-svc-start -W {profile}")
            }
            Doing::Up | Doing::Waiting if !status.intent.starts() => {
                because(
                    "it was brought up without recording it (s6-svc -u): it will be down after the next boot"
                        .to_string(),
                );
                format!("hermes-svc-start {profile}   (to keep it up)")
            }
            Doing::Up if !status.ready => {
                because("it runs, and has not said that it serves".to_string());
                log("may tell").into_iter().for_each(&mut because);
                format!("hermes-svc-start -W {profile}")
            }
            Doing::Up | Doing::Waiting if hindrance.is_some() => format!("hermes-svc-status {profile}"),
            Doing::Up | Doing::Waiting => "nothing: all is well".to_string(),
        }
    };
    let next = hindrance.map_or(next.clone(), |hindrance| format!("{}, then: {next}", hindrance.remedy));
    // If this container owns no gateways, a start needs `-f`.
    let next = if disowned.is_some() { next.replace("hermes-svc-start ", "hermes-svc-start -f ") } else { next };
    lines.push(format!("  next: {next}"));
    lines
}

fn names_a_process(note: &Note) -> bool {
    matches!(note, Note::HeldBy(_) | Note::Memory | Note::Orphan(_) | Note::Turn(_))
}
