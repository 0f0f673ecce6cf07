//! The shared face of the tools: options, usage, and `main`.
//!
//! Short options are the primary ones, as in s6; each has a long twin. A bad option prints the usage line and exits 100.

use crate::exit::{Error, Exit, Result as Outcome};
use crate::message::Stderr;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// One tool: what its `main` needs to know of it.
pub struct Tool {
    /// The program's name, whatever `argv[0]` says.
    pub name: &'static str,
    /// The usage line behind the name, the same as its man page's SYNOPSIS.
    pub usage: &'static str,
    /// One sentence for `--help`.
    pub summary: &'static str,
    /// The options, the common ones included.
    pub options: &'static [Opt],
    /// Do options end at the first operand, because `prog...` follows?
    pub posix: bool,
    /// What it does.
    pub run: fn(&mut Args) -> Result<Exit, Stop>,
}

/// One option.
pub struct Opt {
    /// The letter.
    pub short: char,
    /// Its long twin.
    pub long: &'static str,
    /// The name of its value, if it takes one.
    pub value: Option<&'static str>,
    /// A few words for `--help`.
    pub help: &'static str,
}

/// A flag.
pub const fn flag(short: char, long: &'static str, help: &'static str) -> Opt {
    let value = None;
    Opt { short, long, value, help }
}

/// An option that takes a value.
pub const fn valued(short: char, long: &'static str, value: &'static str, help: &'static str) -> Opt {
    let value = Some(value);
    Opt { short, long, value, help }
}

/// `-H home`
pub const HOME: Opt = valued('H', "home", "home", "the persistent volume, else $HERMES_HOME, else /opt/data");
/// `-s scandir`
pub const SCANDIR: Opt = valued('s', "scandir", "scandir", "else $S6_PROFILE_GATEWAY_SCANDIR, else /run/service");
/// `-v`
pub const VERBOSE: Opt = flag('v', "verbose", "more words on stderr");
/// `-n`
pub const DRY_RUN: Opt = flag('n', "dry-run", "change nothing; say what would be done");
/// `-j`
pub const JSON: Opt = flag('j', "json", "one JSON object a line");
/// `-t ms`
pub const TIMEOUT: Opt = valued('t', "timeout", "ms", "one deadline for the whole command, in milliseconds; 0 = none");
/// `-c envdir`
pub const ENVDIR: Opt =
    valued('c', "container-env", "envdir", "the container's variables, else /run/s6/container_environment");
/// `-u user`
pub const USER: Opt =
    valued('u', "user", "user", "the account to become, else $HERMES_USER, else hermes, else the home's owner");
/// `-T template`
pub const TEMPLATE: Opt = valued('T', "template", "template", "else $HERMES_SLOT_TEMPLATE, else the installed one");

/// Why a tool stops before its work is done.
pub enum Stop {
    /// An error: `prog: fatal: ...`
    Failed(Error),
    /// Wrong usage: the usage line, 100.
    Usage,
    /// `--help`
    Help,
    /// `--version`
    Version,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

/// One thing on the command line.
pub enum Item {
    /// An option by its letter, however it was spelt, with its value (empty for a flag).
    Option(char, OsString),
    /// An operand.
    Operand(OsString),
}

/// The command line, and what the common options said.
pub struct Args {
    parser: lexopt::Parser,
    tool: &'static Tool,
    home: Option<OsString>,
    scandir: Option<OsString>,
    verbose: bool,
}

impl Args {
    /// The next option or operand that is the tool's own.
    ///
    /// # Errors
    /// `Stop` for `--help`, `--version` and whatever is not an option of this tool.
    pub fn item(&mut self) -> Result<Option<Item>, Stop> {
        use lexopt::Arg;
        loop {
            let (letter, value) = match self.parser.next().map_err(|_| Stop::Usage)? {
                None => return Ok(None),
                Some(Arg::Value(operand)) => return Ok(Some(Item::Operand(operand))),
                Some(Arg::Long("help")) => return Err(Stop::Help),
                Some(Arg::Long("version")) => return Err(Stop::Version),
                Some(arg) => {
                    let found = self.tool.options.iter().find(|o| match arg {
                        Arg::Short(letter) => o.short == letter,
                        Arg::Long(word) => o.long == word,
                        Arg::Value(_) => false,
                    });
                    let option = found.ok_or(Stop::Usage)?;
                    let value = match option.value {
                        Some(_) => self.parser.value().map_err(|_| Stop::Usage)?,
                        None => OsString::new(),
                    };
                    (option.short, value)
                }
            };
            match letter {
                'H' => self.home = Some(value),
                's' => self.scandir = Some(value),
                'v' => self.verbose = true,
                _ => return Ok(Some(Item::Option(letter, value))),
            }
        }
    }

