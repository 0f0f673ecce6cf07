//! Notes about a profile, beside the action or the state in its record. Each is a word or a phrase.

use crate::ground::profile::Profile;
use crate::volume::home::{Link, Why};
use std::fmt;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Hermes Agent cannot read `config.yaml`, and ignores all of it.
    BadConfig,
    /// Hermes Agent cannot read a line of `.env`, and passes over it.
    BadEnv,
    /// The gateway is down, and s6-supervise is about to start it again.
    BetweenTries,
    /// This is a dashboard container. Another container owns the gateways.
    DashboardContainer,
    /// Hermes Agent has deleted the profile, and something has made its directory again.
    Deleted,
    /// The gateway was told to end, and has not ended yet.
    Draining,
    /// The gateway's state does not match the intent.
    Drifting,
    /// How the last process of a held gateway ended, from the template's `finish`: `exit-78`, `signal-11`.
    Ended(String),
    /// The gateway is the container's own command, and s6 does not run it.
    Foreground,
    /// A signal has stopped the gateway's process (SIGSTOP). It does nothing until it is continued.
    Frozen,
    /// The gateway is down for good after too many deaths or a permanent error.
    Held,
    /// A platform of the gateway is in trouble, according to the gateway: its name and its state.
    Platform(String),
    /// Something that belongs to root is in the way of the profile's account.
    RootLeft,
    /// Another process holds the gateway lock. This profile's gateway waits for it, or is down here.
    ServedBy(String),
    /// A link has the name of a profile, and does not lead to one.
    Link(Link),
    /// There is a profile directory whose name is not a valid profile name.
    InvalidName,
    /// The gateway is next to start, and waits for memory.
    Memory,
    /// The gateway of `default` serves this profile.
    Multiplexed,
    /// The gateway of `default` serves this profile since the Hermes Agent of this boot. At the last boot the profile had
    /// a gateway of its own.
    NowMultiplexed,
    /// The profile has a gateway of its own since the Hermes Agent of this boot. At the last boot that of `default` served it.
    NowItsOwn,
    /// The gateway of `default` runs, and does not say that it serves this profile.
    NotServed,
    /// Nobody wants `default` itself up or down, and it starts because this profile is wanted, which it serves.
    WantedBy(Profile),
    /// The profile is wanted, and the operator's list keeps a boot from starting it (`HERMES_AUTOSTART_PROFILES`).
    NoAutostart,
    /// The slot does not say whose home it is. An earlier version published it.
    NoHome,
    /// There is a slot, but no profile.
    NoProfile,
    /// A directory has the name of a profile, and no SOUL.md.
    NoSoul,
    /// There is a profile, but no slot.
    NotRegistered,
    /// No s6-supervise holds the slot.
    NotSupervised,
    /// The slot is that of a profile of another home.
    OfHome(PathBuf),
    /// The supervisor of the gateway was killed, and the gateway still runs.
    Orphan(String),
    /// Whether the gateway has a port, and which one, is not understood.
    PortUnclear,
    /// A profile directory is called `default`, which is the name of the home's own profile.
    ReservedName,
    /// The operator asked for this container to own no gateways.
    SkipRequested,
    /// The template's shape has changed, and the slot has to be down before it can be replaced.
    StaleTemplate,
    /// The gateway waits for its turn to start, and so many come before it.
    Turn(usize),
    /// It cannot be told whether the gateway of `default`, which runs, serves this profile.
    UnreadableDefault,
    /// It cannot be told whether the gateway of `default` serves all profiles.
    UnreadableMode,
    /// Nothing can be written to the volume, in one word why.
    Unwritable(&'static str),
    /// The profile's port cannot be told.
    UnreadablePorts,
    /// The state file cannot be parsed.
    UnreadableState,
    /// The intent is running, and the gateway is down.
    WantedButDown,
}

impl From<Why> for Note {
    fn from(why: Why) -> Note {
        match why {
            Why::Reserved => Note::ReservedName,
            Why::Invalid => Note::InvalidName,
            Why::NoSoul => Note::NoSoul,
            Why::Deleted => Note::Deleted,
            Why::Link(link) => Note::Link(link),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Note::BadConfig => "bad-config",
            Note::BadEnv => "bad-env",
            Note::BetweenTries => "between-tries",
            Note::DashboardContainer => "dashboard-container",
            Note::Deleted => "deleted",
            Note::Draining => "draining",
            Note::Drifting => "drifting",
            Note::Ended(how) => how,
            Note::Foreground => "foreground",
            Note::Held => "held",
            Note::Frozen => "frozen",
            Note::Platform(which) => which,
            Note::RootLeft => "root-left",
            Note::ServedBy(who) => return write!(f, "served by {who}"),
            Note::InvalidName => "invalid-name",
            Note::Link(Link::Foreign(_)) => "foreign-link",
            Note::Link(Link::Empty) => "empty-link",
            Note::Memory => "waits for memory",
            Note::Multiplexed => "multiplexed",
            Note::NowMultiplexed => "now-multiplexed",
            Note::NowItsOwn => "now-its-own",
            Note::NotServed => "not-served",
            Note::WantedBy(profile) => return write!(f, "wanted-by:{profile}"),
            Note::NoAutostart => "no-autostart",
            Note::NoHome => "no-home",
            Note::NoProfile => "no-profile",
            Note::NoSoul => "no-soul",
            Note::NotRegistered => "not-registered",
            Note::NotSupervised => "not-supervised",
            Note::OfHome(home) => return write!(f, "of-home:{}", home.display()),
            Note::Orphan(who) => return write!(f, "orphan {who}"),
            Note::PortUnclear => "port-unclear",
            Note::ReservedName => "reserved-name",
            Note::SkipRequested => "skip-requested",
            Note::StaleTemplate => "stale-template",
            Note::Turn(before) => return write!(f, "waits for its turn ({before} before it)"),
            Note::UnreadableDefault => "unreadable-default",
            Note::UnreadableMode => "unreadable-mode",
            Note::Unwritable(why) => why,
            Note::UnreadablePorts => "unreadable-ports",
            Note::UnreadableState => "unreadable-state",
            Note::WantedButDown => "wanted-but-down",
        })
    }
}
