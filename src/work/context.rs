//! What every operation needs: the volume, the scan directory, the deadline and the log.

use crate::ground::deadline::Deadline;
use crate::ground::error::{Error, Kind, Result};
use crate::ground::message::Log;
use crate::ground::profile::Profile;
use crate::s6::changes::Changes;
use crate::s6::orders::PROMPT_MS;
use crate::s6::programs::{self, Svstat};
use crate::s6::remind;
use crate::s6::scandir::Scandir;
use crate::s6::staging::{Mark, Plan};
use crate::s6::supervise;
use crate::s6::template::Template;
use crate::volume::home::Home;
use crate::volume::intent::{self, Guard, Intent, Patience};
use crate::work::whose;
use std::path::{Path, PathBuf};

/// The context of an operation.
pub struct Context<'a> {
    pub home: &'a Home,
    pub scandir: &'a Scandir,
    /// Is it a dry run, which changes nothing?
    pub dry_run: bool,
    /// The deadline of the whole command.
    pub deadline: Deadline,
    pub log: &'a dyn Log,
    /// How long the operation may still wait for intent locks.
    pub patience: Patience,
}

/// The path of the slot of this profile. A profile that does not exist and has no slot is named as such.
///
/// # Errors
/// 100 if there is neither a slot nor a profile, 102 if there is only a profile. 111 if they cannot be looked at.
pub fn require_slot(home: &Home, scandir: &Scandir, profile: &Profile) -> Result<PathBuf> {
    match scandir.require_slot(profile) {
        Err(error) if error.kind == Kind::WrongState && !home.has(profile)? => Err(home.no_such(profile)),
        found => found,
    }
}

impl<'a> Context<'a> {
    /// A context whose deadline is `ms` milliseconds from now; 0 means no limit.
    pub fn new(home: &'a Home, scandir: &'a Scandir, dry_run: bool, ms: u64, log: &'a dyn Log) -> Context<'a> {
        let deadline = Deadline::of_command(ms);
        Context { home, scandir, dry_run, deadline, log, patience: Patience::default() }
    }

    /// The path of the slot of this profile.
    ///
    /// # Errors
    /// As the function `require_slot`.
    pub fn require_slot(&self, profile: &Profile) -> Result<PathBuf> {
        require_slot(self.home, self.scandir, profile)
    }

    /// A plan for this profile's slot, made from this template, with no variables of its own.
    pub fn plan<'p>(&'p self, profile: &'p Profile, template: &'p Template, mark: Mark) -> Plan<'p> {
        let group = self.home.account_of(profile).gid;
        Plan { profile, template, mark, env: &[], group, home: &self.home.path }
    }

    /// Check that the slot of this profile, if there is one, is not another home's.
    ///
    /// # Errors
    /// 102 if it is, naming both homes. 111 if that cannot be told.
    pub fn require_own(&self, profile: &Profile) -> Result<()> {
        whose::require(self.home, self.scandir, profile)
    }

    /// Take the intent lock of this profile, so that recording the intent and acting on it are one step. `None` if the
    /// profile is gone, or in a dry run.
    ///
    /// # Errors
    /// 111 if the profile cannot be looked at, or a deferred signal came.
    pub fn guard(&self, profile: &Profile) -> Result<Option<Guard>> {
        if self.dry_run {
            return Ok(None);
        }
        let shown = self.home.shown(profile, "");
        self.home.within(profile, |dir| Guard::take(dir, &shown, &self.patience, self.deadline, self.log))
    }

    /// Record the intent, unless it is a dry run.
    ///
    /// # Errors
    /// 100 if there is no such profile, 111 if the volume cannot be written.
    pub fn record(&self, profile: &Profile, wanted: Intent) -> Result<()> {
        if self.dry_run { Ok(()) } else { intent::record(self.home, profile, wanted, self.log).map(drop) }
    }

    /// Record the intent again if it was lost: Hermes Agent rewrites the same file without our lock (A14).
    ///
    /// # Errors
    /// As `record`.
    pub fn repair(&self, profile: &Profile, wanted: Intent) -> Result<()> {
        if !self.dry_run && intent::record(self.home, profile, wanted, self.log)? {
            self.log.info(&format!("{profile}: the intent had been overwritten: it was written again"));
        }
        Ok(())
    }

    /// Wait for a limited time until the slot takes orders. s6-svscan restarts a dead supervisor within a second. If it
    /// does not, it has lost sight of the slot and is reminded.
    ///
    /// # Errors
    /// 102 if the slot is not supervised by then, 111 if the slot cannot be looked at.
    pub fn require_usable(&self, profile: &Profile, slot: &Path) -> Result<()> {
        if self.is_usable_within(slot, remind::ALONE_MS)? {
            return Ok(());
        }
        // If the caller may not publish a reminder, it can only wait.
        if !self.dry_run
            && let Err(error) = remind::remind(self.scandir, profile, self.deadline, self.log)
        {
            self.log.info(&error.text);
        }
        if self.is_usable_within(slot, PROMPT_MS)? {
            return Ok(());
        }
        let text = format!("{} is not supervised: is s6-svscan running?", slot.display());
        Err(Error::new(Kind::WrongState, text))
    }

    fn is_usable_within(&self, slot: &Path, ms: u64) -> Result<bool> {
        if supervise::is_usable(slot)? {
            return Ok(true);
        }
        let usable = || Ok(supervise::is_usable(slot)?.then_some(()));
        let changes = Changes::watch([slot]).and_locks();
        match changes.until(self.deadline.or_after_ms(ms), "its supervisor", usable) {
            Err(error) if error.kind == Kind::TimedOut => Ok(false),
            waited => waited.map(|()| true),
        }
    }

    /// The state of a supervised slot.
    ///
    /// # Errors
    /// 102 if the slot is not supervised, 111 if s6-svstat fails.
    pub fn svstat(&self, slot: &Path) -> Result<Svstat> {
        let unsupervised = || Error::new(Kind::WrongState, format!("{} is not supervised", slot.display()));
        programs::svstat(slot)?.ok_or_else(unsupervised)
    }
}
