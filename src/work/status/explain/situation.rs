//! The situations in which a profile can be, as a table. The first situation that fits says why, and what to type next.

use super::{Case, Explanation};
use crate::ground::profile::MARKER;
use crate::volume::mode::{self, Mode};
use crate::volume::settings::Complaints;
use crate::volume::state::{self, Prior};
use crate::work::container;
use crate::work::note::Note;
use crate::work::status::table::duration;
use crate::work::status::{Doing, held};

/// A situation: does it fit, and what is to be said?
struct Situation {
    fits: fn(&Case) -> bool,
    say: fn(&Case, &mut Explanation),
}

/// Every situation. The order matters: the first ones are about the slot, and hide what s6 says of it.
const SITUATIONS: &[Situation] = &[
    Situation { fits: |c| c.manager.starting, say: starting },
    Situation { fits: |c| !c.manager.is_s6 && c.manager.left == 0, say: no_svscan },
    Situation { fits: |c| c.status.is_others(), say: of_another_home },
    Situation { fits: |c| c.disowned.is_some() && c.status.has_note(&Note::NotRegistered), say: disowned },
    Situation { fits: |c| c.status.notes.iter().any(|note| matches!(note, Note::Link(_))), say: link },
    Situation { fits: |c| c.status.has_note(&Note::NoProfile), say: no_profile },
    Situation { fits: |c| c.status.doing == Doing::Foreground, say: foreground },
    Situation { fits: |c| c.status.has_note(&Note::WantedButDown) && c.port_conflict().is_some(), say: port_conflict },
    Situation { fits: |c| c.status.has_note(&Note::NotRegistered), say: not_registered },
    Situation { fits: |c| c.status.has_note(&Note::NotSupervised), say: not_supervised },
    Situation { fits: |c| c.status.has_note(&Note::RootLeft) && c.status.intent == Prior::Invalid, say: hidden },
    Situation { fits: |c| c.status.has_note(&Note::Multiplexed), say: multiplexed },
    Situation { fits: |c| c.status.has_note(&Note::Frozen), say: frozen },
    Situation { fits: |c| c.status.held.as_deref().is_some_and(held::is_out_of_memory), say: out_of_memory },
    Situation { fits: |c| c.status.doing == Doing::Held, say: is_held },
    Situation { fits: |c| c.orphan().is_some(), say: orphan },
    Situation { fits: |c| c.status.doing != Doing::Up && c.served_by().is_some(), say: served_elsewhere },
    Situation { fits: |c| c.status.has_note(&Note::Memory), say: memory },
    Situation { fits: |c| c.status.notes.iter().any(|note| matches!(note, Note::Turn(_))), say: turn },
    Situation { fits: |c| c.status.doing == Doing::Draining, say: draining },
    Situation { fits: |c| c.status.has_note(&Note::BetweenTries), say: between_tries },
    Situation { fits: |c| c.status.is_left_down(), say: left_down },
    Situation { fits: |c| c.status.doing == Doing::Down && c.status.intent.starts(), say: wanted_but_down },
    Situation { fits: |c| c.status.doing == Doing::Down, say: down },
    Situation { fits: |c| !c.status.intent.starts(), say: up_without_intent },
    Situation { fits: |c| c.status.complaints.short_key, say: short_key },
    Situation { fits: |c| !c.status.ready, say: not_ready },
    Situation { fits: |c| c.status.complaints != Complaints::default(), say: bad_config },
    Situation { fits: |c| !c.status.troubles.is_empty(), say: trouble },
    Situation { fits: |_| true, say: |_, found| found.next = "nothing: all is well".to_string() },
];

/// Say why, and what to do next.
pub(super) fn say(case: &Case, found: &mut Explanation) {
    if let Some(situation) = SITUATIONS.iter().find(|situation| (situation.fits)(case)) {
        (situation.say)(case, found);
    }
    if case.status.has_note(&Note::NoAutostart) && !case.status.is_left_down() {
        found.because.push(format!("a start counts until the next boot: {LEFT_OUT}"));
    }
    if case.status.doing == Doing::Up && case.status.deaths.count > 0 {
        let (count, last) = (case.status.deaths.count, case.status.deaths.last.as_deref().unwrap_or("unknown"));
        let times = if count == 1 { "once".to_string() } else { format!("{count} times") };
        found.because.push(match case.status.deaths.end_in_memory() {
            true => format!(
                "s6-supervise started it again: it died {times}, the last time by the kernel, for memory: {MORE_MEMORY}"
            ),
            false => format!("s6-supervise started it again: it died {times}, the last time with {last}"),
        });
    }
}

