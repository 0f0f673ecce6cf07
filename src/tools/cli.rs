//! The command line that all tools share: options, usage, and `main`.
//!
//! Short options are the primary ones, as in s6, and each has a long form. A bad option prints the usage line and exits
//! 100.

use crate::ground::account::lost_root;
use crate::ground::error::{Error, Exit};
use crate::ground::message::Stderr;
use crate::ground::parameter;
use crate::ground::profile::{Profile, home_of};
use crate::ground::record::Output;
use crate::ground::waiting;
use crate::s6::template::Template;
use crate::work::gateway::identity::Overrides;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

/// A tool, as `main` needs to know it.
pub struct Tool {
    /// The program's name. It does not depend on `argv[0]`.
    pub name: &'static str,
    /// The usage line without the name, the same text as in the SYNOPSIS of the man page.
    pub usage: &'static str,
    /// One sentence for `--help`.
    pub summary: &'static str,
    /// The options in groups: those that several tools share, and the tool's own.
    pub options: &'static [&'static [Opt]],
    /// The function that does the work.
    pub run: fn(&mut Args) -> Result<Exit, Ending>,
}

pub struct Opt {
    pub short: char,
    /// The long form.
    pub long: &'static str,
    /// The name of the value, if the option takes one.
    pub value: Option<&'static str>,
    /// A few words for `--help`.
    pub help: &'static str,
    /// Is it one of the options below, which `Args` handles?
    shared: bool,
}

/// An option without a value.
pub const fn flag(short: char, long: &'static str, help: &'static str) -> Opt {
    Opt { short, long, value: None, help, shared: false }
}

/// An option that takes a value.
pub const fn valued(short: char, long: &'static str, value: &'static str, help: &'static str) -> Opt {
    Opt { short, long, value: Some(value), help, shared: false }
}

const fn shared(option: Opt) -> Opt {
    Opt { shared: true, ..option }
}

/// The home (`-H`).
pub const HOME: Opt = shared(valued('H', "home", "home", "the persistent volume, else $HERMES_HOME, else /opt/data"));
/// The scandir (`-s`).
pub const SCANDIR: Opt =
    shared(valued('s', "scandir", "scandir", "else $S6_PROFILE_GATEWAY_SCANDIR, else /run/service"));
/// What most tools have in common: the volume, the scandir and how to report.
pub const COMMON: &[Opt] = &[HOME, SCANDIR, VERBOSE, DRY_RUN, JSON];
/// Print `info:` lines (`-v`).
pub const VERBOSE: Opt = shared(flag('v', "verbose", "more words on stderr"));
/// Change nothing (`-n`).
pub const DRY_RUN: Opt = shared(flag('n', "dry-run", "change nothing; say what would be done"));
/// Print JSON (`-j`).
pub const JSON: Opt = shared(flag('j', "json", "one JSON object a line"));
/// The deadline (`-t`).
pub const TIMEOUT: Opt =
    shared(valued('t', "timeout", "ms", "one deadline for the whole command, in milliseconds; 0 = none"));
/// The directory of the container's environment (`-c`).
pub const ENVDIR: Opt =
    shared(valued('c', "container-env", "envdir", "the container's variables, else /run/s6/container_environment"));
/// The account to become (`-u`).
pub const USER: Opt =
    shared(valued('u', "user", "user", "the account to become, else $HERMES_USER, else hermes, else the home's owner"));
/// The template (`-T`).
pub const TEMPLATE: Opt =
    shared(valued('T', "template", "template", "else $HERMES_SLOT_TEMPLATE, else the installed one"));

/// Why a tool ends before its work is done.
pub enum Ending {
    /// An error, printed as `prog: fatal: ...`.
    Failed(Error),
    /// Wrong usage: the usage line is printed, and the exit code is 100.
    Usage,
    /// Wrong usage: what is wrong is said before the usage line. The text may quote the command line.
    Wrong(String),
    /// The help was asked for (`--help`).
    Help,
    /// The version was asked for (`--version`).
    Version,
}

impl From<Error> for Ending {
    fn from(error: Error) -> Ending {
        Ending::Failed(error)
    }
}

/// An option of the tool's own, or an operand.
pub enum Item {
    /// An option as its letter, even if the long form was typed, with its value. The value of a flag is empty.
    Option(char, OsString),
    Operand(OsString),
}

/// The parser of the command line, and the values of the shared options so far.
pub struct Args {
    parser: lexopt::Parser,
    tool: &'static Tool,
    given: Given,
}

/// The values of the shared options: those that have a constant in this file.
#[derive(Default)]
struct Given {
    home: Option<OsString>,
    scandir: Option<OsString>,
    verbose: bool,
    dry_run: bool,
    json: bool,
    ms: Option<u64>,
    envdir: Option<OsString>,
    user: Option<OsString>,
    template: Option<OsString>,
}

