//! The runtime account: whom the volume belongs to, and how a root process borrows that account's rights.

use crate::exit::{Error, Exit, Result};
use crate::trusted::{self, Rule};
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::process::{Gid, Uid, getegid, geteuid, getgroups};
use rustix::thread::{capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::path::{Path, PathBuf};

/// An account to have the rights of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name, where the user database has one.
    pub name: Option<String>,
    /// The uid.
    pub uid: u32,
    /// The primary gid.
    pub gid: u32,
    /// Supplementary groups, the primary one included.
    pub groups: Vec<u32>,
    /// Its home directory by the user database.
    pub directory: Option<PathBuf>,
}

impl Account {
    /// The runtime account for this home: the caller if it is not root; else `$HERMES_USER` (default `hermes`) if
    /// `/etc/passwd` has it; else the owner of the home (C3, C8).
    pub fn runtime(home: &Path) -> Result<Account> {
        let wanted = std::env::var("HERMES_USER").ok().filter(|n| !n.is_empty());
        Account::runtime_of(wanted.as_deref(), home)
    }

    /// The same where `$HERMES_USER` is not to be taken from our own environment.
    pub fn runtime_of(wanted: Option<&str>, home: &Path) -> Result<Account> {
        if !geteuid().is_root() {
            return Ok(Account::caller());
        }
        if let Some(account) = Account::named(wanted.unwrap_or("hermes"))? {
            return Ok(account);
        }
        // Whoever could make this path lead elsewhere would decide whose rights we take, root's among them.
        let found = trusted::follow(home, Rule::RootsLinks);
        let found = found.map_err(|wrong| match std::fs::metadata(home) {
            Err(e) => Error::system("open", home.display(), e),
            Ok(_) => Error::new(Exit::System, format!("unable to trust home {}: {wrong}", home.display())),
        })?;
        let owner = fstat(&found.fd).map_err(|e| Error::system("open", home.display(), e))?;
        let (uid, gid) = (owner.st_uid, owner.st_gid);
        let unnamed = Account { name: None, uid, gid, groups: vec![gid], directory: None };
        Ok(Account::of_uid(uid)?.unwrap_or(unnamed))
    }

    /// The account of this name in `/etc/passwd`, if there is one.
    pub fn named(name: &str) -> Result<Option<Account>> {
        Account::find(|f| f.first() == Some(&name))
    }

    /// The account of this uid in `/etc/passwd`, if there is one.
    pub fn of_uid(uid: u32) -> Result<Option<Account>> {
        Account::find(|f| f.get(2).and_then(|field| field.parse().ok()) == Some(uid))
    }

    fn caller() -> Account {
        let mut groups: Vec<u32> = getgroups().unwrap_or_default().into_iter().map(Gid::as_raw).collect();
        let gid = getegid().as_raw();
        if !groups.contains(&gid) {
            groups.push(gid);
        }
        Account { name: None, uid: geteuid().as_raw(), gid, groups, directory: None }
    }

    fn find(wanted: impl Fn(&[&str]) -> bool) -> Result<Option<Account>> {
        for line in lines("/etc/passwd")? {
            let fields: Vec<&str> = line.split(':').collect();
            if fields.len() < 6 || !wanted(&fields) {
                continue;
            }
            let (Ok(uid), Ok(gid)) = (fields[2].parse(), fields[3].parse()) else { continue };
            let name = fields[0].to_string();
            let groups = groups_of(&name, gid)?;
            let directory = Some(PathBuf::from(fields[5])).filter(|d| d.is_absolute());
            return Ok(Some(Account { name: Some(name), uid, gid, groups, directory }));
        }
        Ok(None)
    }

    /// Is it somebody else than the caller, so that rights have to be borrowed or dropped?
    pub fn is_other(&self) -> bool {
        geteuid().is_root() && self.uid != 0
    }