const MORE_MEMORY: &str = "give the container more memory, or raise HERMES_GATEWAY_MEMORY if that is set";

const LEFT_OUT: &str = "HERMES_AUTOSTART_PROFILES leaves it out";

fn starting(_: &Case, found: &mut Explanation) {
    found.because.push("s6 is starting: the container has just been started".to_string());
    found.next = "the same again in a second".to_string();
}

fn no_svscan(_: &Case, found: &mut Explanation) {
    found.because.push("no s6-svscan is running on the scandir: nothing is supervised".to_string());
    found.next = "start the container's /init, or s6-svscan, then: hermes-reconcile-all".to_string();
}

fn of_another_home(case: &Case, found: &mut Explanation) {
    for note in &case.status.notes {
        if let Note::OfHome(other) = note {
            let own = case.home.path.display();
            found.because.push(format!("its slot belongs to home {}, not to {own}", other.display()));
            found.next = format!("hermes-svc-status -x -H {} {}", other.display(), case.status.profile);
        }
    }
}

fn disowned(case: &Case, found: &mut Explanation) {
    found.because.extend(case.disowned.map(container::disowned));
    let profile = &case.status.profile;
    found.next = format!(
        "hermes-svc-status -x {profile} in the container that owns it   (or, to start it here: hermes-svc-start {profile})"
    );
}

fn link(case: &Case, found: &mut Explanation) {
    found.because.push(case.home.no_such(&case.status.profile).text);
    found.next = format!("mend the link, then: hermes-reconcile-one {}", case.status.profile);
}

fn no_profile(case: &Case, found: &mut Explanation) {
    let profile = &case.status.profile;
    found.because.push(format!("the profile is gone: there is no {}", case.home.shown(profile, MARKER)));
    let tool = if case.disowned.is_some() { "hermes-svc-unregister" } else { "hermes-reconcile-one" };
    found.next = format!("{tool} {profile}");
}

fn foreground(_: &Case, found: &mut Explanation) {
    let text = "the container's own command runs it (gateway run --no-supervise), and s6 does not";
    found.because.push(text.to_string());
    found.next = "nothing: to restart it, restart the container".to_string();
}

fn not_registered(case: &Case, found: &mut Explanation) {
    let profile = &case.status.profile;
    if case.scandir.slots().is_ok_and(|slots| slots.is_empty()) {
        found.because.push("it has no slot: the boot pass has not registered any gateway yet".to_string());
        found.next = "hermes-reconcile-all   (unless the container is still booting)".to_string();
        return;
    }
    found.because.push("it has no slot: nobody has registered it since the container started".to_string());
    found.next = match case.status.intent.starts() {
        true => format!("hermes-svc-start {profile}"),
        false => format!("hermes-svc-start {profile}   (or, to leave it down: hermes-reconcile-one {profile})"),
    };
}

fn not_supervised(case: &Case, found: &mut Explanation) {
    let profile = &case.status.profile;
    found.because.push("its slot is there, but no s6-supervise holds it".to_string());
    let tool = if case.disowned.is_some() { "hermes-svc-register -f" } else { "hermes-reconcile-one" };
    found.next = format!("{tool} {profile}");
}

/// Something of root's hides the intent, so nothing can be said of it.
fn hidden(case: &Case, found: &mut Explanation) {
    found.next = format!("hermes-svc-status -x {}", case.status.profile);
}

