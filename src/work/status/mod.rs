//! The state of each gateway according to s6, beside the intent. s6 knows the present state; the state file on the
//! volume is only what the last run wrote (H8).

use crate::ground::error::{Error, Result};
use crate::ground::message::Log;
use crate::ground::process;
use crate::ground::profile::Profile;
use crate::ground::record::Record;
use crate::s6::programs;
use crate::s6::scandir::{Listening, Scandir};
use crate::s6::slot::Slot;
use crate::s6::supervise;
use crate::s6::template::Template;
use crate::volume::gateway_lock::{self, Holding};
use crate::volume::home::Home;
use crate::volume::ports::Known;
use crate::volume::settings;
use crate::volume::state::{self, Prior, State};
use crate::work::container::{self, s6_is_pid_1};
use crate::work::gateway::turn;
use crate::work::note::Note;
use crate::work::whose::{self, Whose};
use port::Port;

pub mod explain;
pub mod held;
pub mod port;
pub mod table;

/// The state of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Its process runs.
    Up,
    /// Its process does not run.
    Down,
    /// The gateway is down after too many deaths or a permanent error, until an operator starts it.
    Held,
    /// Its process waits for its turn to start, or until the gateway of another container, or an orphan, has ended.
    Waiting,
    /// The gateway was told to end, and has not ended yet.
    Draining,
    /// The gateway is the container's own command, and s6 does not run it.
    Foreground,
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
            Doing::Foreground => "foreground",
        }
    }
}

/// The status of one profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub profile: Profile,
    pub doing: Doing,
    /// The pid of the gateway's process.
    pub pid: Option<i32>,
    /// Seconds that the gateway has been up.
    pub uptime: Option<u64>,
    /// Is the gateway ready to serve?
    pub ready: bool,
    /// The operator's intent, as the boot pass would read it.
    pub intent: Prior,
    pub port: Port,
    /// The text that `finish` left when it gave up.
    pub held: Option<String>,
    /// Notes, each a word or a phrase.
    pub notes: Vec<Note>,
    /// The error if part of the status could not be read. The other fields are true all the same.
    pub unread: Option<Error>,
}

impl Status {
    /// Is the gateway as its intent says? The image's `HEALTHCHECK` asks this (`-c`, H9).
    pub fn is_healthy(&self) -> bool {
        !self.is_no_answer()
            && (!self.intent.starts()
                || matches!(self.doing, Doing::Up | Doing::Waiting | Doing::Foreground)
                || self.has_note(&Note::Multiplexed))
    }

    /// Does the slot belong to another home?
    pub fn is_others(&self) -> bool {
        self.notes.iter().any(|note| matches!(note, Note::OfHome(_)))
    }

    /// Does the slot belong to another home although a profile of this home was asked for? Then the state according to
    /// s6 is no answer.
    pub fn is_no_answer(&self) -> bool {
        self.is_others() && self.unread.is_some()
    }

    /// The notes, separated by `between`.
    fn noted(&self, between: &str) -> String {
        self.notes.iter().map(Note::to_string).collect::<Vec<_>>().join(between)
    }

    fn has_note(&self, note: &Note) -> bool {
        self.notes.contains(note)
    }

    /// The record, for programs and for `-F`.
    pub fn record(&self, manager: &Manager) -> Record {
        let record = Record::new()
            .text("profile", self.profile.as_str())
            .text("state", self.doing.as_str())
            .number_or_none("pid", self.pid.map(|pid| pid as u64))
            .number_or_none("uptime", self.uptime)
            .yes_no("ready", self.ready)
            .text("intent", self.intent.as_str());
        let record = match self.port {
            Port::Number(port) => record.number("port", port.into()),
            Port::Off => record.text("port", "off"),
            Port::None | Port::Unclear => record.number_or_none("port", None),
        };
        record.note("note", Some(self.noted(",")).filter(|n| !n.is_empty())).json_only("manager", &manager.label)
    }
}

/// The supervisor of the gateways here.
pub struct Manager {
    /// The text of the first line, without "Manager: ".
    pub label: String,
    /// Is there a supervisor?
    pub is_s6: bool,
}

impl Manager {
    /// Find the supervisor of this scandir.
    ///
    /// # Errors
    /// 111 if the scandir cannot be looked at.
    pub fn of(scandir: &Scandir) -> Result<Manager> {
        let heard = match scandir.listening()? {
            Listening::Yes => true,
            Listening::No => false,
            // In a sealed tree we can see the supervisors, but not the s6-svscan.
            Listening::Unknown => {
                let held = |p: &Profile| supervise::is_held(&scandir.slot(p)) != Ok(false);
                s6_is_pid_1()? || scandir.slots()?.iter().any(held)
            }
        };
        let label = match heard {
            false => "none (no s6 supervisor)".to_string(),
            true if s6_is_pid_1()? && is_of_pid_1(scandir)? => "s6 (container supervisor)".to_string(),
            true => format!("s6 (scandir {})", scandir.path.display()),
        };
        Ok(Manager { label, is_s6: heard })
    }
}

