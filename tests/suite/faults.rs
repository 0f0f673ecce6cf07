//! Faults: a system call that fails, a kill at a bad moment, a limit that is reached. If something could not be looked
//! at, that is neither "not there" nor "done". The tool says so, changes nothing and exits 111, and the next run does
//! the work.

use crate::support::{Profile, Ran, Tool, Tree};
use std::fs;

/// Limits and waits: the limit of services, an s6 program that hangs, inotify, signals.
mod limits;
/// Faults in looks at other processes in `/proc`.
mod processes;
/// Faults in looks at what decides whether `default` serves a profile.
mod served;
/// Faults in the scandir: killed passes, `env/`, slots of another shape, links, simultaneous retirements.
mod slots;
/// Faults on the volume: profiles, state files, the record of ports.
mod volume;

/// A tree with this profile, whose gateway is up and wanted.
#[track_caller]
fn running(name: &str, conf: &str) -> Tree {
    let tree = Tree::up();
    tree.profile(name).stand_in(conf);
    tree.tool("hermes-svc-register").arg(name).run().is(0, &format!("profile={name} action=registered port=*\n"), "");
    tree.tool("hermes-svc-start").arg(name).run().is(0, &format!("profile={name} action=started\n"), "");
    tree.wait_up(name);
    tree
}

/// A tool that runs under strace. strace makes this fault in calls that have to do with `path`: calls with this path as
/// an argument, and calls on a descriptor of this file. If `path` is empty, strace makes the fault in all calls.
fn under_fault(tree: &Tree, path: &str, fault: &str, tool: &str) -> Tool {
    let calls = fault.split(':').next().unwrap_or_default();
    let strace = tree.tool("strace").args(["-qqq", "-e", &format!("trace={calls}"), "-e", &format!("inject={fault}")]);
    let strace = if path.is_empty() { strace } else { strace.args(["-P", path]) };
    strace.arg("-o").arg(tree.root().join("trace")).arg(tree.bin().join(tool))
}

/// Was a call made fail by strace?
fn injected(tree: &Tree) -> bool {
    fs::read_to_string(tree.root().join("trace")).is_ok_and(|trace| trace.contains("(INJECTED)"))
}

/// Check that the tool has exited 111 with one fatal line, because a call was made fail.
#[track_caller]
fn is_system_error(tree: &Tree, tool: &str, ran: Ran) {
    assert!(injected(tree), "the call was never made: {ran}");
    ran.is(111, "", &format!("{tool}: fatal: *\n"));
}

/// The text of a profile's state file.
fn state(profile: &Profile) -> String {
    profile.read("gateway_state.json")
}
