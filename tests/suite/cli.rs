//! The shared command line: help, version, usage, option syntax. The man pages must agree with it.

use crate::support::Tree;
use std::fs;
use std::path::Path;
use std::process::Command;

const TOOLS: [&str; 19] = [
    "hermes-detect-supervisor",
    "hermes-fix-attrs",
    "hermes-gateway-ready",
    "hermes-home",
    "hermes-port-alloc",
    "hermes-profile-watch",
    "hermes-reconcile-all",
    "hermes-reconcile-one",
    "hermes-run-gateway",
    "hermes-run-hook",
    "hermes-run-logger",
    "hermes-svc-list",
    "hermes-svc-logs",
    "hermes-svc-register",
    "hermes-svc-restart",
    "hermes-svc-start",
    "hermes-svc-status",
    "hermes-svc-stop",
    "hermes-svc-unregister",
];

/// The usage line of a tool, `NAME [ OPTIONS ] OPERANDS`.
#[track_caller]
fn usage(tree: &Tree, tool: &str) -> String {
    let ran = tree.tool(tool).arg("--no-such-option").run();
    let words = format!("{tool}: fatal: unknown option --no-such-option\n{tool}: usage: ");
    let ran = ran.is(100, "", &format!("{words}{tool} *\n"));
    ran.stderr.trim_end().strip_prefix(&words).expect("a usage line").to_string()
}

#[test]
fn these_are_all_the_tools() {
    let bins = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin");
    let mut names: Vec<String> = (fs::read_dir(bins).expect("src/bin").flatten())
        .map(|e| e.file_name().to_string_lossy().trim_end_matches(".rs").to_string())
        .collect();
    names.sort();
    assert_eq!(names, TOOLS);
}

#[test]
fn help_goes_to_stdout_and_is_success() {
    let tree = Tree::new();
    for tool in TOOLS {
        let ran = tree.tool(tool).arg("--help").run();
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
        assert_eq!(ran.lines()[0], format!("usage: {}", usage(&tree, tool)), "{ran}");
        assert!(ran.stdout.contains("--version"), "{ran}");
        for option in usage(&tree, tool).split_whitespace().filter(|w| w.starts_with('-')) {
            let documented = ran.stdout.lines().any(|l| l.trim_start().starts_with(&format!("{option}, --")));
            assert!(documented, "{option} has no line and no long twin: {ran}");
        }
    }
}

#[test]
fn the_version_goes_to_stdout_and_is_success() {
    let tree = Tree::new();
    for tool in TOOLS {
        let version = format!("{tool} {}\n", env!("CARGO_PKG_VERSION"));
        tree.tool(tool).arg("--version").run().is(0, &version, "");
    }
}

#[test]
fn an_unknown_option_is_named_before_the_usage_line() {
    let tree = Tree::new();
    for tool in TOOLS {
        let line = format!("{tool}: usage: {}\n", usage(&tree, tool));
        for (typed, named) in [
            ("-Z", "-Z"),
            ("-?", "-?"),
            ("--no-such-option", "--no-such-option"),
            ("--no-such-option=x", "--no-such-option"),
            ("--\u{1b}[2J", "--\\u{1b}[2J"),
            ("-vZ", "-Z"),
        ] {
            let fatal = format!("{tool}: fatal: unknown option {named}\n");
            tree.tool(tool).arg(typed).run().is(100, "", &(fatal + &line));
        }
    }
}

#[test]
fn of_alternatives_only_one_may_be_given() {
    let tree = Tree::new();
    let mut seen = 0;
    for tool in TOOLS {
        let usage = usage(&tree, tool);
        for group in usage.split("[ ").filter(|group| group.contains(" | ")) {
            let flags: Vec<&str> = group.split_whitespace().filter(|word| word.starts_with('-')).collect();
            for pair in flags.windows(2) {
                seen += 1;
                tree.tool(tool).args(pair).arg("coder").run().is(
                    100,
                    "",
                    &format!("{tool}: fatal: *\n{tool}: usage: *\n"),
                );
                tree.tool(tool).args([pair[1], pair[0], "coder"]).run().is(
                    100,
                    "",
                    &format!("{tool}: fatal: *\n{tool}: usage: *\n"),
                );
            }
        }
    }
    assert_eq!(seen, 11);
}

#[test]
fn an_option_without_its_value_is_wrong_usage() {
    let tree = Tree::new();
    for tool in TOOLS {
        let usage = usage(&tree, tool);
        let words: Vec<&str> = usage.split_whitespace().collect();
        for pair in words.windows(2).filter(|w| w[0].starts_with('-') && !["]", "|"].contains(&w[1])) {
            tree.tool(tool).arg(pair[0]).run().is(
                100,
                "",
                &format!("{tool}: fatal: option * needs a value\n{tool}: usage: *\n"),
            );
        }
    }
}

