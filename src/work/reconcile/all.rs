//! The pass over all profiles.

use crate::ground::error::Result;
use crate::ground::profile::Profile;
use crate::s6::room::Room;
use crate::s6::template::Template;
use crate::volume::home::Scan;
use crate::volume::intent::Patience;
use crate::volume::mode::Mode;
use crate::work::action::Action;
use crate::work::context::Context;
use crate::work::note::Note;
use crate::work::reconcile::crowd::Crowd;
use crate::work::reconcile::line::{Line, Unlisted};
use crate::work::reconcile::pass::{Pass, Passed};
use crate::work::reconcile::removal;
use crate::work::reconcile::served::Served;
use crate::work::whose::{self, Whose};

/// Reconcile every profile, `default` first, then retire the slots of profiles that are gone. A failure of one profile
/// does not affect the others (B7). If `profiles` cannot be listed, only `default` is reconciled (B9), no slot is
/// retired, and the error is in `whole`.
///
/// # Errors
/// 102 if the caller may not publish, or if the slot of `default` belongs to another home. 111 if the scandir cannot be
/// read. In these cases nothing was changed. 111 also if the scandir cannot be swept, and 99 if its lock is not free in
/// time.
pub fn all(context: &Context, template: &Template) -> Result<Passed> {
    // Every home has a profile `default`, so the home of its slot is the home of the scandir.
    context.require_own(&Profile::default_profile())?;
    let crowd = Crowd::of_nobody(context.log);
    let context = &Context { log: &crowd, patience: Patience::default(), ..*context };
    let mut pass = Pass::begin(context, &crowd, template)?;
    let mut had_slots = false;
    let slots = context.scandir.slots()?;
    for profile in slots.iter().filter(|profile| !profile.is_default()) {
        let whose = whose::of(context.home, context.scandir, &profile.slot())?;
        had_slots |= !matches!(whose, Whose::Other(_));
    }
    let listed = removal::require_mounted(context, had_slots).and_then(|()| with_slots(context, &slots));
    let (scan, listed) = match listed {
        Ok(scan) => (scan, Ok(())),
        Err(error) => (Scan::unlisted(), Err(error)),
    };
    let whole = scan.require_whole();
    let Scan { profiles, odd, more, left_out } = scan;
    let (gone, kept) = if listed.is_ok() { removal::gone(context, &profiles)? } else { (Vec::new(), Vec::new()) };
    pass.keep(&listed);
    // The hidden directories of a profile that is gone are left to `removal::remove`, which must free its port before
    // they go.
    let known = |owner: &Profile| profiles.binary_search_by(|known| known.default_first(owner)).is_ok();
    pass.sweep(known)?;
    let is_there = |profile: &Profile| listed.is_err() || known(profile);
    pass.autostart.faults(is_there).iter().for_each(|fault| context.log.warning(fault));
    let default = Profile::default_profile();
    // Why there is no room is said by the first profile that needs some.
    let left = |room: &mut Room| room.left(context.scandir, template.has_logger()).unwrap_or(0);
    if let Ok(mode) = pass.mode {
        let most = if mode == Mode::Others { left(&mut pass.room) } else { 0 };
        let (served, late) = Served::look(context, mode, &pass.autostart, &profiles, most);
        pass.served = served;
        pass.keep(&late);
    }
    let mut first = pass.one(&default);
    pass.scan_in_between();
    let room = left(&mut pass.room);
    crowd.gather(&profiles, slots, room);
    pass.give_ports(&profiles, &profiles, listed);
    pass.settle_port(&default, &mut first);
    let mut lines = vec![first];
    let mut unlisted = Unlisted { failed: 0, skipped: more + left_out };
    for profile in profiles.iter().filter(|profile| !profile.is_default()) {
        let line = crowd.about(profile, || pass.one(profile));
        if line.action == Action::Failed && crowd.counts(profile) {
            unlisted.failed += 1;
        } else {
            lines.push(line);
        }
        pass.scan_in_between();
    }
    if unlisted.failed > 0 {
        let text = "more profiles have no slot, and neither a record nor a warning of their own";
        context.log.warning(&format!("{} {text}", unlisted.failed));
    }
    let named = |name: &str| gone.iter().chain(kept.iter().map(|(profile, _)| profile)).any(|p| p.as_str() == name);
    let odd = odd.into_iter().filter(|odd| !named(&odd.name)).map(|odd| (odd.name, Note::from(odd.why)));
    let kept = kept.iter().map(|(profile, note)| (profile.as_str().to_string(), note.clone()));
    lines.extend(odd.chain(kept).map(|(name, note)| Line { note: Some(note), ..Line::bare(name, Action::Skipped) }));
    if more > 0 {
        context.log.warning(&format!("{more} more entries of profiles are not profiles"));
    }
    pass.keep(&whole);
    pass.rescan(known);
    lines.extend(removal::remove(context, &gone));
    let remembered = pass.served.remember(context);
    pass.keep(&remembered);
    Ok(Passed { lines, unlisted, whole: pass.whole })
}

/// The content of `profiles`, also with the profiles that have one of these slots and were left out because there are too
/// many.
fn with_slots(context: &Context, slots: &[Profile]) -> Result<Scan> {
    let mut scan = context.home.scan()?;
    if scan.left_out > 0 {
        let hidden = context.scandir.leftovers()?.into_iter().map(|(_, profile)| profile);
        for profile in slots.iter().cloned().chain(hidden) {
            let at = scan.profiles.binary_search_by(|known| known.default_first(&profile));
            // One that cannot be looked at counts as there.
            if let Err(at) = at
                && context.home.has(&profile) != Ok(false)
            {
                scan.profiles.insert(at, profile);
                scan.left_out = scan.left_out.saturating_sub(1);
            }
        }
    }
    Ok(scan)
}
