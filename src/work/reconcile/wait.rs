//! Waiting for the slots that a pass has made.

use crate::ground::error::Result;
use crate::ground::profile::Profile;
use crate::s6::publish;
use crate::s6::scandir::Listening;
use crate::work::action::Action;
use crate::work::context::Context;
use crate::work::reconcile::line::Line;

/// Wait until every slot of these lines is supervised and usable (`-w`).
///
/// # Errors
/// 102 if no s6-svscan runs, 99 if the deadline passes, 111 if a slot cannot be looked at.
pub fn wait(context: &Context, lines: &[Line]) -> Result<()> {
    let &Context { scandir, dry_run, deadline, log, .. } = context;
    if dry_run {
        return Ok(());
    }
    if scandir.listening()? != Listening::Yes {
        return Err(scandir.nobody_listens());
    }
    for line in lines.iter().filter(|l| !matches!(l.action, Action::Removed | Action::Skipped)) {
        if let Some(profile) = Profile::from_bytes(line.profile.as_bytes())
            && scandir.has_slot(&profile)?
        {
            publish::await_usable(scandir, &profile, deadline.or_after_ms(publish::HELD_MS), log)?;
        }
    }
    Ok(())
}
