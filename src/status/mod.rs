//! What s6 says of each gateway, beside what was intended. s6 is the truth; the volume's last word is the last run's (H8).

use crate::exit::{Error, Result};
use crate::gateway::lock::{self, Lock};
use crate::home::{Home, profile_dir};
use crate::message::Log;
use crate::port;
use crate::process;
use crate::profile::Profile;
use crate::record::Record;
use crate::s6;
use crate::scandir::{Listening, Scandir, s6_is_pid_1};
use crate::slot::Slot;
use crate::state::{Prior, State};
use crate::supervise;
use crate::template::Template;

pub mod explain;
pub mod held;
pub mod table;

/// What a gateway is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Its process is there.
    Up,
    /// It is not.
    Down,
    /// Down for good after too many deaths or a permanent error, until somebody starts it.
    Held,
    /// Its process waits for the gateway of another container, or an orphan, to end.
    Waiting,
    /// It was told to end, and has not yet.
    Draining,
}

impl Doing {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Doing::Up => "up",
            Doing::Down => "down",
            Doing::Held => "held",
            Doing::Waiting => "waiting",
            Doing::Draining => "draining",
        }
    }
}

/// One profile's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whose.
    pub profile: Profile,
    /// What it does.
    pub doing: Doing,
    /// Its process.
    pub pid: Option<i32>,
    /// Seconds that it has been up.
    pub uptime: Option<u64>,
    /// Ready to serve?
    pub ready: bool,
    /// What the operator wants, as the boot pass would read it.
    pub intent: Prior,
    /// Its port.
    pub port: Option<u16>,
    /// What `finish` left when it gave up, if it did.
    pub held: Option<String>,
    /// What else there is to know, a word or a phrase each.
    pub notes: Vec<String>,
}

impl Status {
    /// Is it as it should be? `HEALTHCHECK` asks (`-c`, H9).
    pub fn is_healthy(&self) -> bool {
        !self.intent.starts() || matches!(self.doing, Doing::Up | Doing::Waiting) || self.has_note("multiplexed")
    }

    fn has_note(&self, note: &str) -> bool {
        self.notes.iter().any(|n| n == note)
    }

    /// For programs, and for `-F`.
    pub fn record(&self, manager: &Manager) -> Record {
        Record::new()
            .text("profile", self.profile.as_str())
            .text("state", self.doing.as_str())
            .number_or_none("pid", self.pid.map(|pid| pid as u64))
            .number_or_none("uptime", self.uptime)
            .yes_no("ready", self.ready)
            .text("intent", self.intent.as_str())
            .number_or_none("port", self.port.map(u64::from))
            .note("note", Some(self.notes.join(",")).filter(|n| !n.is_empty()))
            .json_only("manager", &manager.label)
    }
}

/// Who supervises here.
pub struct Manager {
    /// As the first line says it, without "Manager: ".
    pub label: String,
    /// Is there anybody?
    pub is_s6: bool,
}

impl Manager {
    /// Look.
    pub fn of(scandir: &Scandir) -> Result<Manager> {
        let heard = match scandir.listening() {
            Listening::Yes => true,
            Listening::No => false,
            // A sealed tree: its supervisors can be seen, its s6-svscan not.
            Listening::Unknown => {
                s6_is_pid_1() || scandir.slots()?.iter().any(|p| supervise::is_held(&scandir.slot(p)))
            }
        };
        let label = match heard {
            false => "none (no s6 supervisor)".to_string(),
            true if s6_is_pid_1() && is_of_pid_1(scandir) => "s6 (container supervisor)".to_string(),
            true => format!("s6 (scandir {})", scandir.path.display()),
        };
        Ok(Manager { label, is_s6: heard })
    }
}

/// s6-svscan is told its scandir as its last argument.
fn is_of_pid_1(scandir: &Scandir) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let command = std::fs::read("/proc/1/cmdline").unwrap_or_default();
    command.split(|b| *b == 0).any(|argument| argument == scandir.path.as_os_str().as_bytes())
}

