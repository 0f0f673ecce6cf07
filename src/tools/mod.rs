//! One file for each tool: it parses the options, makes one call into the library, and prints the records.

use crate::ground::account::lost_root;
use crate::ground::error::{Error, Exit, Result};
use crate::ground::message::{Log as _, Stderr};
use crate::ground::profile::Profile;
use crate::ground::record::line;
use crate::s6::scandir::Scandir;
use crate::tools::cli::{Args, Tool};
use crate::volume::home::Home;
use crate::work::container;
use crate::work::context::Context;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::process::ExitCode;

mod cli;
mod completions;
mod detect_supervisor;
mod fix_attrs;
mod gateway_ready;
mod home;
mod port_alloc;
mod profile_watch;
mod reconcile_all;
mod reconcile_one;
mod run_gateway;
mod run_hook;
mod run_logger;
mod several;
mod svc_list;
mod svc_logs;
mod svc_register;
mod svc_restart;
mod svc_start;
mod svc_status;
mod svc_stop;
mod svc_unregister;

/// All tools, by name.
const TOOLS: [&Tool; 19] = [
    &detect_supervisor::TOOL,
    &fix_attrs::TOOL,
    &gateway_ready::TOOL,
    &home::TOOL,
    &port_alloc::TOOL,
    &profile_watch::TOOL,
    &reconcile_all::TOOL,
    &reconcile_one::TOOL,
    &run_gateway::TOOL,
    &run_hook::TOOL,
    &run_logger::TOOL,
    &svc_list::TOOL,
    &svc_logs::TOOL,
    &svc_register::TOOL,
    &svc_restart::TOOL,
    &svc_start::TOOL,
    &svc_status::TOOL,
    &svc_stop::TOOL,
    &svc_unregister::TOOL,
];

/// Run the tool of this name with the process's own arguments.
pub fn main_of(name: &str) -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if let Some(tool) = TOOLS.into_iter().find(|tool| tool.name == name) {
        return cli::main(tool, arguments);
    }
    let usage = "--help | --version | --completions bash | zsh | fish";
    let completions = |shell: Option<OsString>| completions::of(shell.as_deref()?.to_str()?, &TOOLS);
    let said = match arguments.next().as_deref().and_then(OsStr::to_str) {
        Some("--completions") if let Some(text) = completions(arguments.next()) => line(text.trim_end()),
        Some("--help") => {
            let tools = TOOLS.map(|tool| format!("  {:<24} {}\n", tool.name, tool.summary)).concat();
            line(
                format!(
                    "usage: {usage}\n\nThis executable is each of these tools under the name of the tool:\n\n{tools}"
                )
                .trim_end(),
            )
        }
        Some("--version") => line(concat!("hermes-s6 ", env!("CARGO_PKG_VERSION"))),
        _ => {
            Stderr::new("hermes-s6", false).usage(usage);
            return Exit::Usage.into();
        }
    };
    said.map_or_else(|error| error.kind.exit().into(), |()| ExitCode::SUCCESS)
}

/// The home and the scandir of the command line, and the log.
pub struct Opened {
    pub home: Home,
    pub scandir: Scandir,
    pub log: Stderr,
}

impl Opened {
    /// Open the home and the scandir.
    ///
    /// # Errors
    /// As `Home::open` and `Scandir::open`.
    pub fn open(args: &Args) -> Result<Opened> {
        Ok(Opened { home: Home::open(&args.home())?, scandir: Scandir::open(&args.scandir())?, log: args.log() })
    }

    /// The context of the work, whose deadline in milliseconds is `-t`, else `default_ms`.
    pub fn context(&self, args: &Args, default_ms: u64) -> Context<'_> {
        Context::new(&self.home, &self.scandir, args.dry_run(), args.ms(default_ms), &self.log)
    }
}

/// The profiles that were named, each once. An operand that is not a valid profile name is reported, and the other
/// profiles are handled all the same (F13).
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

/// Warn if this container owns no gateways. Returns true in that case. If it cannot be told, a failure is added.
pub fn warn_if_disowned(args: &Args, failures: &mut Failures) -> bool {
    match container::why_not() {
        Ok(why) => {
            why.iter().for_each(|why| args.log().warning(&container::disowned(why)));
            why.is_some()
        }
        Err(error) => {
            failures.add(args, &error);
            false
        }
    }
}

/// The failures of a tool that handles several profiles. Each failure is reported, and the tool goes on. Its exit code
/// is the worst one. A message that is the same for several profiles is printed once.
pub struct Failures {
    worst: Exit,
    said: Vec<String>,
}

impl Failures {
    pub fn none() -> Failures {
        Failures { worst: Exit::Done, said: Vec::new() }
    }

    /// Report a failure.
    pub fn add(&mut self, args: &Args, error: &Error) {
        // A process that has lost root's rights says so once, at its end.
        if lost_root().is_none() && !self.said.contains(&error.text) {
            args.log().fatal(&error.text);
            self.said.push(error.text.clone());
        }
        self.worst = self.worst.max(error.kind.exit());
    }

    /// The exit code of the tool.
    pub fn exit(&self) -> Exit {
        self.worst
    }
}