/// Is PID 1 the s6-svscan of this scandir? The path of an s6-svscan's scandir is its last argument.
///
/// # Errors
/// 111 if PID 1 cannot be looked at.
fn is_of_pid_1(scandir: &Scandir) -> Result<bool> {
    use std::os::unix::ffi::OsStrExt as _;
    Ok(process::arguments(1)?.iter().any(|argument| argument == scandir.path.as_os_str().as_bytes()))
}

/// The volume, the scandir, and whatever holds for all profiles, which is read once.
pub struct View<'a> {
    home: &'a Home,
    scandir: &'a Scandir,
    template: Result<Template>,
    multiplexed: Result<bool>,
    ports: Result<Known>,
    /// The profile whose gateway is the container's own command.
    foreground: Result<Option<Profile>>,
    /// Why this container owns no gateways, if so.
    disowned: Result<Option<Note>>,
}

impl<'a> View<'a> {
    /// Read whatever holds for all profiles.
    pub fn of(home: &'a Home, scandir: &'a Scandir) -> View<'a> {
        let multiplexed = settings::multiplex(home);
        View {
            home,
            scandir,
            template: Template::load(None),
            multiplexed,
            ports: Known::read(home),
            foreground: container::in_foreground(),
            disowned: container::why_not(),
        }
    }
}

/// Look at one profile.
///
/// # Errors
/// 111 if s6 or the volume cannot be asked.
pub fn look(view: &View, profile: &Profile) -> Result<Status> {
    let &View { home, scandir, .. } = view;
    let path = scandir.slot(profile);
    let mut notes = Vec::new();
    // The state of another home's slot according to s6 says nothing about the profile of this home.
    let whose = whose::of(home, scandir, &profile.slot())?;
    let is_other = matches!(whose, Whose::Other(_));
    let (intent, exists) = if is_other { (Prior::None, false) } else { intent(home, profile)? };
    let slot = Slot::find(scandir, profile)?;
    let stat = if slot.is_some() && supervise::is_held(&path)? { programs::svstat(&path)? } else { None };
    let held = slot.as_ref().map_or(Ok(None), Slot::held)?;
    let lock = if exists { gateway_lock::holder(home, profile)? } else { Holding::Free };
    let turn = stat.filter(|s| s.up).and_then(|_| turn::note(scandir, profile));
    let doing = match stat {
        Some(s) if s.up && !s.wanted_up => Doing::Draining,
        Some(s) if s.up && s.wanted_up && turn.is_some() => {
            notes.extend(turn);
            Doing::Waiting
        }
        Some(s) if s.up && lock.is_held_beside(s.pid) && s.pid.map_or(Ok(false), is_before_exec)? => {
            notes.push(Note::HeldBy(lock.to_string()));
            Doing::Waiting
        }
        Some(s) if s.up => Doing::Up,
        _ if view.foreground.clone()?.as_ref() == Some(profile) => Doing::Foreground,
        Some(s) if !s.finished && !s.wanted_up => Doing::Draining,
        // s6 has lost sight of the gateway, which still runs (docs/DESIGN.md, "The gateway lock").
        _ if lock.is_held_here() => {
            notes.push(Note::Orphan(lock.to_string()));
            Doing::Draining
        }
        Some(s) if !s.wanted_up && held.is_some() => {
            notes.extend(held.as_deref().map(|held| Note::Ended(held::note(held))));
            Doing::Held
        }
        _ => Doing::Down,
    };
    if doing == Doing::Down && stat.is_some_and(|s| s.wanted_up) {
        notes.push(Note::BetweenTries);
    }
    match whose {
        Whose::Other(path) => notes.push(Note::OfHome(path)),
        _ if !exists => notes.push(home.link_to(profile)?.map_or(Note::NoProfile, |(_, link)| Note::Link(link))),
        _ => {}
    }
    let disowned = view.disowned.clone().unwrap_or_default();
    let is_elsewhere = slot.is_none() && disowned.is_some();
    notes.extend(disowned);
    if slot.is_none() {
        notes.push(Note::NotRegistered);
    } else if stat.is_none() {
        notes.push(Note::NotSupervised);
    }
    let mut unread = if is_other { whose::require(home, scandir, profile).err() } else { None };
    unread = unread.or(view.disowned.as_ref().err().cloned());
    let may_be_served = intent.starts() && !profile.is_default();
    if may_be_served && let Err(error) = &view.multiplexed {
        notes.push(Note::UnreadableMode);
        unread = Some(error.clone());
    }
    if may_be_served && view.multiplexed == Ok(true) {
        notes.push(Note::Multiplexed);
    } else if intent.starts() && matches!(doing, Doing::Down | Doing::Held) {
        if !is_elsewhere {
            notes.push(Note::WantedButDown);
        }
    } else if !is_other
        && intent.starts() != matches!(doing, Doing::Up | Doing::Waiting)
        && !matches!(doing, Doing::Held | Doing::Foreground)
    {
        notes.push(Note::Drifting);
    }
    if intent == Prior::Invalid {
        notes.push(Note::UnreadableState);
    }
    // A template that cannot be used is no error here. The next publication reports it.
    if let (Some(slot), Ok(template)) = (&slot, &view.template)
        && slot.is_stale(template)?
    {
        notes.push(Note::StaleTemplate);
    }
    let up = stat.filter(|s| s.up);
    let foreground = if doing == Doing::Foreground { foreground(home, profile)? } else { None };
    let pid = foreground.map(|(pid, _)| pid).or(up.and_then(|s| s.pid));
    // If the ports cannot be read, perhaps because the account holds a lease on the file, s6's answer is shown all the
    // same.
    let port = match &view.ports {
        _ if !exists => Ok(Port::None),
        Err(error) => Err(error.clone()),
        // The pid of an orphan comes from a file that the account can write, so its port is not known.
        _ if notes.iter().any(|note| matches!(note, Note::Orphan(_))) => Ok(Port::Unclear),
        Ok(known) => match pid {
            Some(pid) if !is_before_exec(pid)? => port::of_process(home, profile, known, pid),
            _ => port::of_settings(home, profile, known, &path),
        },
    };
    if port == Ok(Port::Unclear) {
        notes.push(Note::PortUnclear);
    }
    if let Err(error) = &port {
        notes.push(Note::UnreadablePorts);
        unread = Some(error.clone());
    }
    Ok(Status {
        profile: profile.clone(),
        doing,
        pid,
        uptime: up.map(|s| s.seconds),
        ready: foreground.is_some_and(|(_, ready)| ready) || up.is_some_and(|s| s.is_ready()),
        intent,
        port: port.unwrap_or(Port::None),
        held,
        notes,
        unread,
    })
}

