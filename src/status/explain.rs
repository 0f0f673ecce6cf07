//! `-x`: the chain of causes, and the next command to type.

use super::{Doing, Manager, Status, held};
use crate::home::Home;
use crate::lifecycle::tail;
use crate::state::Prior;

/// Lines for a person, the first one about the profile, the last one what to do next.
pub fn lines(home: &Home, manager: &Manager, status: &Status) -> Vec<String> {
    let profile = &status.profile;
    let mut lines =
        vec![format!("{profile} is {}, and its intent is {}", status.doing.as_str(), status.intent.as_str())];
    let mut because = |text: String| lines.push(format!("  because {text}"));
    let next = if !manager.is_s6 {
        because("no s6-svscan is running on the scandir: nothing is supervised".to_string());
        "start the container's /init, or s6-svscan, then: hermes-reconcile-all".to_string()
    } else if status.has_note("no-profile") {
        because(format!("the profile is gone: there is no {}", home.shown(profile, crate::profile::MARKER)));
        format!("hermes-reconcile-one {profile}")
    } else if status.has_note("not-registered") {
        because("it has no slot: nobody has registered it since the container started".to_string());
        format!("hermes-svc-start {profile}   (or, to leave it down: hermes-reconcile-one {profile})")
    } else if status.has_note("not-supervised") {
        because("its slot is there, but no s6-supervise holds it".to_string());
        format!("hermes-reconcile-one {profile}")
    } else if status.has_note("multiplexed") {
        because("default's gateway serves all profiles (multiplex_profiles)".to_string());
        "hermes-svc-status default".to_string()
    } else {
        match status.doing {
            Doing::Held => {
                because(status.held.as_deref().map_or_else(String::new, held::words));
                because(format!("its log tells why: {}", tail::hint(home, profile)));
                format!("mend the cause, then: hermes-svc-start -W {profile}")
            }
            Doing::Waiting | Doing::Draining if status.notes.iter().any(|n| n.contains(' ')) => {
                for note in &status.notes {
                    match (note.strip_prefix("held by "), note.strip_prefix("orphan ")) {
                        (Some(who), _) => because(format!("{who} serves it; this one takes over when that one goes")),
                        (_, Some(who)) => {
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
            Doing::Down if status.has_note("between-tries") => {
                because("it has ended, and s6-supervise starts it again in a moment".to_string());
                because(format!("its log may tell why: {}", tail::hint(home, profile)));
                format!("hermes-svc-status -F {profile}")
            }
            Doing::Down if status.intent.starts() => {
                because("somebody took it down without recording it (s6-svc -d, hermes-svc-stop -k)".to_string());
                because(format!("its log may tell why: {}", tail::hint(home, profile)));
                format!("hermes-svc-start -W {profile}")
            }
            Doing::Down => {
                because(match status.intent {
                    Prior::Stopped => "the operator stopped it".to_string(),
                    Prior::None => "nobody has ever started it".to_string(),
                    Prior::Invalid => format!("{} cannot be understood", home.shown(profile, crate::state::FILE)),
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
                because(format!("its log may tell why: {}", tail::hint(home, profile)));
                format!("hermes-svc-start -W {profile}")
            }
            Doing::Up | Doing::Waiting => "nothing: all is well".to_string(),
        }
    };
    lines.push(format!("  next: {next}"));
    lines
}
