//! The limit of a gateway's memory (`HERMES_GATEWAY_MEMORY`), and what `finish` has to know to tell a gateway that the
//! kernel killed for memory from one that crashed.

use crate::ground::environment::Environment;
use crate::ground::memory::{self, Keeper, Kills};
use crate::ground::message::Log;
use crate::ground::parameter;
use crate::ground::profile::Profile;
use std::os::unix::fs::MetadataExt as _;

/// The fewest MiB that a limit may be. With less, not even this program could go on.
const LEAST: u64 = 16;

/// Limit the memory of this process, if that is wanted. In a slot, write into `data/memory` how many processes the kernel
/// has killed for memory, the limit in MiB, who keeps it, the time, and the file with the kernel's count. What cannot be
/// done is a warning, and the gateway starts.
pub fn apply(environment: &Environment, profile: &Profile, in_slot: bool, log: &dyn Log) {
    let name = "HERMES_GATEWAY_MEMORY";
    let number = environment
        .get(name)
        .filter(|value| !value.is_empty())
        .map(|value| parameter::number(value, name, "a number of MiB", LEAST, 1 << 30));
    let wanted = number.transpose().unwrap_or_else(|error| {
        log.warning(&format!("{}: the gateway has no limit", error.text));
        None
    });
    // Another slot of the same profile, in another scandir, is another directory.
    let slot =
        std::fs::metadata(".").ok().filter(|_| in_slot).map(|slot| format!("hermes-s6-{profile}-{}", slot.ino()));
    let keeper = wanted.map(|mib| memory::limit(slot.as_deref(), mib << 20)).transpose().unwrap_or_else(|error| {
        log.warning(&format!("unable to limit the memory of {profile}: {error}"));
        None
    });
    let (keeper, group) = match &keeper {
        None => ("-", None),
        Some(Keeper::Process) => ("process", None),
        Some(Keeper::Group(dir)) => ("group", Some(dir.as_path())),
    };
    let limit = wanted.filter(|_| keeper != "-").map(|mib| mib.to_string()).unwrap_or("-".to_string());
    if limit != "-" {
        log.info(&format!("the memory of {profile} is limited to {limit} MiB by {keeper}"));
    }
    // The slot of another template may have no `data`.
    if in_slot && std::path::Path::new("data").is_dir() {
        let (count, file) = Kills::now(group).map_or(("-".to_string(), "-".to_string()), |kills| {
            (kills.count.to_string(), kills.file.display().to_string())
        });
        let now = jiff::Timestamp::now().as_second();
        let line = format!("{count} {limit} {keeper} {now} {file}\n");
        let written =
            std::fs::write("data/.memory", line).and_then(|()| std::fs::rename("data/.memory", "data/memory"));
        if let Err(error) = written {
            log.warning(&format!("unable to write data/memory: {error}: a kill for memory will pass for a crash"));
        }
    }
}
