//! What a pass says of each profile, and at its end.

use crate::record::Record;
use crate::state::Prior;

/// What was done about one profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Its slot was published, and its gateway starts.
    Started,
    /// Its slot was published, down.
    Registered,
    /// All was right already.
    Unchanged,
    /// Its slot was brought up to date.
    Updated,
    /// The profile is gone, and now its slot is too.
    Removed,
    /// It is not a profile of this container's.
    Skipped,
    /// Something failed.
    Failed,
}

/// In the order in which the last line counts them.
pub const ACTIONS: [Action; 7] = [
    Action::Started,
    Action::Registered,
    Action::Unchanged,
    Action::Updated,
    Action::Removed,
    Action::Skipped,
    Action::Failed,
];

impl Action {
    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Started => "started",
            Action::Registered => "registered",
            Action::Unchanged => "unchanged",
            Action::Updated => "updated",
            Action::Removed => "removed",
            Action::Skipped => "skipped",
            Action::Failed => "failed",
        }
    }
}

/// One profile's line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name; untrusted text where it was skipped.
    pub profile: String,
    /// What the volume said.
    pub prior: Prior,
    /// What was done.
    pub action: Action,
    /// Its port, where it has one.
    pub port: Option<u16>,
    /// How its gateway's last life ended.
    pub prior_exit: &'static str,
    /// What else there is to know.
    pub note: Option<&'static str>,
}

impl Line {
    /// A line about something of which nothing is known but its name.
    pub fn bare(profile: impl Into<String>, action: Action) -> Line {
        let profile = profile.into();
        Line { profile, prior: Prior::None, action, port: None, prior_exit: "unknown", note: None }
    }

    /// As it is printed.
    pub fn record(&self, dry_run: bool) -> Record {
        Record::new()
            .text("profile", &self.profile)
            .text("prior_state", self.prior.as_str())
            .text("action", self.action.as_str())
            .number_or_none("port", self.port.map(u64::from))
            .text("prior_exit", self.prior_exit)
            .note("note", self.note)
            .flag("dry_run", dry_run)
    }
}

/// The last line: the pass is complete (H10). `profiles` counts those that exist.
pub fn done(lines: &[Line], ms: u64, note: Option<&'static str>, dry_run: bool) -> Record {
    let count = |action: Action| lines.iter().filter(|l| l.action == action).count() as u64;
    let existing = lines.len() as u64 - count(Action::Removed) - count(Action::Skipped);
    let start = Record::new().number("profiles", existing);
    let counted = ACTIONS.into_iter().fold(start, |record, action| record.number(action.as_str(), count(action)));
    counted.number("ms", ms).note("note", note).flag("dry_run", dry_run)
}
