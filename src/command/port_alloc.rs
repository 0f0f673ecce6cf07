//! hermes-port-alloc: the stable TCP port of a profile.

use crate::cli::{self, Args, DRY_RUN, Deadline, HOME, Item, Stop, Tool, VERBOSE, flag, valued};
use crate::exit::{Error, Exit, Result as Outcome};
use crate::home::Home;
use crate::message::{Log as _, Stderr};
use crate::port::{Book, Range, preferred};
use crate::profile::Profile;
use crate::record::{Record, line};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// The tool.
pub static TOOL: Tool = Tool {
    name: "hermes-port-alloc",
    usage: "[ -H home ] [ -v ] [ -n ] [ -p | -d | -l ] [ -r low-high ] [ -E VAR ] profile [ prog... ]",
    summary: "Print the stable TCP port of a profile, or execute prog with it in its environment.",
    options: &[
        HOME,
        VERBOSE,
        DRY_RUN,
        flag('p', "preferred", "print the preferred port and look at nothing"),
        flag('d', "free", "forget the recorded port"),
        flag('l', "list", "list the ports of all profiles"),
        valued('r', "range", "low-high", "else $HERMES_PORT_RANGE, else 9200-9799"),
        valued('E', "variable", "VAR", "the variable for prog, else API_SERVER_PORT"),
    ],
    posix: true,
    run,
};

/// Its `main`.
pub fn main() -> ExitCode {
    cli::main(&TOOL)
}

/// What `-p`, `-d` and `-l` choose; without them the port is allocated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Allocate,
    Preferred,
    Free,
    List,
}

struct Options {
    mode: Mode,
    dry: bool,
    range: Range,
    variable: OsString,
    operands: Vec<OsString>,
}

fn run(args: &mut Args) -> Result<Exit, Stop> {
    let Options { mode, dry, range, variable, operands } = parse(args)?;
    let mut operands = operands.into_iter();
    let profile = operands.next().map(|name| Profile::parse(&name)).transpose()?;
    let port = match (mode, &profile) {
        (Mode::List, None) => return list(args, range),
        (Mode::Free, Some(profile)) if operands.len() == 0 => return free(args, profile, range, dry),
        (Mode::Preferred, Some(profile)) => preferred(profile, range),
        (Mode::Allocate, Some(profile)) => allocate(args, profile, range, dry)?,
        _ => return Err(Stop::Usage),
    };
    match operands.next() {
        None => line(port.to_string())?,
        Some(program) => return Err(execute(&program, operands, &variable, port).into()),
    }
    Ok(Exit::Done)
}

fn parse(args: &mut Args) -> Result<Options, Stop> {
    let (mut mode, mut dry, mut range, mut variable) = (Mode::Allocate, false, None, OsString::from("API_SERVER_PORT"));
    let mut operands = Vec::new();
    while let Some(item) = args.item()? {
        let chosen = match item {
            Item::Option('p', _) => Mode::Preferred,
            Item::Option('d', _) => Mode::Free,
            Item::Option('l', _) => Mode::List,
            Item::Option('n', _) => {
                dry = true;
                continue;
            }
            Item::Option('r', value) => {
                range = Some(value);
                continue;
            }
            Item::Option('E', value) => {
                variable = value;
                continue;
            }
            Item::Option(..) => return Err(Stop::Usage),
            Item::Operand(first) => {
                operands.push(first);
                operands.extend(args.rest()?);
                break;
            }
        };
        if mode != Mode::Allocate && mode != chosen {
            return Err(Stop::Usage);
        }
        mode = chosen;
    }
    check_name(&variable)?;
    Ok(Options { mode, dry, range: Range::from_option(range.as_deref())?, variable, operands })
}

fn list(args: &Args, range: Range) -> Result<Exit, Stop> {
    let (home, log) = (Home::open(&args.home())?, args.log());
    for entry in Book::peek(&home, range, &log)?.list() {
        let record = Record::new().text("profile", entry.profile.as_str()).number("port", entry.port.into());
        line(record.note("note", entry.pinned.then_some("pinned")).to_text())?;
    }
    Ok(Exit::Done)
}

fn free(args: &Args, profile: &Profile, range: Range, dry: bool) -> Result<Exit, Stop> {
    let (home, log) = (Home::open(&args.home())?, args.log());
    let mut book = open(&home, range, dry, &log)?;
    let freed = book.free(profile);
    book.save()?;
    log.info(&format!("{profile}: {}", if freed { "port freed" } else { "no port was recorded" }));
    Ok(Exit::Done)
}

fn allocate(args: &Args, profile: &Profile, range: Range, dry: bool) -> Outcome<u16> {
    let (home, log) = (Home::open(&args.home())?, args.log());
    home.require(profile)?;
    let mut book = open(&home, range, dry, &log)?;
    let assignment = book.assign(profile)?;
    // Also without a port for this one: what was learnt on the way is not lost.
    let saved = book.save();
    let Some(port) = assignment.port() else {
        let why = book.why_not(profile, &assignment);
        return Err(why.unwrap_or_else(|| Error::new(Exit::System, format!("no port for {profile}"))));
    };
    saved?;
    log.info(&format!("{profile}: port {port}, preferred {}", preferred(profile, range)));
    Ok(port)
}

fn open<'a>(home: &'a Home, range: Range, dry: bool, log: &'a Stderr) -> Outcome<Book<'a>> {
    if dry { Book::peek(home, range, log) } else { Book::open(home, range, Deadline::after_ms(0), log) }
}

fn check_name(variable: &OsStr) -> Outcome<()> {
    let text = variable.to_str().unwrap_or("");
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(());
    }
    let shown = variable.to_string_lossy();
    Err(Error::new(Exit::Usage, format!("invalid variable name \"{shown}\": it must be [A-Za-z_][A-Za-z0-9_]*")))
}

/// Become the program; the error if that did not work.
fn execute(program: &OsStr, arguments: impl Iterator<Item = OsString>, variable: &OsStr, port: u16) -> Error {
    let cause = Command::new(program).args(arguments).env(variable, port.to_string()).exec();
    let exit = if cause.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::CannotExec };
    Error { exit, ..Error::system("execute", program.to_string_lossy(), cause) }
}
