//! A description of a tree, and checks that every tree must pass.

use crate::ground::Ground;
use crate::support::Process;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// The description of a tree at one moment. Each key begins with its part of the tree: `home/`, `slot/`, `s6/`,
/// `supervisor/`, `gateway/` or `scandir/`. Logs, locks and the files that the stand-in and s6 write by themselves are
/// left out, because no tool decides about them.
pub type Look = BTreeMap<String, String>;

/// Describe the whole tree.
pub fn look(ground: &Ground) -> Look {
    let mut found = glance(ground);
    found.append(&mut stats(ground));
    found
}

/// The state of each slot according to s6-svstat.
fn stats(ground: &Ground) -> Look {
    let slots = ground.tree.slots().into_iter();
    let stat = |profile: &str| ground.tree.svstat(profile, "up,wantedup,normallyup").map(|s| s.join(" "));
    slots
        .map(|profile| (format!("s6/gateway-{profile}"), stat(&profile).unwrap_or("unsupervised".to_string())))
        .collect()
}

/// The differences between the tree and `wanted`. s6-svstat takes a process for each slot, so it is run only if nothing
/// else differs.
pub fn gap(ground: &Ground, wanted: &Look) -> Vec<String> {
    let (said, seen): (Look, Look) = wanted.clone().into_iter().partition(|(key, _)| key.starts_with("s6/"));
    let gap = differences(&glance(ground), &seen);
    if gap.is_empty() { differences(&stats(ground), &said) } else { gap }
}

/// Describe the tree, except the state of the slots according to s6-svstat.
pub fn glance(ground: &Ground) -> Look {
    let mut found = Look::new();
    let running = ground.tree.processes();
    volume(ground, &running, &mut found);
    for name in names(&ground.tree.scandir()) {
        let path = ground.tree.scandir().join(&name);
        if name.starts_with("gateway-") {
            walk(&path, &format!("slot/{name}"), &mut found);
        } else if ![".s6-svscan", ".hermes-s6.lock", ".hermes-s6.turns", "probe", ".probe"].contains(&name.as_str()) {
            found.insert(format!("scandir/{}", steady(&name)), "left".to_string());
        }
    }
    for process in running.iter().filter(|p| p.comm == "s6-supervise") {
        let dir = process.cwd.strip_prefix(ground.tree.scandir()).unwrap_or(&process.cwd).display().to_string();
        if !dir.starts_with("probe") {
            let words: Vec<_> = dir.split('/').map(steady).collect();
            count(&mut found, format!("supervisor/{}", words.join("/")));
        }
    }
    gateways(&running).into_iter().for_each(|(name, _)| count(&mut found, format!("gateway/{name}")));
    let root = ground.root().display().to_string();
    found.into_iter().map(|(key, value)| (key, value.replace(&root, "ROOT"))).collect()
}

fn count(found: &mut Look, key: String) {
    let number = found.get(&key).and_then(|n| n.parse::<u32>().ok()).unwrap_or(0) + 1;
    found.insert(key, number.to_string());
}

/// How many times each profile's gateway has started.
pub fn starts(ground: &Ground) -> BTreeMap<String, usize> {
    let profiles = names(&ground.tree.home().join("profiles"));
    profiles.into_iter().map(|name| (name.clone(), ground.tree.profile(&name).starts())).collect()
}

/// The running stand-in gateways: profile and pid of each.
fn gateways(running: &[Process]) -> Vec<(String, u32)> {
    let gateway = |p: &Process| {
        let arguments = p.args.split_once("/bin/hermes ").filter(|_| p.comm == "hermes")?.1;
        let name = arguments.strip_prefix("-p ").and_then(|rest| rest.split(' ').next()).unwrap_or("default");
        Some((name.to_string(), p.pid))
    };
    running.iter().filter_map(gateway).collect()
}

