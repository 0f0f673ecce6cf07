//! The ports of a pass. The file of ports is read once and written once for all profiles.

use crate::ground::error::{Kind, Result};
use crate::ground::profile::Profile;
use crate::volume::ports::{Assignment, Book, Range};
use crate::work::context::Context;
use crate::work::reconcile::crowd::Crowd;
use crate::work::reconcile::rename;
use std::collections::BTreeMap;

/// How long to wait for another process that is allocating ports, in milliseconds.
const PATIENCE_MS: u64 = 1000;

/// The results of this module for the profiles of a pass.
#[derive(Default)]
pub struct Given {
    pub ports: BTreeMap<Profile, Result<Assignment>>,
    /// The profiles that were renamed, and those that could not be looked at. `None` if none could be looked at.
    pub renamed: Option<BTreeMap<Profile, Result<()>>>,
}

/// Assign ports to `profiles`, which are some of `all` profiles. A renamed profile keeps its port. Also returns the
/// error that concerns all of them. That error does not keep gateways down, because a gateway asks for its port again
/// when it starts. If `listed` is an error, not all profiles are known, and only recorded ports are given.
pub fn give_ports(
    context: &Context,
    crowd: &Crowd,
    all: &[Profile],
    profiles: &[Profile],
    listed: Result<()>,
) -> (Given, Result<()>) {
    let mut book = match open(context, all, listed) {
        Ok(book) => book,
        Err(error) => return (Given::default(), Err(error)),
    };
    // Where no name is gone, no profile was renamed, and no state has to be read.
    let mut former_names = match rename::former_names(context, &book, all) {
        Ok(names) => names,
        Err(error) => return (Given::default(), Err(error)),
    };
    let (mut given, mut renamed) = (BTreeMap::new(), BTreeMap::new());
    let mut late = Ok(());
    // The account's rights are borrowed once for all profiles. Borrowing them for each profile would be a fifth of the
    // time of a pass over a thousand profiles.
    let looked = context.home.act(|_| {
        // All renames come first, because a renamed profile may want a port that another one pins too.
        let any = !former_names.is_empty();
        for profile in profiles.iter().filter(|_| any) {
            let followed = crowd.about(profile, || rename::follow(context, &mut book, &mut former_names, profile));
            if let Some(outcome) = followed.map(|renamed| renamed.then_some(())).transpose() {
                renamed.insert(profile.clone(), outcome);
            }
        }
        let mut give = |profile: &Profile| {
            let followed = renamed.get(profile).is_none_or(Result::is_ok);
            // While another process holds the lock, recorded ports can be shown, and no new port can be given.
            if followed && (book.is_locked(context.dry_run) || book.knows(profile)) {
                match book.assign(profile) {
                    // The error is the same for all profiles, so it is kept once.
                    Err(error) if error.kind == Kind::TimedOut => late = Err(error),
                    assigned => drop(given.insert(profile.clone(), assigned)),
                }
            }
        };
        profiles.iter().for_each(|profile| crowd.about(profile, || give(profile)));
        Ok(())
    });
    if looked.is_err() {
        return (Given { ports: given, renamed: None }, looked);
    }
    let renamed = Some(renamed);
    match book.save() {
        // A read-only or full volume must not keep the gateways from their slots.
        Err(error) if book.is_unwritable() => {
            context.log.warning(&error.text);
            (Given { ports: given, renamed }, late)
        }
        saved => (Given { ports: given, renamed }, saved.and(late)),
    }
}

fn open<'a>(context: &Context<'a>, all: &[Profile], listed: Result<()>) -> Result<Book<'a>> {
    let &Context { home, log, dry_run, deadline, .. } = context;
    let range = Range::from_option(None)?;
    if dry_run {
        return Book::peek(home, range, log);
    }
    let profiles = listed.map(|()| all.to_vec());
    let (book, late) = Book::open_or_peek(home, profiles, range, deadline.or_after_ms(PATIENCE_MS), log)?;
    late.iter().for_each(|error| log.warning(&error.text));
    Ok(book)
}