/// Every profile that has a slot or a directory, `default` first.
///
/// # Errors
/// 111 if the scandir or the profiles cannot be listed.
pub fn known(home: &Home, scandir: &Scandir, log: &dyn Log) -> Result<Vec<Profile>> {
    let mut known = scandir.slots()?;
    for profile in home.profiles(log)? {
        if !known.contains(&profile) {
            known.push(profile);
        }
    }
    known.sort_by(Profile::default_first);
    Ok(known)
}

/// The registered profiles whose gateway is up or wanted up.
///
/// # Errors
/// 111 if the scandir cannot be read.
pub fn up(scandir: &Scandir) -> Result<Vec<Profile>> {
    let mut up = Vec::new();
    for profile in scandir.slots()? {
        // A slot that cannot be asked is kept in the list. The order for it will report the error.
        if programs::svstat(&scandir.slot(&profile)).map_or(true, |s| s.is_some_and(|s| s.up || s.wanted_up)) {
            up.push(profile);
        }
    }
    Ok(up)
}

/// The profiles whose intent starts a gateway.
///
/// # Errors
/// 111 if the profiles cannot be listed.
pub fn intended_up(home: &Home, log: &dyn Log) -> Result<Vec<Profile>> {
    let mut wanted = Vec::new();
    for profile in home.profiles(log)? {
        // A profile whose intent cannot be read is kept in the list. The order for it will report the error.
        if intent(home, &profile).map_or(true, |(intent, _)| intent.starts()) {
            wanted.push(profile);
        }
    }
    Ok(wanted)
}

/// The gateway that is the container's own command: its pid, and whether its state file says that it is ready. s6 knows
/// neither.
fn foreground(home: &Home, profile: &Profile) -> Result<Option<(i32, bool)>> {
    let state = State::of_profile(home, profile)?;
    let pid = state.number("pid").and_then(|pid| i32::try_from(pid).ok());
    let process = pid.map_or(Ok(None), process::stat)?;
    let lives = process.is_some_and(|stat| Some(stat.start_time) == state.number("start_time"));
    let serves = matches!(state.string("gateway_state").as_deref(), Some("running" | "degraded"));
    Ok(pid.filter(|_| lives).map(|pid| (pid, serves)))
}

/// The intent of this profile, and whether the profile exists.
fn intent(home: &Home, profile: &Profile) -> Result<(Prior, bool)> {
    let unable = |e| Error::system("read", home.shown(profile, state::FILE), e);
    let prior = home.within(profile, |dir| {
        let state = State::read(dir).map_err(unable)?;
        let owner = state.owner(dir).map_err(unable)?;
        Ok(state.prior_of(profile, owner.as_deref()))
    })?;
    Ok((prior.unwrap_or(Prior::None), prior.is_some()))
}

/// Does this process still run our own program, which becomes the gateway by exec?
///
/// # Errors
/// 111 if the process cannot be looked at.
fn is_before_exec(pid: i32) -> Result<bool> {
    let ours = ["hermes-gateway-ready", "hermes-run-gateway"];
    Ok(process::name(pid)?.is_some_and(|name| ours.iter().any(|our| our[..15] == name)))
}