#[test]
fn a_flag_takes_no_value() {
    let tree = Tree::new();
    for tool in TOOLS {
        tree.tool(tool).arg("--verbose=1").run().is(
            100,
            "",
            &format!("{tool}: fatal: option --verbose takes no value\n{tool}: usage: *\n"),
        );
    }
}

#[test]
fn a_value_may_be_attached_separate_or_behind_an_equals_sign_of_a_long_option() {
    let tree = Tree::up();
    tree.profile("coder");
    for arguments in [
        &["-t5000", "coder"][..],
        &["-t", "5000", "coder"],
        &["--timeout", "5000", "coder"],
        &["--timeout=5000", "coder"],
        &["coder", "-t", "5000"],
        &["-nt5000", "coder"],
        &["-n", "coder", "--timeout=5000", "--"],
        &["--", "coder"],
    ] {
        tree.tool("hermes-svc-register").args(arguments).run().is(0, "profile=coder action=* port=9530\n", "");
    }
}

#[test]
fn a_short_option_takes_no_equals_sign() {
    let tree = Tree::new();
    tree.profile("coder");
    for tool in TOOLS.iter().filter(|tool| usage(&tree, tool).contains("[ -t ms ]")) {
        let ran = tree.tool(tool).arg("-t=5000").arg("coder").run();
        ran.fails(100, "invalid timeout \"=5000\"*");
    }
}

#[test]
fn options_may_stand_behind_operands() {
    let tree = Tree::new();
    tree.profile("coder");
    tree.tool("hermes-port-alloc").args(["-p", "coder"]).run().is(0, "9530\n", "");
    // Nothing is supervised here. The two forms have the same answer, which shows that -q was understood.
    for arguments in [["-q", "coder"], ["coder", "-q"]] {
        tree.tool("hermes-svc-status").args(arguments).run().is(102, "", "hermes-svc-status: fatal: no s6-svscan *\n");
    }
    tree.tool("hermes-svc-start").args(["coder", "--help"]).run().is(0, "usage: **", "");
}

#[test]
fn where_a_program_follows_options_end_at_the_first_operand() {
    let tree = Tree::new();
    tree.profile("coder");
    tree.tool("hermes-port-alloc").args(["coder", "echo", "-p", "--help"]).run().is(0, "-p --help\n", "");
    tree.tool("hermes-port-alloc").args(["-E", "PORT", "--", "coder", "printenv", "PORT"]).run().is(0, "9530\n", "");
}

#[test]
fn behind_two_dashes_an_operand_may_look_like_an_option() {
    let tree = Tree::new();
    tree.tool("hermes-svc-start").args(["--", "--help"]).run().fails(100, "invalid profile name \"--help\"*");
    tree.tool("hermes-svc-start").args(["--", "--"]).run().fails(100, "invalid profile name \"--\"*");
}

#[test]
fn an_empty_place_is_as_good_as_none() {
    let tree = Tree::new();
    tree.profile("coder");
    let port = |tool: crate::support::Tool| tool.arg("coder").run().is(0, "9530\n", "");
    port(tree.tool("hermes-port-alloc").args(["-H", ""]));
    port(tree.tool("hermes-port-alloc").env("HERMES_HOME", "").args(["--home", &tree.home().display().to_string()]));
    let none = tree.tool("hermes-port-alloc").env("HERMES_HOME", "/no/such/home").arg("coder").run();
    none.fails(102, "unable to open /no*: No such file or directory: -H or HERMES_HOME names another home");
    // An option wins over the environment.
    port(tree.tool("hermes-port-alloc").env("HERMES_HOME", "/no/such/home").arg("-H").arg(tree.home()));
}

#[test]
fn one_executable_is_all_of_them_by_its_name() {
    let tree = Tree::new();
    let all = tree.bin().join("hermes-s6");
    for tool in TOOLS {
        let link = tree.bin().join(tool);
        fs::remove_file(&link).expect("link");
        std::os::unix::fs::symlink(&all, &link).expect("link");
        tree.tool(tool).arg("--version").run().is(0, &format!("{tool} {}\n", env!("CARGO_PKG_VERSION")), "");
    }
    std::os::unix::fs::symlink(&all, tree.bin().join("hermes-unheard-of")).expect("link");
    let ran = tree.tool("hermes-unheard-of").run();
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (100, "", 1), "{ran}");
    assert!(ran.stderr.len() < 120, "{ran}");
    // Under its own name it lists them, each with the words of its own help.
    let ran = tree.tool("hermes-s6").arg("--help").run();
    let listed: Vec<(&str, &str)> = ran.lines().iter().filter_map(|l| l.strip_prefix("  ")?.split_once(' ')).collect();
    assert_eq!((ran.code, listed.len()), (0, TOOLS.len()), "{ran}");
    for (tool, (name, words)) in TOOLS.iter().zip(listed) {
        let help = tree.tool(tool).arg("--help").run();
        assert_eq!((name, words.trim_start()), (*tool, help.lines()[2]), "{ran}");
    }
}