    /// Do `work` with this account's rights and come back.
    ///
    /// Supplementary groups first, then the *effective* gid and uid only: real and saved stay root, so the account can
    /// neither signal nor trace the process (DESIGN, section 5: tried). The process has one thread, and spawns nothing
    /// inside. A caller that is not root has the account's rights already.
    ///
    /// # Errors
    /// What `work` returns; 111 where the kernel refuses a step (a missing capability): then nothing was done. Where it
    /// refuses the way back there is only the way on: the process is the account's for good, and nothing is done as root.
    pub fn act<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if !self.is_other() {
            return work();
        }
        let own_groups = getgroups().map_err(refused("read the groups", "CAP_SETGID"))?;
        set_thread_groups(&gids(&self.groups)).map_err(refused("supplementary groups", "CAP_SETGID"))?;
        let done = self.borrow_rights().and_then(|()| work());
        if let Err(error) = give_rights_back(&own_groups) {
            self.give_up_root();
            return Err(error);
        }
        done
    }

    fn borrow_rights(&self) -> Result<()> {
        set_thread_res_gid(None, Gid::from_raw(self.gid), None).map_err(refused("the effective gid", "CAP_SETGID"))?;
        set_thread_res_uid(None, Uid::from_raw(self.uid), None).map_err(refused("the effective uid", "CAP_SETUID"))?;
        let capabilities = capabilities(None).map_err(refused("and read the capabilities", "CAP_SETUID"))?.effective;
        if geteuid().as_raw() == self.uid && capabilities.is_empty() {
            return Ok(());
        }
        // SECBIT_NO_SETUID_FIXUP: the rights would be root's under another name.
        let text = format!("unable to take the rights of uid {}: root's capabilities survive (securebits)", self.uid);
        Err(Error::new(Exit::System, text))
    }

    fn give_up_root(&self) {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let _ = set_thread_groups(&gids(&self.groups));
        let gone = set_thread_res_gid(gid, gid, gid).and_then(|()| set_thread_res_uid(uid, uid, uid));
        if gone.is_err() || set_thread_res_uid(None, Uid::ROOT, None).is_ok() {
            std::process::abort();
        }
    }

    /// Become this account for good: all three uids and gids, supplementary groups included, failing closed. A caller
    /// that is not root changes nothing (C7).
    ///
    /// # Errors
    /// 111 where the kernel refuses a step.
    pub fn become_for_good(&self) -> Result<()> {
        if !self.is_other() {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let refused =
            |needs: &'static str| move |e| Error::system("become uid", format!("{} ({needs} is needed)", self.uid), e);
        set_thread_groups(&gids(&self.groups)).map_err(refused("CAP_SETGID"))?;
        set_thread_res_gid(gid, gid, gid).map_err(refused("CAP_SETGID"))?;
        set_thread_res_uid(uid, uid, uid).map_err(refused("CAP_SETUID"))?;
        let kept = capabilities(None).map_err(refused("CAP_SETUID"))?.permitted;
        if !kept.is_empty() || set_thread_res_uid(None, Uid::ROOT, None).is_ok() {
            let text = "unable to give up root for good: root's capabilities survive (securebits)";
            return Err(Error::new(Exit::System, text));
        }
        Ok(())
    }
}

fn give_rights_back(own_groups: &[Gid]) -> Result<()> {
    set_thread_res_uid(None, Uid::ROOT, None).map_err(refused("back the effective uid", "CAP_SETUID"))?;
    set_thread_res_gid(None, Gid::ROOT, None).map_err(refused("back the effective gid", "CAP_SETGID"))?;
    set_thread_groups(own_groups).map_err(refused("back the supplementary groups", "CAP_SETGID"))
}

fn refused(what: &'static str, needs: &'static str) -> impl FnOnce(Errno) -> Error {
    move |e| Error::system(&format!("set {what} of"), format_args!("the process ({needs} is needed)"), e)
}

fn gids(raw: &[u32]) -> Vec<Gid> {
    raw.iter().map(|g| Gid::from_raw(*g)).collect()
}

fn groups_of(name: &str, gid: u32) -> Result<Vec<u32>> {
    let mut groups = vec![gid];
    for line in lines("/etc/group")? {
        let fields: Vec<&str> = line.split(':').collect();
        if fields.len() < 4 || !fields[3].split(',').any(|member| member == name) {
            continue;
        }
        if let Ok(group) = fields[2].parse()
            && !groups.contains(&group)
        {
            groups.push(group);
        }
    }
    Ok(groups)
}

/// The lines of a user database; a machine without one has no accounts.
fn lines(path: &str) -> Result<Vec<String>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_string).collect()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Error::system("read", path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_in_the_user_database() {
        let root = Account::named("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0));
        assert_eq!(Account::named("no-such-account-here").unwrap(), None);
    }
}
