//! Ports that users have pinned themselves.

use crate::profile::Profile;
use crate::settings::{Fault, Inherited, Pin, Settings};
use std::collections::BTreeMap;
use std::os::fd::AsFd;

/// What one profile's files say about its API server. Call it with the account's rights.
///
/// hermes-run-gateway exports a pinned port as well as an allocated one: `.env` and `extra.port` win over the variable
/// and say the same, but `platforms.api_server.port` is not read by Hermes Agent itself.
pub fn pin_of(home: impl AsFd, profile: &Profile, inherited: &Inherited) -> Settings {
    Settings::read(home, profile, inherited)
}

/// The pins of all profiles of a home. Only enabled API servers have any (E3).
#[derive(Debug, Default)]
pub struct Pins {
    of: BTreeMap<Profile, Option<Pin>>,
    faults: BTreeMap<Profile, Vec<Fault>>,
    at: BTreeMap<u16, Vec<Profile>>,
}

impl Pins {
    /// Have the files of this profile been read?
    pub fn knows(&self, profile: &Profile) -> bool {
        self.of.contains_key(profile)
    }

    /// Add what a profile's files say; not for one that is known already.
    pub fn read(&mut self, home: impl AsFd, profile: &Profile, inherited: &Inherited) {
        let Settings { pin, faults, .. } = Settings::read(home, profile, inherited);
        if let Some(pin) = pin {
            self.at.entry(pin.port).or_default().push(profile.clone());
        }
        if !faults.is_empty() {
            self.faults.insert(profile.clone(), faults);
        }
        self.of.insert(profile.clone(), pin);
    }

    /// The pin of this profile.
    pub fn of(&self, profile: &Profile) -> Option<Pin> {
        self.of.get(profile).copied().flatten()
    }

    /// All pins.
    pub fn iter(&self) -> impl Iterator<Item = (&Profile, Pin)> {
        self.of.iter().filter_map(|(profile, pin)| Some((profile, (*pin)?)))
    }

    /// Somebody else who pins this port.
    pub fn other_at(&self, port: u16, profile: &Profile) -> Option<&Profile> {
        self.at.get(&port)?.iter().find(|other| *other != profile)
    }

    /// What is wrong with the files of this profile: once, then forgotten.
    pub fn take_faults(&mut self, profile: &Profile) -> Vec<Fault> {
        self.faults.remove(profile).unwrap_or_default()
    }
}