    /// Everything that is left, untouched: the `prog...` of a chain loader.
    pub fn rest(&mut self) -> Result<Vec<OsString>, Stop> {
        Ok(self.parser.raw_args().map_err(|_| Stop::Usage)?.collect())
    }

    /// Messages behind this tool's name.
    pub fn log(&self) -> Stderr {
        Stderr::new(self.tool.name, self.verbose)
    }

    /// `-H` if it was given and is not empty.
    pub fn home_option(&self) -> Option<&OsStr> {
        self.home.as_deref().filter(|h| !h.is_empty())
    }

    /// The home: `-H`, else `$HERMES_HOME`, else `/opt/data`.
    pub fn home(&self) -> PathBuf {
        choose(self.home.as_deref(), "HERMES_HOME", "/opt/data")
    }

    /// The scandir: `-s`, else `$S6_PROFILE_GATEWAY_SCANDIR`, else `/run/service`.
    pub fn scandir(&self) -> PathBuf {
        choose(self.scandir.as_deref(), "S6_PROFILE_GATEWAY_SCANDIR", "/run/service")
    }
}

/// A path from an option, else from a variable, else the default; empty counts as absent.
pub fn choose(option: Option<&OsStr>, variable: &str, default: &str) -> PathBuf {
    let given = option.map(OsStr::to_os_string).filter(|v| !v.is_empty());
    let found = given.or_else(|| std::env::var_os(variable).filter(|v| !v.is_empty()));
    let path = PathBuf::from(found.unwrap_or_else(|| default.into()));
    std::path::absolute(&path).unwrap_or(path)
}

/// One deadline for a whole command.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Option<Instant>,
    ms: u64,
}

impl Deadline {
    /// `ms` milliseconds from now; 0 = no limit.
    pub fn after_ms(ms: u64) -> Deadline {
        let at = (ms != 0).then(|| Instant::now() + Duration::from_millis(ms));
        Deadline { at, ms }
    }

    /// It has passed already: what is waited for gets one look.
    pub fn now() -> Deadline {
        Deadline { at: Some(Instant::now()), ms: 0 }
    }

    /// What is left, at most `most`; `None` once it has passed.
    pub fn left(self, most: Duration) -> Option<Duration> {
        match self.at {
            None => Some(most),
            Some(at) => at.checked_duration_since(Instant::now()).filter(|d| !d.is_zero()).map(|d| d.min(most)),
        }
    }

    /// What is left, at most `most`, for one more wait.
    ///
    /// # Errors
    /// 99 with `what` when nothing is left, 111 when a deferred signal came.
    pub fn patience(self, most: Duration, what: impl std::fmt::Display) -> Outcome<Duration> {
        if crate::interrupt::caught() {
            return Err(Error::new(Exit::System, format!("interrupted while waiting for {what}")));
        }
        self.left(most).ok_or_else(|| self.timed_out(what))
    }

    /// Is there no limit?
    pub fn is_endless(self) -> bool {
        self.at.is_none()
    }

    /// Has it passed?
    pub fn passed(self) -> bool {
        self.left(Duration::MAX).is_none()
    }

    /// The earlier of this one and `ms` milliseconds from now.
    #[must_use]
    pub fn or_after_ms(self, ms: u64) -> Deadline {
        match self.left(Duration::from_millis(ms)) {
            Some(left) if left >= Duration::from_millis(ms) => Deadline::after_ms(ms.max(1)),
            _ => self,
        }
    }

