//! Handing out the points, and the table at the end.

use crate::ask::Ask;
use crate::examine::{Found, Reference};
use crate::point::Point;
use crate::pool::Pair;
use crate::scenario::Scenario;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Instant;

/// The counts of one scenario.
#[derive(Clone, Default)]
struct Row {
    kills: usize,
    converged: usize,
    but_for_temporaries: usize,
    errors: usize,
    handled: usize,
    untrue: usize,
    warned: usize,
    misled: usize,
    programs: usize,
    survived: usize,
    /// Points whose call was not made in this run.
    missed: usize,
}

impl Row {
    fn count(&mut self, point: &Point, found: &Found) {
        let has = |kind: &str| found.violations.iter().any(|(k, _)| k == kind);
        let good = usize::from(found.violations.is_empty());
        if !found.reached {
            self.missed += 1;
        } else if point.of_program() {
            self.programs += 1;
            self.survived += good;
        } else if point.kills() {
            self.kills += 1;
            self.converged += good;
            self.but_for_temporaries +=
                usize::from(good == 0 && found.violations.iter().all(|(k, _)| k == "temporary"));
        } else {
            self.errors += 1;
            self.handled += good;
        }
        if found.reached {
            self.untrue += usize::from(has("untrue"));
            self.warned += usize::from(has("warned"));
            self.misled += usize::from(has("code") || has("words"));
        }
    }

    fn add(&mut self, other: &Row) {
        self.kills += other.kills;
        self.converged += other.converged;
        self.but_for_temporaries += other.but_for_temporaries;
        self.errors += other.errors;
        self.handled += other.handled;
        self.untrue += other.untrue;
        self.warned += other.warned;
        self.misled += other.misled;
        self.programs += other.programs;
        self.survived += other.survived;
        self.missed += other.missed;
    }

    fn line(&self, name: &str) -> String {
        let Row {
            kills,
            converged,
            but_for_temporaries,
            errors,
            handled,
            untrue,
            warned,
            misled,
            programs,
            survived,
            missed,
        } = self;
        format!(
            "| {name} | {converged} of {kills} | {but_for_temporaries} | {handled} of {errors} | {untrue} | {warned} | {misled} | \
             {survived} of {programs} | {missed} |\n"
        )
    }
}

/// A point to do, with its scenario and the scenario's reference.
type Job<'a> = (&'a Scenario, &'a Reference, Point);

