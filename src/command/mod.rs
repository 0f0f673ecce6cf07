//! One file per tool: options in, library call, records out.

use crate::cli::{Args, Item, Stop};
use crate::exit::{Error, Exit};
use crate::profile::Profile;
use std::ffi::OsString;
use std::process::ExitCode;

pub mod detect_supervisor;
pub mod fix_attrs;
pub mod gateway_ready;
mod lifecycle;
pub mod port_alloc;
pub mod profile_watch;
pub mod reconcile_all;
pub mod reconcile_one;
pub mod run_gateway;
pub mod run_logger;
pub mod svc_list;
pub mod svc_register;
pub mod svc_restart;
pub mod svc_start;
pub mod svc_status;
pub mod svc_stop;
pub mod svc_unregister;

/// A tool's name and its `main`.
pub type Named = (&'static str, fn() -> ExitCode);

/// Every tool, for the one executable that is all of them.
pub const TOOLS: &[Named] = &[
    ("hermes-detect-supervisor", detect_supervisor::main),
    ("hermes-fix-attrs", fix_attrs::main),
    ("hermes-gateway-ready", gateway_ready::main),
    ("hermes-port-alloc", port_alloc::main),
    ("hermes-profile-watch", profile_watch::main),
    ("hermes-reconcile-all", reconcile_all::main),
    ("hermes-reconcile-one", reconcile_one::main),
    ("hermes-run-gateway", run_gateway::main),
    ("hermes-run-logger", run_logger::main),
    ("hermes-svc-list", svc_list::main),
    ("hermes-svc-register", svc_register::main),
    ("hermes-svc-restart", svc_restart::main),
    ("hermes-svc-start", svc_start::main),
    ("hermes-svc-status", svc_status::main),
    ("hermes-svc-stop", svc_stop::main),
    ("hermes-svc-unregister", svc_unregister::main),
];

/// The one profile that a tool takes.
///
/// # Errors
/// Wrong usage unless there is exactly one operand; 100 if it is not a valid name.
pub fn one_profile(operands: &[OsString]) -> Result<Profile, Stop> {
    match operands {
        [name] => Ok(Profile::parse(name)?),
        _ => Err(Stop::Usage),
    }
}

/// Only operands of this kind are left: an option that a tool declares and does not handle is a bug, shown as wrong usage.
pub fn operand(item: Item, operands: &mut Vec<OsString>) -> Result<(), Stop> {
    match item {
        Item::Operand(operand) => {
            operands.push(operand);
            Ok(())
        }
        Item::Option(..) => Err(Stop::Usage),
    }
}

/// The profiles that were named, each once; what is no name is reported, and the others are not kept from their turn (F13).
pub fn profiles(args: &Args, operands: &[OsString], failures: &mut Failures) -> Vec<Profile> {
    let mut profiles = Vec::new();
    for name in operands {
        match Profile::parse(name) {
            Ok(profile) if profiles.contains(&profile) => {}
            Ok(profile) => profiles.push(profile),
            Err(error) => failures.add(args, &error),
        }
    }
    profiles
}

/// Report each failure and go on; the worst code is the tool's.
pub struct Failures {
    worst: Exit,
}

impl Failures {
    /// None so far.
    pub fn none() -> Failures {
        Failures { worst: Exit::Done }
    }

    /// Report one.
    pub fn add(&mut self, args: &Args, error: &Error) {
        args.log().fatal(&error.text);
        self.worst = self.worst.max(error.exit);
    }

    /// The code to end with.
    pub fn exit(&self) -> Exit {
        self.worst
    }
}