    /// `timed out after 5 ms waiting for WHAT`, 99.
    pub fn timed_out(self, what: impl std::fmt::Display) -> Error {
        Error::new(Exit::TimedOut, format!("timed out after {} ms waiting for {what}", self.ms))
    }
}

/// The value of `-t`: whole milliseconds.
pub fn milliseconds(value: &OsStr) -> Outcome<u64> {
    number(value, "timeout", "a whole number of milliseconds", 0, i64::from(u32::MAX) as u64)
}

/// A plain decimal in `low..=high`, or an error (100) that names it.
pub fn number(value: &OsStr, name: &str, what: &str, low: u64, high: u64) -> Outcome<u64> {
    let digits = value.to_str().filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()));
    (digits.and_then(|t| t.parse().ok()).filter(|n| (low..=high).contains(n))).ok_or_else(|| {
        let shown = value.to_string_lossy();
        Error::new(Exit::Usage, format!("invalid {name} \"{shown}\": it must be {what}, {low} to {high}"))
    })
}

/// A tool's `main`.
pub fn main(tool: &'static Tool) -> ExitCode {
    main_with(tool, std::env::args_os().skip(1))
}

/// The same with these arguments.
pub fn main_with(tool: &'static Tool, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    if rustix::process::geteuid().is_root() {
        // The account must not read a root process's memory out of /proc or a core (DESIGN, section 5). exec undoes it.
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    }
    let mut parser = lexopt::Parser::from_args(arguments);
    parser.set_short_equals(false);
    let mut args = Args { parser, tool, home: None, scandir: None, verbose: false };
    let ended = (tool.run)(&mut args);
    let log = args.log();
    let said = match ended {
        Ok(exit) => return exit.into(),
        Err(Stop::Failed(error)) => {
            log.fatal(&error.text);
            return error.exit.into();
        }
        Err(Stop::Usage) => {
            log.usage(&format!("{} {}", tool.name, tool.usage));
            return Exit::Usage.into();
        }
        Err(Stop::Help) => crate::record::line(help(tool)),
        Err(Stop::Version) => crate::record::line(format!("{} {}", tool.name, env!("CARGO_PKG_VERSION"))),
    };
    match said {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            log.fatal(&error.text);
            error.exit.into()
        }
    }
}

fn help(tool: &Tool) -> String {
    let mut text = format!("usage: {} {}\n\n{}\n\n", tool.name, tool.usage, tool.summary);
    for option in tool.options {
        let value = option.value.map(|v| format!(" {v}")).unwrap_or_default();
        let left = format!("-{}, --{}{value}", option.short, option.long);
        text += &format!("  {left:<24} {}\n", option.help);
    }
    text + &format!("  {:<24} this text\n  {:<24} the version\n\nSee {}(8).", "--help", "--version", tool.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_plain_decimal() {
        for (text, ms) in [("0", Some(0)), ("5000", Some(5000)), ("4294967295", Some(4_294_967_295))] {
            assert_eq!(milliseconds(OsStr::new(text)).ok(), ms);
        }
        for text in ["", "-1", "+1", "1.5", "soon", "4294967296", "99999999999999999999", " 1", "0x10"] {
            let error = milliseconds(OsStr::new(text)).unwrap_err();
            assert_eq!(error.exit, Exit::Usage);
            assert!(error.text.starts_with(&format!("invalid timeout \"{text}\": ")), "{}", error.text);
        }
    }

    #[test]
    fn a_deadline_that_has_passed_is_the_earlier_one() {
        let passed = Deadline { at: Some(Instant::now()), ms: 300 };
        assert!(passed.or_after_ms(5000).passed());
        assert_eq!(Deadline::after_ms(0).or_after_ms(5000).ms, 5000);
        assert_eq!(Deadline::after_ms(60_000).or_after_ms(5000).ms, 5000);
        assert_eq!(Deadline::after_ms(5000).or_after_ms(60_000).ms, 5000);
    }

    #[test]
    fn zero_is_no_deadline() {
        assert!(!Deadline::after_ms(0).passed());
        assert_eq!(Deadline::after_ms(0).left(Duration::from_secs(9)), Some(Duration::from_secs(9)));
    }
}
