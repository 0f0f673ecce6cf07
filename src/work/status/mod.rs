//! The state of each gateway according to s6, beside the intent. s6 knows the present state; the state file on the
//! volume is only what the last run wrote (H8).

use crate::ground::error::{Error, Result};
use crate::ground::message::Log;
use crate::ground::process;
use crate::ground::profile::Profile;
use crate::ground::record::Record;
use crate::s6::orders;
use crate::s6::programs::{self, Deaths, Svstat};
use crate::s6::scandir::Scandir;
use crate::s6::slot::Slot;
use crate::s6::supervise;
use crate::s6::template::Template;
use crate::volume::autostart::Autostart;
use crate::volume::gateway_lock::{self, Holding};
use crate::volume::home::Home;
use crate::volume::mode::{self, Mode};
use crate::volume::ports::Known;
use crate::volume::root_left;
use crate::volume::settings::Complaints;
use crate::volume::state::{self, Prior, State, Trouble};
use crate::volume::writable;
use crate::work::container;
use crate::work::gateway::turn;
use crate::work::note::Note;
use crate::work::whose::{self, Whose};
use port::Port;
use std::path::Path;
use std::time::Duration;

pub use manager::Manager;

pub mod check;
pub mod explain;
pub mod held;
mod manager;
pub mod port;
pub mod screen;
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
    /// For how many seconds the gateway has been in this state. Of a gateway that is up, the time in which it waited for
    /// another container does not count.
    pub seconds: Option<u64>,
    /// Of a gateway that drains: in how many seconds s6-supervise kills it.
    pub drain_left: Option<u64>,
    /// The deaths since an operator last ordered the gateway up or down.
    pub deaths: Deaths,
    /// When the gateway was last started, in seconds since the epoch, according to its slot.
    pub started: Option<u64>,
    /// Is the gateway ready to serve?
    pub ready: bool,
    /// The operator's intent, as the boot pass would read it.
    pub intent: Prior,
    pub port: Port,
    /// The text that `finish` left when it gave up.
    pub held: Option<String>,
    /// Notes, each a word or a phrase.
    pub notes: Vec<Note>,
    /// The platforms of the gateway that are in trouble, according to the gateway.
    pub troubles: Vec<Trouble>,
    /// What Hermes Agent complains of in the profile's files. Only looked at for a gateway that is
    /// wanted or up.
    pub complaints: Complaints,
    /// The error if part of the status could not be read. The other fields are true all the same.
    pub unread: Option<Error>,
}

impl Status {
    /// Is the gateway as its intent says? The image's `HEALTHCHECK` asks this (`-c`, H9).
    pub fn is_healthy(&self) -> bool {
        !self.is_no_answer()
            && (!self.intent.starts()
                || matches!(self.doing, Doing::Up | Doing::Waiting | Doing::Foreground)
                || self.doing == Doing::Down && !self.has_note(&Note::WantedButDown)
                || self.has_note(&Note::Multiplexed))
    }

