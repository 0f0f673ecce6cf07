//! The explanation for `-x`: the chain of causes, and the next command to type. It says what is known, and names what
//! could not be looked at.

mod obstacle;
mod situation;

use super::{Manager, Status};
use crate::ground::message::Silent;
use crate::ground::record::Record;
use crate::s6::scandir::Scandir;
use crate::volume::home::Home;
use crate::volume::last_words::LastWords;
use crate::volume::ports;
use crate::work::note::Note;
use obstacle::Obstacle;

/// The explanation of one profile's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What the state is.
    pub is: String,
    /// Why, one cause after the other.
    pub because: Vec<String>,
    /// The last lines of the gateway's log, if they may tell why. They are untrusted.
    pub log: Vec<String>,
    /// What to type or to do next.
    pub next: String,
}

impl Explanation {
    /// The lines for a person. The first one is about the profile, the last one says what to do next.
    pub fn lines(&self) -> Vec<String> {
        let because = self.because.iter().map(|text| format!("  because {text}"));
        let log = self.log.iter().map(|line| format!("    {line}"));
        let next = format!("  next: {}", self.next);
        std::iter::once(self.is.clone()).chain(because).chain(log).chain([next]).collect()
    }

    /// The record of a status, with the explanation.
    #[must_use]
    pub fn add_to(&self, record: Record) -> Record {
        record.list("because", &self.because).list("log", &self.log).json_only("next", &self.next)
    }
}

/// What is known about one profile.
struct Case<'a> {
    home: &'a Home,
    scandir: &'a Scandir,
    manager: &'a Manager,
    status: &'a Status,
    /// The first obstacle, which has to be removed before anything else helps.
    obstacle: Option<Obstacle>,
    /// Why this container owns no gateways, if so.
    disowned: Option<&'a Note>,
}

/// Explain the status of one profile.
pub fn explain(home: &Home, scandir: &Scandir, manager: &Manager, status: &Status) -> Explanation {
    let profile = &status.profile;
    let is = format!("{profile} is {}, and its intent is {}", status.doing.as_str(), status.intent.as_str());
    let mut found = Explanation { is, ..Explanation::default() };
    let obstacle = obstacle::find(home, scandir, manager, status).unwrap_or_else(|error| {
        found.because.push(format!("perhaps of something that could not be looked at: {}", error.text));
        None
    });
    found.because.extend(obstacle.iter().map(|obstacle| obstacle.why.clone()));
    let disowned = status.notes.iter().find(|note| matches!(note, Note::DashboardContainer | Note::SkipRequested));
    let case = Case { home, scandir, manager, status, obstacle, disowned };
    situation::say(&case, &mut found);
    if let Some(obstacle) = &case.obstacle {
        let is_done = found.next.starts_with("nothing");
        found.next =
            if is_done { obstacle.remedy.clone() } else { format!("{}, then: {}", obstacle.remedy, found.next) };
    }
    // If this container owns no gateways, a start needs `-f`.
    if disowned.is_some() {
        found.next = found.next.replace("hermes-svc-start ", "hermes-svc-start -f ");
    }
    found
}

impl Case<'_> {
    /// Quote what the gateway has said since its last start. `tells` is how sure it is that the log tells why. If
    /// nothing can be written to the volume, the log is of an earlier run.
    fn quote(&self, tells: &str, found: &mut Explanation) {
        if self.obstacle.as_ref().is_some_and(|obstacle| obstacle.hides_log) {
            return;
        }
        let LastWords { log, lines } = LastWords::of(self.home, &self.status.profile, self.status.started);
        found.because.push(match lines.is_empty() {
            true => format!("of something of which its log says nothing since the last start: {}", log.display()),
            false => format!("its log {tells} why: {}", log.display()),
        });
        found.log = lines;
    }

    /// Why another profile keeps this one from its port.
    fn port_conflict(&self) -> Option<String> {
        ports::require_no_conflict(self.home, &self.status.profile, &Silent).err().map(|error| error.text)
    }

    fn served_by(&self) -> Option<&str> {
        self.status.notes.iter().find_map(|note| match note {
            Note::ServedBy(who) => Some(who.as_str()),
            _ => None,
        })
    }

    fn orphan(&self) -> Option<&str> {
        self.status.notes.iter().find_map(|note| match note {
            Note::Orphan(who) => Some(who.as_str()),
            _ => None,
        })
    }
}
