//! Running a command that is disturbed at one point, and checking everything that must hold after that.

use crate::ground::{Ground, within};
use crate::look::{self, Look, at_rest, differences, gap, glance, look};
use crate::point::{Point, points};
use crate::scenario::{Caller, Scenario};
use crate::support::Ran;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// The exit codes that the tools' pages have. A run that is killed ends with 137.
const DOCUMENTED: [i32; 7] = [0, 1, 78, 99, 100, 102, 111];
/// The value of `-t` for a disturbed run, in milliseconds.
const TIMEOUT: u32 = 3000;
/// The longest time that a disturbed run may take, in seconds. It is far above `TIMEOUT`, for a busy machine.
const BOUND: f64 = 9.0;
/// The value of `-t` for an undisturbed run, in milliseconds.
const PATIENCE: u32 = 20_000;

/// The run of a scenario without any disturbance, with which the disturbed runs are compared. `Plain` has the same
/// fields in the same order.
pub struct Reference {
    pub before: Look,
    pub after: Look,
    /// How many times the gateway of each profile had started, before and after the run.
    pub starts: [BTreeMap<String, usize>; 2],
    pub stdout: String,
    pub stderr: String,
    /// The exit codes of the first and of the second run of the command.
    pub codes: [i32; 2],
    pub points: Vec<Point>,
}

/// A `Reference` made of types that serde knows, to be sent from one process to another.
pub type Plain = (Look, Look, [BTreeMap<String, usize>; 2], String, String, [i32; 2], Vec<String>);

impl Reference {
    pub fn plain(&self) -> Plain {
        let points = self.points.iter().map(Point::to_string).collect();
        let Reference { before, after, starts, stdout, stderr, codes, .. } = self;
        (before.clone(), after.clone(), starts.clone(), stdout.clone(), stderr.clone(), *codes, points)
    }

    pub fn of((before, after, starts, stdout, stderr, codes, points): Plain) -> Reference {
        let points = points.iter().filter_map(|text| Point::parse(text)).collect();
        Reference { before, after, starts, stdout, stderr, codes, points }
    }
}

/// Run a scenario twice without a disturbance. After the first run the tree must come to rest, and the second run must
/// not change it.
pub fn reference(ground: &Ground, scenario: &Scenario) -> Reference {
    ground.fresh();
    (scenario.make)(ground);
    let before = rest(ground);
    let starts_before = look::starts(ground);
    let log = ground.tree.scratch().join("strace");
    let strace =
        ["strace", "-y", "-s", "32", "-e", "signal=none", "-o", &log.display().to_string()].map(str::to_string);
    let account = scenario.caller == Caller::Sealed;
    let first = ground.run(&strace, &scenario.command(PATIENCE), account, 40.0).0;
    assert!(first.code == 0, "{}: undisturbed: {first}", scenario.name);
    let after = rest(ground);
    let starts = [starts_before, look::starts(ground)];
    let again = ground.run(&[], &scenario.command(PATIENCE), account, 40.0).0;
    let gap = differences(&rest(ground), &after);
    assert!(gap.is_empty(), "{}: the same again changes the tree: {gap:?}", scenario.name);
    let root = ground.root().display().to_string();
    let mut points = points(&fs::read_to_string(&log).expect("strace's log"), &root);
    // To replace a program of s6, something must be mounted over it, and the account may not mount anything.
    points.retain(|point| scenario.caller != Caller::Own || !point.of_program());
    let (stdout, stderr) = (plain_words(&first.stdout, &root), plain_words(&first.stderr, &root));
    Reference { before, after, starts, stdout, stderr, codes: [first.code, again.code], points }
}

/// Wait until the tree does not change any more, and return it.
fn rest(ground: &Ground) -> Look {
    let mut last = look(ground);
    let mut same = 0;
    let still = within(20.0, || {
        std::thread::sleep(Duration::from_millis(40));
        let now = look(ground);
        same = if now == last && at_rest(&now) { same + 1 } else { 0 };
        last = now;
        same == 5
    });
    assert!(still, "the tree does not come to rest: {last:?}");
    last
}