/// Look at one profile.
///
/// # Errors
/// 111 if s6 or the volume cannot be asked.
pub fn look(home: &Home, scandir: &Scandir, profile: &Profile) -> Result<Status> {
    let path = scandir.slot(profile);
    let mut notes = Vec::new();
    let (intent, exists) = intent(home, profile)?;
    let there = scandir.has_slot(profile);
    let stat = if there && supervise::is_held(&path) { s6::svstat(&path)? } else { None };
    let slot = if there { Some(Slot::open(scandir, profile)?) } else { None };
    let held = slot.as_ref().and_then(Slot::held);
    let lock = if exists { lock::holder(home, profile)? } else { Lock::Free };
    let elsewhere = |pid: i32| matches!(&lock, Lock::Held(holder) if holder.as_ref().is_none_or(|h| h.pid != pid));
    let doing = match stat {
        Some(s) if s.up && !s.wanted_up => Doing::Draining,
        Some(s) if s.up && s.pid.is_some_and(|pid| is_before_exec(pid) && elsewhere(pid)) => {
            notes.push(format!("held by {lock}"));
            Doing::Waiting
        }
        Some(s) if s.up => Doing::Up,
        Some(s) if !s.finished && !s.wanted_up => Doing::Draining,
        // s6 has lost sight of it; it still answers (DESIGN, section 7: tried).
        _ if lock.is_held_here() => {
            notes.push(format!("orphan {lock}"));
            Doing::Draining
        }
        Some(s) if !s.wanted_up && held.is_some() => {
            notes.extend(held.as_deref().map(held::note));
            Doing::Held
        }
        _ => Doing::Down,
    };
    if doing == Doing::Down && stat.is_some_and(|s| s.wanted_up) {
        notes.push("between-tries".to_string());
    }
    if !exists {
        notes.push("no-profile".to_string());
    }
    if !there {
        notes.push("not-registered".to_string());
    } else if stat.is_none() {
        notes.push("not-supervised".to_string());
    }
    if intent.starts() && !profile.is_default() && crate::settings::multiplex(home) {
        notes.push("multiplexed".to_string());
    } else if intent.starts() && matches!(doing, Doing::Down | Doing::Held) {
        notes.push("wanted-but-down".to_string());
    } else if intent.starts() != matches!(doing, Doing::Up | Doing::Waiting) && doing != Doing::Held {
        notes.push("drifting".to_string());
    }
    if intent == Prior::Invalid {
        notes.push("unreadable-state".to_string());
    }
    let stale = || Slot::update(slot.as_ref()?, Template::load(None).as_ref().ok()?, true).ok();
    if stale().is_some_and(|update| update.stale) {
        notes.push("stale-template".to_string());
    }
    // Somebody with a lease on the file must not hide what s6 says.
    let port = if exists { port::lookup(home, profile) } else { Ok(None) };
    if port.is_err() {
        notes.push("unreadable-ports".to_string());
    }
    let up = stat.filter(|s| s.up);
    Ok(Status {
        profile: profile.clone(),
        doing,
        pid: up.and_then(|s| s.pid),
        uptime: up.map(|s| s.seconds),
        ready: up.is_some_and(|s| s.is_ready()),
        intent,
        port: port.unwrap_or_default(),
        held,
        notes,
    })
}

/// Every slot, and every profile that has none, `default` first.
///
/// # Errors
/// 111 if they cannot be listed.
pub fn known(home: &Home, scandir: &Scandir, log: &dyn Log) -> Result<Vec<Profile>> {
    let mut known = scandir.slots()?;
    for profile in home.profiles(log)? {
        if !known.contains(&profile) {
            known.push(profile);
        }
    }
    known.sort_by_key(|p| (!p.is_default(), p.as_str().to_string()));
    Ok(known)
}

/// The registered profiles that are up, or on their way up.
///
/// # Errors
/// 111 if the scandir cannot be read.
pub fn up(scandir: &Scandir) -> Result<Vec<Profile>> {
    let mut up = Vec::new();
    for profile in scandir.slots()? {
        // As below: one that cannot be asked keeps nobody else from being found.
        if s6::svstat(&scandir.slot(&profile)).map_or(true, |s| s.is_some_and(|s| s.up || s.wanted_up)) {
            up.push(profile);
        }
    }
    Ok(up)
}

/// The profiles that the operator wants up.
///
/// # Errors
/// 111 if the volume cannot be read.
pub fn intended_up(home: &Home, log: &dyn Log) -> Result<Vec<Profile>> {
    let mut wanted = Vec::new();
    for profile in home.profiles(log)? {
        // What cannot be read is not left out: the order about it will say why it cannot be obeyed.
        if intent(home, &profile).map_or(true, |(intent, _)| intent.starts()) {
            wanted.push(profile);
        }
    }
    Ok(wanted)
}

fn intent(home: &Home, profile: &Profile) -> Result<(Prior, bool)> {
    home.act(|dir| {
        let opened = profile_dir(dir, profile).map_err(|e| Error::system("open", home.shown(profile, ""), e))?;
        Ok(opened.map_or((Prior::None, false), |dir| (State::read(&dir).prior(), true)))
    })
}

/// Still our own program, before it became the gateway?
fn is_before_exec(pid: i32) -> bool {
    process::name(pid).is_some_and(|name| "hermes-run-gateway".starts_with(&name) && name.len() == 15)
}
