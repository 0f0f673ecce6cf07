//! Start, stop and restart: the intent first, then s6, then a look whether s6 did it (DESIGN, section 3; A13).

use crate::cli::Deadline;
use crate::exit::{Error, Exit, Result};
use crate::home::Home;
use crate::intent::{self, Guard, Intent, PATIENCE_MS};
use crate::message::Log;
use crate::nudge;
use crate::profile::Profile;
use crate::s6::{self, Svstat};
use crate::scandir::Scandir;
use crate::supervise::{self, Changes};
use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

pub mod marker;
pub mod restart;
pub mod start;
pub mod stop;
pub mod tail;

/// What all three work with.
pub struct Site<'a> {
    /// The volume.
    pub home: &'a Home,
    /// Where the slots are.
    pub scandir: &'a Scandir,
    /// Change nothing?
    pub dry_run: bool,
    /// Of the whole command.
    pub deadline: Deadline,
    /// Where to say what is wrong.
    pub log: &'a dyn Log,
    /// How many intent locks could not be had.
    lost: Cell<u32>,
}

/// How long a supervisor that is just being started gets to be usable, and a taken order to show: 5 to 40 ms is normal.
const PROMPT_MS: u64 = 5000;

impl<'a> Site<'a> {
    /// All of it.
    pub fn new(home: &'a Home, scandir: &'a Scandir, dry_run: bool, deadline: Deadline, log: &'a dyn Log) -> Site<'a> {
        Site { home, scandir, dry_run, deadline, log, lost: Cell::new(0) }
    }

    /// Is the profile there? A slot may outlive it, and must then still be stoppable.
    fn has_profile(&self, profile: &Profile) -> bool {
        self.home.require(profile).is_ok()
    }

    fn guard(&self, profile: &Profile) -> Option<Guard> {
        if self.dry_run {
            return None;
        }
        // Locks that nobody lets go cost the whole command two seconds, not one for each profile.
        let patience = (PATIENCE_MS >> self.lost.get().min(9)).max(1);
        let start = Instant::now();
        let guard = Guard::take(self.home, profile, self.deadline.or_after_ms(patience), self.log);
        if !guard.is_held() && start.elapsed() >= Duration::from_millis(patience) {
            self.lost.set(self.lost.get() + 1);
        }
        Some(guard)
    }

    /// Record the intent, unless it is on disk already: a volume that takes nothing more is then no hindrance.
    fn write(&self, profile: &Profile, wanted: Intent) -> Result<()> {
        if self.dry_run || intent::read(self.home, profile)? == Some(wanted) {
            return Ok(());
        }
        intent::write(self.home, profile, wanted, self.log)
    }

    /// Hermes Agent rewrites the same file without a lock: what was just written may be gone again (A14).
    fn repair(&self, profile: &Profile, wanted: Intent) -> Result<()> {
        if self.dry_run || intent::read(self.home, profile)? == Some(wanted) {
            return Ok(());
        }
        self.log.info(&format!("{profile}: the intent was overwritten: writing it again"));
        intent::write(self.home, profile, wanted, self.log)
    }

    /// Wait, a little, until the slot can be given orders: s6-svscan starts a supervisor that died again within a second,
    /// and where it forgets to, it is reminded.
    fn require_usable(&self, profile: &Profile, slot: &Path) -> Result<()> {
        if supervise::is_usable(slot) {
            return Ok(());
        }
        let changes = Changes::watch([slot])?.and_locks();
        let wait = |ms| {
            let usable = || Ok(supervise::is_usable(slot).then_some(()));
            changes.until(self.deadline.or_after_ms(ms), "its supervisor", usable)
        };
        if wait(nudge::ALONE_MS).is_ok() {
            return Ok(());
        }
        // Who may not publish can only wait on.
        if !self.dry_run
            && let Err(error) = nudge::nudge(self.scandir, profile, self.deadline, self.log)
        {
            self.log.info(&error.text);
        }
        wait(PROMPT_MS).map_err(|_| {
            Error::new(Exit::WrongState, format!("{} is not supervised: is s6-svscan running?", slot.display()))
        })
    }

    /// What s6 says of a slot that it supervises.
    fn svstat(&self, slot: &Path) -> Result<Svstat> {
        s6::svstat(slot)?.ok_or_else(|| Error::new(Exit::WrongState, format!("{} is not supervised", slot.display())))
    }

    /// s6-svc only writes into a FIFO: wait until the order shows.
    fn taken(&self, slot: &Path, what: &str, shows: impl Fn(&Svstat) -> bool) -> Result<Svstat> {
        let what = format!("the s6-supervise of {} to {what}", slot.display());
        supervise::wait_for(slot, self.deadline.or_after_ms(PROMPT_MS), &what, shows)
    }
}

/// Bring a live slot up for good without touching the intent (`hermes-svc-register -u`). Says whether it was not so.
///
/// # Errors
/// 99, 111.
pub fn bring_up(slot: &Path, deadline: Deadline, dry_run: bool) -> Result<bool> {
    let stat = s6::svstat(slot)?;
    if stat.is_some_and(|s| s.wanted_up && s.normally_up) {
        return Ok(false);
    }
    if !dry_run {
        s6::svdt_clear(slot);
        s6::svc("-U", slot)?;
        supervise::wait_for(slot, deadline, "s6-supervise to want it up", |s| s.wanted_up && s.normally_up)?;
    }
    Ok(true)
}
