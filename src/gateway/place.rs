//! Where a slot's programs find themselves: the environment that `with-contenv` would have given them, the home and the
//! account that follow from it.

use crate::account::Account;
use crate::environment::{self, Environment};
use crate::exit::{Error, Exit, Result};
use crate::message::Log;
use rustix::fs::{Access, access};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The home where nothing else says where it is.
const HOME: &str = "/opt/data";

/// What a slot's program has to know first.
pub struct Place {
    /// The inherited environment, the container's over it, the slot's over that.
    pub environment: Environment,
    /// The home, absolute.
    pub home: PathBuf,
    /// The account to become.
    pub account: Account,
}

/// What the command line says about it.
#[derive(Default)]
pub struct Wishes<'a> {
    /// `-H`
    pub home: Option<&'a OsStr>,
    /// `-c`
    pub envdir: Option<&'a OsStr>,
    /// `-u`
    pub user: Option<&'a OsStr>,
}

impl Place {
    /// Read the environment directories, and find the home and the account.
    ///
    /// # Errors
    /// 78 for what will never work: no such directory, user or home. 111 where the system fails.
    pub fn find(wishes: &Wishes, log: &dyn Log) -> Result<Place> {
        let mut environment = Environment::inherited();
        let container = wishes.envdir.unwrap_or(OsStr::new(environment::CONTAINER));
        match environment::read_trusted(Path::new(container), log).map_err(permanent)? {
            Some(changes) => environment.apply(changes),
            None if wishes.envdir.is_none() => {}
            None => {
                let shown = container.to_string_lossy();
                return Err(refused(format!("no such environment directory: {shown}: correct -c or leave it out")));
            }
        }
        environment.apply_explicit(environment::read_slot(log)?);
        let home = Path::new(wishes.home.or(environment.get("HERMES_HOME")).unwrap_or(OsStr::new(HOME)));
        let home = std::path::absolute(home).unwrap_or_else(|_| home.to_path_buf());
        let account = account(wishes.user, &environment, &home)?;
        Ok(Place { environment, home, account })
    }

    /// Become the account for good. A caller that is not root is that account already (C7).
    ///
    /// # Errors
    /// 78 where the kernel refuses: it will refuse the next time as well.
    pub fn become_account(&self) -> Result<()> {
        self.account.become_for_good().map_err(|error| {
            let hint = "give the container CAP_SETUID and CAP_SETGID, or start it as that user";
            refused(format!("{}: {hint}", error.text))
        })
    }

    /// `HOME` for the account: its own directory where it can write there, else the hermes home (D2: never root's).
    pub fn user_directory(&self) -> PathBuf {
        let directory = match &self.account.directory {
            Some(directory) => Some(directory.clone()),
            None => Account::of_uid(self.account.uid).ok().flatten().and_then(|account| account.directory),
        };
        let usable = |dir: &PathBuf| dir.is_dir() && access(dir, Access::WRITE_OK | Access::EXEC_OK).is_ok();
        directory.filter(usable).unwrap_or_else(|| self.home.clone())
    }
}

fn account(user: Option<&OsStr>, environment: &Environment, home: &Path) -> Result<Account> {
    if let Some(user) = user.filter(|_| rustix::process::geteuid().is_root()) {
        let shown = user.to_string_lossy();
        return Account::named(&shown)?
            .ok_or_else(|| refused(format!("no such user: {shown}: add it to /etc/passwd, or correct -u")));
    }
    let wanted = environment.get("HERMES_USER").map(OsStr::to_string_lossy);
    Account::runtime_of(wanted.as_deref(), home).map_err(|e| Place::no_home(&e))
}

impl Place {
    /// A home that cannot be opened, and what to do about it (D1).
    pub fn no_home(error: &Error) -> Error {
        refused(format!(
            "{}: have the volume mounted there and owned by the account, or set HERMES_HOME or -H",
            error.text
        ))
    }
}

fn permanent(error: Error) -> Error {
    Error::new(Exit::Config, error.text)
}

fn refused(text: String) -> Error {
    Error::new(Exit::Config, text)
}
