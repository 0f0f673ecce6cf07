//! The runtime account: the account that owns the volume, and how a root process borrows that account's rights.

use crate::ground::error::{Error, Kind, Result};
use crate::ground::trusted::{self, Rule};
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::process::{Gid, Uid, getegid, geteuid, getgroups};
use rustix::thread::{capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The error of the call that failed to restore root's rights, once that has happened.
static LOST: OnceLock<Error> = OnceLock::new();

/// The error that cost the process root's rights, if it has lost them. The results of a process that has lost them
/// cannot be relied on.
pub fn lost_root() -> Option<&'static Error> {
    LOST.get()
}

/// An account whose rights a process can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The account's name, if `/etc/passwd` has one.
    pub name: Option<String>,
    /// The uid.
    pub uid: u32,
    /// The primary gid.
    pub gid: u32,
    /// Supplementary groups, with the primary group.
    pub groups: Vec<u32>,
    /// The account's home directory in `/etc/passwd`.
    pub directory: Option<PathBuf>,
}

impl Account {
    /// The runtime account for this home. A caller that is not root is the account itself. Root uses `$HERMES_USER`, a
    /// name in `/etc/passwd` or `uid:gid` (the same forms as s6-setuidgid takes); else the account `hermes`, if
    /// `/etc/passwd` has it; else the owner of the home (C3, C8).
    ///
    /// # Errors
    /// 100 if there is no account `$HERMES_USER`. 111 if a user database cannot be read, or if the owner of the home is
    /// needed and the path of the home cannot be opened or trusted.
    pub fn runtime(home: &Path) -> Result<Account> {
        let wanted = std::env::var("HERMES_USER").ok().filter(|n| !n.is_empty());
        Account::runtime_of(wanted.as_deref(), home)
    }

    /// As `runtime`, with `wanted` in place of our own `$HERMES_USER`.
    ///
    /// # Errors
    /// As `runtime`.
    pub fn runtime_of(wanted: Option<&str>, home: &Path) -> Result<Account> {
        if !geteuid().is_root() {
            return Ok(Account::caller());
        }
        if let Some(wanted) = wanted {
            let text = format!("no such user: {wanted}: add it to /etc/passwd, or correct HERMES_USER");
            return Account::wanted(wanted)?.ok_or_else(|| Error::new(Kind::Usage, text));
        }
        if let Some(account) = Account::named("hermes")? {
            return Ok(account);
        }
        // If somebody else could redirect this path, they would choose the account whose rights are used here, and
        // could choose root.
        let found = trusted::follow(home, Rule::RootsLinks);
        let found = found.map_err(|wrong| match std::fs::metadata(home) {
            Err(e) => Error::system("open", home.display(), e),
            Ok(_) => Error::new(Kind::System, format!("unable to trust home {}: {wrong}", home.display())),
        })?;
        let owner = fstat(&found.fd).map_err(|e| Error::system("open", home.display(), e))?;
        let unnamed = Account::of_ids(owner.st_uid, owner.st_gid);
        Ok(Account::of_uid(owner.st_uid)?.unwrap_or(unnamed))
    }

    /// The account that was asked for by its name or as `uid:gid`; `None` if `/etc/passwd` does not have the name, or
    /// an id is not valid.
    fn wanted(wanted: &str) -> Result<Option<Account>> {
        match wanted.split_once(':').map(|(uid, gid)| id(uid).zip(id(gid))) {
            None => Account::named(wanted),
            Some(ids) => Ok(ids.map(|(uid, gid)| Account::of_ids(uid, gid))),
        }
    }

    fn of_ids(uid: u32, gid: u32) -> Account {
        Account { name: None, uid, gid, groups: vec![gid], directory: None }
    }

    /// The account of this name in `/etc/passwd`, if there is one.
    pub fn named(name: &str) -> Result<Option<Account>> {
        Account::find(|entry| entry.name.as_deref() == Some(name))
    }

