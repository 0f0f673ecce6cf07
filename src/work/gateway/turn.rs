//! Waiting for a turn to start. At a boot all gateways are wanted at once, and if all started at once, none would be
//! ready until all are (H4).

use crate::ground::environment::Environment;
use crate::ground::error::{Error, Kind, Result};
use crate::ground::memory;
use crate::ground::message::{Log, Silent};
use crate::ground::parameter;
use crate::ground::profile::{self, Profile};
use crate::s6::scandir::Scandir;
use crate::s6::turns::Turns;
use crate::volume::home::Home;
use crate::volume::start_now;
use crate::work::note::Note;
use rustix::process::getppid;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Slots come up one after another. One waits so long for those that go before it.
const SETTLE: Duration = Duration::from_millis(200);

/// The time between two tries of the first in line to get a place.
const NAP: Duration = Duration::from_millis(20);

/// The time between two looks for the operator's order, the supervisor, and memory.
const LOOK: Duration = Duration::from_secs(1);

/// So many percent of the last ten seconds everything stood still for want of memory: one more gateway would only make
/// that worse, however much memory seems to be left.
const STALLED: u64 = 10;

/// One that has waited so many times the time of a place, and not for memory, goes without a place. The account can
/// start its gateways again and again, with names that come first.
const PATIENCE: u32 = 20;

/// How gateways start in turn.
#[derive(Debug, PartialEq, Eq)]
pub struct Rules {
    /// How many may start at a time (`HERMES_START_LIMIT`); `None` = all.
    pub places: Option<usize>,
    /// How long a start may keep its place (`HERMES_START_TIMEOUT`).
    pub time: Duration,
    /// Who comes first, after `default` (`HERMES_START_ORDER`).
    order: Vec<Profile>,
    /// How much memory has to be left, in bytes (`HERMES_START_MEMORY`).
    memory: u64,
}

impl Rules {
    /// The rules by these variables. A value that cannot be understood is a warning, and counts as absent.
    pub fn of(environment: &Environment, log: &dyn Log) -> Rules {
        let number = |name: &str, what: &str, low: u64, high: u64| {
            let value = environment.get(name)?;
            let number = parameter::number(value, name, what, low, high);
            number.map_err(|error| log.warning(&format!("{}: the default is taken", error.text))).ok()
        };
        // The number of processors that this process may use, by its control groups and its set of processors.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let limit = number("HERMES_START_LIMIT", "a number of gateways", 0, 100_000);
        let seconds = number("HERMES_START_TIMEOUT", "a number of seconds", 1, 86_400).unwrap_or(30);
        let mib = number("HERMES_START_MEMORY", "a number of MiB", 0, 1 << 30).unwrap_or(128);
        let words = environment.get("HERMES_START_ORDER").unwrap_or_default().to_string_lossy();
        // The boot pass warns of the other words (`volume/autostart`).
        let order = profile::words(&words).filter_map(|word| Profile::from_bytes(word.as_bytes())).collect();
        Rules {
            places: limit.map_or(Some(processors), |limit| usize::try_from(limit).ok().filter(|limit| *limit != 0)),
            time: Duration::from_secs(seconds),
            order,
            memory: mib << 20,
        }
    }

    /// Why there is no room for one more gateway in memory, if so.
    fn shortage(&self) -> Option<String> {
        let (left, stalled) = (memory::left().unwrap_or(u64::MAX), memory::stalled().unwrap_or(0));
        match self.memory {
            0 => None,
            wanted if left < wanted => Some(format!("{} MiB are left, {} are wanted", left >> 20, wanted >> 20)),
            _ if stalled >= STALLED => {
                Some(format!("{stalled} % of the last ten seconds everything stood still for it"))
            }
            _ => None,
        }
    }

    /// Those of `waiting` who come before this profile, in the order of the line.
    pub fn before(&self, profile: &Profile, waiting: Vec<Profile>) -> Vec<Profile> {
        let rank = |profile: &Profile| {
            let place = self.order.iter().position(|other| other == profile).unwrap_or(self.order.len());
            (!profile.is_default(), place, profile.clone())
        };
        let own = rank(profile);
        let mut before: Vec<_> = waiting.iter().map(rank).filter(|other| *other < own).collect();
        before.sort();
        before.into_iter().map(|(_, _, profile)| profile).collect()
    }

    /// How many wait and come before this profile.
    fn waiting_before(&self, profile: &Profile, turns: &Turns) -> Result<usize> {
        let before = self.before(profile, turns.names()?);
        Ok(before.iter().filter(|other| turns.is_waiting(other)).count())
    }
}

