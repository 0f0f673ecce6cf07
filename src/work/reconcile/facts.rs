//! What a pass reads about a profile.

use crate::ground::error::{Error, Kind, Result};
use crate::ground::profile::Profile;
use crate::volume::gateway_lock::{self, Holding};
use crate::volume::intent::Guard;
use crate::volume::stale;
use crate::volume::state::{self, State};
use crate::work::context::Context;

/// What was read about a profile.
pub struct Facts {
    pub state: State,
    /// The name of the profile whose state it is, if that can be told.
    pub owner: Option<String>,
    pub prior_exit: &'static str,
    /// Are there files of a gateway that may have ended?
    pub stale: bool,
    /// The intent lock, which is held until the pass has acted on the intent. Otherwise the pass could undo a stop that
    /// came in between.
    _guard: Option<Guard>,
}

impl Facts {
    /// Look at a profile, and take its intent lock.
    ///
    /// # Errors
    /// 99 if the lock is not free in time. 111 if the profile is gone, or the profile or its state cannot be looked at.
    pub fn of(context: &Context, profile: &Profile) -> Result<Facts> {
        let &Context { home, dry_run, deadline, log, .. } = context;
        let (dir_shown, shown) = (home.shown(profile, ""), home.shown(profile, state::FILE));
        let looked = home.within(profile, |dir| {
            let guard =
                if dry_run { None } else { Some(Guard::take(dir, &dir_shown, &context.patience, deadline, log)?) };
            let state = State::read(dir).map_err(|e| Error::system("read", &shown, e))?;
            let owner = state.owner(dir).map_err(|e| Error::system("read", &shown, e))?;
            Ok(Facts { state, owner, prior_exit: state::prior_exit(dir), stale: stale::any(dir), _guard: guard })
        })?;
        // The profile was listed a moment ago, or it was gone or unreadable when its turn came.
        let facts = looked.ok_or_else(|| Error::new(Kind::System, format!("{dir_shown} is not a profile any more")))?;
        if let State::Broken(why) = &facts.state {
            log.warning(&format!("{shown} is {why}: registered down"));
        }
        Ok(facts)
    }
}

/// Remove the files of a gateway that has ended, unless a gateway holds the profile's lock.
///
/// # Errors
/// 111 if the lock cannot be looked at, or the account's rights cannot be taken.
pub fn remove_stale(context: &Context, profile: &Profile) -> Result<()> {
    let home = context.home;
    let shown = home.shown(profile, "");
    let removed =
        home.within(profile, |dir| match gateway_lock::look(dir, &home.shown(profile, gateway_lock::FILE))? {
            Holding::Free => stale::remove(dir, &shown, context.log),
            Holding::Held(_) => Ok(()),
        });
    removed.map(drop)
}