    /// As `is_healthy`, and is the gateway also ready? A gateway that has not died since the operator's last order may
    /// take this long to get ready. One that a signal has stopped serves nobody.
    pub fn serves(&self, grace: Duration) -> bool {
        let is_new = self.deaths.count == 0 && self.seconds.is_some_and(|up| Duration::from_secs(up) < grace);
        let is_up = self.doing == Doing::Up && !self.has_note(&Note::Multiplexed);
        let is_ready = (self.ready || is_new) && !self.has_note(&Note::Frozen);
        self.is_healthy() && (!self.intent.starts() || !is_up || is_ready)
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

    /// Is the gateway wanted and down because no boot starts it?
    fn is_left_down(&self) -> bool {
        self.doing == Doing::Down && self.has_note(&Note::NoAutostart) && !self.has_note(&Note::WantedButDown)
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
            .number_or_none("uptime", self.seconds.filter(|_| matches!(self.doing, Doing::Up | Doing::Foreground)))
            .yes_no("ready", self.ready)
            .text("intent", self.intent.as_str());
        let record = match self.port {
            Port::Number(port) => record.number("port", port.into()),
            Port::Off => record.text("port", "off"),
            Port::None | Port::Unclear => record.number_or_none("port", None),
        };
        record
            .note("note", Some(self.noted(",")).filter(|n| !n.is_empty()))
            .number_if_any("since", self.seconds)
            .number_if_any("drain_left", self.drain_left)
            .number("deaths", self.deaths.count)
            .note("last_death", self.deaths.last.clone())
            .json_only("manager", &manager.label)
    }

    /// The status without what changes by the mere passing of time.
    pub fn timeless(&self) -> Status {
        Status { seconds: None, drain_left: None, ..self.clone() }
    }
}

/// The volume, the scandir, and whatever holds for all profiles, which is read once.
pub struct View<'a> {
    home: &'a Home,
    scandir: &'a Scandir,
    template: Result<Template>,
    mode: Result<Mode>,
    /// The state of `default`, if the process that runs now wrote it, and it may serve others by `Mode::Others`.
    host: Result<Option<State>>,
    /// `None` if no ports are to be shown.
    ports: Option<Result<Known>>,
    /// The profile whose gateway is the container's own command.
    foreground: Result<Option<Profile>>,
    /// Why this container owns no gateways, if so.
    disowned: Result<Option<Note>>,
    autostart: Autostart,
}