/// A text in which every number is replaced by `N`, because numbers differ from run to run. `root` becomes ROOT.
fn plain_words(text: &str, root: &str) -> String {
    let mut plain = String::new();
    for c in text.replace(root, "ROOT").chars() {
        match c {
            '0'..='9' if plain.ends_with('N') => {}
            '0'..='9' => plain.push('N'),
            ' ' if plain.ends_with(' ') => {}
            c => plain.push(c),
        }
    }
    plain
}

/// The result of one point.
#[derive(Default)]
pub struct Found {
    /// Was the call made? If not, nothing was disturbed. A tool that polls makes some calls more often in one run than
    /// in another.
    pub reached: bool,
    /// The output of the disturbed run, and strace's log of the calls of the disturbed name.
    pub ran: String,
    /// The kind and the text of each violation.
    pub violations: Vec<(String, String)>,
}

/// Run a scenario, disturb it at this point, and check everything.
pub fn examine(ground: &Ground, scenario: &Scenario, reference: &Reference, point: &Point) -> Found {
    ground.fresh();
    (scenario.make)(ground);
    let (ran, hung, log) = disturb(ground, scenario, point);
    let killed = point.kills() && ran.code == 137 && !hung;
    let mut found =
        Found { reached: killed || log.contains("(INJECTED)"), ran: format!("{ran}{log}"), ..Found::default() };
    if hung {
        let text = format!("it still ran after {BOUND} s");
        return Found { reached: true, violations: vec![("hang".to_string(), text)], ..found };
    }
    if !found.reached {
        return found;
    }
    let mut bad = |kind: &str, texts: Vec<String>| {
        if !texts.is_empty() {
            found.violations.push((kind.to_string(), texts.join("; ")));
        }
    };
    let waived =
        !killed && is_waived(ground, scenario, reference, point, &ran) || refused_a_mode(ground, point, &ran, &log);
    if !killed {
        bad("words", words(ground, scenario, reference, &ran));
        bad("code", misleading(point, &ran));
        if ran.code == 0 && !waived {
            let (kind, texts) = undone(ground, scenario, reference, &ran);
            bad(kind, texts);
        }
    }
    let now = glance(ground);
    bad("slot", look::half_built(ground, &now, &reference.before, &reference.after));
    if !waived {
        bad("json", look::torn(ground, &reference.before, &reference.after));
    }
    if ran.code == 0 && !waived {
        bad("port", look::unrecorded(ground, &ran.stdout));
    }
    bad("double", look::doubled(ground));
    bad("stopped", interrupted(ground, reference));
    let probe_now = point.number.is_multiple_of(2);
    if probe_now && let Err(fault) = ground.probe() {
        bad("s6-svscan", vec![fault]);
    }
    if !waived {
        again(ground, scenario, reference, &mut bad);
    }
    bad("stopped", interrupted(ground, reference));
    bad("double", look::doubled(ground));
    if !probe_now && let Err(fault) = ground.probe() {
        bad("s6-svscan", vec![fault]);
    }
    found
}

/// Run the command with the disturbance. Returns how the command ended, whether it was killed because it took too long,
/// and the log of the disturbance.
fn disturb(ground: &Ground, scenario: &Scenario, point: &Point) -> (Ran, bool, String) {
    let (log, sealed) = (ground.tree.scratch().join("disturbed"), scenario.caller == Caller::Sealed);
    let command = scenario.command(TIMEOUT);
    if point.of_program() {
        let wrapper = ground.failing_program(point.number, &point.action, &log, sealed);
        let (ran, hung) = ground.run(&wrapper, &command, false, BOUND);
        return (ran, hung, fs::read_to_string(log.with_extension("hit")).unwrap_or_default());
    }
    let (trace, inject) = (format!("trace={}", point.call), format!("inject={}", point.inject()));
    let wrapper = ["strace", "-y", "-e", &trace, "-e", "signal=none", "-e", &inject, "-o", &log.display().to_string()];
    let (ran, hung) = ground.run(&wrapper.map(str::to_string), &command, sealed, BOUND);
    (ran, hung, fs::read_to_string(&log).unwrap_or_default())
}

