use super::ground::{GID, Ground, UID};
use crate::support::{Tool, executable, kill, wait_until};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::chown;

/// A tree with an s6-svscan, in which this shell script of the account's is the operator's program.
fn with_program(text: &str) -> Ground {
    let mut ground = Ground::new();
    let program = ground.tree.scratch().join("tell");
    executable(&program, &format!("#!/bin/sh\n{text}\n"));
    chown(&program, Some(UID), Some(UID)).unwrap();
    ground.tree.env.push(("HERMES_ON_EVENT".to_string(), program.display().to_string()));
    ground.tree.svscan();
    ground
}

/// A program that writes who it is, its arguments and its input into a file.
fn telling() -> Ground {
    with_program("cd \"${0%/*}\" && echo \"$(id -u) $*: $(cat)\" >>events")
}

/// What the program was told, without the time.
fn told(ground: &Ground) -> Vec<String> {
    let text = fs::read_to_string(ground.tree.scratch().join("events")).unwrap_or_default();
    let lines = text.lines().map(|line| {
        let (before, rest) = line.split_once("{\"time\":\"").unwrap_or_else(|| panic!("{line}"));
        format!("{before}{{{}", rest.split_once("\",").unwrap().1)
    });
    // The programs of two events may be started in either order.
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

fn hook(ground: &Ground) -> Tool {
    ground.tool("hermes-run-hook")
}

#[test]
fn the_operators_program_is_told_as_the_account_when_a_gateway_dies_is_held_and_recovers() {
    let ground = telling();
    let profile = ground.tree.profile("coder").intent("running");
    let start = |lines: &str| drop(ground.tree.profile("coder").stand_in(lines));
    ground.tool("hermes-reconcile-one").arg("coder").run();
    let slot = ground.tree.slot("coder");
    ground.until_svstat(&slot, "ready", "true");
    // An operator's restart and stop are no events, and neither is a start after them.
    ground.tool("hermes-svc-restart").args(["-W", "coder"]).run().is(0, "**", "");
    ground.tool("hermes-svc-stop").args(["-w", "coder"]).run().is(0, "**", "");
    ground.tool("hermes-svc-start").args(["-W", "coder"]).run().is(0, "**", "");
    kill(ground.tree.wait_up("coder"), Signal::KILL);
    wait_until("the recovery", || told(&ground).len() == 2);
    let told_now = told(&ground);
    let died =
        format!("{UID} died coder: {{\"event\":\"died\",\"profile\":\"coder\",\"reason\":\"died of SIGKILL after ");
    assert!(told_now[0].starts_with(&died) && told_now[0].ends_with(" s, 1 of 5 in 60 s\"}"), "{told_now:?}");
    let recovered = format!("{UID} recovered coder: {{\"event\":\"recovered\",\"profile\":\"coder\",\"reason\":null}}");
    assert_eq!(told_now[1], recovered);
    assert!(!slot.join("data/failed").exists());
    // A permanent error.
    fs::remove_file(ground.tree.scratch().join("events")).unwrap();
    start("exit_at_start=78\n");
    kill(ground.tree.wait_up("coder"), Signal::KILL);
    wait_until("the hold", || told(&ground).len() == 2);
    let told_now = told(&ground);
    assert!(told_now[0].starts_with(&died), "{told_now:?}");
    let held =
        format!("{UID} held coder: {{\"event\":\"held\",\"profile\":\"coder\",\"reason\":\"exited with 78 after ");
    assert!(told_now[1].starts_with(&held), "{told_now:?}");
    // A start by the operator, after which the gateway is well.
    start("");
    ground.until_svstat(&slot, "up,wantedup", "false false");
    ground.tool("hermes-svc-start").args(["-W", "coder"]).run().is(0, "**", "");
    wait_until("the recovery", || told(&ground).len() == 3);
    assert_eq!(told(&ground)[2], recovered);
    assert_eq!(profile.desired().as_deref(), Some("running"));
}

#[test]
fn a_loop_of_deaths_is_told_once_as_held_and_a_wish_to_be_restarted_is_not_told() {
    let ground = telling();
    ground.profile("wisher");
    ground.at_start("wisher", "[ \"$(wc -l <\"$dir/stand-in.starts\")\" -gt 2 ] || exit 75\n");
    ground.at_start("coder", "exit 3\n");
    for name in ["coder", "wisher"] {
        ground.tree.profile(name).intent("running");
        ground.tool("hermes-reconcile-one").arg(name).run();
    }
    ground.until_svstat(&ground.tree.slot("wisher"), "ready", "true");
    wait_until("five events", || told(&ground).len() == 5);
    let of =
        |event: &str| told(&ground).iter().filter(|line| line.starts_with(&format!("{UID} {event} coder: "))).count();
    assert_eq!((of("died"), of("held")), (4, 1));
}

#[test]
fn a_program_that_hangs_is_in_nobodys_way() {
    let ground = with_program("echo told >>\"${0%/*}/events\"; exec sleep 1000");
    ground.tree.profile("coder").intent("running");
    ground.tool("hermes-reconcile-one").arg("coder").run();
    let slot = ground.tree.slot("coder");
    for starts in 1..=2 {
        ground.until_svstat(&slot, "ready", "true");
        kill(ground.tree.wait_up("coder"), Signal::KILL);
        wait_until("another start", || ground.starts("coder") > starts);
    }
    ground.until_svstat(&slot, "ready", "true");
    // It runs once at a time.
    wait_until("the program to run", || ground.tree.scratch().join("events").exists());
    assert_eq!(fs::read_to_string(ground.tree.scratch().join("events")).unwrap(), "told\n");
    ground.tool("hermes-svc-stop").args(["-w", "coder"]).run().is(0, "**", "");
    ground.tool("hermes-svc-unregister").arg("coder").run().is(0, "**", "");
    assert!(!slot.exists());
}

#[test]
fn a_program_has_its_time_and_is_killed_with_what_it_has_started() {
    let ground = with_program("sleep 1000 & sleep 1000");
    let ran = hook(&ground).args(["-t", "300", "coder", "held"]).run();
    ran.is(99, "", "*: fatal: coder held: timed out after 300 ms waiting for the program to end\n");
    wait_until("them to be gone", || ground.named("sleep").is_empty());
    // One that has closed its output.
    let ground = with_program("exec >/dev/null 2>&1; sleep 1000");
    hook(&ground).args(["-t", "300", "coder", "held"]).run().is(99, "", "*waiting for the program to end\n");
    wait_until("it to be gone", || ground.named("sleep").is_empty());
}

#[test]
fn in_a_slot_the_next_program_waits_for_the_last_one() {
    let ground = with_program("echo \"$1\" >>\"${0%/*}/events\"; while [ ! -e \"${0%/*}/go\" ]; do sleep 0.02; done");
    let slot = ground.slot("coder");
    let events = || fs::read_to_string(ground.tree.scratch().join("events")).unwrap_or_default();
    let first = hook(&ground).directory(&slot).args(["coder", "died"]).start();
    wait_until("the first one to run", || events() == "died\n");
    let second = hook(&ground).directory(&slot).args(["-t", "300", "coder", "held"]).run();
    second.is(99, "", "*waiting for the program of the last event to end\n");
    let third = hook(&ground).directory(&slot).args(["coder", "recovered"]).start();
    fs::write(ground.tree.scratch().join("go"), "").unwrap();
    first.wait().is(0, "", "");
    third.wait().is(0, "", "");
    assert_eq!(events(), "died\nrecovered\n");
}

#[test]
fn what_the_program_says_is_marked_and_made_harmless() {
    let ground =
        with_program("printf 'one\\n\\033[2J'; echo two >&2; pwd; echo \"$HERMES_HOME\"; id -G; printf three; exit 3");
    let said = format!("one\n\\u{{1b}}[2Jtwo\n/\n{}\n{}\nthree\n", ground.home().display(), GID);
    let lines: String = said.lines().map(|line| format!("hermes-run-hook: info: {line}\n")).collect();
    let program = ground.tree.scratch().join("tell");
    let fatal = format!("hermes-run-hook: fatal: coder died: {} failed: exit status: 3\n", program.display());
    hook(&ground).args(["coder", "died"]).run().is(111, "", &(lines + &fatal));
}

#[test]
fn what_cannot_be_run_is_said_and_without_a_program_nothing_is() {
    let mut ground = Ground::new();
    hook(&ground).args(["coder", "died"]).run().is(0, "", "");
    let plain = ground.tree.scratch().join("plain").display().to_string();
    fs::write(&plain, "").unwrap();
    let script = ground.tree.script("tell", "#!/bin/sh\n");
    for (program, account, code, words) in [
        ("tell", "", 78, "HERMES_ON_EVENT is not an absolute path: \"tell\": nothing is run"),
        (plain.as_str(), "", 126, "coder died: unable to execute */plain: Permission denied"),
        ("/no/such", "", 127, "coder died: unable to execute /no/such: No such file or directory"),
        (script.as_str(), "0:0", 78, "the runtime account is root: HERMES_ON_EVENT is not run"),
    ] {
        let mut tool = hook(&ground).env("HERMES_ON_EVENT", program).args(["coder", "died"]);
        if !account.is_empty() {
            tool = tool.env("HERMES_USER", account);
        }
        tool.run().fails(code, words);
    }
    ground.tree.env.push(("HERMES_ON_EVENT".to_string(), script));
    for (arguments, words) in [
        (&[][..], "no profile given"),
        (&["coder"], "no event given"),
        (&["coder", "born"], "no event: born"),
        (&["coder", "died", "x", "y"], "an operand too many: y"),
    ] {
        let ran = hook(&ground).args(arguments).run();
        ran.is(100, "", &format!("hermes-run-hook: fatal: {words}\nhermes-run-hook: usage: *\n"));
    }
    hook(&ground).args(["../x", "died"]).run().fails(100, "invalid profile name*");
}
