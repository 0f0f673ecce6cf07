//! What a pass writes is bounded by what root chose: by the room in s6-svscan, not by the number of profiles.

use crate::support::{Profile, Ran, Tree};
use std::fs;

/// How many profiles of a crowd are named, and how many entries of a kind that are not profiles.
const NAMED: usize = 10;

/// The lines of this text, each without what is before and with the first `mark`: a time, or a prefix.
fn without(text: &str, mark: &str) -> Vec<String> {
    text.lines().filter_map(|line| Some(line.split_once(mark)?.1.to_string())).collect()
}

fn warnings<'a>(ran: &'a Ran, needle: &str) -> Vec<&'a str> {
    ran.stderr.lines().filter(|line| line.contains(needle)).collect()
}

/// Row H10 of docs/failures.md.
#[test]
fn ten_of_the_profiles_without_room_are_named_and_the_others_are_counted() {
    let mut tree = Tree::new();
    // There is room for four slots, and there are four ports.
    tree.env.push(("HERMES_MAX_SERVICES".to_string(), "9".to_string()));
    tree.env.push(("HERMES_PORT_RANGE".to_string(), "9500-9503".to_string()));
    tree.svscan_max(9);
    tree.profile("zz-own").file("gateway_state.json", "{");
    tree.tool("hermes-svc-register").arg("zz-own").run().is(0, "profile=zz-own action=registered port=*\n", "");
    for n in 0..300 {
        tree.profile(&format!("p{n:03}")).file("gateway_state.json", "{");
    }
    let pass = |options: &[&str], done: &str| {
        let ran = tree.tool("hermes-reconcile-all").args(options).run();
        assert_eq!(ran.code, 111, "{ran}");
        let lines = ran.lines();
        assert_eq!(lines.len(), 4 + NAMED + 1, "{ran}");
        // Every profile with a slot has its line, also the last one by name. Of those without, the first ten have.
        for name in ["default", "p000", "p001", "p002", "p011", "zz-own"] {
            let forms = [format!("profile={name} "), format!("\"profile\":\"{name}\",")];
            assert!(lines.iter().any(|line| forms.iter().any(|form| line.contains(form))), "{name}: {ran}");
        }
        assert!(lines.last().is_some_and(|line| line.contains(done)), "{ran}");
        assert_eq!(warnings(&ran, "p011/gateway_state.json is ").len(), 1, "{ran}");
        assert_eq!(warnings(&ran, "zz-own/gateway_state.json is ").len(), 1, "{ran}");
        assert_eq!(warnings(&ran, ": unable to publish in ").len(), NAMED, "{ran}");
        let counted = "288 more profiles have no slot, and neither a record nor a warning of their own";
        assert_eq!(warnings(&ran, counted).len(), 1, "{ran}");
        // A state and a port for each profile that is named, a lack of room for ten, and the line that counts.
        assert!(ran.stderr.lines().count() <= 2 * (3 + NAMED) + NAMED + 1, "{ran}");
        ran
    };
    let counts = "registered=3 unchanged=1 updated=0 removed=0 skipped=0 failed=298 ";
    let done = format!("profiles=302 started=0 {counts}");
    pass(&["-n"], &done);
    let ran = pass(&[], &done);
    assert!(ran.lines().last().is_some_and(|line| line.ends_with(" unlisted=288")), "{ran}");
    let log = tree.profile("default").read("logs/container-boot.log");
    assert_eq!(without(&log, " ")[1..], without(&ran.stdout, "reconcile: "), "{log}");
    assert_eq!(tree.slots(), ["default", "p000", "p001", "zz-own"]);
    // A second pass says the same of the crowd. JSON has the count in its last object.
    let ran = pass(&["-j"], "\"failed\":298,");
    assert!(ran.lines().last().is_some_and(|line| line.contains("\"unlisted\":288,")), "{ran}");
}

/// Row B7 of docs/failures.md.
#[test]
fn ten_of_a_kind_that_are_not_profiles_are_named_and_the_others_are_counted() {
    let tree = Tree::new();
    for n in 0..105 {
        Profile::bare(&tree, &format!("p{n}"));
        let odd = tree.home().join(format!("profiles/Odd{n}"));
        fs::create_dir_all(&odd).expect("mkdir");
        fs::write(odd.join("SOUL.md"), "").expect("marker");
    }
    let ran = tree.tool("hermes-reconcile-all").run();
    let noted = |note: &str| ran.stdout.matches(&format!("note={note}\n")).count();
    assert_eq!((ran.code, noted("no-soul"), noted("invalid-name")), (0, NAMED, NAMED), "{ran}");
    assert_eq!(warnings(&ran, "190 more entries of profiles are not profiles").len(), 1, "{ran}");
    assert!(ran.lines().last().is_some_and(|line| line.contains(" skipped=210 ")), "{ran}");
    assert!(ran.lines().last().is_some_and(|line| line.ends_with(" unlisted=190")), "{ran}");
}
