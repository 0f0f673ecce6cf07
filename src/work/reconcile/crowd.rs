//! The profiles for which s6-svscan has no room. The account can make any number of profiles, and what root writes must
//! not grow with them. So the first ten of these profiles are named, and the others are counted.

use crate::ground::message::Log;
use crate::ground::profile::Profile;
use std::cell::{Cell, OnceCell};
use std::cmp::Ordering;

/// How many profiles without room are named.
const NAMED: usize = 10;

/// The log of a pass. What is logged about a profile that is only counted is dropped.
pub struct Crowd<'a> {
    log: &'a dyn Log,
    counted: OnceCell<Counted>,
    is_about_counted: Cell<bool>,
}

/// The profiles that are only counted: those from `from` on that have no slot.
struct Counted {
    from: Profile,
    slots: Vec<Profile>,
}

impl<'a> Crowd<'a> {
    /// A crowd of nobody, until `gather` is called.
    pub fn of_nobody(log: &'a dyn Log) -> Crowd<'a> {
        Crowd { log, counted: OnceCell::new(), is_about_counted: Cell::new(false) }
    }

    /// Tell the crowd among these `profiles`, if those in `slots` have a slot and `room` more slots fit. Both lists have
    /// `default` first and are sorted by name. `default` was looked after before, and is always named.
    pub fn gather(&self, profiles: &[Profile], slots: Vec<Profile>, room: usize) {
        let has_slot = |profile: &Profile| slots.binary_search_by(|slot| slot.default_first(profile)).is_ok();
        let mut without = profiles.iter().filter(|profile| !profile.is_default() && !has_slot(profile));
        let from = without.nth(room.saturating_add(NAMED)).cloned();
        if let Some(from) = from {
            self.counted.get_or_init(|| Counted { from, slots });
        }
    }

    /// Is this profile only counted, and not named?
    pub fn counts(&self, profile: &Profile) -> bool {
        self.counted.get().is_some_and(|Counted { from, slots }| {
            profile.default_first(from) != Ordering::Less
                && slots.binary_search_by(|slot| slot.default_first(profile)).is_err()
        })
    }

    /// Do the `work` on this profile. If the profile is only counted, nothing is logged meanwhile.
    pub fn about<T>(&self, profile: &Profile, work: impl FnOnce() -> T) -> T {
        self.is_about_counted.set(self.counts(profile));
        let done = work();
        self.is_about_counted.set(false);
        done
    }
}

impl Log for Crowd<'_> {
    fn warning(&self, text: &str) {
        if !self.is_about_counted.get() {
            self.log.warning(text);
        }
    }

    fn info(&self, text: &str) {
        if !self.is_about_counted.get() {
            self.log.info(text);
        }
    }
}
