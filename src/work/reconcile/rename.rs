//! A profile that was renamed keeps its intent and its port (B4, E9).

use crate::ground::error::{Error, Result};
use crate::ground::profile::Profile;
use crate::volume::intent;
use crate::volume::ports::{Book, Range};
use crate::volume::state::{self, State};
use crate::work::context::Context;
use std::collections::BTreeSet;

/// The names that are none of these `profiles`, and that this container or the record of ports still knows: the former
/// names that a renamed profile can have.
///
/// # Errors
/// 111 if the scandir cannot be read.
pub fn former_names(context: &Context, book: &Book, profiles: &[Profile]) -> Result<BTreeSet<Profile>> {
    let scandir = context.scandir;
    let hidden = scandir.leftovers()?.into_iter().map(|(_, owner)| owner);
    let known = scandir.slots()?.into_iter().chain(hidden).chain(book.recorded().cloned());
    let is_profile = |name: &Profile| profiles.binary_search_by(|profile| profile.default_first(name)).is_ok();
    Ok(known.filter(|name| !name.is_default() && !is_profile(name)).collect())
}

/// If this profile is a renamed one, let it keep the intent and the port of its former name. Returns whether it is a
/// renamed one. It is if the state in its directory names another profile that is gone, and if that is one of the
/// former names. As long as the other profile exists, this one is a copy. So is one that names a former name that another
/// profile has taken over.
///
/// # Errors
/// 111 if the profile, its state or the former profile cannot be looked at just now.
pub fn follow(
    context: &Context,
    book: &mut Book,
    former_names: &mut BTreeSet<Profile>,
    profile: &Profile,
) -> Result<bool> {
    match former(context, former_names, profile)? {
        Some(old) => {
            take(context, book, &old, profile)?;
            former_names.remove(&old);
            Ok(true)
        }
        None => Ok(false),
    }
}

/// Free the port of a profile that is gone, or give the port to the profile to which it was renamed. The caller has
/// retired the slot, and has not deleted the hidden directory yet.
///
/// # Errors
/// 99 if the lock of the ports is not free in time. 111 if the profiles cannot be listed or looked at, or the record of
/// ports cannot be read or written.
pub fn release(context: &Context, gone: &Profile) -> Result<()> {
    let &Context { home, deadline, log, .. } = context;
    let profiles = home.scan()?.profiles;
    let mut book = Book::open_for(home, Ok(profiles.clone()), Range::from_option(None)?, deadline, log)?;
    let former_names = BTreeSet::from([gone.clone()]);
    for profile in profiles {
        if former(context, &former_names, &profile)?.is_some() {
            take(context, &mut book, gone, &profile)?;
            break;
        }
    }
    book.free(gone);
    book.save()
}

fn former(context: &Context, former_names: &BTreeSet<Profile>, profile: &Profile) -> Result<Option<Profile>> {
    let home = context.home;
    if profile.is_default() {
        return Ok(None);
    }
    let unable = |e| Error::system("read", home.shown(profile, state::FILE), e);
    let owner =
        home.within(profile, |dir| State::read_for_order(dir).and_then(|state| state.owner(dir)).map_err(unable))?;
    let old = owner.flatten().and_then(|owner| Profile::from_bytes(owner.as_bytes()));
    let Some(old) = old.filter(|old| former_names.contains(old)) else { return Ok(None) };
    Ok(if home.has(&old)? { None } else { Some(old) })
}

fn take(context: &Context, book: &mut Book, old: &Profile, profile: &Profile) -> Result<()> {
    let &Context { home, dry_run, log, .. } = context;
    let shown = home.shown(profile, state::FILE);
    if !dry_run && let Err(error) = home.within(profile, |dir| intent::claim(dir, profile, &shown, true)) {
        log.warning(&error.text);
    }
    if book.has(profile) || !book.has(old) {
        log.info(&format!("{profile} was {old}: it keeps its intent"));
    } else {
        log.info(&format!("{profile} was {old}: it keeps its intent and its port"));
        book.rename(old, profile);
    }
    Ok(())
}