    /// The account of this uid in `/etc/passwd`, if there is one.
    pub fn of_uid(uid: u32) -> Result<Option<Account>> {
        Account::find(|entry| entry.uid == uid)
    }

    fn caller() -> Account {
        let mut groups: Vec<u32> = getgroups().unwrap_or_default().into_iter().map(Gid::as_raw).collect();
        let gid = getegid().as_raw();
        if !groups.contains(&gid) {
            groups.push(gid);
        }
        Account { name: None, uid: geteuid().as_raw(), gid, groups, directory: None }
    }

    fn find(wanted: impl Fn(&Account) -> bool) -> Result<Option<Account>> {
        let Some(mut account) = lines("/etc/passwd")?.iter().filter_map(|line| entry(line)).find(wanted) else {
            return Ok(None);
        };
        if let Some(name) = &account.name {
            account.groups = groups_of(name, account.gid, &lines("/etc/group")?);
        }
        Ok(Some(account))
    }

    /// Are the account's rights different from the caller's, so that the caller has to borrow them or become the
    /// account?
    pub fn is_other(&self) -> bool {
        geteuid().is_root() && self.uid != 0
    }

    /// Call `work` with this account's rights, then take the caller's own rights back.
    ///
    /// The supplementary groups change first, then only the *effective* gid and uid. The real and saved ids stay
    /// root's, so the account can neither signal nor trace the process (docs/DESIGN.md, "Rights on the volume"). The
    /// process has one thread, and `work` must not spawn a process. A caller that is not root has the account's rights
    /// already.
    ///
    /// # Errors
    /// The error of `work`. 111 if the kernel refuses to give us the account's rights, for want of a capability: then
    /// `work` was not called. 111 also if the kernel refuses to give root's rights back: then the process becomes the
    /// account for good, so that it does nothing more as root.
    pub fn act<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if !self.is_other() {
            return work();
        }
        let own_groups = getgroups().map_err(refused("read the groups", "CAP_SETGID"))?;
        set_thread_groups(&gids(&self.groups)).map_err(refused("supplementary groups", "CAP_SETGID"))?;
        let done = self.borrow_rights().and_then(|()| work());
        if let Err(error) = give_rights_back(&own_groups) {
            self.give_up_root();
            return Err(LOST.get_or_init(|| error).clone());
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
        // With the securebit SECBIT_NO_SETUID_FIXUP the process would keep root's capabilities under the account's uid.
        let text = format!("unable to take the rights of uid {}: root's capabilities survive (securebits)", self.uid);
        Err(Error::new(Kind::System, text))
    }

    fn give_up_root(&self) {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let _ = set_thread_groups(&gids(&self.groups));
        let gone = set_thread_res_gid(gid, gid, gid).and_then(|()| set_thread_res_uid(uid, uid, uid));
        if gone.is_err() || set_thread_res_uid(None, Uid::ROOT, None).is_ok() {
            std::process::abort();
        }
    }

    /// Become this account for good: change all three uids, all three gids and the supplementary groups, and check that
    /// root cannot be regained. Nothing changes for a caller that is not root (C7).
    ///
    /// # Errors
    /// 111 if the kernel refuses a step, or root's capabilities survive.
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
            return Err(Error::new(Kind::System, text));
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

/// A line of `/etc/passwd`, if it is an account's. Its groups are in another file.
fn entry(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let &[name, _, uid, gid, _, directory, ..] = fields.as_slice() else { return None };
    let directory = Some(PathBuf::from(directory)).filter(|d| d.is_absolute());
    Some(Account { name: Some(name.to_string()), directory, ..Account::of_ids(id(uid)?, id(gid)?) })
}

/// The groups of an account by the lines of `/etc/group`: the primary one first, each once.
fn groups_of(name: &str, gid: u32, lines: &[String]) -> Vec<u32> {
    let mut groups = vec![gid];
    for line in lines {
        let fields: Vec<&str> = line.split(':').collect();
        let &[_, _, group, members, ..] = fields.as_slice() else { continue };
        let group = id(group).filter(|_| members.split(',').any(|member| member == name));
        groups.extend(group.filter(|group| !groups.contains(group)));
    }
    groups
}

/// Parse a uid or a gid. The largest number is refused, because it means "no change" to the kernel (setresuid(2)), so a
/// process that took this id would stay root.
fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

/// The lines of a user database. A machine without the file has no accounts.
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

