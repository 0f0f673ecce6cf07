//! The order in which the kernel kills, where it runs out of memory: what a gateway has started goes before the gateway.
//!
//! A process gets the score of the one that has started it, and only a process itself, or another one, can change it
//! later. Hermes Agent does not, so somebody else has to look for such processes from time to time.

use crate::ground::{memory, process};
use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// Give the greatest score to each process of this account that has the score of a gateway and is none. `own` is the score of
/// s6's processes. The score of a gateway is enough to know its processes, also those that have lost their parents,
/// because everything else of the account's has the score of s6's. What cannot be looked at just now is left alone.
pub(super) fn children_first(own: i32) {
    let gateway = memory::gateways_score(own);
    if own == gateway || gateway == memory::MOST {
        return;
    }
    let uid = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let dir = entry.path();
        if fs::metadata(&dir).is_ok_and(|m| m.uid() == uid) && memory::score(&dir) == Some(gateway) && !is_gateway(pid)
        {
            memory::set_score(&dir, memory::MOST);
        }
    }
}

/// Is the process the gateway itself, or what becomes it? If that cannot be told, it counts as one.
fn is_gateway(pid: i32) -> bool {
    let Ok(Some(stat)) = process::stat(pid) else { return true };
    process::name(stat.parent).map_or(true, |name| name.is_some_and(|name| name == "s6-supervise"))
}