impl Given {
    /// Keep the value of a shared option.
    ///
    /// # Errors
    /// 100 if the value of `-t` is not a number of milliseconds.
    fn keep(&mut self, option: &Opt, value: OsString) -> Result<(), Ending> {
        match option.short {
            'H' => self.home = Some(value),
            's' => self.scandir = Some(value),
            'v' => self.verbose = true,
            'n' => self.dry_run = true,
            'j' => self.json = true,
            't' => self.ms = Some(parameter::milliseconds(&value)?),
            'c' => self.envdir = Some(value),
            'u' => self.user = Some(value),
            'T' => self.template = Some(value),
            // An option is declared as shared in this file, and has no case here. That is a bug.
            _ => return Err(Ending::Usage),
        }
        Ok(())
    }
}

impl Args {
    /// Read the whole command line. Returns the operands, and passes each option of the tool's own to `own`.
    ///
    /// # Errors
    /// As `item`, and those of `own`.
    pub fn operands(
        &mut self,
        mut own: impl FnMut(char, OsString) -> Result<(), Ending>,
    ) -> Result<Vec<OsString>, Ending> {
        let mut operands = Vec::new();
        while let Some(item) = self.item()? {
            match item {
                Item::Option(letter, value) => own(letter, value)?,
                Item::Operand(operand) => operands.push(operand),
            }
        }
        Ok(operands)
    }

    /// As `operands`, for a tool that takes none.
    ///
    /// # Errors
    /// As `operands`; `Ending::Wrong` if there is an operand.
    pub fn no_operands(&mut self, own: impl FnMut(char, OsString) -> Result<(), Ending>) -> Result<(), Ending> {
        match self.operands(own)?.first() {
            None => Ok(()),
            Some(operand) => Err(wrong("an operand too many", operand)),
        }
    }

    /// As `operands`, for a tool that takes one profile.
    ///
    /// # Errors
    /// As `operands`; `Ending::Wrong` unless there is exactly one operand; 100 if the operand is not a valid profile
    /// name.
    pub fn one_profile(&mut self, own: impl FnMut(char, OsString) -> Result<(), Ending>) -> Result<Profile, Ending> {
        match self.operands(own)?.as_slice() {
            [name] => Ok(Profile::parse(name)?),
            [] => Err(Ending::Wrong(NO_PROFILE.to_string())),
            [_, more, ..] => Err(wrong("an operand too many", more)),
        }
    }

    /// The next operand or option of the tool's own. Shared options are kept for the functions below.
    ///
    /// # Errors
    /// `Ending::Help`, `Ending::Version`, or `Ending::Wrong` for an option that this tool does not have. 100 for a bad
    /// value of a shared option.
    pub fn item(&mut self) -> Result<Option<Item>, Ending> {
        use lexopt::Arg;
        loop {
            let (option, value) = match self.parser.next().map_err(|error| misread(&error))? {
                None => return Ok(None),
                Some(Arg::Value(operand)) => return Ok(Some(Item::Operand(operand))),
                Some(Arg::Long("help")) => return Err(Ending::Help),
                Some(Arg::Long("version")) => return Err(Ending::Version),
                Some(arg) => {
                    let found = self.tool.options.iter().copied().flatten().find(|o| match arg {
                        Arg::Short(letter) => o.short == letter,
                        Arg::Long(word) => o.long == word,
                        Arg::Value(_) => false,
                    });
                    let option = found.ok_or_else(|| match arg {
                        Arg::Short(letter) => Ending::Wrong(format!("unknown option -{letter}")),
                        Arg::Long(word) => Ending::Wrong(format!("unknown option --{word}")),
                        Arg::Value(_) => Ending::Usage,
                    })?;
                    let value = match option.value {
                        Some(_) => self.parser.value().map_err(|error| misread(&error))?,
                        None => OsString::new(),
                    };
                    (option, value)
                }
            };
            if !option.shared {
                return Ok(Some(Item::Option(option.short, value)));
            }
            self.given.keep(option, value)?;
        }
    }

    /// All remaining arguments as they are: the `prog...` of a chain-loading tool.
    ///
    /// # Errors
    /// `Ending::Usage` if the parser is in the middle of an argument.
    pub fn rest(&mut self) -> Result<Vec<OsString>, Ending> {
        Ok(self.parser.raw_args().map_err(|_| Ending::Usage)?.collect())
    }

    /// The log with this tool's name.
    pub fn log(&self) -> Stderr {
        Stderr::new(self.tool.name, self.given.verbose)
    }