#[test]
fn what_cannot_be_written_to_stdout_is_an_error() {
    let tree = Tree::new();
    tree.profile("coder");
    for command in ["hermes-port-alloc coder", "hermes-svc-list --help", "hermes-svc-list --version"] {
        let ran = tree.tool("sh").args(["-c", &format!("exec {command} > /dev/full")]).run();
        let tool = command.split(' ').next().expect("a tool");
        ran.is(111, "", &format!("{tool}: fatal: unable to write to *: No space left on device\n"));
    }
}

#[test]
fn a_stderr_that_takes_nothing_changes_nothing() {
    let tree = Tree::new();
    tree.tool("sh").args(["-c", "exec hermes-svc-start -- -x 2> /dev/full"]).run().is(100, "", "");
}

/// A man page as text, without overstrikes.
fn page(tool: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("man/man8/{tool}.8"));
    let output = Command::new("mandoc").arg("-Tascii").arg(&path).output().expect("mandoc, which the tests need");
    assert!(output.status.success(), "mandoc does not like {}", path.display());
    let mut text = String::new();
    for c in String::from_utf8_lossy(&output.stdout).chars() {
        if c == '\u{8}' {
            text.pop();
        } else {
            text.push(c);
        }
    }
    text
}

/// The lines of one section of a man page.
fn section<'a>(page: &'a str, title: &str) -> Vec<&'a str> {
    let lines = page.lines().skip_while(|l| *l != title).skip(1);
    lines.take_while(|l| l.is_empty() || l.starts_with(' ')).filter(|l| !l.is_empty()).collect()
}

/// The usage line in one form: mdoc prints `[-n]`, and skarnet's usage lines have `[ -n ]`.
fn folded(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.join(" ").replace("[ ", "[").replace(" ]", "]").replace(" ...", "...")
}

#[test]
fn the_synopsis_of_every_page_is_the_usage_line() {
    let tree = Tree::new();
    for tool in TOOLS {
        let synopsis = section(&page(tool), "SYNOPSIS").join(" ");
        assert_eq!(folded(&synopsis), folded(&usage(&tree, tool)), "{tool}(8)");
    }
}

#[test]
fn every_option_of_a_page_is_an_option_of_the_tool_and_the_other_way_round() {
    let tree = Tree::new();
    for tool in TOOLS {
        let page = page(tool);
        let mut documented: Vec<String> = (section(&page, "OPTIONS").iter())
            .filter(|l| l.starts_with("     -") && !l.starts_with("      "))
            .flat_map(|l| l.split([' ', ',', '=']).filter(|w| w.starts_with('-')).map(str::to_string))
            .collect();
        documented.sort();
        let help = tree.tool(tool).arg("--help").run().stdout;
        let mut real: Vec<String> = (help.lines().filter(|l| l.starts_with("  -")))
            .flat_map(|l| l.split_whitespace().map_while(|w| w.starts_with('-').then(|| w.trim_end_matches(','))))
            .map(str::to_string)
            .collect();
        real.sort();
        assert_eq!(documented, real, "{tool}(8)");
    }
}

#[test]
fn every_exit_status_of_a_page_is_one_of_ours() {
    let codes: Vec<&str> = (include_str!("../../src/ground/error.rs").lines())
        .filter_map(|l| l.trim().strip_suffix(',')?.split_once(" = ").map(|(_, code)| code))
        .collect();
    assert!(codes.contains(&"0") && codes.contains(&"127") && codes.len() == 9, "{codes:?}");
    for tool in TOOLS {
        let page = page(tool);
        let listed: Vec<&str> = (section(&page, "EXIT STATUS").into_iter())
            .filter(|l| l.starts_with("     ") && l[5..].starts_with(|c: char| c.is_ascii_digit()))
            .flat_map(|l| l.split_whitespace().map_while(|w| w.trim_end_matches(',').parse::<u8>().ok().and(Some(w))))
            .map(|w| w.trim_end_matches(','))
            .collect();
        assert!(listed.contains(&"100"), "{tool}(8): {listed:?}");
        for code in listed {
            assert!(codes.contains(&code), "{tool}(8) promises exit code {code}");
        }
    }
}