/// Check the output of a disturbed run: the exit code is one that a page has, every line has the form of the tools'
/// messages, and there is one fatal line if the run failed.
fn words(ground: &Ground, scenario: &Scenario, reference: &Reference, ran: &Ran) -> Vec<String> {
    if let Some(panic) = ran.stderr.find("panicked at") {
        return vec![format!("exit {}, a panic: {:?}", ran.code, &ran.stderr[panic..])];
    }
    let mut wrong = Vec::new();
    let tool = scenario.tool();
    if !DOCUMENTED.contains(&ran.code) {
        wrong.push(format!("exit {}, which no page has: {:?}", ran.code, ran.stderr));
    }
    let root = ground.root().display().to_string();
    let usual: Vec<&str> = reference.stderr.lines().collect();
    let lines: Vec<&str> =
        ran.stderr.lines().filter(|line| !usual.contains(&plain_words(line, &root).as_str())).collect();
    let is = |line: &str, kind: &str| line.starts_with(&format!("{tool}: {kind}: "));
    let strange = lines.iter().filter(|line| !["fatal", "warning", "info", "usage"].iter().any(|kind| is(line, kind)));
    wrong.extend(strange.map(|line| format!("a line of another form: {line:?}")));
    let fatal = lines.iter().filter(|line| is(line, "fatal")).count();
    let warned = lines.iter().any(|line| is(line, "warning"));
    let answers_no = scenario.reads() && ran.code == 1;
    if ran.code != 0 && !answers_no && !(fatal == 1 || fatal == 0 && warned) {
        wrong.push(format!("exit {} with {fatal} fatal lines: {:?}", ran.code, ran.stderr));
    }
    wrong
}

/// Check that a passing error does not end with a code that means "never". EACCES and EPERM may last, so they may end
/// with such a code.
fn misleading(point: &Point, ran: &Ran) -> Vec<String> {
    let for_good = [78, 100, 102].contains(&ran.code) && !["EACCES", "EPERM"].contains(&point.action.as_str());
    if for_good { vec![format!("exit {}: {:?}", ran.code, ran.stderr)] } else { Vec::new() }
}

/// Do the pages say that this error is only a warning, and that the exit code is 0? That is so if the account is
/// refused something or the volume is full, because this must not keep the gateways down. The pages say what is done
/// instead.
fn is_waived(ground: &Ground, scenario: &Scenario, reference: &Reference, point: &Point, ran: &Ran) -> bool {
    let said = plain_words(&ran.stderr, &ground.root().display().to_string());
    if scenario.reads() {
        // A reading tool shows a file that the account may not read as a note in its table.
        let notes = ["unreadable-", "port-unclear"];
        return point.action == "EACCES" && notes.iter().any(|note| ran.stdout.contains(note));
    }
    ["EACCES", "ENOSPC"].contains(&point.action.as_str())
        && ran.code == 0
        && !ran.stderr.is_empty()
        && said != reference.stderr
}

/// Was a change of mode refused on the volume? Then no warning is printed. The file keeps the mode with which it was
/// made, and only the account can read it.
fn refused_a_mode(ground: &Ground, point: &Point, ran: &Ran, log: &str) -> bool {
    let home = ground.tree.home().display().to_string();
    point.call == "fchmod"
        && point.action == "EACCES"
        && ran.code == 0
        && log.lines().any(|line| line.contains("(INJECTED)") && line.contains(&home))
}