    /// The value of `-H`, if it was given and is not empty.
    pub fn home_option(&self) -> Option<&OsStr> {
        self.given.home.as_deref().filter(|h| !h.is_empty())
    }

    /// The home: `-H`, else `$HERMES_HOME`, else `/opt/data`. If that is the directory of a named profile, the home is
    /// the one in which that profile is.
    pub fn home(&self) -> PathBuf {
        home_of(&self.named_home()).0
    }

    /// As `home`, but the path as it was given: it may be the directory of a named profile.
    pub fn named_home(&self) -> PathBuf {
        parameter::choose(self.given.home.as_deref(), "HERMES_HOME", "/opt/data")
    }

    /// Is nothing to be changed (`-n`)?
    pub fn dry_run(&self) -> bool {
        self.given.dry_run
    }

    /// How records are printed (`-j`).
    pub fn output(&self) -> Output {
        Output { json: self.given.json }
    }

    /// The deadline of the whole command in milliseconds: `-t`, else `default_ms`.
    pub fn ms(&self, default_ms: u64) -> u64 {
        self.given.ms.unwrap_or(default_ms)
    }

    /// The template: `-T`, else the one that `Template::load` finds.
    ///
    /// # Errors
    /// As `Template::load`.
    pub fn template(&self) -> crate::ground::error::Result<Template> {
        Template::load(self.given.template.as_deref())
    }

    /// What the options `-H`, `-c` and `-u` say about the identity of a gateway.
    pub fn overrides(&self) -> Overrides<'_> {
        Overrides {
            home: self.home_option(),
            envdir: self.given.envdir.as_deref(),
            user: self.given.user.as_deref(),
            ..Overrides::default()
        }
    }

    /// The scandir: `-s`, else `$S6_PROFILE_GATEWAY_SCANDIR`, else `/run/service`.
    pub fn scandir(&self) -> PathBuf {
        parameter::choose(self.given.scandir.as_deref(), "S6_PROFILE_GATEWAY_SCANDIR", "/run/service")
    }
}

/// What is said where a tool needs a profile and none is named.
pub const NO_PROFILE: &str = "no profile given";

/// Wrong usage because of this word of the command line.
pub fn wrong(what: &str, word: &OsStr) -> Ending {
    Ending::Wrong(format!("{what}: {}", word.to_string_lossy()))
}

/// Wrong usage, as the parser sees it.
fn misread(error: &lexopt::Error) -> Ending {
    match error {
        lexopt::Error::MissingValue { option: Some(option) } => Ending::Wrong(format!("option {option} needs a value")),
        lexopt::Error::UnexpectedValue { option, .. } => Ending::Wrong(format!("option {option} takes no value")),
        _ => Ending::Usage,
    }
}

/// Run a tool with these arguments, print its error, and return its exit code.
pub fn main(tool: &'static Tool, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    if rustix::process::geteuid().is_root() {
        // The account must not read a root process's memory from /proc or from a core dump (docs/DESIGN.md, "Rights on
        // the volume"). An exec undoes this setting.
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    }
    let mut parser = lexopt::Parser::from_args(arguments);
    parser.set_short_equals(false);
    let mut args = Args { parser, tool, given: Given::default() };
    let ended = (tool.run)(&mut args);
    waiting::over();
    let log = args.log();
    let ended = lost_root().map_or(ended, |error| Err(Ending::Failed(error.clone())));
    let said = match ended {
        Ok(exit) => return exit.into(),
        Err(Ending::Failed(error)) => {
            log.fatal(&error.text);
            return error.kind.exit().into();
        }
        Err(Ending::Wrong(what)) => {
            log.fatal(&what);
            log.usage(&format!("{} {}", tool.name, tool.usage));
            return Exit::Usage.into();
        }
        Err(Ending::Usage) => {
            log.usage(&format!("{} {}", tool.name, tool.usage));
            return Exit::Usage.into();
        }
        Err(Ending::Help) => crate::ground::record::line(help(tool)),
        Err(Ending::Version) => crate::ground::record::line(format!("{} {}", tool.name, env!("CARGO_PKG_VERSION"))),
    };
    match said {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            log.fatal(&error.text);
            error.kind.exit().into()
        }
    }
}

fn help(tool: &Tool) -> String {
    let mut text = format!("usage: {} {}\n\n{}\n\n", tool.name, tool.usage, tool.summary);
    for option in tool.options.iter().copied().flatten() {
        let value = option.value.map(|v| format!(" {v}")).unwrap_or_default();
        let left = format!("-{}, --{}{value}", option.short, option.long);
        text += &format!("  {left:<24} {}\n", option.help);
    }
    text + &format!("  {:<24} this text\n  {:<24} the version\n\nSee {}(8).", "--help", "--version", tool.name)
}