fn multiplexed(case: &Case, found: &mut Explanation) {
    let profile = &case.status.profile;
    found.next = "hermes-svc-status default".to_string();
    match Mode::of(case.home) {
        Ok(Mode::Others) => {}
        Ok(_) => {
            found.because.push("default's gateway serves all profiles (multiplex_profiles)".to_string());
            return;
        }
        Err(error) => {
            found.because.push(format!("default's gateway serves it, perhaps with all others: {}", error.text));
            return;
        }
    }
    let serves = if case.status.has_note(&Note::UnreadableDefault) {
        "default's gateway is to serve it, and what that gateway says could not be read"
    } else if case.status.has_note(&Note::NotServed) {
        "default's gateway is to serve it, and does not say that it does"
    } else {
        "default's gateway serves it"
    };
    found.because.push(serves.to_string());
    let of_its_own = format!("for one of its own: {}", mode::remedy(case.home, profile));
    found.because.push(of_its_own);
}

fn frozen(case: &Case, found: &mut Explanation) {
    let pid = case.status.pid.unwrap_or_default();
    found.because.push(format!("a signal has stopped its process, pid {pid}: it does nothing until it is continued"));
    found.next = format!("kill -CONT {pid}");
}

fn out_of_memory(case: &Case, found: &mut Explanation) {
    let held = case.status.held.as_deref().unwrap_or_default();
    found.because.push(held::words(held));
    limit(held, found);
    found.next = format!("{MORE_MEMORY}, then: hermes-svc-start -W {}", case.status.profile);
}

/// Name the limit of the memory of a held gateway.
fn limit(held: &str, found: &mut Explanation) {
    if let Some(mib) = held::limit(held) {
        found.because.push(format!("its memory is limited to {mib} MiB (HERMES_GATEWAY_MEMORY)"));
    }
}

fn is_held(case: &Case, found: &mut Explanation) {
    let held = case.status.held.as_deref().unwrap_or_default();
    found.because.push(held::words(held));
    limit(held, found);
    bad_files(case, found);
    case.quote("tells", found);
    let start = format!("hermes-svc-start -W {}", case.status.profile);
    found.next = if case.obstacle.is_some() { start } else { format!("mend the cause, then: {start}") };
}

fn orphan(case: &Case, found: &mut Explanation) {
    let who = case.orphan().unwrap_or_default();
    found.because.push(format!("its supervisor was killed, and its last gateway still runs: {who}"));
    found.next = format!("hermes-svc-status -F {}", case.status.profile);
}

fn served_elsewhere(case: &Case, found: &mut Explanation) {
    let (who, profile) = (case.served_by().unwrap_or_default(), &case.status.profile);
    if case.status.doing == Doing::Waiting {
        found.because.push(format!("{who} serves it; this one takes over when that one goes"));
        found.next = format!("hermes-svc-status -F {profile}");
    } else {
        found.because.push(format!("{who} serves it, and it is down here"));
        found.next = format!("nothing: to take over when that one goes, hermes-svc-start {profile}");
    }
}

fn memory(case: &Case, found: &mut Explanation) {
    found.because.push("it is the next to start, and too little memory is left".to_string());
    found.next = format!("hermes-svc-start -W {}   (to start it at once)", case.status.profile);
}

fn turn(case: &Case, found: &mut Explanation) {
    for note in &case.status.notes {
        if let Note::Turn(before) = note {
            found.because.push(format!("it waits for its turn to start, {before} before it"));
        }
    }
    found.next = format!("hermes-svc-start -W {}   (to start it at once)", case.status.profile);
}

fn draining(case: &Case, found: &mut Explanation) {
    let profile = &case.status.profile;
    let left = case.status.drain_left.map(|left| format!("; it is killed in {}", duration(left))).unwrap_or_default();
    if case.status.intent.starts() {
        let text = "it was told to end, but nobody recorded that it shall stay down (s6-svc -d, hermes-svc-stop -k)";
        found.because.push(format!("{text}{left}"));
        found.next = format!("hermes-svc-start -W {profile}");
    } else {
        found.because.push(format!("it was told to end and finishes its work{left}"));
        found.next = format!("hermes-svc-stop -w {profile}");
    }
}