/// Check that the work is done after exit code 0. A warning is no excuse, except for hidden directories of retired
/// slots that could not be deleted.
fn undone(ground: &Ground, scenario: &Scenario, reference: &Reference, ran: &Ran) -> (&'static str, Vec<String>) {
    let warned =
        !ran.stderr.is_empty() && plain_words(&ran.stderr, &ground.root().display().to_string()) != reference.stderr;
    let said = plain_words(&ran.stdout, &ground.root().display().to_string());
    if scenario.reads() {
        // A note in the table is not enough, because scripts look at the exit code. But it is a lesser fault than a
        // false table.
        let kind = if said.contains("unreadable-") { "warned" } else { "untrue" };
        let wrong = (!warned && said != reference.stdout)
            .then(|| format!("exit 0 and nothing on stderr, but it said {said:?}"));
        return (kind, wrong.into_iter().collect());
    }
    let kind = if warned { "warned" } else { "untrue" };
    let mut wrong = Vec::new();
    let retired = |text: &String| warned && (text.starts_with("scandir/.") || text.starts_with("supervisor/."));
    within(4.0, || {
        wrong = gap(ground, &reference.after);
        wrong.retain(|text| !retired(text));
        wrong.extend(unstarted(ground, reference));
        wrong.is_empty()
    });
    if !wrong.is_empty() {
        wrong.insert(0, format!("exit 0{}", if warned { " with a warning" } else { " and nothing on stderr" }));
    }
    (kind, wrong)
}

/// Check that every gateway which is started in an undisturbed run was started.
fn unstarted(ground: &Ground, reference: &Reference) -> Vec<String> {
    let [before, after] = &reference.starts;
    let now = look::starts(ground);
    let due = after.iter().filter(|(name, starts)| before.get(*name) < Some(*starts));
    let missing = due.filter(|(name, starts)| now.get(*name) < Some(*starts));
    missing.map(|(name, _)| format!("the gateway of {name} was not started")).collect()
}

/// Run the same command again, undisturbed, and check that the tree becomes that of the undisturbed run.
fn again(ground: &Ground, scenario: &Scenario, reference: &Reference, bad: &mut impl FnMut(&str, Vec<String>)) {
    let account = scenario.caller == Caller::Sealed;
    let (ran, hung) = ground.run(&[], &scenario.command(PATIENCE), account, f64::from(PATIENCE) / 1000.0 + 5.0);
    if hung || !reference.codes.contains(&ran.code) {
        bad("again", vec![format!("the same again: exit {}: {:?}", ran.code, ran.stderr)]);
    }
    let said = plain_words(&ran.stdout, &ground.root().display().to_string());
    if scenario.reads() && said != reference.stdout {
        bad("again", vec![format!("the same again says {said:?}")]);
    }
    let mut wrong = Vec::new();
    within(4.0, || {
        wrong = gap(ground, &reference.after);
        wrong.is_empty()
    });
    let temporary =
        |text: &String| text.starts_with("home/") && text.contains(".XXXXXX is ") && text.ends_with("not absent");
    let retired = |text: &String| text.starts_with("scandir/.") || text.starts_with("supervisor/.");
    let (temporaries, wrong): (Vec<String>, Vec<String>) = wrong.into_iter().partition(temporary);
    let (left, wrong): (Vec<String>, Vec<String>) = wrong.into_iter().partition(retired);
    bad("temporary", temporaries);
    bad("left", left);
    bad("tree", wrong);
}

/// Check that no gateway was stopped which keeps running in an undisturbed run.
fn interrupted(ground: &Ground, reference: &Reference) -> Vec<String> {
    let [before, after] = &reference.starts;
    let now = look::starts(ground);
    let alone = before.iter().filter(|(name, starts)| **starts > 0 && after.get(*name) == Some(starts));
    let alone = alone.filter(|(name, _)| reference.after.contains_key(&format!("gateway/{name}")));
    let running = glance(ground);
    let stopped = alone
        .filter(|(name, starts)| now.get(*name) != Some(starts) || !running.contains_key(&format!("gateway/{name}")));
    stopped.map(|(name, _)| format!("the gateway of {name} was stopped, and nobody asked for it")).collect()
}
