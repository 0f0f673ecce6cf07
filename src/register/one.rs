//! Registering one profile, whatever is there already: nothing, a slot that nobody runs, or a live one, which is brought up
//! to date in place.

use super::{await_held, confirm, publish, replace, require_room, take_back};
use crate::cli::Deadline;
use crate::exit::{Error, Result};
use crate::home::Home;
use crate::intent::Guard;
use crate::lifecycle;
use crate::message::Log;
use crate::port;
use crate::profile::Profile;
use crate::retire;
use crate::s6;
use crate::scandir::{Listening, Scandir};
use crate::sealed;
use crate::slot::{Plan, Slot};
use crate::supervise;
use crate::template::Template;
use std::ffi::OsString;

/// What is to be registered, and where.
pub struct Registration<'a> {
    /// The volume.
    pub home: &'a Home,
    /// Where the slot goes.
    pub scandir: &'a Scandir,
    /// What it is made of.
    pub template: &'a Template,
    /// Whose slot it is; a real profile.
    pub profile: &'a Profile,
    /// Start its gateway?
    pub up: bool,
    /// Variables for its `env/`; without any an existing one stays.
    pub env: &'a [(String, OsString)],
    /// Change nothing?
    pub dry_run: bool,
    /// Of the whole command.
    pub deadline: Deadline,
    /// Where to say what is wrong.
    pub log: &'a dyn Log,
}

/// What was done.
#[derive(Debug)]
pub struct Registered {
    /// `registered`, `updated` or `unchanged`.
    pub action: &'static str,
    /// The profile's port; `None` where the range is full.
    pub port: Option<u16>,
    /// `stale-template` where the slot has to be down for the rest.
    pub note: Option<&'static str>,
}

impl Registration<'_> {
    /// Do it, and wait until the slot is supervised and usable, its logger too. In a sealed tree the runtime account waits
    /// for the watcher to do it.
    ///
    /// # Errors
    /// 99 when the deadline passes, 100 if another profile pins the same port, 102 where the caller may not publish or
    /// nobody listens, 111: nothing is left behind.
    pub fn register(&self) -> Result<Registered> {
        let plain = !self.up && self.env.is_empty();
        if plain && sealed::is_sealed(self.scandir) && self.scandir.listening() != Listening::No {
            return self.by_watcher();
        }
        self.scandir.require_publishable()?;
        let port = port::allocate(self.home, self.profile, self.dry_run, self.deadline, self.log)?;
        // A fresh copy of a slot that is there already shall not forget that it was to be up.
        let there = self.scandir.has_slot(self.profile);
        let marked_up = there && !Slot::open(self.scandir, self.profile)?.is_down_marked();
        let plan = Plan {
            profile: self.profile,
            template: self.template,
            up: self.up || marked_up,
            env: self.env,
            group: self.home.account.gid,
        };
        let (action, note) = if supervise::any_held(&self.scandir.slot(self.profile)) {
            self.update(&plan)?
        } else if self.dry_run {
            require_room(self.scandir, self.scandir.services()?, self.template.has_logger())?;
            (if there { "updated" } else { "registered" }, None)
        } else {
            (self.publish(&plan)?, None)
        };
        if port.is_none() {
            self.log.warning(&format!("{}: no port is free in the range: registered without one", self.profile));
        }
        Ok(Registered { action, port, note })
    }

    /// A live slot is never replaced, unless it is down and its template has got another shape.
    fn update(&self, plan: &Plan) -> Result<(&'static str, Option<&'static str>)> {
        let path = self.scandir.slot(self.profile);
        // A start that comes in between would be told to a supervisor that is about to go.
        let _guard = (!self.dry_run).then(|| Guard::take(self.home, self.profile, self.deadline, self.log));
        let lock = if self.dry_run { None } else { Some(self.scandir.lock(self.deadline)?) };
        let slot = Slot::open(self.scandir, self.profile)?;
        let update = slot.update(self.template, self.dry_run)?;
        let other_env = !self.env.is_empty() && slot.set_env(self.env, self.dry_run)?;
        let is_down = update.stale && s6::svstat(&path)?.is_some_and(|s| s.is_down() && !s.normally_up);
        let old = lock.as_ref().filter(|_| is_down).map(|lock| replace(self.scandir, lock, plan)).transpose()?;
        drop(lock);
        if let Some(old) = &old {
            retire::let_go(self.scandir)?;
            old.finish(self.deadline, self.log)?;
        }
        if !self.dry_run {
            // Another run may have published it this very moment.
            await_held(self.scandir, plan, self.deadline, self.log)?;
        }
        let started = self.up && old.is_none() && lifecycle::bring_up(&path, self.deadline, self.dry_run)?;
        let changed = update.changed || other_env || started || old.is_some();
        let note = (update.stale && old.is_none()).then_some("stale-template");
        Ok((if changed { "updated" } else { "unchanged" }, note))
    }

    fn publish(&self, plan: &Plan) -> Result<&'static str> {
        let lock = self.scandir.lock(self.deadline)?;
        let fresh = publish(self.scandir, &lock, plan, self.log)?;
        if !fresh {
            let slot = Slot::open(self.scandir, self.profile)?;
            slot.update(self.template, false)?;
            if !self.env.is_empty() {
                slot.set_env(self.env, false)?;
            }
            if self.up {
                slot.mark(false, false)?;
            }
        }
        drop(lock);
        confirm(self.scandir, plan, self.deadline, self.log).inspect_err(|_| {
            if fresh {
                take_back(self.scandir, self.profile, self.log);
            }
        })?;
        Ok(if fresh { "registered" } else { "updated" })
    }

    fn by_watcher(&self) -> Result<Registered> {
        let action = if self.scandir.has_slot(self.profile) { "unchanged" } else { "registered" };
        if !self.dry_run {
            sealed::await_slot(self.scandir, self.profile, self.deadline).map_err(|error| {
                match self.scandir.require_publishable() {
                    Err(why) => Error::new(error.exit, format!("{}; {}", why.text, error.text)),
                    Ok(()) => error,
                }
            })?;
        }
        Ok(Registered { action, port: port::lookup(self.home, self.profile)?, note: None })
    }
}
