//! Debian does not package s6-rc-compile. So these tests check s6-rc.d against the documentation of s6-rc's source
//! directories.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The services of s6-overlay on which ours may depend.
const OVERLAYS: &[&str] = &["base"];

/// The files that s6-rc knows, for each type of service. A longrun may also have every file of a service directory.
const COMMON: &[&str] = &["type", "timeout-up", "timeout-down", "dependencies.d", "flag-essential"];
const ONESHOT: &[&str] = &["up", "down"];
const LONGRUN: &[&str] = &[
    "run",
    "finish",
    "notification-fd",
    "timeout-kill",
    "timeout-finish",
    "max-death-tally",
    "down-signal",
    "producer-for",
    "consumer-for",
    "pipeline-name",
    "data",
    "env",
];
const BUNDLE: &[&str] = &["type", "contents.d"];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("s6-rc.d")
}

fn names(directory: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn kind(service: &str) -> String {
    std::fs::read_to_string(sources().join(service).join("type")).unwrap_or_default()
}

#[test]
fn every_service_has_a_type_and_the_files_of_that_type_and_no_others() {
    for service in names(&sources()) {
        let directory = sources().join(&service);
        let files = names(&directory);
        let known: Vec<&str> = match kind(&service).as_str() {
            "oneshot\n" => [COMMON, ONESHOT].concat(),
            "longrun\n" => [COMMON, LONGRUN].concat(),
            "bundle\n" => BUNDLE.to_vec(),
            other => panic!("{service} is of the type {other:?}"),
        };
        for file in &files {
            assert!(known.contains(&file.as_str()), "{service}/{file}");
        }
        match kind(&service).as_str() {
            "oneshot\n" => assert!(files.contains("up"), "{service} has no up"),
            "longrun\n" => {
                for script in ["run", "finish"].iter().filter(|script| files.contains(**script)) {
                    let mode = std::fs::metadata(directory.join(script)).unwrap().permissions().mode();
                    assert_eq!(mode & 0o111, 0o111, "{service}/{script} is not executable");
                    assert!(std::fs::read(directory.join(script)).unwrap().starts_with(b"#!/"), "{service}/{script}");
                }
                assert!(files.contains("run"), "{service} has no run");
            }
            _ => assert!(!names(&directory.join("contents.d")).is_empty(), "{service} is empty"),
        }
        for number in
            ["timeout-up", "timeout-down", "timeout-kill", "timeout-finish", "notification-fd", "max-death-tally"]
        {
            if let Ok(text) = std::fs::read_to_string(directory.join(number)) {
                assert!(text.trim_end_matches('\n').parse::<u32>().is_ok(), "{service}/{number}: {text:?}");
            }
        }
    }
}

#[test]
fn dependencies_and_contents_exist_and_run_in_no_circle() {
    let services = names(&sources());
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for service in &services {
        let directory = sources().join(service);
        let mut of = names(&directory.join("dependencies.d"));
        of.extend(names(&directory.join("contents.d")));
        for other in &of {
            assert!(
                services.contains(other) || OVERLAYS.contains(&other.as_str()),
                "{service} names {other}, which is nowhere"
            );
        }
        needs.insert(service.clone(), of);
    }
    while !needs.is_empty() {
        let ready: Vec<String> = needs
            .iter()
            .filter(|(_, of)| of.iter().all(|other| !needs.contains_key(other)))
            .map(|(name, _)| name.clone())
            .collect();
        assert!(!ready.is_empty(), "a circle among {:?}", needs.keys());
        for name in ready {
            needs.remove(&name);
        }
    }
}

#[test]
fn every_service_is_in_the_user_bundle_and_waits_for_the_set_up() {
    let mut services = names(&sources());
    services.remove("user");
    assert_eq!(names(&sources().join("user/contents.d")), services);
    for service in &services {
        // A service without these dependencies would start before the account has its ids, and before the home has its
        // owner.
        let of = names(&sources().join(service).join("dependencies.d"));
        assert!(of.contains("base") || of.iter().any(|other| services.contains(other)), "{service}");
    }
}

#[test]
fn a_oneshots_command_lines_are_execline() {
    for service in names(&sources()) {
        for direction in ["up", "down"] {
            let file = sources().join(&service).join(direction);
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            // Print the command line that s6-rc would execute.
            let printed = format!("printf \"%s\\n\" {text}");
            let ran = crate::engine::run("execlineb", &["-Pc", &printed]);
            assert_eq!(ran.code, 0, "{}: {}", file.display(), ran.err);
            assert!(!ran.out.is_empty());
        }
    }
}
