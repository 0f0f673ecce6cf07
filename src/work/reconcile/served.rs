//! What a boot pass does where one gateway serves several profiles (docs/DESIGN.md, "One gateway for several profiles"):
//! `default` starts for those that it serves, and the boot log says for which profiles that has changed.

use crate::ground::beneath;
use crate::ground::deadline::Deadline;
use crate::ground::error::{Error, Result};
use crate::ground::profile::Profile;
use crate::volume::autostart::Autostart;
use crate::volume::mode::{self, Mode};
use crate::volume::state::{Prior, State};
use crate::work::context::Context;
use crate::work::note::Note;
use rustix::fs::AtFlags;
use rustix::io::Errno;

/// A file in the home. It is there if at the last pass the gateway of `default` served others by the release of Hermes
/// Agent (`Mode::Others`).
const FILE: &str = ".hermes-s6.one-gateway";

/// How long the files of all profiles may be looked at before `default` is published, in milliseconds. The account can
/// make files that are slow to read.
const BUDGET_MS: u64 = 5000;

/// What was found before `default` is published.
#[derive(Debug, Default)]
pub struct Served {
    /// Was and is the mode `Mode::Others`?
    was: bool,
    is: bool,
    /// A profile that is wanted and that the gateway of `default` serves.
    wanted: Option<Profile>,
}

impl Served {
    /// Look at the mode of the last pass, and in `Mode::Others` at as many profiles as there is room for. Also returns the
    /// error that the files of the profiles took too long to read: `default` does not start for the sake of the rest.
    pub fn look(
        context: &Context,
        mode: Mode,
        autostart: &Autostart,
        profiles: &[Profile],
        room: usize,
    ) -> (Served, Result<()>) {
        let &Context { home, dry_run, log, .. } = context;
        let is = mode == Mode::Others;
        let was = home.act(|dir| match rustix::fs::statat(dir, FILE, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(Error::system("look at", home.path.join(FILE).display(), errno)),
        });
        // If that cannot be told, nothing counts as changed.
        let mut found = Served { was: was.unwrap_or(is), is, wanted: None };
        let (mut changed, mut late) = (None, Ok(()));
        if is {
            let budget = Deadline::after_ms(BUDGET_MS);
            for profile in profiles.iter().filter(|profile| !profile.is_default()).take(room) {
                if budget.passed() {
                    let why = budget.timed_out("the files of all profiles to be read");
                    let text =
                        format!("{}: default does not start for the sake of {profile} and those behind it", why.text);
                    late = Err(Error::new(why.kind, text));
                    break;
                }
                // An error is said when it is the turn of this profile.
                let served = mode.settle(home, profile, dry_run, log) == Ok(true) && autostart.allows(profile);
                if served && is_wanted(context, profile) {
                    changed.get_or_insert(profile.clone());
                    found.wanted.get_or_insert(profile.clone());
                }
            }
        }
        match changed {
            Some(profile) if !found.was => log.warning(&format!(
                "this Hermes Agent serves all profiles from the gateway of default. {profile} and others like it have none of their own, and keep their intents and ports: for one of its own, {}",
                mode::remedy(home, &profile)
            )),
            _ if found.was && mode == Mode::All => log.warning(
                "the gateway of default goes on serving all profiles, because config.yaml of the home has multiplex_profiles: true, which the Hermes Agent of the last boot wrote: for gateways of their own, set it to false",
            ),
            _ => {}
        }
        (found, late)
    }

    /// The profile because of which `default`, about which nobody has recorded an intent, starts.
    pub fn wants_default(&self, profile: &Profile, state: &State, prior: Prior) -> Option<Note> {
        let is_open = profile.is_default() && state.lacks_intent() && prior == Prior::None;
        self.wanted.clone().filter(|_| is_open).map(Note::WantedBy)
    }

    /// The note of a profile.
    pub fn note(&self, profile: &Profile, multiplexed: bool, wanted: bool) -> Option<Note> {
        match (multiplexed && wanted, wanted && !profile.is_default()) {
            (true, _) if self.is && !self.was => Some(Note::NowMultiplexed),
            (true, _) => Some(Note::Multiplexed),
            (false, true) if self.was && !self.is => Some(Note::NowItsOwn),
            _ => None,
        }
    }

    /// Keep the mode for the next pass.
    ///
    /// # Errors
    /// 111 if the volume cannot be written.
    pub fn remember(&self, context: &Context) -> Result<()> {
        let home = context.home;
        if self.was == self.is || context.dry_run {
            return Ok(());
        }
        let failed = |e: std::io::Error| Error::system("write", home.path.join(FILE).display(), e);
        home.act(|dir| match self.is {
            true => beneath::replace(dir, FILE, b"", rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).map_err(failed),
            false => rustix::fs::unlinkat(dir, FILE, AtFlags::empty()).map_err(|e| failed(e.into())),
        })
    }
}

/// Is this profile wanted up? A copy of another profile's state does not count.
fn is_wanted(context: &Context, profile: &Profile) -> bool {
    State::of_profile(context.home, profile).is_ok_and(|state| {
        let owner = state.names();
        state.prior_of(profile, owner.as_deref()).starts()
    })
}