/// Do the points that were asked for. The exit code says failure if there was a violation, or if a point could not be
/// done.
pub fn prove(ask: &Ask) -> ExitCode {
    let started = Instant::now();
    let references = in_parallel(ask, &ask.scenarios, |pair, scenario| pair.reference(scenario), |_, _| {});
    let mut failed = 0;
    let mut points = Vec::new();
    for (scenario, reference) in ask.scenarios.iter().zip(&references) {
        match reference {
            Ok(reference) => points.extend(chosen(ask, scenario, reference)),
            Err(why) => {
                failed += 1;
                eprintln!("proof: fatal: {}: {why}", scenario.name);
            }
        }
    }
    let total: usize = references.iter().flatten().map(|r| r.points.len()).sum();
    let version = &*VERSION;
    println!("proof: s6 {version}: {} of {total} points, seed {}, share {}", points.len(), ask.seed, ask.share);
    let found = in_parallel(
        ask,
        &points,
        |pair, (s, reference, point)| pair.examine(s, reference, point),
        |job, found| say(ask, job, found),
    );
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    let mut violations = 0;
    for ((scenario, _, point), found) in points.iter().zip(&found) {
        match found {
            Ok(found) => {
                rows.entry(scenario.name).or_default().count(point, found);
                violations += usize::from(!found.violations.is_empty());
            }
            Err(_) => failed += 1,
        }
    }
    let table = table(ask, &rows);
    println!("\n{table}");
    let seconds = started.elapsed().as_secs_f64();
    let verdict =
        format!("{} points in {seconds:.0} s: {violations} with violations, {failed} not looked at", points.len());
    println!("proof: s6 {version}: {verdict}");
    if let Some(page) = &ask.record
        && let Err(e) = record(page, &format!("{}\n\n{table}", header(ask, &verdict)))
    {
        eprintln!("proof: fatal: unable to write {}: {e}", page.display());
        failed += 1;
    }
    if violations + failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn chosen<'a>(ask: &Ask, scenario: &'a Scenario, reference: &'a Reference) -> Vec<Job<'a>> {
    // A point that was asked for by name is done even if the reference run did not have it, because the number of some
    // calls on /proc differs from run to run.
    let mut points = reference.points.clone();
    if let Some(point) = ask.point.as_deref().and_then(Point::parse) {
        points = vec![point];
    }
    points.retain(|point| ask.wants(scenario.name, &point.to_string()));
    points.into_iter().map(|point| (scenario, reference, point)).collect()
}

/// Print a line for each point that has violations: the command that repeats the point, the kinds of the violations,
/// and the text of the first one.
fn say(ask: &Ask, (scenario, _, point): &Job<'_>, found: &Result<Found, String>) {
    let again = format!("make proof S6={} POINT='{} {point}'", series(), scenario.name);
    match found {
        Ok(found) if ask.point.is_some() => {
            println!("{}{}", found.ran, if found.reached { "" } else { "the tool did not come to this call\n" });
            found.violations.iter().for_each(|(kind, text)| println!("{again} # {kind}: {text}"));
        }
        Ok(found) => {
            let kinds: BTreeSet<&str> = found.violations.iter().map(|(kind, _)| kind.as_str()).collect();
            if let Some((_, text)) = found.violations.first() {
                let text: String = text.replace('\n', " ").chars().take(300).collect();
                println!("{again} # {}: {text}", Vec::from_iter(kinds).join(", "));
            }
        }
        Err(why) => println!("{again} # not looked at: {}", why.replace('\n', " ")),
    }
}

/// Call `work` for all items, in several threads. Returns the results in the order of the items. `told` is called with
/// each result, in that order too, and as early as possible.
fn in_parallel<T: Sync, R: Send>(
    ask: &Ask,
    all: &[T],
    work: impl Fn(&mut Pair<'_>, &T) -> R + Sync,
    told: impl Fn(&T, &R) + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Mutex<(Vec<Option<R>>, usize)> = Mutex::new((all.iter().map(|_| None).collect(), 0));
    std::thread::scope(|scope| {
        for _ in 0..ask.jobs.min(all.len()) {
            scope.spawn(|| {
                let mut pair = Pair::new(&ask.executable);
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = all.get(at) else { break };
                    let result = work(&mut pair, item);
                    let Ok(mut done) = done.lock() else { break };
                    let (results, first) = &mut *done;
                    results[at] = Some(result);
                    while let Some(Some(result)) = results.get(*first) {
                        told(&all[*first], result);
                        *first += 1;
                    }
                }
            });
        }
    });
    done.into_inner().map(|(results, _)| results.into_iter().flatten().collect()).unwrap_or_default()
}

fn table(ask: &Ask, rows: &BTreeMap<&str, Row>) -> String {
    let columns = [
        "scenario",
        "kills converged",
        "but for a temporary file",
        "errors handled",
        "untrue exit 0",
        "exit 0 with a warning, undone",
        "wrong code or words",
        "programs of s6",
        "not reached",
    ];
    let mut text = format!("| {} |\n{}|\n", columns.join(" | "), "|---".repeat(columns.len()));
    let mut total = Row::default();
    for scenario in &ask.scenarios {
        let row = rows.get(scenario.name).cloned().unwrap_or_default();
        total.add(&row);
        text += &row.line(scenario.name);
    }
    text + &total.line("all")
}

/// The version of s6. `S6_VERSION` has it if scripts/with-s6 runs this program, else it is that of this machine's
/// package.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    std::env::var("S6_VERSION").ok().filter(|v| !v.is_empty()).unwrap_or_else(|| {
        let asked = Command::new("dpkg-query").args(["-W", "-f", "${Version}", "s6"]).output();
        asked.map_or("unknown".to_string(), |o| String::from_utf8_lossy(&o.stdout).into_owned())
    })
});

/// The series of the version, such as 2.11 for 2.11.3.2-1.
fn series() -> String {
    VERSION.split('.').take(2).collect::<Vec<_>>().join(".")
}

fn header(ask: &Ask, verdict: &str) -> String {
    let said = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        output.map_or(String::new(), |o| {
            String::from_utf8_lossy(&o.stdout).lines().next().unwrap_or_default().to_string()
        })
    };
    let commit = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let commit = commit.map_or(String::new(), |o| String::from_utf8_lossy(&o.stdout).trim().to_string());
    let today = said("date", "+%F");
    let tracer = said("strace", "-V").rsplit(' ').next().unwrap_or_default().to_string();
    let part = if ask.share == 1 {
        "every point".to_string()
    } else {
        format!("one point in {}, seed {}", ask.share, ask.seed)
    };
    format!("{today}, commit {commit}, s6 {}, strace {tracer}, {part}. {verdict}.", *VERSION)
}

/// Write the text into the page, between the markers of this series of s6. If the page has no such markers, the text is
/// added at its end.
fn record(page: &Path, text: &str) -> std::io::Result<()> {
    let series = series();
    let (begin, end) = (format!("<!-- proof {series} -->\n"), format!("<!-- end of proof {series} -->\n"));
    let old = std::fs::read_to_string(page)?;
    let block = format!("{begin}{text}{end}");
    let new = match (old.find(&begin), old.find(&end)) {
        (Some(from), Some(to)) => format!("{}{block}{}", &old[..from], &old[to + end.len()..]),
        _ => format!("{old}\n{block}"),
    };
    std::fs::write(page, new)
}
