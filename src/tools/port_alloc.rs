//! hermes-port-alloc: print, list or free the stable TCP ports of profiles.

use crate::ground::deadline::Deadline;
use crate::ground::environment::Environment;
use crate::ground::error::{Error, Exit, Kind, Result as Outcome};
use crate::ground::message::{Log as _, Stderr};
use crate::ground::profile::Profile;
use crate::ground::record::{Record, line};
use crate::tools::cli::{self, Args, DRY_RUN, Ending, HOME, Item, Tool, VERBOSE, flag, valued};
use crate::volume::home::Home;
use crate::volume::ports::{Book, Range, preferred};
use crate::work::gateway::exec;
use std::ffi::{OsStr, OsString};

pub static TOOL: Tool = Tool {
    name: "hermes-port-alloc",
    usage: "[ -H home ] [ -v ] [ -n ] [ -p | -d | -l ] [ -r low-high ] [ -E VAR ] profile [ prog... ]",
    summary: "Print the stable TCP port of a profile, or execute prog with it in its environment.",
    options: &[
        &[HOME, VERBOSE, DRY_RUN],
        &[
            flag('p', "preferred", "print the preferred port and look at nothing"),
            flag('d', "free", "forget the recorded port"),
            flag('l', "list", "list the ports of all profiles"),
            valued('r', "range", "low-high", "else $HERMES_PORT_RANGE, else 9200-9799"),
            valued('E', "variable", "VAR", "the variable for prog, else API_SERVER_PORT"),
        ],
    ],
    run,
};

/// The mode that `-p`, `-d` or `-l` chooses. Without these options a port is allocated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Allocate,
    Preferred,
    Free,
    List,
}

struct Options {
    mode: Mode,
    range: Range,
    variable: OsString,
    operands: Vec<OsString>,
}

fn run(args: &mut Args) -> Result<Exit, Ending> {
    let Options { mode, range, variable, operands } = parse(args)?;
    let mut operands = operands.into_iter();
    let profile = operands.next().map(|name| Profile::parse(&name)).transpose()?;
    let port = match (mode, &profile) {
        (Mode::List, None) => return list(args, range),
        (Mode::Free, Some(profile)) if operands.len() == 0 => return free(args, profile, range),
        (Mode::Preferred, Some(profile)) => preferred(profile, range),
        (Mode::Allocate, Some(profile)) => allocate(args, profile, range)?,
        (Mode::Allocate | Mode::Preferred | Mode::Free, None) => {
            return Err(Ending::Wrong(cli::NO_PROFILE.to_string()));
        }
        (Mode::List, Some(profile)) => return Err(cli::wrong("an operand too many", profile.as_str().as_ref())),
        (Mode::Free, Some(_)) => return Err(Ending::Wrong("-d takes one profile and no program".to_string())),
    };
    match operands.next() {
        None => line(port.to_string())?,
        Some(program) => {
            let argv: Vec<OsString> = [program].into_iter().chain(operands).collect();
            let mut environment = Environment::inherited();
            environment.set(&variable.to_string_lossy(), port.to_string());
            return Err(exec::exec(&argv, environment).into());
        }
    }
    Ok(Exit::Done)
}

fn parse(args: &mut Args) -> Result<Options, Ending> {
    let (mut mode, mut range, mut variable) = (Mode::Allocate, None, OsString::from("API_SERVER_PORT"));
    let mut operands = Vec::new();
    while let Some(item) = args.item()? {
        let chosen = match item {
            Item::Option('p', _) => Mode::Preferred,
            Item::Option('d', _) => Mode::Free,
            Item::Option('l', _) => Mode::List,
            Item::Option('r', value) => {
                range = Some(value);
                continue;
            }
            Item::Option('E', value) => {
                variable = value;
                continue;
            }
            Item::Option(..) => return Err(Ending::Usage),
            Item::Operand(first) => {
                operands.push(first);
                operands.extend(args.rest()?);
                break;
            }
        };
        if mode != Mode::Allocate && mode != chosen {
            return Err(Ending::Wrong("-p, -d and -l exclude each other".to_string()));
        }
        mode = chosen;
    }
    check_name(&variable)?;
    Ok(Options { mode, range: Range::from_option(range.as_deref())?, variable, operands })
}

fn list(args: &Args, range: Range) -> Result<Exit, Ending> {
    let (home, log) = (Home::open(&args.home())?, args.log());
    for entry in Book::peek(&home, range, &log)?.list() {
        let record = Record::new().text("profile", entry.profile.as_str()).number("port", entry.port.into());
        line(record.note("note", entry.pinned.then_some("pinned")).to_text())?;
    }
    Ok(Exit::Done)
}

fn free(args: &Args, profile: &Profile, range: Range) -> Result<Exit, Ending> {
    let (home, log) = (Home::open(&args.home())?, args.log());
    let mut book = open(&home, range, args.dry_run(), &log)?;
    let freed = book.free(profile);
    book.save()?;
    log.info(&format!("{profile}: {}", if freed { "port freed" } else { "no port was recorded" }));
    Ok(Exit::Done)
}

fn allocate(args: &Args, profile: &Profile, range: Range) -> Outcome<u16> {
    let (home, log) = (Home::open(&args.home())?, args.log());
    home.require(profile)?;
    let mut book = open(&home, range, args.dry_run(), &log)?;
    let assignment = book.assign(profile)?;
    // Save also if this profile gets no port, because other changes may have been made to the record.
    let saved = book.save();
    let Some(port) = assignment.port() else {
        let why = book.why_not(profile, &assignment);
        return Err(why.unwrap_or_else(|| Error::new(Kind::System, format!("no port for {profile}"))));
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
    Err(Error::new(Kind::Usage, format!("invalid variable name \"{shown}\": it must be [A-Za-z_][A-Za-z0-9_]*")))
}