/// Wait until it is this profile's turn. Returns the place, which is to be kept until the gateway is ready; `None` if
/// there is no limit, or an operator asks for the start.
///
/// # Errors
/// 111 if the turns cannot be had, or the supervisor was killed meanwhile.
pub fn take(home: &Home, profile: &Profile, rules: &Rules, log: &dyn Log) -> Result<Option<OwnedFd>> {
    let supervisor = getppid();
    let asked = start_now::take(home, profile);
    let Some(places) = rules.places.filter(|_| !asked) else { return Ok(None) };
    let turns = Turns::of_slot()?;
    let _ticket = turns.ticket(profile, home.account_of(profile).gid)?;
    let begun = Instant::now();
    let settle = if profile.is_default() { Duration::ZERO } else { SETTLE };
    let (mut looked, mut told, mut short) = (begun, false, false);
    loop {
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            if getppid() != supervisor {
                return Err(Error::new(Kind::System, "unable to go on: the supervisor was killed while we waited"));
            }
            if start_now::take(home, profile) || !short && begun.elapsed() > rules.time * PATIENCE {
                return Ok(None);
            }
        }
        if let Some(ahead) = turns.ahead(&rules.before(profile, turns.names()?))? {
            if !told {
                let count = rules.waiting_before(profile, &turns)?;
                log.info(&format!("{profile} waits for its turn, {count} before it"));
            }
            told = true;
            ahead.sleep(LOOK);
            continue;
        }
        // The first in line.
        let nap = match turns.place(places)?.filter(|_| begun.elapsed() >= settle) {
            None => NAP,
            Some(place) => {
                let Some(why) = rules.shortage().filter(|_| !profile.is_default()) else {
                    if short {
                        turns.show_memory(false);
                    }
                    return Ok(Some(place));
                };
                if !short {
                    log.warning(&format!("{profile} waits for memory: {why}"));
                    turns.show_memory(true);
                    short = true;
                }
                LOOK
            }
        };
        std::thread::sleep(nap);
    }
}

/// Does the slot of this profile wait for its turn? Where that cannot be told, it does not.
pub fn is_waiting(scandir: &Scandir, profile: &Profile) -> bool {
    Turns::find(scandir).is_ok_and(|turns| turns.is_some_and(|turns| turns.is_waiting(profile)))
}

/// What the slot of this profile waits for, if it waits for its turn. Where that cannot be told, it does not.
pub fn note(scandir: &Scandir, profile: &Profile) -> Option<Note> {
    let turns = Turns::find(scandir).ok()?.filter(|turns| turns.is_waiting(profile))?;
    let count = Rules::of(&Environment::inherited(), &Silent).waiting_before(profile, &turns).ok()?;
    Some(if count == 0 && turns.is_memory_short() { Note::Memory } else { Note::Turn(count) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn rules(variables: &[(&str, &str)], log: &dyn Log) -> Rules {
        Rules::of(&Environment::of(variables.iter().map(|(name, value)| (name.into(), value.into()))), log)
    }

    fn profiles(names: &str) -> Vec<Profile> {
        names.split_ascii_whitespace().map(|name| Profile::from_bytes(name.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn default_is_first_then_who_is_named_then_the_names() {
        for (order, line) in [("", "default a b c"), ("c,b", "default c b a"), ("b gone default", "default b a c")] {
            let rules = rules(&[("HERMES_START_ORDER", order)], &Silent);
            let line = profiles(line);
            for (at, profile) in line.iter().enumerate() {
                assert_eq!(rules.before(profile, profiles("c default a b")), line[..at], "{order}: {profile}");
            }
        }
    }

    struct Kept(RefCell<Vec<String>>);
    impl Log for Kept {
        fn warning(&self, text: &str) {
            self.0.borrow_mut().push(text.to_string());
        }
        fn info(&self, _: &str) {}
    }

    #[test]
    fn a_value_that_is_none_is_one_warning_and_the_default() {
        let plain = rules(&[], &Silent);
        for (name, value) in [
            ("HERMES_START_LIMIT", "two"),
            ("HERMES_START_LIMIT", "-1"),
            ("HERMES_START_TIMEOUT", "0"),
            ("HERMES_START_MEMORY", "1G"),
        ] {
            let kept = Kept(RefCell::default());
            assert_eq!(rules(&[(name, value)], &kept), plain, "{name}={value}");
            let said = kept.0.into_inner();
            assert!(said.len() == 1 && said[0].contains(name) && said[0].contains(value), "{said:?}");
        }
        assert_eq!(rules(&[("HERMES_START_LIMIT", "0")], &Silent).places, None);
        assert_eq!(rules(&[("HERMES_START_LIMIT", "3")], &Silent).places, Some(3));
        assert!(plain.places.is_some_and(|places| places > 0));
    }
}
