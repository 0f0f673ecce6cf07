//! Removing the slots of profiles that are gone: drain the gateway, retire the slot, free the port, delete what is
//! left.
//!
//! The hidden directory is deleted last. If a run is killed before that, the next run finds the directory and finishes
//! the removal.

use crate::ground::error::{Error, Kind, Result};
use crate::ground::profile::Profile;
use crate::s6::orders::Told;
use crate::s6::programs;
use crate::s6::retire;
use crate::s6::supervise;
use crate::s6::tidy::sweep;
use crate::volume::ports;
use crate::work::action::Action;
use crate::work::context::Context;
use crate::work::note::Note;
use crate::work::reconcile::line::Line;
use crate::work::reconcile::rename;
use crate::work::whose::{self, Whose};

/// A profile whose slot is not retired, and the reason.
pub type Kept = (Profile, Note);

/// The profiles whose slot or hidden directory belongs to this home, and that are seen to be gone from this home. Also
/// returns the other profiles that are not among `profiles` and whose slots are kept, each with the reason.
///
/// # Errors
/// 111 if the scandir cannot be read, or a slot or a profile cannot be looked at.
pub fn gone(context: &Context, profiles: &[Profile]) -> Result<(Vec<Profile>, Vec<Kept>)> {
    let &Context { home, scandir, log, .. } = context;
    let known = |profile: &Profile| profiles.binary_search_by(|known| known.default_first(profile)).is_ok();
    let (mut gone, mut kept) = (Vec::new(), Vec::new());
    for profile in scandir.slots()?.into_iter().filter(|profile| !known(profile)) {
        // Since the profiles were listed, it may have been made and got its slot.
        if home.has(&profile)? {
            continue;
        }
        match keeps(context, &profile)? {
            None => gone.push(profile),
            Some(note) => {
                log.warning(&format!("{} is left alone: {note}", scandir.slot(&profile).display()));
                kept.push((profile, note));
            }
        }
    }
    for (path, profile) in scandir.leftovers()? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let other = matches!(whose::of(home, scandir, &name)?, Whose::Other(_));
        if !other
            && !known(&profile)
            && kept.iter().all(|(kept, _)| *kept != profile)
            && !home.has(&profile)?
            && home.link_to(&profile)?.is_none()
        {
            gone.push(profile);
        }
    }
    gone.sort_by(Profile::default_first);
    gone.dedup();
    Ok((gone, kept))
}

/// Why the slot of a profile that is not in this home is kept. `None` if the slot can be retired. The slot is kept if
/// it belongs to another home, if it does not name its home, or if a link has the profile's name.
///
/// # Errors
/// 111 if the slot or the home cannot be looked at.
pub fn keeps(context: &Context, profile: &Profile) -> Result<Option<Note>> {
    Ok(match whose::of(context.home, context.scandir, &profile.slot())? {
        Whose::Other(home) => Some(Note::OfHome(home)),
        Whose::Unsaid => Some(Note::NoHome),
        Whose::Ours | Whose::Nobodys => context.home.link_to(profile)?.map(|(_, link)| Note::Link(link)),
    })
}

/// Check that the volume is mounted before any profile counts as gone. If it is not mounted, the home looks like one
/// without profiles. `had_slots` says whether there were slots of named profiles.
///
/// # Errors
/// 111 if the home has neither `profiles` nor a record of ports although there were slots, or the home cannot be looked
/// at.
pub fn require_mounted(context: &Context, had_slots: bool) -> Result<()> {
    if !had_slots || !context.home.is_blank()? {
        return Ok(());
    }
    let text = format!(
        "{} has neither profiles nor {}, and there are slots of profiles: is the volume mounted?",
        context.home.path.display(),
        ports::FILE
    );
    Err(Error::new(Kind::System, text))
}

/// Retire the slots of these profiles. All gateways are told to end before the first one is waited for.
pub fn remove(context: &Context, gone: &[Profile]) -> Vec<Line> {
    let line = |profile: &Profile| Line::bare(profile.as_str(), Action::Removed);
    if context.dry_run {
        return gone.iter().map(line).collect();
    }
    let tell = |profile: &Profile| {
        let slot = context.scandir.slot(profile);
        // An error is ignored here, because `remove_one` gives the order again and waits for it.
        (supervise::is_held(&slot) == Ok(true) && programs::svc("-d", &slot).is_ok()).then(Told::now)
    };
    let told: Vec<Option<Told>> = gone.iter().map(tell).collect();
    let removed = gone.iter().zip(told).map(|(profile, told)| match remove_one(context, profile, told) {
        Ok(()) => line(profile),
        Err(error) => {
            let draining = error.kind == Kind::TimedOut;
            context.log.warning(&error.context(profile).text);
            match draining {
                true => Line { note: Some(Note::Draining), ..line(profile) },
                false => Line { action: Action::Failed, ..line(profile) },
            }
        }
    });
    removed.collect()
}

fn remove_one(context: &Context, profile: &Profile, told: Option<Told>) -> Result<()> {
    let &Context { scandir, deadline, log, .. } = context;
    retire::retire(scandir, profile, deadline, told)?;
    rename::release(context, profile)?;
    let lock = scandir.lock(deadline)?;
    sweep(scandir, &lock, |owner| owner == profile, log).map(drop)
}