impl<'a> View<'a> {
    /// Read whatever holds for all profiles.
    pub fn of(home: &'a Home, scandir: &'a Scandir) -> View<'a> {
        let mode = Mode::of(home);
        let host = if mode == Ok(Mode::Others) { host(home, scandir) } else { Ok(None) };
        View {
            home,
            scandir,
            template: Template::load(None),
            mode,
            host,
            ports: Some(Known::read(home)),
            foreground: container::in_foreground(),
            disowned: container::why_not(),
            autostart: Autostart::inherited(),
        }
    }

    /// The same view, in which no profile has a port.
    pub fn without_ports(self) -> View<'a> {
        View { ports: None, ..self }
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
    let said = if is_other { None } else { Said::read(home, profile)? };
    let (intent, exists) = (said.as_ref().map_or(Prior::None, |said| said.intent), said.is_some());
    let slot = Slot::find(scandir, profile)?;
    let stat = if slot.is_some() && supervise::is_held(&path)? { programs::svstat(&path)? } else { None };
    let held = slot.as_ref().map_or(Ok(None), Slot::held)?;
    let lock = if exists { gateway_lock::holder(home, profile)? } else { Holding::Free };
    let turn = stat.filter(|s| s.up).and_then(|_| turn::note(scandir, profile));
    let doing = match stat {
        Some(s) if s.up && !s.wanted_up => Doing::Draining,
        // One that another container serves is not kept by its turn.
        Some(s) if s.up && s.wanted_up && turn.is_some() && !lock.is_held_beside(s.pid) => {
            notes.extend(turn);
            Doing::Waiting
        }
        Some(s)
            if s.up && lock.is_held_beside(s.pid) && (turn.is_some() || s.pid.map_or(Ok(false), is_before_exec)?) =>
        {
            notes.push(Note::ServedBy(lock.to_string()));
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
    } else if doing == Doing::Down && lock.is_held_beside(None) {
        notes.push(Note::ServedBy(lock.to_string()));
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
    // Where `default` serves others, one that nobody wants is served as well.
    let may_be_served = exists && (intent.starts() || view.mode == Ok(Mode::Others));
    let served = match &view.mode {
        Ok(mode) if may_be_served => mode.serves(home, profile),
        Err(error) if may_be_served && !profile.is_default() => Err(error.clone()),
        _ => Ok(false),
    };
    if let Err(error) = &served {
        notes.push(Note::UnreadableMode);
        unread = Some(error.clone());
    }
    let started = slot.as_ref().and_then(Slot::started);
    let multiplexed = served == Ok(true);
    let left_out = intent.starts() && !multiplexed && doing != Doing::Foreground && !view.autostart.allows(profile);
    if left_out {
        notes.push(Note::NoAutostart);
    }
    if multiplexed {
        notes.push(Note::Multiplexed);
        match &view.host {
            Ok(Some(State::Broken(_))) => notes.push(Note::UnreadableDefault),
            Ok(Some(host)) if !mode::lists(host, profile) => notes.push(Note::NotServed),
            Ok(_) => {}
            Err(error) => {
                notes.push(Note::UnreadableDefault);
                unread = Some(error.clone());
            }
        }
    } else if intent.starts() && matches!(doing, Doing::Down | Doing::Held) {
        // One that a boot does not start is wanted once an operator has started it.
        let is_meant = left_out && doing == Doing::Down && started.is_none();
        if !is_elsewhere && !is_served(&notes) && !is_meant {
            notes.push(Note::WantedButDown);
        }
    } else if !is_other
        && intent.starts() != matches!(doing, Doing::Up | Doing::Waiting)
        && !matches!(doing, Doing::Held | Doing::Foreground)
    {
        notes.push(Note::Drifting);
    }
    // A health check does not look into the profiles' files.
    if exists && view.ports.is_some() {
        notes.extend(writable::hindrance(home, profile)?.map(|hindrance| Note::Unwritable(hindrance.note)));
        if root_left::find(home, profile)?.is_some() {
            notes.push(Note::RootLeft);
        }
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
    let frozen = up.and_then(|s| s.pid).map_or(Ok(None), process::stat)?.is_some_and(|stat| stat.stopped);
    if frozen {
        notes.push(Note::Frozen);
    }
    let said = said.unwrap_or_default();
    let troubles = match &view.host {
        Ok(Some(host)) if multiplexed => host.troubles_of(profile),
        _ if doing == Doing::Up && said.pid.is_some() && said.pid == pid => said.troubles,
        _ => Vec::new(),
    };
    notes.extend(troubles.iter().map(|trouble| Note::Platform(trouble.what.clone())));
    let is_of_interest = exists && (intent.starts() || doing == Doing::Up);
    // An error of the ports is reported below.
    let complaints = match &view.ports {
        Some(Ok(known)) if is_of_interest => known.complaints(home, profile)?,
        _ => Complaints::default(),
    };
    if complaints.config.is_some() {
        notes.push(Note::BadConfig);
    }
    if complaints.env_line.is_some() {
        notes.push(Note::BadEnv);
    }
    let (seconds, drain_left) = times(doing, stat.as_ref(), &lock, &path, pid);
    let port = match &view.ports {
        None => Ok(Port::None),
        _ if !exists => Ok(Port::None),
        Some(Err(error)) => Err(error.clone()),
        // The pid of an orphan comes from a file that the account can write, so its port is not known.
        _ if notes.iter().any(|note| matches!(note, Note::Orphan(_))) => Ok(Port::Unclear),
        Some(Ok(known)) => match pid {
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
        seconds,
        drain_left,
        deaths: match slot.as_ref().filter(|_| stat.is_some()) {
            Some(slot) => programs::svdt(&path, &slot.kills()?)?,
            None => Deaths::default(),
        },
        started,
        ready: foreground.is_some_and(|(_, ready)| ready) || up.is_some_and(|s| s.is_ready()),
        intent,
        port: port.unwrap_or(Port::None),
        held,
        notes,
        troubles,
        complaints,
        unread,
    })
}

/// The state of `default`, if the process that s6 runs now wrote it, or if it cannot be parsed.
///
/// # Errors
/// 111 if the state cannot be read, or s6 cannot be asked.
fn host(home: &Home, scandir: &Scandir) -> Result<Option<State>> {
    let default = Profile::default_profile();
    let slot = scandir.slot(&default);
    let stat = if supervise::is_held(&slot)? { programs::svstat(&slot)? } else { None };
    let Some(pid) = stat.filter(|stat| stat.up).and_then(|stat| stat.pid) else { return Ok(None) };
    let state = State::of_profile(home, &default)?;
    let says = matches!(state, State::Broken(_)) || state.number("pid") == u64::try_from(pid).ok();
    Ok(says.then_some(state))
}

/// Does a gateway of another container serve this profile?
fn is_served(notes: &[Note]) -> bool {
    notes.iter().any(|note| matches!(note, Note::ServedBy(_)))
}

/// For how many seconds the gateway has been in this state, and how many a gateway that drains has left.
fn times(
    doing: Doing,
    stat: Option<&Svstat>,
    lock: &Holding,
    slot: &Path,
    pid: Option<i32>,
) -> (Option<u64>, Option<u64>) {
    let now = jiff::Timestamp::now().as_second();
    let since = |epoch: Option<i64>| epoch.and_then(|then| u64::try_from(now - then).ok());
    match (doing, stat) {
        (Doing::Foreground, _) => (since(pid.and_then(process::started)), None),
        // The order to end is the last change of the status.
        (Doing::Draining, Some(s)) if s.up => {
            let told = supervise::last_change(slot);
            let left = told.zip(orders::timeout_kill(slot)).map(|(told, limit)| limit.saturating_sub(told).as_secs());
            (told.map(|told| told.as_secs()), left)
        }
        (Doing::Up, Some(s)) => {
            let taken = s.pid.and_then(|pid| lock.taken_by(pid)).and_then(|taken| i64::try_from(taken).ok());
            (Some(since(taken).map_or(s.seconds, |served| served.min(s.seconds))), None)
        }
        (_, stat) => (stat.map(|s| s.seconds), None),
    }
}

/// Every profile that has a slot or a directory, `default` first.
///
/// # Errors
/// 111 if the scandir or the profiles cannot be listed.
pub fn known(home: &Home, scandir: &Scandir, log: &dyn Log) -> Result<Vec<Profile>> {
    let mut known = scandir.slots()?;
    known.extend(home.profiles(log)?);
    known.sort_by(Profile::default_first);
    known.dedup();
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

/// The profiles whose gateways a boot starts.
///
/// # Errors
/// 111 if the profiles cannot be listed.
pub fn intended_up(home: &Home, dry_run: bool, log: &dyn Log) -> Result<Vec<Profile>> {
    let (autostart, mode) = (Autostart::inherited(), Mode::of(home));
    // If it cannot be told whether `default` serves a profile, that one is kept in the list.
    let is_served =
        |profile: &Profile| mode.as_ref().is_ok_and(|mode| mode.settle(home, profile, dry_run, log) == Ok(true));
    let mut wanted = Vec::new();
    for profile in home.profiles(log)?.into_iter().filter(|profile| autostart.allows(profile)) {
        // A profile whose intent cannot be read is kept in the list. The order for it will report the error.
        let is_wanted = Said::read(home, &profile).map_or(true, |said| said.is_some_and(|said| said.intent.starts()));
        if is_wanted && !is_served(&profile) {
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

/// What the state file of a profile says.
struct Said {
    intent: Prior,
    pid: Option<i32>,
    troubles: Vec<Trouble>,
}

impl Default for Said {
    fn default() -> Said {
        Said { intent: Prior::None, pid: None, troubles: Vec::new() }
    }
}

impl Said {
    /// Read the state file; `None` if there is no such profile.
    fn read(home: &Home, profile: &Profile) -> Result<Option<Said>> {
        let unable = |e| Error::system("read", home.shown(profile, state::FILE), e);
        home.within(profile, |dir| {
            let state = State::read(dir).map_err(unable)?;
            let owner = state.owner(dir).map_err(unable)?;
            let pid = state.number("pid").and_then(|pid| i32::try_from(pid).ok());
            Ok(Said { intent: state.prior_of(profile, owner.as_deref()), pid, troubles: state.troubles() })
        })
    }
}

/// Does this process still run our own program, which becomes the gateway by exec?
///
/// # Errors
/// 111 if the process cannot be looked at.
fn is_before_exec(pid: i32) -> Result<bool> {
    let ours = ["hermes-gateway-ready", "hermes-run-gateway"];
    Ok(process::name(pid)?.is_some_and(|name| ours.iter().any(|our| our[..15] == name)))
}