fn volume(ground: &Ground, running: &[Process], found: &mut Look) {
    walk(&ground.tree.home(), "home", found);
    found.retain(|path, what| {
        let name = path.rsplit('/').next().unwrap_or_default();
        let lock = name.starts_with(".hermes-s6.") && name.ends_with(".lock");
        let log = path.starts_with("home/logs/") && !what.contains(" directory");
        !(lock || log || name.starts_with("stand-in.") || name.starts_with(".stand-in."))
    });
    for (path, what) in found.iter_mut() {
        let real = ground.tree.home().join(path.trim_start_matches("home").trim_start_matches('/'));
        if path.ends_with("/gateway_state.json") || path.ends_with("/gateway_ports.json") {
            let owner: Vec<&str> = what.splitn(3, ' ').take(2).collect();
            *what = format!("{} json {}", owner.join(" "), json(&real));
        }
    }
    // Hermes Agent ignores a planned-stop marker unless it names the process that gets the SIGTERM. So markers for
    // processes that do not run count as absent.
    let pids: BTreeSet<u32> = gateways(running).into_iter().map(|(_, pid)| pid).collect();
    found.retain(|path, what| {
        let target =
            what.split_once("target_pid").map(|(_, rest)| rest.trim_start_matches(|c: char| !c.is_ascii_digit()));
        let pid = target.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
        !path.ends_with("/.gateway-planned-stop.json") || pid.is_some_and(|pid| pids.contains(&pid))
    });
}

/// The fields of a JSON object, each in its original text. The time of the last change is left out.
fn json(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|e| e.to_string());
    match fields(&text) {
        Some(fields) => fields.iter().map(|(key, value)| format!("{key}={value} ")).collect(),
        None => format!("broken: {text}"),
    }
}

fn fields(text: &str) -> Option<BTreeMap<String, String>> {
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).ok()?;
    let fields = fields.into_iter().filter(|(key, _)| key != "updated_at");
    Some(fields.map(|(key, value)| (key, value.get().to_string())).collect())
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The name without its random part: `.gateway-coder.XXXXXX`.
fn steady(name: &str) -> String {
    let random =
        |end: &str| end.len() == 6 && end.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b));
    match name.rsplit_once('.') {
        Some((head, end)) if head.starts_with('.') && random(end) => format!("{head}.XXXXXX"),
        _ => name.to_string(),
    }
}

/// Describe everything below a directory, each entry as `MODE OWNER KIND CONTENT`. An entry that vanishes meanwhile is
/// left out.
fn walk(path: &Path, shown: &str, found: &mut Look) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    let kind = meta.file_type();
    let what = if kind.is_dir() {
        "directory".to_string()
    } else if kind.is_symlink() {
        format!("link {}", fs::read_link(path).unwrap_or_default().display())
    } else if shown.ends_with("/data/started") {
        "file TIME".to_string()
    } else if kind.is_file() {
        format!("file {}", String::from_utf8_lossy(&fs::read(path).unwrap_or_default()))
    } else if kind.is_fifo() {
        "FIFO".to_string()
    } else {
        "other".to_string()
    };
    found.insert(shown.to_string(), format!("{:04o} {}:{} {what}", meta.mode() & 0o7777, meta.uid(), meta.gid()));
    // In `supervise` and `event` of a slot, the files that s6 makes are left out.
    let s6 = shown.starts_with("slot/") && (shown.ends_with("/supervise") || shown.ends_with("/event"));
    // The slot's `run` writes the first of these files, and renames it to `started`. A gateway that has just started has
    // not written `memory` yet. After a restart that was cut short, the end of the gateway counts as a death (`failed`)
    // or not, depending on which came first, that end or the order to start again. The next readiness removes the file.
    let passing = |name: &str| shown.ends_with("/data") && [".started", ".memory", "memory", "failed"].contains(&name);
    for name in if kind.is_dir() { names(path) } else { Vec::new() } {
        if passing(&name) {
            continue;
        }
        if !s6 || name == "control" {
            walk(&path.join(&name), &format!("{shown}/{}", steady(&name)), found);
        }
    }
}

/// The differences between two descriptions, each as a text.
pub fn differences(is: &Look, wanted: &Look) -> Vec<String> {
    let keys: BTreeSet<&String> = is.keys().chain(wanted.keys()).collect();
    let differ = keys.into_iter().filter(|key| is.get(*key) != wanted.get(*key));
    let say = |what: Option<&String>| what.map_or("absent".to_string(), |what| format!("{what:?}"));
    differ.map(|key| format!("{key} is {}, not {}", say(is.get(key)), say(wanted.get(key)))).collect()
}

/// Is every slot up if it is wanted up, and down if it is wanted down?
pub fn at_rest(look: &Look) -> bool {
    let stats = look.iter().filter(|(key, _)| key.starts_with("s6/"));
    let at_rest = |stat: &str| stat.split(' ').next() == stat.split(' ').nth(1);
    stats.into_iter().all(|(_, stat)| at_rest(stat))
}