    #[test]
    fn a_line_of_passwd_is_an_account_or_nothing() {
        for (line, ids, directory) in [
            ("hermes:x:10000:10001:Hermes:/opt/data:/bin/sh", Some((10000, 10001)), Some("/opt/data")),
            ("hermes:x:10000:10001::/opt/data", Some((10000, 10001)), Some("/opt/data")),
            ("hermes:x:10000:10001:::", Some((10000, 10001)), None),
            ("hermes:x:10000:10001::data:", Some((10000, 10001)), None),
            ("hermes:x:0:0::/root:/bin/sh:more", Some((0, 0)), Some("/root")),
            ("hermes:x:4294967294:4294967294::/:", Some((4_294_967_294, 4_294_967_294)), Some("/")),
            // The uid or the gid is the number that means "no change" to the kernel.
            ("hermes:x:4294967295:10001::/:", None, None),
            ("hermes:x:10000:4294967295::/:", None, None),
            ("hermes:x:4294967296:10001::/:", None, None),
            ("hermes:x:-1:10001::/:", None, None),
            ("hermes:x::10001::/:", None, None),
            ("hermes:x:10000:::/:", None, None),
            ("hermes:x:ten:10001::/:", None, None),
            ("hermes:x:10000:10001:", None, None),
            ("hermes", None, None),
            ("+::::::", None, None),
            ("# hermes:x:10000", None, None),
            ("", None, None),
        ] {
            let account = ids.map(|(uid, gid)| Account {
                name: Some("hermes".to_string()),
                directory: directory.map(PathBuf::from),
                ..Account::of_ids(uid, gid)
            });
            assert_eq!(entry(line), account, "{line}");
        }
    }

    #[test]
    fn the_groups_are_the_primary_one_and_each_that_names_the_account_once() {
        let lines = [
            "root:x:0:",
            "video:x:44:hermes",
            "audio:x:63:other,hermes,hermes",
            "render:x:44:hermes",
            "own:x:10001:hermes",
            "near:x:71:hermes2,xhermes, hermes",
            "more:x:72:hermes:x",
            "huge:x:4294967295:hermes",
            "huger:x:4294967296:hermes",
            "odd:x:ten:hermes",
            "hermes:x:73",
            "short",
            "",
        ]
        .map(str::to_string);
        assert_eq!(groups_of("hermes", 10001, &lines), [10001, 44, 63, 72]);
        assert_eq!(groups_of("nobody", 7, &lines), [7]);
        assert_eq!(groups_of("hermes", 10001, &[]), [10001]);
    }

    #[test]
    fn an_account_may_be_asked_for_by_its_ids() {
        for (wanted, ids) in [
            ("10000:10001", Some((10000, 10001))),
            ("0:0", Some((0, 0))),
            ("4294967294:1", Some((4_294_967_294, 1))),
            ("4294967295:1", None),
            ("1:4294967295", None),
            ("4294967296:1", None),
            ("-1:1", None),
            ("1:", None),
            (":1", None),
            (":", None),
            ("1:2:3", None),
            ("root:root", None),
        ] {
            let account = ids.map(|(uid, gid)| Account::of_ids(uid, gid));
            assert_eq!(Account::wanted(wanted).unwrap(), account, "{wanted}");
        }
        // A number alone is taken for a name, and no account has this name.
        assert_eq!(Account::wanted("10000").unwrap(), None);
    }
}