fn between_tries(case: &Case, found: &mut Explanation) {
    let text = "it has ended, and s6-supervise starts it again in a moment";
    found.because.push(match case.status.deaths.end_in_memory() {
        true => format!("the kernel killed it for memory, and s6-supervise starts it again in a moment: {MORE_MEMORY}"),
        false => text.to_string(),
    });
    bad_files(case, found);
    case.quote("may tell", found);
    found.next = format!("hermes-svc-status -F {}", case.status.profile);
}

/// Another profile keeps a wanted one from its port.
fn port_conflict(case: &Case, found: &mut Explanation) {
    found.because.extend(case.port_conflict());
    let profile = &case.status.profile;
    found.next = format!("give one of them another API_SERVER_PORT, then: hermes-svc-start -W {profile}");
}

fn wanted_but_down(case: &Case, found: &mut Explanation) {
    let profile = &case.status.profile;
    found.because.push(match case.status.started {
        // A template of the operator's may not write the time of the start.
        None => "nothing has started it since its intent became running".to_string(),
        Some(_) => "it was taken down here without a record of that (s6-svc -d, hermes-svc-stop -k), or its intent \
                    was recorded elsewhere"
            .to_string(),
    });
    found.next = format!("hermes-svc-start -W {profile}");
}

fn left_down(case: &Case, found: &mut Explanation) {
    found.because.push(format!("no boot starts it: {LEFT_OUT}"));
    found.next = format!("nothing: to start it until the next boot, hermes-svc-start -W {}", case.status.profile);
}

fn down(case: &Case, found: &mut Explanation) {
    let profile = &case.status.profile;
    found.because.push(match case.status.intent {
        Prior::Stopped => "the operator stopped it".to_string(),
        Prior::None => "nobody has ever started it".to_string(),
        Prior::Foreign => "its state file is a copy of another profile's: nobody has started it".to_string(),
        Prior::Invalid => format!("{} cannot be understood", case.home.shown(profile, state::FILE)),
        other => format!("its last word was {}, which does not start by itself", other.as_str()),
    });
    found.next = format!("hermes-svc-start -W {profile}");
}

fn up_without_intent(case: &Case, found: &mut Explanation) {
    let text =
        "it was brought up without recording it (hermes-svc-start -o, s6-svc -u): it will be down after the next boot";
    found.because.push(text.to_string());
    found.next = format!("hermes-svc-start {}   (to keep it up)", case.status.profile);
}

fn short_key(case: &Case, found: &mut Explanation) {
    bad_files(case, found);
    let env = case.home.shown(&case.status.profile, ".env");
    let longer = format!("write a longer API_SERVER_KEY into {env} (openssl rand -hex 32)");
    found.next = format!("{longer}, then: hermes-svc-restart -W {}", case.status.profile);
}

fn not_ready(case: &Case, found: &mut Explanation) {
    found.because.push("it runs, and has not said that it serves".to_string());
    bad_files(case, found);
    troubles(case, found);
    case.quote("may tell", found);
    let profile = &case.status.profile;
    let is_ill = !case.status.troubles.is_empty() || case.status.complaints != Complaints::default();
    found.next = match is_ill {
        true => format!("mend the cause, then: hermes-svc-restart -W {profile}"),
        false => format!("hermes-svc-start -W {profile}"),
    };
}

fn bad_config(case: &Case, found: &mut Explanation) {
    bad_files(case, found);
    troubles(case, found);
    let profile = &case.status.profile;
    let file = if case.status.complaints.config.is_some() { "config.yaml" } else { ".env" };
    found.next = format!("mend {}, then: hermes-svc-restart -W {profile}", case.home.shown(profile, file));
}

fn trouble(case: &Case, found: &mut Explanation) {
    troubles(case, found);
    let profile = &case.status.profile;
    found.next = format!("mend the cause, if it does not pass, then: hermes-svc-restart -W {profile}");
}

/// Name what Hermes Agent complains of in the profile's files.
fn bad_files(case: &Case, found: &mut Explanation) {
    found.because.extend(case.status.complaints.words(case.home, &case.status.profile));
}

/// Name the platforms that are in trouble.
fn troubles(case: &Case, found: &mut Explanation) {
    for trouble in &case.status.troubles {
        found.because.push(format!("{}: {}", trouble.what.replace(':', " is "), trouble.error));
    }
}
