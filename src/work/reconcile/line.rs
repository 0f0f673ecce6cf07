//! The lines that a pass prints: one for each profile, and a last one.

use crate::ground::record::Record;
use crate::volume::state::Prior;
use crate::work::action::Action;
use crate::work::note::Note;

/// The actions in the order in which the last line counts them.
const ACTIONS: [Action; 7] = [
    Action::Started,
    Action::Registered,
    Action::Unchanged,
    Action::Updated,
    Action::Removed,
    Action::Skipped,
    Action::Failed,
];

/// The line of one profile.
#[derive(Clone, Debug)]
pub struct Line {
    /// The profile's name. For a skipped entry this is untrusted text.
    pub profile: String,
    /// The intent on the volume before the pass.
    pub prior: Prior,
    pub action: Action,
    /// The profile's port, if it has one.
    pub port: Option<u16>,
    /// How the gateway's last run ended.
    pub prior_exit: &'static str,
    pub note: Option<Note>,
}

impl Line {
    /// A line with nothing but a name and an action.
    pub fn bare(profile: impl Into<String>, action: Action) -> Line {
        let profile = profile.into();
        Line { profile, prior: Prior::None, action, port: None, prior_exit: "unknown", note: None }
    }

    /// The record to print.
    pub fn record(&self, dry_run: bool) -> Record {
        Record::new()
            .text("profile", &self.profile)
            .text("prior_state", self.prior.as_str())
            .text("action", self.action.as_str())
            .number_or_none("port", self.port.map(u64::from))
            .text("prior_exit", self.prior_exit)
            .note("note", self.note.as_ref().map(Note::to_string))
            .flag("dry_run", dry_run)
    }
}

/// What a pass has counted and given no line: the account can make any number of these.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlisted {
    /// Profiles for which there was no room.
    pub failed: usize,
    /// Entries that are not profiles.
    pub skipped: usize,
}

/// The last line, which shows that the pass is complete (H10). `profiles` counts those that exist.
pub fn done(lines: &[Line], unlisted: Unlisted, ms: u64, note: Option<Note>, dry_run: bool) -> Record {
    let count = |action: Action| {
        let unlisted = match action {
            Action::Failed => unlisted.failed,
            Action::Skipped => unlisted.skipped,
            _ => 0,
        };
        (unlisted + lines.iter().filter(|l| l.action == action).count()) as u64
    };
    let existing = ACTIONS.into_iter().filter(|action| !matches!(action, Action::Removed | Action::Skipped));
    let start = Record::new().number("profiles", existing.map(count).sum());
    let counted = ACTIONS.into_iter().fold(start, |record, action| record.number(action.as_str(), count(action)));
    let unlisted = (unlisted.failed + unlisted.skipped) as u64;
    counted
        .number("ms", ms)
        .number_if_any("unlisted", (unlisted > 0).then_some(unlisted))
        .note("note", note.as_ref().map(Note::to_string))
        .flag("dry_run", dry_run)
}