/// Check that every entry which s6-svscan sees is a whole slot, and that no entry is a dangling link.
pub fn half_built(ground: &Ground, is: &Look, before: &Look, after: &Look) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in names(&ground.tree.scandir()).iter().filter(|name| !name.starts_with('.') && *name != "probe") {
        if fs::metadata(ground.tree.scandir().join(name)).is_err() {
            wrong.push(format!("{name} dangles"));
            continue;
        }
        // Compare the kinds of the files and not their content, because a slot is updated file by file.
        let shape = |look: &Look| -> BTreeSet<String> {
            let prefix = format!("slot/{name}/");
            let own = look.iter().filter_map(|(key, what)| Some((key.strip_prefix(&prefix)?, what)));
            let fixed = own.filter(|(key, _)| {
                let free = ["down", "env", ".env", "data/held", "data/started"];
                !free.iter().any(|free| key.starts_with(free))
            });
            let kind = |what: &str| what.splitn(4, ' ').take(3).collect::<Vec<_>>().join(" ");
            fixed.map(|(key, what)| format!("{key}: {}", kind(what))).collect()
        };
        let (is, shapes) = (shape(is), [shape(before), shape(after)]);
        let known = || shapes.iter().filter(|shape| !shape.is_empty());
        let Some(nearest) = known().min_by_key(|shape| shape.difference(&is).count()) else {
            wrong.push(format!("{name} is in neither of the two trees"));
            continue;
        };
        wrong.extend(nearest.difference(&is).map(|part| format!("{name} lacks {part}")));
    }
    wrong
}

/// Check that every JSON file can be parsed, and has all fields that are the same before and after an undisturbed run.
pub fn torn(ground: &Ground, before: &Look, after: &Look) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, after) in after {
        let Some(before) = before.get(path) else { continue };
        let (Some((_, before)), Some((_, after))) = (before.split_once(" json "), after.split_once(" json ")) else {
            continue;
        };
        let now = json(&ground.tree.home().join(path.trim_start_matches("home/")));
        let broken = |text: &str| text.starts_with("broken: ");
        if broken(&now) && !broken(before) {
            wrong.push(format!("{path} is torn: {now:?}"));
        }
        // The tool must not change a field that has the same value before and after an undisturbed run.
        let kept = before.split(' ').filter(|field| after.split(' ').any(|other| other == *field));
        let lost: Vec<&str> = kept.filter(|field| !now.split(' ').any(|other| other == *field)).collect();
        if !lost.is_empty() && !broken(&now) {
            wrong.push(format!("{path} has lost {}", lost.join(" ")));
        }
    }
    wrong
}

/// Check that every port which was printed is on record.
pub fn unrecorded(ground: &Ground, said: &str) -> Vec<String> {
    let ports = fields(&fs::read_to_string(ground.tree.home().join("gateway_ports.json")).unwrap_or_default())
        .unwrap_or_default();
    let field = |line: &str, key: &str| line.split(' ').find_map(|word| Some(word.strip_prefix(key)?.to_string()));
    let printed = said.lines().filter(|line| !line.contains("action=removed") && !line.contains("action=failed"));
    let printed = printed.filter_map(|line| match line.parse::<u16>() {
        Ok(port) => Some(("coder".to_string(), port.to_string())),
        Err(_) => Some((field(line, "profile=")?, field(line, "port=").filter(|port| port.parse::<u16>().is_ok())?)),
    });
    let lost = printed.filter(|(profile, port)| ports.get(profile) != Some(port));
    lost.map(|(profile, port)| format!("the port {port} of {profile} was printed, and is not on record")).collect()
}

/// Check that no profile has two gateways. For a moment between fork and exec, a child of a gateway looks like a second
/// gateway, so this is checked for up to a second.
pub fn doubled(ground: &Ground) -> Vec<String> {
    let twice = || {
        let mut names: Vec<String> = gateways(&ground.tree.processes()).into_iter().map(|(name, _)| name).collect();
        names.sort();
        names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone())
    };
    if crate::ground::within(1.0, || twice().is_none()) {
        Vec::new()
    } else {
        vec![format!("{:?} has two gateways", twice())]
    }
}
