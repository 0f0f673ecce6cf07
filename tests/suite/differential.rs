//! Hermes Agent's own reconciler, in Python, compared with ours on the same home: both start the same gateways.
//!
//! Where they differ on purpose, the case names its row of docs/failures.md, and the difference must show.

use crate::support::{Profile, Ran, Tool, Tree, agent, wait_until};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// A profile's volume in one state.
struct Case {
    what: String,
    make: Make,
    /// The row because of which ours reads the file differently. The decisions differ if either of the two starts the
    /// gateway.
    row: Option<&'static str>,
}

impl Case {
    /// Does Hermes Agent 0.`minor` know all words of the state file? `desired_state` came with 0.17, and that `draining`
    /// and `degraded` count as `running` with 0.18.
    fn is_known_to(&self, minor: u32) -> bool {
        let Make::State(bytes) = &self.make else { return true };
        let text = String::from_utf8_lossy(bytes).replace("\\u005f", "_");
        let since = |version, word: &str| minor >= version || !text.contains(word);
        since(18, "draining") && since(18, "degraded") && since(17, "desired_state\"")
    }
}

enum Make {
    /// `gateway_state.json` with these bytes.
    State(Vec<u8>),
    /// Any other change of the profile.
    Other(fn(Profile)),
}

/// A generator of pseudo-random numbers, which gives the same sequence in every run.
pub struct Dice(pub u64);

