//! Checking that s6-svscan has room for one more service. Past its limit of services, an s6-svscan of 2.13 or later
//! supervises nothing new at all; out of descriptors, it spins. So every publication asks first.

use crate::ground::error::{Error, Kind, Result};
use crate::ground::parameter;
use crate::ground::process;
use crate::s6::scandir::Scandir;
use crate::s6::supervise;
use rustix::fs::{Access, AtFlags, FileType, Stat};
use rustix::io::Errno;

/// The default limit of s6-svscan, loggers included. `$HERMES_MAX_SERVICES` tells us of another value of its option
/// `-C`.
const MAX_SERVICES: usize = 1000;

/// How many descriptors an s6-svscan keeps for itself. Those of 2.11, 2.13 and 2.15 have seven open when they start and
/// one more during a scan; the rest is for what it inherits. Beyond that it holds the two ends of a pipe for each
/// service that has a logger, which is one for each service, loggers included.
const OWN_FILES: usize = 16;

/// The number of services that an s6-svscan has to supervise. Counting means looking at every entry, and a boot pass
/// publishes a thousand. So the number is counted once and kept up to date, until somebody else changes the scandir.
#[derive(Default)]
pub struct Room(Option<Count>);

struct Count {
    /// Services, loggers included: the number of the scandir's entries or of s6-svscan's children, whichever is
    /// greater.
    services: usize,
    limit: Limit,
    /// The scandir when it was counted. A new entry changes its modification time, and nearly always its number of
    /// links.
    scandir: Stat,
}

/// What limits the number of services.
#[derive(Clone, Copy)]
enum Limit {
    /// s6-svscan's option -C, in services.
    Services(usize),
    /// s6-svscan's soft limit of open files, in descriptors.
    Files(usize),
}

impl Limit {
    /// The lowest limit of this s6-svscan. If there is none, or it has no limit of open files, this is the limit of
    /// services.
    fn of(svscan: Option<i32>) -> Result<Limit> {
        let services = Limit::Services(max_services()?);
        let files = svscan.map_or(Ok(None), process::max_open_files)?.map(Limit::Files);
        Ok(files.filter(|files| files.services() < services.services()).unwrap_or(services))
    }

    /// The most services, loggers included.
    fn services(self) -> usize {
        match self {
            Limit::Services(most) => most,
            Limit::Files(most) => most.saturating_sub(OWN_FILES),
        }
    }

    /// What raises this limit.
    fn hint(self) -> String {
        match self {
            Limit::Services(_) => "raise s6-svscan's -C and $HERMES_MAX_SERVICES together".to_string(),
            Limit::Files(most) => format!("raise its limit of {most} open files (--ulimit nofile=)"),
        }
    }
}

impl Room {
    /// Check that one more slot, with or without a logger, fits. The caller holds the scandir's lock, unless it is a
    /// dry run.
    ///
    /// # Errors
    /// 111 if the slot does not fit, or the services cannot be counted; 100 if `$HERMES_MAX_SERVICES` is not a number.
    pub fn require(&mut self, scandir: &Scandir, with_logger: bool) -> Result<()> {
        let more = 1 + usize::from(with_logger);
        let (services, limit) = self.count(scandir, more)?;
        let (most, hint) = (limit.services(), limit.hint());
        if services + more <= most {
            return Ok(());
        }
        let counted = format!("{} services, loggers included, and its s6-svscan takes {most}", services + more);
        let text = format!("unable to publish in {}: {counted}: {hint}", scandir.path.display());
        Err(Error::new(Kind::System, text))
    }

    /// How many more slots fit, all with or all without a logger.
    ///
    /// # Errors
    /// 111 if the services cannot be counted; 100 if `$HERMES_MAX_SERVICES` is not a number.
    pub fn left(&mut self, scandir: &Scandir, with_logger: bool) -> Result<usize> {
        let each = 1 + usize::from(with_logger);
        let (services, limit) = self.count(scandir, each)?;
        Ok(limit.services().saturating_sub(services) / each)
    }

    /// The number of services, and the limit. It is exact if there is no room for `more` services.
    fn count(&mut self, scandir: &Scandir, more: usize) -> Result<(usize, Limit)> {
        let now = scandir.stat()?;
        let (services, limit) = match &self.0 {
            Some(count) if is_same(&count.scandir, &now) => (count.services, count.limit),
            _ => {
                let svscan = svscan(scandir)?;
                let limit = Limit::of(svscan)?;
                (services(scandir, svscan, limit.services().saturating_sub(more))?, limit)
            }
        };
        self.0 = Some(Count { services, limit, scandir: now });
        Ok((services, limit))
    }

