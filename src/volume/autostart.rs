//! Which gateways a boot starts by the operator's two lists of profiles, beside the intents on the volume (H4), and what is
//! wrong with the operator's lists.

use crate::ground::environment::Environment;
use crate::ground::profile::{self, Profile};
use std::collections::BTreeSet;

/// The profiles that a boot may start. Without it that is every profile.
const MAY: &str = "HERMES_AUTOSTART_PROFILES";

/// The profiles that a boot starts although nobody has recorded an intent.
const EXTRA: &str = "HERMES_EXTRA_PROFILES";

/// The profiles that start first (`work/gateway/turn`). Of this list only the faults are of interest here: a boot pass says
/// them once, and not each gateway.
const ORDER: &str = "HERMES_START_ORDER";

/// The two lists.
#[derive(Debug)]
pub struct Autostart {
    named: BTreeSet<Profile>,
    /// The profiles with a `!` in front.
    excluded: BTreeSet<Profile>,
    /// May a boot start a profile that is in neither of these?
    others: bool,
    extra: BTreeSet<Profile>,
    first: BTreeSet<Profile>,
    /// What is wrong with words of the lists.
    faults: Vec<String>,
}

impl Autostart {
    /// The lists in these variables. A list that names a profile is a list of all that may start, also if no profile has
    /// that name: whoever wants a few gateways must not get all of them because of a slip.
    pub fn of(environment: &Environment) -> Autostart {
        let list = |variable: &str| environment.get(variable).unwrap_or_default().to_string_lossy().into_owned();
        let mut faults = Vec::new();
        let mut keep = |set: &mut BTreeSet<Profile>, variable: &str, word: &str, name: &str| match Profile::from_bytes(
            name.as_bytes(),
        ) {
            Some(profile) => _ = set.insert(profile),
            None => faults.push(profile::no_name(variable, word)),
        };
        let (mut named, mut excluded) = (BTreeSet::new(), BTreeSet::new());
        let (mut extra, mut first) = (BTreeSet::new(), BTreeSet::new());
        let (mut all, mut none, mut names) = (false, false, false);
        for word in profile::words(&list(MAY)) {
            match word.strip_prefix('!') {
                Some("*") => none = true,
                None if word == "*" => all = true,
                Some(name) => keep(&mut excluded, MAY, word, name),
                None => {
                    names = true;
                    keep(&mut named, MAY, word, word);
                }
            }
        }
        for word in profile::words(&list(EXTRA)) {
            keep(&mut extra, EXTRA, word, word);
        }
        for word in profile::words(&list(ORDER)) {
            keep(&mut first, ORDER, word, word);
        }
        Autostart { named, excluded, others: !none && (all || !names), extra, first, faults }
    }

    /// The lists in the variables of this process.
    pub fn inherited() -> Autostart {
        Autostart::of(&Environment::inherited())
    }

    /// May a boot start the gateway of this profile?
    pub fn allows(&self, profile: &Profile) -> bool {
        !self.excluded.contains(profile) && (self.others || self.named.contains(profile))
    }

    /// Does a boot start the gateway of this profile if nobody has recorded an intent?
    pub fn is_extra(&self, profile: &Profile) -> bool {
        self.extra.contains(profile) && self.allows(profile)
    }

    /// What is wrong with the lists: words that are no names, and profiles that are not there.
    pub fn faults(&self, exists: impl Fn(&Profile) -> bool) -> Vec<String> {
        let missing = |variable: &'static str, set: &BTreeSet<Profile>| -> Vec<String> {
            let gone = set.iter().filter(|profile| !exists(profile));
            gone.map(|profile| format!("{variable}: there is no profile {profile}")).collect()
        };
        let faults = self.faults.clone().into_iter();
        let sets = [(MAY, &self.named), (MAY, &self.excluded), (EXTRA, &self.extra), (ORDER, &self.first)];
        faults.chain(sets.into_iter().flat_map(|(variable, set)| missing(variable, set))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(may: &str, extra: &str) -> Autostart {
        Autostart::of(&Environment::of([(MAY.into(), may.into()), (EXTRA.into(), extra.into())]))
    }

    fn profile(name: &str) -> Profile {
        Profile::from_bytes(name.as_bytes()).unwrap()
    }

    #[test]
    fn a_boot_may_start_what_the_list_names_and_does_not_exclude() {
        const ALL: &str = "default a b c";
        for (may, allowed) in [
            ("", ALL),
            (" ,\t\n", ALL),
            ("*", ALL),
            // Names are all that may start; `default` is a name like the others.
            ("a", "a"),
            ("default,b", "default b"),
            ("a b,c\tdefault", ALL),
            ("gone", ""),
            // Without names all but those that are excluded may start.
            ("!a", "default b c"),
            ("!a,!default", "b c"),
            ("!gone", ALL),
            ("* !a", "default b c"),
            ("!a *", "default b c"),
            // A name is said of one profile and comes before what is said of all; `!` comes first of two alike.
            ("!*", ""),
            ("* !*", ""),
            ("!* a", "a"),
            ("a !*", "a"),
            ("* a", ALL),
            ("a b !a", "b"),
            ("!a a", ""),
            // A word that is no name stands for no profile, and is one of the list all the same.
            ("A", ""),
            ("A b", "b"),
            ("!A", ALL),
            ("! a", "a"),
            ("!!a", ALL),
            ("a*", ""),
        ] {
            let lists = lists(may, "");
            let found: Vec<&str> = ALL.split(' ').filter(|name| lists.allows(&profile(name))).collect();
            assert_eq!(found.join(" "), allowed, "{may:?}");
        }
    }

    #[test]
    fn an_extra_profile_is_one_that_is_named_and_not_excluded() {
        for (extra, may, found) in [
            ("", "", ""),
            ("a,default", "", "default a"),
            ("a b", "!a", "b"),
            ("a b", "b c", "b"),
            ("a", "!*", ""),
            ("*", "", ""),
            ("!a", "", ""),
        ] {
            let lists = lists(may, extra);
            let extras: Vec<&str> = ["default", "a", "b"].into_iter().filter(|n| lists.is_extra(&profile(n))).collect();
            assert_eq!(extras.join(" "), found, "{extra:?} {may:?}");
        }
    }

    #[test]
    fn each_word_that_names_no_profile_is_one_fault() {
        for (may, extra, faults) in [
            ("", "", &[][..]),
            ("* !* a !a", "a", &[]),
            ("../x", "", &["HERMES_AUTOSTART_PROFILES: \"../x\" is no profile name: it is passed over"]),
            ("!A", "", &["HERMES_AUTOSTART_PROFILES: \"!A\" is no profile name: it is passed over"]),
            ("", "*", &["HERMES_EXTRA_PROFILES: \"*\" is no profile name: it is passed over"]),
            ("gone gone", "", &["HERMES_AUTOSTART_PROFILES: there is no profile gone"]),
            ("!gone", "", &["HERMES_AUTOSTART_PROFILES: there is no profile gone"]),
            ("a", "gone", &["HERMES_EXTRA_PROFILES: there is no profile gone"]),
        ] {
            assert_eq!(lists(may, extra).faults(|profile| profile.as_str() == "a"), faults, "{may:?} {extra:?}");
        }
    }
}