impl Dice {
    /// A number below `sides`.
    pub fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// Hermes Agent 0.15 and 0.16 read the second field only.
const RUNNING: &str = r#"{"desired_state":"running","gateway_state":"running"}"#;

/// The values of `desired_state` and `gateway_state`. "" means that there is no such field.
const DESIRED: [&str; 18] = [
    "",
    "null",
    r#""running""#,
    r#""stopped""#,
    r#""starting""#,
    r#""startup_failed""#,
    r#""draining""#,
    r#""degraded""#,
    r#""""#,
    r#""Running""#,
    r#"" running""#,
    r#""paused""#,
    "0",
    "7",
    "1.5",
    "true",
    "false",
    "12345678901234567890123",
];
const GATEWAY: [&str; 14] = [
    "",
    "null",
    r#""running""#,
    r#""stopped""#,
    r#""starting""#,
    r#""startup_failed""#,
    r#""draining""#,
    r#""degraded""#,
    r#""""#,
    r#""RUNNING""#,
    r#""paused""#,
    "7",
    "true",
    "-0.0",
];

/// Fields that Hermes Agent writes beside them, and some that it does not.
const OTHERS: [&str; 10] = [
    r#""pid":4242"#,
    r#""kind":"hermes-gateway""#,
    r#""argv":["/opt/hermes/.venv/bin/hermes","gateway","run","--replace"]"#,
    r#""platforms":{"api_server":{"state":"connected","error_code":null},"telegram":{"state":"retrying"}}"#,
    r#""exit_reason":null"#,
    r#""updated_at":"2026-11-23T14:57:03.943994+00:00""#,
    r#""updated_at":1795445823"#,
    r#""active_agents":0"#,
    r#""exit_reason":"Zażółć gęślą jaźń \ud83d\ude00""#,
    r#""desired_state_of_mind":"running""#,
];

/// An object with both fields, at any place among others, written in any of JSON's ways.
fn object(dice: &mut Dice, desired: &str, gateway: &str) -> String {
    let mut members: Vec<String> = Vec::new();
    for (key, value) in [("desired_state", desired), ("gateway_state", gateway)] {
        if !value.is_empty() {
            let value = if dice.below(8) == 0 { value.replace("\"r", "\"\\u0072") } else { value.to_string() };
            members.push(format!("\"{key}\":{value}"));
        }
    }
    for _ in 0..dice.below(4) {
        let at = dice.below(members.len() + 1);
        members.insert(at, OTHERS[dice.below(OTHERS.len())].to_string());
    }
    let (before, between, after) =
        [("", ",", ""), ("", ", ", "\n"), ("\n  ", ",\n  ", "\n"), ("\r\n\t", " ,\r\n\t", "\r\n")][dice.below(4)];
    format!("{{{before}{}{after}}}{after}", members.join(between))
}

/// Every pair of `desired_state` and `gateway_state`.
fn pairs() -> Vec<Case> {
    let mut dice = Dice(19);
    let mut cases = Vec::new();
    for desired in DESIRED {
        for gateway in GATEWAY {
            let what = object(&mut dice, desired, gateway);
            // An intent that is not a string counts as none. Python takes it for an intent other than `running`.
            let is_intent = desired.is_empty() || desired == "null" || desired.starts_with('"');
            let row = (!is_intent).then_some("A15");
            cases.push(Case { make: Make::State(what.clone().into_bytes()), what, row });
        }
    }
    cases
}

/// A state file that is odd in its form and not in its values.
type Oddity = (&'static str, fn(&str) -> Vec<u8>, Option<&'static str>);

fn with(base: &str, member: &str) -> Vec<u8> {
    base.replacen('{', &format!("{{{member},"), 1).into_bytes()
}

fn nested(base: &str, depth: usize) -> Vec<u8> {
    with(base, &format!("\"x\":{}{}", "[".repeat(depth), "]".repeat(depth)))
}

const ODDITIES: &[Oddity] = &[
    ("empty", |_| Vec::new(), None),
    ("blank", |_| b" \n\t\r\n".to_vec(), None),
    ("UTF-8 with BOM", |base| format!("\u{feff}{base}").into(), None),
    ("half of it", |base| base.as_bytes()[..base.len() / 2].to_vec(), None),
    ("all but the last byte", |base| base.as_bytes()[..base.len() - 1].to_vec(), None),
    ("NULs behind it", |base| [base.as_bytes(), &[0; 512]].concat(), None),
    ("NULs in its place", |base| vec![0; base.len()], None),
    ("more behind it", |base| format!("{base}x").into(), None),
    ("twice", |base| format!("{base}\n{base}").into(), None),
    ("a comma too many", |base| base.replace('}', ",}").into(), None),
    ("a comment", |base| format!("// state\n{base}").into(), None),
    ("single quotes", |base| base.replace('"', "'").into(), None),
    ("no quotes", |base| base.replace('"', "").into(), None),
    ("form feed between tokens", |base| base.replace(':', ":\u{c}").into(), None),
    ("no-break space between tokens", |base| base.replace(':', ":\u{a0}").into(), None),
    ("a raw newline in a string", |base| with(base, "\"x\":\"a\nb\""), None),
    ("DEL in a string", |base| with(base, "\"x\":\"\u{7f}\""), None),
    ("U+FFFF in a string", |base| with(base, "\"x\":\"\u{ffff}\""), None),
    ("an unknown escape", |base| with(base, r#""x":"\d""#), None),
    ("an escaped key", |base| base.replace("_state", "\\u005fstate").into(), None),
    ("half of an escaped pair", |base| with(base, r#""x":"\ud83d""#), None),
    ("first stopped, then what it says", |base| with(base, r#""desired_state":"stopped""#), None),
    ("first running, then what it says", |base| with(base, r#""desired_state":"running""#), None),
    (
        "first an object, then what it says",
        |base| with(base, r#""gateway_state":{"x":[]},"gateway_state":"stopped""#),
        None,
    ),
    ("a state in a field's field", |base| with(base, r#""x":{"desired_state":"running"}"#), None),
    ("one field with an empty name", |base| with(base, r#""":0"#), None),
    ("a number past 64 bits", |base| with(base, r#""pid":123456789012345678901234567890"#), None),
    ("a number past a double", |base| with(base, r#""x":1e400"#), None),
    ("a number below a double", |base| with(base, r#""x":-1e-400"#), None),
    ("a leading zero", |base| with(base, r#""x":01"#), None),
    ("a leading plus", |base| with(base, r#""x":+1"#), None),
    ("no digit behind the point", |base| with(base, r#""x":1."#), None),
    ("hexadecimal", |base| with(base, r#""x":0x10"#), None),
    ("NaN", |base| with(base, r#""x":NaN"#), Some("A15")),
    ("Infinity", |base| with(base, r#""x":Infinity"#), Some("A15")),
    ("-Infinity", |base| with(base, r#""x":-Infinity"#), Some("A15")),
    ("100 arrays deep", |base| nested(base, 100), None),
    ("500 arrays deep", |base| nested(base, 500), None),
    ("a long string", |base| with(base, &format!("\"x\":\"{}\"", "y".repeat(500_000))), None),
    (
        "a thousand fields",
        |base| with(base, &(0..1000).map(|i| format!("\"x{i}\":{i}")).collect::<Vec<_>>().join(",")),
        None,
    ),
    ("2 MiB", |base| with(base, &format!("\"x\":\"{}\"", "y".repeat(2 << 20))), Some("A15")),
];

/// The objects to which the oddities are applied.
const BASES: [&str; 4] = [
    RUNNING,
    r#"{"desired_state":"stopped","gateway_state":"running"}"#,
    r#"{"gateway_state":"draining"}"#,
    r#"{"gateway_state":"startup_failed"}"#,
];

fn oddities() -> Vec<Case> {
    let odd = |(what, make, row): &Oddity, base: &str| Case {
        what: format!("{what}: {base}"),
        make: Make::State(make(base)),
        row: *row,
    };
    ODDITIES.iter().flat_map(|oddity| BASES.map(|base| odd(oddity, base))).collect()
}

/// Cases in which the state file is of another kind than a regular file.
fn kinds() -> Vec<Case> {
    let case = |what: &str, row, make| Case { what: what.to_string(), make: Make::Other(make), row };
    vec![
        case("no state file", None, |_| ()),
        case("a directory", None, |p| drop(p.directory("gateway_state.json"))),
        case("a link to nothing", None, |p| drop(p.link("gateway_state.json", "nowhere"))),
        case("a link to itself", None, |p| drop(p.link("gateway_state.json", "gateway_state.json"))),
        case("a link to a state file", Some("H2"), |p| {
            drop(p.file("other.json", RUNNING).link("gateway_state.json", "other.json"));
        }),
        case("a file that cannot be read", None, |p| drop(p.file_mode("gateway_state.json", RUNNING, 0))),
        case("a file that cannot be written", None, |p| drop(p.file_mode("gateway_state.json", RUNNING, 0o400))),
        case("a broken .env beside it", None, |p| drop(p.state(RUNNING).file(".env", b"\xff\0=\n".as_slice()))),
        case("what an earlier container left", None, |p| {
            drop(p.state(RUNNING).file("gateway.pid", "1").file("processes.json", "[]").file("gateway.lock", ""));
        }),
    ]
}

/// The slots, and whether each starts by itself.
fn slots(scandir: &Path) -> BTreeMap<String, bool> {
    let entries = fs::read_dir(scandir).expect("scandir").flatten();
    let names = entries.filter_map(|e| e.file_name().to_str()?.strip_prefix("gateway-").map(str::to_string));
    names.map(|name| (name.clone(), !scandir.join(format!("gateway-{name}/down")).exists())).collect()
}

/// The fields `prior_state` and `action` of each profile's line.
fn said(ran: &Ran) -> BTreeMap<String, (String, bool)> {
    let line = |line: &str| {
        let rest = line.strip_prefix("reconcile: profile=")?;
        let (name, rest) = rest.split_once(" prior_state=")?;
        let (prior, rest) = rest.split_once(" action=")?;
        Some((name.to_string(), (prior.to_string(), rest.split(' ').next() == Some("started"))))
    };
    ran.stdout.lines().filter_map(line).collect()
}

/// A scandir for Python alone, because Python deletes the slots that it finds.
fn python_scandir(tree: &Tree, name: &str) -> PathBuf {
    let scandir = tree.scratch().join(name);
    fs::create_dir(&scandir).expect("scandir");
    chown(&scandir, Some(tree.uid), Some(tree.gid)).expect("owner");
    scandir
}

fn container_boot(tree: &Tree, scandir: &Path) -> Tool {
    agent::python(tree, ["-m", "hermes_cli.container_boot"]).env("S6_PROFILE_GATEWAY_SCANDIR", scandir)
}

/// Rows A2, A3, A15, H2 of docs/failures.md.
#[test]
fn the_python_reconciler_starts_the_same_gateways() {
    let tree = Tree::new();
    let minor = agent::minor();
    let cases = [pairs(), oddities(), kinds()].into_iter().flatten().filter(|case| case.is_known_to(minor));
    let cases: Vec<Case> = cases.collect();
    let name = |at: usize| format!("p{at:03}");
    for (at, case) in cases.iter().enumerate() {
        let profile = tree.profile(&name(at));
        match &case.make {
            Make::State(bytes) => drop(profile.state(bytes)),
            Make::Other(make) => make(profile),
        }
    }
    let state = if minor < 17 { RUNNING } else { r#"{"desired_state":"running","gateway_state":"stopped"}"# };
    tree.profile("default").state(state);

    let ours =
        tree.tool("hermes-reconcile-all").env("HERMES_PORT_RANGE", "1024-65535").env("HERMES_MAX_SERVICES", "9999");
    let ours = ours.run();
    let scandir = python_scandir(&tree, "python");
    let python = container_boot(&tree, &scandir).run();
    assert_eq!((ours.code, python.code), (0, 0), "{ours}{python}");

    let (ours_said, python_said) = (said(&ours), said(&python));
    let (ours, python) = (slots(&tree.scandir()), slots(&scandir));
    let mut wrong = Vec::new();
    let mut rows = BTreeMap::new();
    let default = Case { what: "default".to_string(), make: Make::Other(|_| ()), row: None };
    for at in 0..=cases.len() {
        let (name, case) = cases.get(at).map_or(("default".to_string(), &default), |case| (name(at), case));
        let (Some((prior, started)), Some((peer_prior, peer_started))) = (ours_said.get(&name), python_said.get(&name))
        else {
            wrong.push(format!("{name}: not in both outputs: {}", case.what));
            continue;
        };
        let (decided, peer) = (ours.get(&name), python.get(&name));
        if decided != Some(started) || peer != Some(peer_started) {
            wrong.push(format!("{name}: said {started}, {peer_started}, and did {decided:?}, {peer:?}"));
        }
        let known = ["running", "stopped", "starting", "startup_failed", "draining", "degraded"];
        let said_alike = prior == peer_prior || !known.contains(&peer_prior.as_str());
        let is_wrong = match case.row {
            None => decided != peer || !said_alike,
            Some(row) => {
                *rows.entry(row).or_insert(0) += usize::from(decided != peer);
                decided == peer && *started
            }
        };
        if is_wrong {
            let what: String = case.what.chars().take(200).collect();
            wrong.push(format!(
                "{name}: ours {prior} {decided:?}, Python {peer_prior} {peer:?}, {:?}: {what}",
                case.row
            ));
        }
    }
    assert!(wrong.is_empty(), "of {} profiles:\n{}", cases.len() + 1, wrong.join("\n"));
    // Five numbers and truth values as an intent, over three states of a gateway that was up; four unreadable files
    // that were; one link. An older release has fewer cases.
    let all = BTreeMap::from([("A15", 6 * 3 + 4 * 2), ("H2", 1)]);
    assert!(rows == all || minor < 18 && rows.len() == 2, "{rows:?}");
}

/// A home in which Python's pass ends before its last profile: the odd thing, Python's exception, and whether the odd
/// profile has a slot.
type Fatal = (&'static str, &'static str, &'static str, bool, fn(&Tree));

/// The profile in the middle, with this state file.
fn odd(tree: &Tree, state: impl AsRef<[u8]>) {
    tree.profile("odd").state(state);
}

/// A directory that looks like a profile, with this name.
fn named(tree: &Tree, name: &str) {
    Profile::bare(tree, name).file("SOUL.md", "").state(RUNNING);
}

const FATAL: &[Fatal] = &[
    ("A15", "a list", "AttributeError", true, |t| odd(t, r#"["running"]"#)),
    ("A15", "a string", "AttributeError", true, |t| odd(t, r#""running""#)),
    ("A15", "a number", "AttributeError", true, |t| odd(t, "1")),
    ("A15", "null", "AttributeError", true, |t| odd(t, "null")),
    ("A15", "Latin-1", "UnicodeDecodeError", true, |t| odd(t, b"{\"x\":\"caf\xe9\",\"desired_state\":\"running\"}")),
    ("A15", "half of a UTF-8 pair", "UnicodeDecodeError", true, |t| {
        odd(t, b"{\"x\":\"\xed\xa0\xbd\",\"desired_state\":\"running\"}")
    }),
    ("A15", "UTF-16 with BOM", "UnicodeDecodeError", true, |t| {
        odd(t, "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>())
    }),
    ("A15", "a list as intent", "TypeError", true, |t| odd(t, r#"{"desired_state":["running"]}"#)),
    ("A15", "an object as intent", "TypeError", true, |t| odd(t, r#"{"desired_state":{"running":true}}"#)),
    ("A15", "a list as state", "TypeError", true, |t| odd(t, r#"{"gateway_state":["running"]}"#)),
    ("A15", "100000 deep", "RecursionError", true, |t| odd(t, nested(RUNNING, 100_000))),
    ("A15", "the root profile's is a list", "AttributeError", false, |t| drop(t.profile("default").state("[]"))),
    ("B7", "a leading underscore", "ValueError", false, |t| named(t, "_scaffold")),
    ("B7", "upper case", "ValueError", false, |t| named(t, "Coder")),
    ("B7", "a dot", "ValueError", false, |t| named(t, "coder.bak")),
    ("B7", "a space", "ValueError", false, |t| named(t, "coder (copy)")),
    ("B7", "not ASCII", "ValueError", false, |t| named(t, "müller")),
    ("B7", "gateway.pid is a directory", "IsADirectoryError", true, |t| {
        drop(t.profile("odd").state("{}").directory("gateway.pid"))
    }),
    ("B7", "profiles is not ours", "PermissionError", false, |t| {
        fs::set_permissions(t.home().join("profiles"), fs::Permissions::from_mode(0o000)).expect("mode");
    }),
];

/// A program that runs Hermes Agent's function on several homes. It prints the result of each in a line.
const EACH: &str = "
import sys
from pathlib import Path
from hermes_cli.container_boot import reconcile_profile_gateways
for home, scandir in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        reconcile_profile_gateways(hermes_home=Path(home), scandir=Path(scandir), container_argv=())
        print('None')
    except Exception as e:
        print(type(e).__name__)
";

/// Rows A15, B7 of docs/failures.md.
#[test]
fn what_ends_pythons_pass_costs_ours_one_profile_at_most() {
    let homes: Vec<(Tree, PathBuf)> = FATAL
        .iter()
        .map(|(_, _, _, _, make)| {
            let tree = Tree::new();
            tree.profile("first").state(RUNNING);
            tree.profile("zz-last").state(RUNNING);
            tree.profile("default").state(RUNNING);
            make(&tree);
            let scandir = python_scandir(&tree, "python");
            (tree, scandir)
        })
        .collect();
    let paths: Vec<String> = homes
        .iter()
        .flat_map(|(tree, scandir)| [tree.home(), scandir.clone()])
        .map(|p| p.display().to_string())
        .collect();
    let python = agent::python(&homes[0].0, ["-c", EACH].into_iter().chain(paths.iter().map(String::as_str))).run();
    assert_eq!((python.code, python.lines().len()), (0, FATAL.len()), "{python}");

    for ((tree, scandir), ((row, what, exception, has_slot, _), raised)) in
        homes.iter().zip(FATAL.iter().zip(python.lines()))
    {
        let python = slots(scandir);
        assert_eq!((raised, python.get("zz-last")), (*exception, None), "{row}, {what}: {python:?}");

        let ran = tree.tool("hermes-reconcile-all").run();
        let ours = slots(&tree.scandir());
        let odd = has_slot.then_some(("odd", false));
        let others = [("first", true), ("zz-last", true)];
        let default = ("default", !what.starts_with("the root"));
        let (code, wanted): (i32, Vec<_>) = match *what {
            "profiles is not ours" => (111, vec![default]),
            _ => (0, others.into_iter().chain([default]).chain(odd).collect()),
        };
        let wanted = wanted.into_iter().map(|(name, up)| (name.to_string(), up)).collect();
        assert_eq!((ran.code, ours), (code, wanted), "{row}, {what}: {ran}");
    }
}

/// Rows B6, B7, B8, H2 of docs/failures.md.
#[test]
fn the_same_directories_are_profiles() {
    // What differs: the row, and whether Python takes the directory for a profile. For us it is none.
    let long = "l".repeat(65);
    let differ = [("B7", long.as_str()), ("B7", "newline\n"), ("B6", "marker-is-a-directory"), ("H2", "link")];
    let tree = Tree::new();
    for name in ["0", "a-b_c", &"n".repeat(64)] {
        tree.profile(name).state(RUNNING);
    }
    Profile::bare(&tree, "marker-is-a-link").file("soul", "").link("SOUL.md", "soul").state(RUNNING);
    Profile::bare(&tree, "no-marker").state(RUNNING);
    Profile::bare(&tree, "marker-is-a-dead-link").link("SOUL.md", "nowhere").state(RUNNING);
    Profile::bare(&tree, "marker-is-a-directory").directory("SOUL.md").state(RUNNING);
    named(&tree, &long);
    named(&tree, "newline\n");
    // The name is that of the home's own profile, whose own state file counts.
    named(&tree, "default");
    tree.profile("default").state("{}").file("profiles/file", "").link("profiles/link", "0");

    tree.tool("hermes-reconcile-all").run().is(0, "**", "**");
    let scandir = python_scandir(&tree, "python");
    container_boot(&tree, &scandir).run().is(0, "**", "**");
    let mut python = slots(&scandir);
    for (row, name) in differ {
        assert_eq!(python.remove(name), Some(true), "{row}: {name}");
    }
    assert_eq!(slots(&tree.scandir()), python);
    assert_eq!(python.len(), 5, "{python:?}");
}

/// Row I1 of docs/failures.md.
#[test]
fn one_gateway_for_all_profiles_is_the_same_for_both() {
    let tree = Tree::new();
    for name in ["default", "coder"] {
        tree.profile(name).state(RUNNING);
    }
    // Python does not read config.yaml. It reads the environment as we do.
    let settings = [
        ("", "{}", true, true),
        ("1", "{}", false, false),
        (" True ", "{}", false, false),
        ("ON", "{}", false, false),
        ("off", "{}", true, true),
        ("enabled", "{}", true, true),
        ("", "gateway: {multiplex_profiles: true}", false, true),
        ("", "multiplex_profiles: yes", false, true),
    ];
    for (at, (variable, config, ours_up, python_up)) in settings.into_iter().enumerate() {
        tree.profile("default").file("config.yaml", config);
        let ours = tree.scandir().with_file_name(format!("ours{at}"));
        let python = python_scandir(&tree, &format!("python{at}"));
        fs::create_dir(&ours).expect("scandir");
        let tool = tree.tool("hermes-reconcile-all").arg("-s").arg(&ours).env("GATEWAY_MULTIPLEX_PROFILES", variable);
        tool.run().is(0, "**", "**");
        container_boot(&tree, &python).env("GATEWAY_MULTIPLEX_PROFILES", variable).run().is(0, "**", "**");
        for (scandir, coder) in [(ours, ours_up), (python, python_up)] {
            let wanted = [("coder", coder), ("default", true)].map(|(name, up)| (name.to_string(), up));
            assert_eq!(slots(&scandir), BTreeMap::from(wanted), "{variable:?}, {config}: {}", scandir.display());
        }
    }
}

/// Row A15 of docs/failures.md.
#[test]
fn a_state_file_that_is_a_fifo_stops_python_and_not_us() {
    let tree = Tree::new();
    tree.profile("first").state(RUNNING);
    let odd = tree.profile("odd").fifo("gateway_state.json");
    tree.profile("zz-last").state(RUNNING);
    tree.tool("hermes-reconcile-all").run().is(0, "**", "**");
    let wanted = [("default", false), ("first", true), ("odd", false), ("zz-last", true)];
    assert_eq!(slots(&tree.scandir()), wanted.into_iter().map(|(name, up)| (name.to_string(), up)).collect());

    let scandir = python_scandir(&tree, "python");
    let python = container_boot(&tree, &scandir).start();
    let fifo = odd.dir.join("gateway_state.json");
    let mut writer = None;
    wait_until("Python to wait for a writer", || {
        use rustix::fs::{Mode, OFlags, open};
        writer = open(&fifo, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).ok();
        writer.is_some()
    });
    assert_eq!((slots(&scandir).len(), python.is_running()), (2, true));
    drop(writer);
    python.wait().is(0, "**", "**");
    assert_eq!(slots(&scandir), slots(&tree.scandir()));
}
