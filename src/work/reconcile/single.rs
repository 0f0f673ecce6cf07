//! The pass for one profile.

use crate::ground::error::{Error, Kind, Result};
use crate::ground::profile::Profile;
use crate::s6::template::Template;
use crate::work::context::Context;
use crate::work::note::Note;
use crate::work::reconcile::crowd::Crowd;
use crate::work::reconcile::line::Unlisted;
use crate::work::reconcile::pass::{Pass, Passed};
use crate::work::reconcile::removal;

/// Reconcile one profile only: make its slot, bring the slot up to date, or retire it.
///
/// # Errors
/// 100 if there is neither a profile nor a slot, or if a link of this name leads to no profile. 102 if the slot belongs
/// to another home, or if the slot does not name its home and the profile is gone. Otherwise as `all`.
pub fn single(context: &Context, template: &Template, profile: &Profile) -> Result<Passed> {
    context.require_own(profile)?;
    let crowd = Crowd::of_nobody(context.log);
    let mut pass = Pass::begin(context, &crowd, template)?;
    if context.home.has(profile)? {
        pass.single = true;
        pass.sweep(|owner| owner == profile)?;
        let scan = context.home.scan();
        pass.keep(&scan);
        let (listed, known) = match scan {
            Ok(scan) => (Ok(()), scan.profiles),
            Err(error) => (Err(error), vec![profile.clone()]),
        };
        pass.give_ports(&known, std::slice::from_ref(profile), listed);
        if let Ok(mode) = pass.mode {
            let settled = mode.settle(context.home, profile, context.dry_run, context.log);
            pass.keep(&settled);
        }
        let lines = vec![pass.one(profile)];
        pass.rescan(|owner| owner == profile);
        return Ok(Passed { lines, unlisted: Unlisted::default(), whole: pass.whole });
    }
    if !context.scandir.has_any(profile)? {
        return Err(context.home.no_such(profile));
    }
    removal::require_mounted(context, true)?;
    match removal::keeps(context, profile)? {
        None => {}
        Some(Note::NoHome) => {
            let slot = context.scandir.slot(profile);
            let text = format!("{} does not say whose home it is: hermes-svc-unregister {profile}", slot.display());
            return Err(Error::new(Kind::WrongState, text));
        }
        Some(_) => return Err(context.home.no_such(profile)),
    }
    let lines = removal::remove(context, std::slice::from_ref(profile));
    Ok(Passed { lines, unlisted: Unlisted::default(), whole: pass.whole })
}

/// Is there neither a profile of this name, nor a slot, nor a link that might lead to a profile again?
///
/// # Errors
/// 111 if one of them cannot be looked at.
pub fn is_nothing(context: &Context, profile: &Profile) -> Result<bool> {
    let &Context { home, scandir, .. } = context;
    Ok(!home.has(profile)? && !scandir.has_any(profile)? && home.link_to(profile)?.is_none())
}
