//! The identity of a slot's program: the environment that `with-contenv` would have given it, and the home and the
//! account that follow from it.

use crate::ground::account::Account;
use crate::ground::environment::{self, Environment, is_truthy};
use crate::ground::error::{Error, Kind, Result};
use crate::ground::message::Log;
use crate::ground::profile::home_of;
use rustix::fs::{Access, access};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The home if neither an option nor a variable names one.
const HOME: &str = "/opt/data";

/// The identity of a slot's program.
pub struct Identity {
    /// The inherited environment, overridden by the container's, overridden by the slot's `env/`.
    pub environment: Environment,
    /// The absolute path of the home.
    pub home: PathBuf,
    /// The account to become.
    pub account: Account,
}

/// The options of the command line that override the environment.
#[derive(Default)]
pub struct Overrides<'a> {
    /// The home (`-H`).
    pub home: Option<&'a OsStr>,
    /// A `HERMES_HOME` that comes before that of the environment directories, and after the slot's own home.
    pub variable: Option<&'a OsStr>,
    /// The directory of the container's environment (`-c`).
    pub envdir: Option<&'a OsStr>,
    /// The account (`-u`).
    pub user: Option<&'a OsStr>,
}

impl Identity {
    /// Read the environment directories, and find the home and the account.
    ///
    /// # Errors
    /// 78 for an error that lasts: no such directory, user or home. 111 if a system call fails.
    pub fn find(overrides: &Overrides, log: &dyn Log) -> Result<Identity> {
        let environment = Identity::variables(overrides, log)?;
        let home = find_home(overrides, &environment, log)?;
        let account = account(overrides.user, &environment, &home)?;
        Ok(Identity { environment, home, account })
    }

    /// The inherited environment, overridden by the container's, overridden by the slot's `env/`.
    ///
    /// # Errors
    /// 78 if there is no such directory. 111 if a system call fails.
    pub fn variables(overrides: &Overrides, log: &dyn Log) -> Result<Environment> {
        let mut environment = Environment::inherited();
        let container = overrides.envdir.unwrap_or(OsStr::new(environment::CONTAINER));
        match environment::read_trusted(Path::new(container), log)? {
            Some(changes) => environment.apply(changes),
            None if overrides.envdir.is_none() => {}
            None => {
                let shown = container.to_string_lossy();
                return Err(refused(format!("no such environment directory: {shown}: correct -c or leave it out")));
            }
        }
        environment.apply_explicit(environment::read_slot(log)?);
        Ok(environment)
    }

    /// Become the account for good. A caller that is not root is that account already (C7).
    ///
    /// # Errors
    /// 78 if the kernel refuses, because it would refuse the next time as well.
    pub fn become_account(&self) -> Result<()> {
        self.account.become_for_good().map_err(|error| {
            let hint = "give the container CAP_SETUID and CAP_SETGID, or start it as that user";
            refused(format!("{}: {hint}", error.text))
        })
    }

    /// May others than root write to the scandir?
    pub fn is_open(&self) -> bool {
        self.environment.get("HERMES_OPEN_SCANDIR").and_then(OsStr::to_str).is_some_and(is_truthy)
    }

    /// The value of `HOME` for the account: its own directory if the account can write there, else the Hermes home. It
    /// is never root's (D2).
    pub fn user_directory(&self) -> PathBuf {
        let directory = match &self.account.directory {
            Some(directory) => Some(directory.clone()),
            None => Account::of_uid(self.account.uid).ok().flatten().and_then(|account| account.directory),
        };
        let usable = |dir: &PathBuf| dir.is_dir() && access(dir, Access::WRITE_OK | Access::EXEC_OK).is_ok();
        directory.filter(usable).unwrap_or_else(|| self.home.clone())
    }
}

/// The home: `-H`, else the home for which the slot was published, else `$HERMES_HOME`, else `/opt/data`. So the
/// gateway of a slot runs in the home for which the tools give their orders, whatever the variable says.
///
/// # Errors
/// 78 if other users may have made the slot's link `home`, and it names another home. 111 if the slot cannot be looked
/// at.
fn find_home(overrides: &Overrides, environment: &Environment, log: &dyn Log) -> Result<PathBuf> {
    let absolute = |path: &OsStr| home_of(&std::path::absolute(path).unwrap_or_else(|_| path.into())).0;
    if let Some(option) = overrides.home {
        return Ok(absolute(option));
    }
    let variable = overrides.variable.or(environment.get("HERMES_HOME"));
    let home = absolute(variable.unwrap_or(OsStr::new(HOME)));
    match environment::slot_home()? {
        None => Ok(home),
        Some(slot) if slot.path == home => Ok(home),
        Some(slot) if slot.is_trusted => {
            if variable.is_some() {
                let (own, other) = (slot.path.display(), home.display());
                log.warning(&format!("this slot is of home {own}, which is taken, not HERMES_HOME, which is {other}"));
            }
            Ok(slot.path)
        }
        Some(slot) => {
            let text = format!("this slot is of home {}, and HERMES_HOME is {}", slot.path.display(), home.display());
            Err(refused(format!("{text}: register it again with that home")))
        }
    }
}

fn account(user: Option<&OsStr>, environment: &Environment, home: &Path) -> Result<Account> {
    if let Some(user) = user.filter(|_| rustix::process::geteuid().is_root()) {
        let shown = user.to_string_lossy();
        return Account::named(&shown)?
            .ok_or_else(|| refused(format!("no such user: {shown}: add it to /etc/passwd, or correct -u")));
    }
    let wanted = environment.get("HERMES_USER").map(OsStr::to_string_lossy);
    Account::runtime_of(wanted.as_deref(), home).map_err(|e| match e.kind {
        Kind::Usage => refused(e.text),
        _ => Identity::no_home(&e),
    })
}

impl Identity {
    /// The error that the home cannot be opened, with what to do about it and code 78 (D1).
    pub fn no_home(error: &Error) -> Error {
        refused(format!(
            "{}: have the volume mounted there and owned by the account, or set HERMES_HOME or -H",
            error.text
        ))
    }
}

fn refused(text: String) -> Error {
    Error::new(Kind::Config, text)
}
