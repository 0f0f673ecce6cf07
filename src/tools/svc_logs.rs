//! hermes-svc-logs: print what the gateways have said, in the order of the times.

use crate::ground::error::{Error, Exit, Kind, Result};
use crate::ground::message::{Log as _, printable};
use crate::ground::parameter;
use crate::ground::profile::Profile;
use crate::ground::record::Record;
use crate::s6::scandir::Scandir;
use crate::tools::cli::{self, Args, Ending, Tool, flag, valued};
use crate::tools::{Failures, profiles};
use crate::volume::boot_log;
use crate::volume::home::Home;
use crate::volume::log_files::LogFiles;
use crate::volume::log_line;
use crate::work::logs::{self, Line, Reader, Wanted};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::ffi::OsStr;
use std::io::{BufWriter, StdoutLock, Write as _};

/// How many lines of each log are shown if neither -n nor -S says it.
const LINES: u64 = 20;

pub static TOOL: Tool = Tool {
    name: "hermes-svc-logs",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -j ] [ -f ] [ -n lines ] [ -S since ] [ -b | profile... ]",
    summary: "Show the logs of gateways, or of the boot passes, in the order of the times.",
    options: &[
        &[cli::HOME, cli::SCANDIR, cli::VERBOSE, cli::JSON],
        &[
            flag('f', "follow", "go on with what is written later"),
            valued('n', "lines", "lines", "this many lines from the end of each log, else 20, with -S all"),
            valued('S', "since", "since", "from this time on: 10m, 2h, 10:00, 2026-11-27, 2026-11-27T10:00"),
            flag('b', "boot", "the boot log"),
        ],
    ],
    run,
};

fn run(args: &mut Args) -> std::result::Result<Exit, Ending> {
    let zone = boot_log::time_zone();
    let (mut follow, mut boot, mut last, mut since) = (false, false, None, None);
    let operands = args.operands(|letter, value| {
        match letter {
            'f' => follow = true,
            'n' => last = Some(parameter::number(&value, "number of lines", "a whole number", 0, 1_000_000_000)?),
            'S' => since = Some(time(&value, &zone)?),
            _ => boot = true,
        }
        Ok(())
    })?;
    if boot && !operands.is_empty() {
        return Err(Ending::Wrong("-b and profiles exclude each other".to_string()));
    }
    let mut failures = Failures::none();
    let mut named = profiles(args, &operands, &mut failures);
    let home = Home::open(&args.home())?;
    named.retain(|profile| home.require(profile).map_err(|error| failures.add(args, &error)).is_ok());
    if named.is_empty() && !operands.is_empty() {
        return Ok(failures.exit());
    }
    let scandir = if boot || !named.is_empty() { None } else { Some(Scandir::open(&args.scandir())?) };
    for profile in named.iter().filter(|_| !follow) {
        let log = LogFiles::of_gateway(profile);
        // If it cannot be looked at, the reader says so.
        if let Ok(None) = home.act(|dir| log.directory(dir)) {
            args.log().warning(&format!("{profile} has no log yet: no {}", log.shown(&home.path)));
        }
    }
    let wanted = Wanted { last: last.or((since.is_none()).then_some(LINES)), since, follow };
    let out = BufWriter::new(std::io::stdout().lock());
    let mut printer = Printer { out, args, failures, named, scandir, zone, width: 0, broken: false };
    let read = logs::read(&home, boot, &wanted, &printer.zone.clone(), &mut printer);
    // That the reader has seen enough is no news.
    if printer.broken {
        return Ok(Exit::System);
    }
    read?;
    Ok(if follow { Exit::System } else { printer.failures.exit() })
}

/// The time of `-S`.
fn time(value: &OsStr, zone: &TimeZone) -> Result<Timestamp> {
    let text = value.to_string_lossy();
    log_line::since(&text, &Timestamp::now().to_zoned_datetime(zone.clone())).ok_or_else(|| {
        let forms = "it must be a time (10:00, 2026-11-27, 2026-11-27T10:00) or a span before now (10m, 2h, 1d)";
        Error::new(Kind::Usage, format!("invalid time \"{text}\": {forms}"))
    })
}

/// Prints each line on stdout.
struct Printer<'a> {
    out: BufWriter<StdoutLock<'static>>,
    args: &'a Args,
    failures: Failures,
    named: Vec<Profile>,
    /// Where the profiles are looked for if none is named.
    scandir: Option<Scandir>,
    zone: TimeZone,
    /// The width of the longest name.
    width: usize,
    /// Does nobody read stdout any more?
    broken: bool,
}

impl Printer<'_> {
    fn done(&mut self, written: std::io::Result<()>) -> Result<()> {
        written.map_err(|error| {
            self.broken |= error.kind() == std::io::ErrorKind::BrokenPipe;
            Error::system("write to", "standard output", error)
        })
    }
}

impl Reader for Printer<'_> {
    fn line(&mut self, line: &Line<'_>) -> Result<()> {
        let time = line.time.map(|time| log_line::shown(time, &self.zone));
        let text = if self.args.output().json {
            let profile = line.profile.map(Profile::as_str);
            Record::new().note("time", time).note("profile", profile).text("line", line.text.as_str()).to_json()
        } else {
            // A tab moves the cursor to the right only.
            let text: Vec<String> = line.text.split('\t').map(printable).collect();
            let width = self.width;
            let label = line.profile.map(|profile| format!("{:width$} | ", profile.as_str())).unwrap_or_default();
            format!("{} {label}{}", time.as_deref().unwrap_or("-"), text.join("\t"))
        };
        let written = writeln!(self.out, "{text}");
        self.done(written)
    }

    fn pause(&mut self) -> Result<()> {
        let flushed = self.out.flush();
        self.done(flushed)
    }

    fn failed(&mut self, error: &Error) {
        self.failures.add(self.args, error);
    }

    fn profiles(&mut self) -> Result<Vec<Profile>> {
        let profiles = self.scandir.as_ref().map_or_else(|| Ok(self.named.clone()), Scandir::slots)?;
        self.width = profiles.iter().map(|profile| profile.as_str().len()).fold(self.width, usize::max);
        Ok(profiles)
    }
}
