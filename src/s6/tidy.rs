//! Clearing away what killed runs have left in the scandir, and entries that keep s6-svscan from finishing a scan.

use crate::ground::beneath::aside;
use crate::ground::deadline::Deadline;
use crate::ground::error::{Error, Kind, Result};
use crate::ground::message::Log;
use crate::ground::profile::Profile;
use crate::s6::programs;
use crate::s6::retire::{Retired, delete};
use crate::s6::scandir::{Scandir, ScandirLock};
use crate::s6::staging::restore;
use crate::s6::supervise;
use rustix::fs::AtFlags;

/// Clear away the hidden directories of the profiles that `mine` picks. A slot that was about to be exchanged gets its
/// name back, because its `env/` is nowhere else. A directory that nobody supervises is deleted.
/// The supervisors of the others are told to end, without waiting for them. Returns whether a hidden directory is still
/// supervised: then s6-svscan has to let go of it.
///
/// # Errors
/// 111 if the scandir cannot be read, or a hidden directory cannot be looked at or renamed.
pub fn sweep(scandir: &Scandir, _lock: &ScandirLock, mine: impl Fn(&Profile) -> bool, log: &dyn Log) -> Result<bool> {
    let mut supervised = false;
    for (path, profile) in scandir.leftovers()?.into_iter().filter(|(_, profile)| mine(profile)) {
        let slot = profile.slot();
        let unable = |e| Error::system("restore", scandir.slot(&profile).display(), e);
        if path.ends_with(aside(&slot)) && restore(&scandir.dir, &slot).map_err(unable)? {
            continue;
        }
        if supervise::any_held(&path)? {
            log.info(&format!("{} is still being drained", path.display()));
            Retired::at(path, &profile).push()?;
            supervised = true;
        } else {
            delete(&path, log);
        }
    }
    Ok(supervised)
}

/// Finish what `sweep` began, after s6-svscan was told: wait until the supervisors in the hidden directories have
/// ended, then delete the directories. A directory whose gateway still drains is left to the run that hid it.
///
/// # Errors
/// 99 if a supervisor outlives the deadline, 111 if the supervisors cannot be looked at.
pub fn finish(scandir: &Scandir, mine: impl Fn(&Profile) -> bool, deadline: Deadline, log: &dyn Log) -> Result<()> {
    for (path, profile) in scandir.leftovers()?.into_iter().filter(|(_, profile)| mine(profile)) {
        if !programs::svstat(&path)?.is_some_and(|stat| stat.up) {
            Retired::at(path, &profile).finish(deadline, log)?;
        }
    }
    Ok(())
}

/// Remove every slot whose `stat` fails: with such an entry, s6-svscan of 2.12 and later finishes no scan (s6-svscan.c,
/// scan). An entry that is not a slot is not removed, but named in the error.
///
/// # Errors
/// 111 if the scandir cannot be read, an entry cannot be removed, or there is such an entry that is not a slot.
pub fn heal(scandir: &Scandir, _lock: &ScandirLock, log: &dyn Log) -> Result<()> {
    while let Some((name, why)) = scandir.sick_entry()? {
        let path = scandir.path.join(&name);
        let stops = "as long as it is there s6-svscan finishes no scan";
        if Profile::of_slot(name.as_bytes()).is_none() {
            let text = format!(
                "unable to publish in {}: {}: {why}: {stops}: remove it",
                scandir.path.display(),
                path.display()
            );
            return Err(Error::new(Kind::System, text));
        }
        rustix::fs::unlinkat(&scandir.dir, &name, AtFlags::empty())
            .map_err(|e| Error::system("remove", path.display(), e))?;
        log.warning(&format!("removed {}: {why}: {stops}", path.display()));
    }
    Ok(())
}
