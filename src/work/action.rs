//! The actions of commands: the word in the record of each profile.

/// What a command has done about one profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// There was no slot to take away.
    Absent,
    /// The work on this profile failed.
    Failed,
    /// The slot was published, with its gateway down.
    Registered,
    /// The profile is gone, and its slot was taken away.
    Removed,
    /// The gateway was told to end and to start again.
    Restarted,
    /// The entry is not a profile that this container handles.
    Skipped,
    /// The gateway starts.
    Started,
    /// The gateway was told to end.
    Stopped,
    /// Nothing had to change.
    Unchanged,
    /// The slot was taken away.
    Unregistered,
    /// The slot was brought up to date.
    Updated,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Absent => "absent",
            Action::Failed => "failed",
            Action::Registered => "registered",
            Action::Removed => "removed",
            Action::Restarted => "restarted",
            Action::Skipped => "skipped",
            Action::Started => "started",
            Action::Stopped => "stopped",
            Action::Unchanged => "unchanged",
            Action::Unregistered => "unregistered",
            Action::Updated => "updated",
        }
    }
}
