//! Ports that users have pinned in their profiles' files.

use crate::ground::error::Error;
use crate::ground::profile::Profile;
use crate::volume::settings::{Fault, Inherited, Pin, Settings};
use std::collections::BTreeMap;
use std::os::fd::AsFd;

/// The pins of all profiles of a home. Only a profile whose API server is enabled has a pin (E3).
#[derive(Debug, Default)]
pub struct Pins {
    of: BTreeMap<Profile, Option<Pin>>,
    faults: BTreeMap<Profile, Vec<Fault>>,
    /// The errors of profiles whose files could not be read just now.
    unread: BTreeMap<Profile, Error>,
    at: BTreeMap<u16, Vec<Profile>>,
}

impl Pins {
    /// Were the files of this profile read, or was it tried?
    pub fn knows(&self, profile: &Profile) -> bool {
        self.of.contains_key(profile) || self.unread.contains_key(profile)
    }

    /// The error if the files of this profile could not be read just now. Its pin is not known then.
    pub fn unread(&self, profile: &Profile) -> Option<&Error> {
        self.unread.get(profile)
    }

    /// Read the files of a profile that was not read before.
    pub fn read(&mut self, home: impl AsFd, profile: &Profile, inherited: &Inherited) {
        let Settings { pin, faults, .. } = match Settings::read(home, profile, inherited) {
            Ok(settings) => settings,
            Err(error) => return drop(self.unread.insert(profile.clone(), error)),
        };
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

    /// The pins of all profiles.
    pub fn iter(&self) -> impl Iterator<Item = (&Profile, Pin)> {
        self.of.iter().filter_map(|(profile, pin)| Some((profile, (*pin)?)))
    }

    /// The other profiles that pin this port.
    pub fn others_at(&self, port: u16, profile: &Profile) -> impl Iterator<Item = &Profile> {
        self.at.get(&port).into_iter().flatten().filter(move |other| *other != profile)
    }

    /// Another profile that pins this port.
    pub fn other_at(&self, port: u16, profile: &Profile) -> Option<&Profile> {
        self.others_at(port, profile).next()
    }

    /// The faults in the files of this profile. They are returned only once.
    pub fn take_faults(&mut self, profile: &Profile) -> Vec<Fault> {
        self.faults.remove(profile).unwrap_or_default()
    }
}