    /// Add a slot to the count: one that we have published, or would publish if it were not a dry run.
    ///
    /// # Errors
    /// 111 if the scandir cannot be looked at.
    pub fn took(&mut self, scandir: &Scandir, with_logger: bool) -> Result<()> {
        if let Some(count) = &mut self.0 {
            count.services += 1 + usize::from(with_logger);
            count.scandir = scandir.stat()?;
        }
        Ok(())
    }
}

fn is_same(a: &Stat, b: &Stat) -> bool {
    (a.st_mtime, a.st_mtime_nsec, a.st_nlink) == (b.st_mtime, b.st_mtime_nsec, b.st_nlink)
}

/// The most services that the s6-svscan takes: `$HERMES_MAX_SERVICES`, else 1000.
fn max_services() -> Result<usize> {
    match std::env::var_os("HERMES_MAX_SERVICES").filter(|v| !v.is_empty()) {
        None => Ok(MAX_SERVICES),
        Some(v) => {
            let most = parameter::number(&v, "HERMES_MAX_SERVICES", "a number of services", 1, 1_000_000)?;
            Ok(usize::try_from(most).unwrap_or(MAX_SERVICES))
        }
    }
}

/// How many services s6-svscan has to supervise: every entry that is not hidden, every logger, and every hidden
/// directory that still has a supervisor. A supervisor that has ended counts until s6-svscan has noticed it.
///
/// Looking at each child of s6-svscan is slow. If there is `room` even when all of them count, the children are not
/// looked at.
fn services(scandir: &Scandir, svscan: Option<i32>, room: usize) -> Result<usize> {
    let mut count = 0;
    let mut failed = None;
    scandir.each(|name, kind| {
        if name.first() == Some(&b'.') || !matches!(kind, FileType::Directory | FileType::Symlink) {
            return;
        }
        count += 1;
        match rustix::fs::accessat(&scandir.dir, [name, b"/log"].concat(), Access::EXISTS, AtFlags::empty()) {
            Ok(()) => count += 1,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => failed = Some(errno),
        }
    })?;
    if let Some(errno) = failed {
        return Err(Error::system("count the services in", scandir.path.display(), errno));
    }
    for (path, _) in scandir.leftovers()? {
        count += supervise::held(&path)?.len();
    }
    let (uid, children) = match svscan {
        Some(pid) => (process::uid(pid)?, process::children(pid)?),
        None => (None, Vec::new()),
    };
    if children.len() + count <= room {
        return Ok(count);
    }
    // If s6-svscan is PID 1, its children include orphans of other programs, which can have any name.
    let (mut ours, mut ended) = (0, 0);
    for pid in children {
        if process::uid(pid)? == uid && process::name(pid)?.as_deref() == Some("s6-supervise") {
            ours += 1;
            ended += usize::from(process::stat(pid)?.is_none());
        }
    }
    Ok((count + ended).max(ours))
}

/// The s6-svscan of this scandir, if it runs.
fn svscan(scandir: &Scandir) -> Result<Option<i32>> {
    let lock = scandir.path.join(".s6-svscan/lock");
    match supervise::writer(&lock) {
        Ok(svscan) => Ok(svscan),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(Error::system("check", lock.display(), errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    /// A stat of the directory stays the same as long as no entry is made or removed.
    #[test]
    fn an_entry_that_comes_or_goes_is_seen() {
        let top =
            std::env::temp_dir().join(format!("hermes-s6-room-{}", crate::ground::beneath::random_suffix().unwrap()));
        std::fs::create_dir_all(&top).unwrap();
        let dir = std::fs::File::open(&top).unwrap();
        let look = || rustix::fs::fstat(dir.as_fd()).unwrap();
        let empty = look();
        assert!(is_same(&empty, &look()));
        std::fs::create_dir(top.join("a")).unwrap();
        let one = look();
        assert!(!is_same(&empty, &one));
        // A change of any of these three fields is noticed.
        let changed = |change: fn(&mut Stat)| {
            let mut other = one;
            change(&mut other);
            !is_same(&one, &other)
        };
        assert!(changed(|stat| stat.st_nlink += 1));
        assert!(changed(|stat| stat.st_mtime += 1));
        assert!(changed(|stat| stat.st_mtime_nsec += 1));
        assert!(!changed(|stat| stat.st_size += 1));
        std::fs::remove_dir_all(&top).unwrap();
    }
}
