//! docs/TROUBLESHOOTING.md: every message that it quotes is one of ours, every message with a remedy has a row, and what
//! is to be typed exists. Some messages are produced, and their remedies typed.

use crate::support::{Ran, Tree, executable, is_root, needs_root, wait_until};
use std::fs;
use std::path::{Path, PathBuf};

/// The words of another program in the first column.
const NOT_OURS: [&str; 1] = ["Refusing to bind dashboard"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of all tables, as columns.
fn rows() -> Vec<Vec<&'static str>> {
    let page = include_str!("../../docs/TROUBLESHOOTING.md");
    let lines = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| message | "));
    // A bar within a message is written as `\|`.
    let columns = |line: &'static str| line.trim_matches(['|', ' ']).split(" | ").collect();
    lines.map(columns).filter(|columns: &Vec<&str>| columns[0] != "what you see").collect()
}

/// What is set as code in a column.
fn code(column: &str) -> impl Iterator<Item = &str> {
    column.split('`').skip(1).step_by(2)
}

/// A text with `*` in place of `NAME`, `N`, `PATH` and the like, and of `...`.
fn pattern(text: &str) -> String {
    let part = |part: &str| {
        let bare = part.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let letters = bare.chars().all(|c| c.is_ascii_uppercase() || c == ':');
        if !bare.is_empty() && letters { part.replace(bare, "*") } else { part.replace("...", "*") }
    };
    let word = |word: &str| match word.split_once('=') {
        Some((key, "N" | "0")) => format!("{key}=*"),
        _ => word.split('/').map(part).collect::<Vec<_>>().join("/"),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The messages that the rows quote, each with its pattern.
fn quoted() -> Vec<(String, String)> {
    let shown = rows().into_iter().flat_map(|row| code(row[0]).collect::<Vec<_>>());
    let message = |text: &&str| text.contains([' ', '=']) && !text.starts_with("docker ") && !text.contains("\\|");
    let ours = shown.filter(message).filter(|text| !NOT_OURS.contains(text));
    ours.map(|text| (text.to_string(), pattern(text))).collect()
}

fn files(dir: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(dir)).expect("a folder").map(|entry| entry.expect("an entry").path());
    let below = |path: PathBuf| {
        if path.is_dir() { files(&path.strip_prefix(root()).expect("ours").to_string_lossy()) } else { vec![path] }
    };
    entries.flat_map(below).collect()
}

/// A text of the source, in which `*` stands for what is put in.
struct Text {
    file: String,
    text: String,
}

/// The string literals of the library, without those of its tests.
fn literals() -> Vec<Text> {
    let mut found = Vec::new();
    for path in files("src") {
        let source = fs::read_to_string(&path).expect("a source");
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        let lines: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        // A line that ends in a backslash goes on behind the blanks of the next one.
        let mut joined = String::new();
        for line in lines {
            let line = if joined.ends_with('\\') { line.trim_start() } else { line };
            joined.truncate(joined.trim_end_matches('\\').len());
            joined += line;
            joined += if line.ends_with('\\') { "" } else { "\n" };
        }
        let file = path.strip_prefix(root()).expect("ours").display().to_string();
        let texts = joined.replace("\\\"", "\u{1}").replace("'\"'", "");
        for text in texts.split('"').skip(1).step_by(2) {
            found.push(Text { file: file.clone(), text: holes(&text.replace('\u{1}', "\"")) });
        }
    }
    found
}

/// The lines of what else the image and the slots run.
fn scripts() -> Vec<Text> {
    let mut found = Vec::new();
    for path in ["template", "image", "cont-init.d", "s6-rc.d"].into_iter().flat_map(files) {
        let file = path.strip_prefix(root()).expect("ours").display().to_string();
        for line in fs::read_to_string(&path).unwrap_or_default().lines() {
            let mut line = line.to_string();
            // `$name` and `$2` are written as `${name}`.
            while let Some(at) = line.find('$').filter(|at| !line[at + 1..].starts_with('{')) {
                let name = line[at + 1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let end = name.map_or(line.len(), |length| at + 1 + length.max(1)).min(line.len());
                line.replace_range(at..end, "{}");
            }
            let text = holes(&line.replace('$', ""));
            found.push(Text { file: file.clone(), text });
        }
    }
    found
}

/// `*` in place of everything between braces.
fn holes(text: &str) -> String {
    let (mut out, mut depth) = (String::new(), 0);
    for c in text.chars() {
        match c {
            '{' => (depth, out) = (depth + 1, out + "*"),
            '}' if depth > 0 => depth -= 1,
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// The pieces of a pattern between its holes. A piece of one word says little, so it counts only if there is no longer
/// one.
fn pieces(pattern: &str) -> Vec<&str> {
    let all: Vec<&str> = pattern.split('*').map(|piece| piece.trim_matches([' ', ':', ';', ',', '(', ')'])).collect();
    let long: Vec<&str> = all.iter().copied().filter(|piece| piece.contains(' ')).collect();
    if long.is_empty() { all.into_iter().filter(|piece| piece.len() > 1).collect() } else { long }
}

/// Does a row quote this text? A row may have its beginning only, and a text may be a part of what a row has.
fn is_quoted(quoted: &[(String, String)], text: &str) -> bool {
    let text = pattern(text);
    let advice = text.split('*').map(|piece| piece.trim_matches([' ', ':', ';', ',', '(', ')']));
    let advice = advice.filter(|piece| ADVICE.iter().any(|word| piece.contains(word))).max_by_key(|piece| piece.len());
    quoted.iter().any(|(_, pattern)| {
        let pieces = pieces(pattern);
        !pieces.is_empty() && pieces.iter().all(|piece| text.contains(piece))
            || advice.is_some_and(|advice| pattern.contains(advice))
    })
}

#[test]
fn every_message_that_is_quoted_is_one_of_ours() {
    let sources: Vec<Text> = literals().into_iter().chain(scripts()).collect();
    let quoted = quoted();
    assert!(quoted.len() > 50, "{quoted:#?}");
    let is_ours = |piece: &&str| sources.iter().any(|source| source.text.contains(*piece));
    let gone: Vec<&String> = (quoted.iter())
        .filter(|(_, pattern)| pieces(pattern).is_empty() || !pieces(pattern).iter().all(is_ours))
        .map(|(text, _)| text)
        .collect();
    assert!(gone.is_empty(), "no source has {gone:#?}");
    assert!(!is_ours(&"there is no such message of ours"));
}

/// What a text has that says what to do.
const ADVICE: [&str; 14] = [
    "hermes-",
    "HERMES_",
    "S6_",
    "remove it",
    "correct",
    "install",
    "raise ",
    "add it to",
    "give the ",
    "--no-supervise",
    "-k stops",
    "chown",
    "start that one",
    "Hermes Agent mends it first",
];

/// Does a literal of the library say what to do about something? Usage lines and the lines of `-x`, which tests/suite/
/// explained.rs types, are not meant.
fn has_remedy(text: &Text) -> bool {
    // A message of ours is no sentence with a full stop; the help of a tool is one.
    let usage = text.text.ends_with('.')
        || text.text.starts_with("[ -")
        || text.text.contains("exclude each other")
        || text.text.starts_with("--");
    let table = ["src/work/status/explain/", "src/tools/completions.rs", "src/tools/cli.rs"];
    text.text.trim().contains(' ')
        && ADVICE.iter().any(|word| text.text.contains(word))
        && !usage
        && !table.iter().any(|file| text.file.starts_with(file))
}

/// Texts that look like advice and are none.
const NO_ADVICE: [(&str, &str); 6] = [
    ("*: correct it", "the end of `it must be low-high`"),
    ("else $HERMES_PORT_RANGE, else 9200-9799", "the help of an option"),
    ("hermes-s6 *, home *, scandir *, PID 1 is *", "a fact, with -v"),
    ("HERMES_SKIP_PROFILE_RECONCILE is true", "a part of `this container owns no gateways`"),
    ("hermes-run-logger -L", "the name of a program in an error of the system"),
    ("do not free its port", "the help of an option"),
];

#[test]
fn every_message_with_a_remedy_has_a_row() {
    let quoted = quoted();
    let told = |text: &str| is_quoted(&quoted, text) || NO_ADVICE.iter().any(|(known, _)| *known == text);
    let ours = literals().into_iter().filter(has_remedy);
    let shells = scripts().into_iter().filter(|line| {
        let says = ["fatal: ", "fatal '", "fatal \"", "warning: "].iter().any(|word| line.text.contains(word));
        says && !line.text.contains("*\" >&2")
            && !line.text.contains("* >&2")
            && !line.text.trim_start().starts_with('#')
    });
    let missing: Vec<String> =
        ours.chain(shells).filter(|t| !told(&t.text)).map(|t| format!("{}: {}", t.file, t.text.trim())).collect();
    assert!(missing.is_empty(), "no row has {missing:#?}");
}

#[test]
fn what_the_rows_say_to_type_exists() {
    let tree = Tree::new();
    let compose = fs::read_to_string(root().join("compose.yaml")).expect("compose.yaml");
    let sources: String = (["src", "image", "cont-init.d", "s6-rc.d", "template"].into_iter().flat_map(files))
        .map(|path| fs::read_to_string(path).unwrap_or_default())
        .chain([compose])
        .collect();
    let mut seen = 0;
    for text in rows().into_iter().flat_map(|row| row.into_iter().skip(1).flat_map(code).collect::<Vec<_>>()) {
        let words: Vec<&str> = text.split(' ').collect();
        for word in &words {
            let variable = word.split('=').next().unwrap_or_default();
            if ["HERMES_", "S6_PROFILE_"].iter().any(|prefix| variable.starts_with(prefix)) {
                assert!(sources.contains(variable), "nothing reads {variable}");
            }
        }
        if words[0].starts_with("hermes-") && tree.bin().join(words[0]).exists() {
            seen += 1;
            let usage = tree.tool(words[0]).arg("--help").run().stdout;
            let options = words[1..].iter().filter(|word| word.starts_with('-'));
            options.for_each(|option| assert!(usage.contains(&format!("  {option}")), "{text}: {usage}"));
            let operand = words[1..].contains(&"NAME");
            assert!(!operand || usage.lines().next().is_some_and(|line| line.contains("profile")), "{text}: {usage}");
        }
    }
    assert!(seen > 20, "{seen}");
}

/// Check that the tool said something that is quoted in a row.
#[track_caller]
fn said(ran: Ran, code: i32, what: &str) {
    assert!(ran.code == code && ran.stderr.contains(what), "{ran}");
    assert!(ran.stderr.lines().any(|line| is_quoted(&quoted(), line)), "no row has {ran}");
}

#[test]
fn a_home_or_a_scandir_that_is_elsewhere_is_named_by_its_option() {
    let tree = Tree::up();
    tree.profile("coder");
    let register = || tree.tool("hermes-svc-register").arg("coder");
    said(register().env("HERMES_HOME", "/no/such").run(), 102, "-H or HERMES_HOME names another home");
    let lost = register().env("S6_PROFILE_GATEWAY_SCANDIR", "/no/such");
    said(lost.run(), 102, "-s or S6_PROFILE_GATEWAY_SCANDIR names another scandir");
    let given = register().env("HERMES_HOME", "/no/such").env("S6_PROFILE_GATEWAY_SCANDIR", "/no/such");
    let given = given.arg("-H").arg(tree.home()).arg("-s").arg(tree.scandir());
    given.run().is(0, "profile=coder action=registered port=9530\n", "");
}

#[test]
fn what_has_the_name_of_a_slot_is_removed() {
    let tree = Tree::up();
    tree.profile("coder");
    fs::write(tree.slot("coder"), "").expect("a file");
    let start = || tree.tool("hermes-svc-start").args(["-W", "coder"]).run();
    said(start(), 111, "it is not a directory: remove it");
    fs::remove_file(tree.slot("coder")).expect("rm");
    start().is(0, "profile=coder action=started\n", "");
}

#[test]
fn an_svscan_that_is_full_is_started_for_more() {
    let tree = Tree::new();
    tree.profile("coder");
    tree.svscan_max(1);
    let register = |most: &str| tree.tool("hermes-svc-register").arg("coder").env("HERMES_MAX_SERVICES", most).run();
    said(register("1"), 111, "raise s6-svscan's -C and $HERMES_MAX_SERVICES together");
    tree.kill_hard();
    tree.svscan_max(10);
    register("10").is(0, "profile=coder action=registered port=9530\n", "");
}

#[test]
fn an_account_that_is_not_there_is_named_in_another_way() {
    needs_root();
    let tree = Tree::up();
    tree.profile("coder");
    let register = |user: &str| tree.tool("hermes-svc-register").arg("coder").env("HERMES_USER", user).run();
    said(register("nosuchuser"), 100, "add it to /etc/passwd, or correct HERMES_USER");
    register(&format!("{}:{}", tree.uid, tree.gid)).is(0, "profile=coder action=registered port=9530\n", "");
}

#[test]
fn the_gateway_that_serves_all_profiles_is_started_in_place_of_one() {
    let tree = Tree::up();
    tree.profile("default").file("config.yaml", "gateway:\n  multiplex_profiles: true\n");
    tree.profile("coder");
    tree.tool("hermes-reconcile-all").run();
    said(tree.tool("hermes-svc-start").arg("coder").run(), 102, "(multiplex_profiles): start that one");
    tree.tool("hermes-svc-start").args(["-W", "default"]).run().is(0, "profile=default action=started\n", "");
}

#[test]
fn a_port_that_is_reserved_by_now_is_given_up() {
    let tree = Tree::up();
    tree.profile("coder");
    let port = || tree.tool("hermes-port-alloc").env("HERMES_RESERVED_PORTS", "9530");
    tree.tool("hermes-port-alloc").arg("coder").run().is(0, "9530\n", "");
    said(port().arg("coder").run(), 0, "hermes-port-alloc -d coder gives it up");
    port().args(["-d", "coder"]).run().is(0, "**", "");
    port().arg("coder").run().is(0, "9531\n", "");
}

#[test]
fn what_root_left_in_the_way_of_an_order_is_given_back() {
    needs_root();
    let tree = Tree::up();
    tree.profile("coder").intent("stopped");
    tree.tool("hermes-reconcile-all").run();
    let dir = tree.profile_dir("coder");
    std::os::unix::fs::chown(&dir, Some(0), Some(0)).expect("owner");
    let start = || tree.tool_as_account("hermes-svc-start").args(["-W", "coder"]).run();
    said(start(), 111, "hermes-fix-attrs gives back what root left");
    tree.tool("hermes-fix-attrs").run().is(0, "**", "");
    start().is(0, "profile=coder action=started\n", "");
}

#[test]
fn a_gateway_whose_intent_cannot_be_recorded_is_stopped_without() {
    needs_root();
    let tree = Tree::up();
    tree.profile("coder").intent("running");
    tree.tool("hermes-reconcile-all").run();
    tree.wait_up("coder");
    let stopped = tree.on_read_only_volume("hermes-svc-stop coder");
    said(stopped, 111, "-k stops it without recording that");
    let stopped = tree.on_read_only_volume("hermes-svc-stop -k coder");
    assert_eq!((stopped.code, stopped.stdout.as_str()), (0, "profile=coder action=stopped\n"), "{stopped}");
    tree.wait_down("coder");
}

#[test]
fn a_directory_of_variables_that_others_can_write_is_closed() {
    needs_root();
    let tree = Tree::up();
    tree.profile("coder");
    let dir = tree.root().join("env");
    fs::create_dir(&dir).expect("directory");
    let mode = |mode| fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("mode");
    let run = |dir: &Path| tree.tool("hermes-run-gateway").arg("-c").arg(dir).args(["coder", "true"]).run();
    said(run(Path::new("/no/such")), 78, "no such environment directory: /no/such: correct -c or leave it out");
    mode(0o777);
    said(run(&dir), 78, "others than root can write in it: chown it to root, chmod go-w");
    mode(0o755);
    run(&dir).is(0, "", "**");
}

#[test]
fn a_gateway_of_nobody_is_created_or_its_slot_is_retired() {
    let tree = Tree::up();
    tree.profile("coder");
    tree.tool("hermes-svc-register").arg("coder").run();
    tree.delete_profile("coder");
    let run = tree.tool("hermes-run-gateway").args(["coder", "true"]).run();
    said(run, 78, "or retire its slot (hermes-svc-unregister coder)");
    tree.tool("hermes-svc-unregister").arg("coder").run().is(0, "profile=coder action=unregistered\n", "");
    assert!(tree.slots().is_empty());
}

#[test]
fn a_program_that_is_not_on_the_path_is_installed() {
    let tree = Tree::up();
    tree.profile("coder");
    let run = || tree.tool("hermes-run-gateway").args(["coder", "its-own-program"]).run();
    said(run(), 127, "install it, or correct PATH");
    executable(&tree.bin().join("its-own-program"), "#!/bin/sh\necho here\n");
    run().is(0, "here\n", "**");
    assert!(is_root() || run().code == 0);
}

#[test]
fn a_scandir_that_somebody_else_can_change_is_used_by_its_owner() {
    needs_root();
    let tree = Tree::up();
    tree.profile("coder");
    std::os::unix::fs::chown(tree.scandir(), Some(tree.uid), Some(tree.gid)).expect("owner");
    let list = || tree.tool("hermes-svc-register").args(["-n", "coder"]);
    said(list().run(), 102, "HERMES_OPEN_SCANDIR=1 lets root act there all the same");
    list().env("HERMES_OPEN_SCANDIR", "1").run().is(0, "profile=coder action=registered port=9530\n", "");
    wait_until("the owner", || list().account(tree.uid, tree.gid).run().code == 0);
}
