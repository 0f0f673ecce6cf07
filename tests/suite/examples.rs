//! Every example of every manual page, run as it is printed. A test takes the examples of its page from the page's
//! source, and names how many there are, so a new one without a test fails.

use crate::support::printed::{Step, steps};
use crate::support::{Tool, Tree, free_port, wait_for, wait_until};
use std::fs;
use std::path::Path;

/// The examples about one gateway: register, start, stop, restart, its port.
mod orders;

/// The examples that look: list, status, logs.
mod looks;

/// The examples about many gateways: a boot, the watcher, scripts of a container.
mod boots;

/// The examples of what a slot runs.
mod slots;

fn manual() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("man")
}

/// The examples of a page, such as `hermes-home.8`.
#[track_caller]
fn examples<const N: usize>(page: &str) -> [String; N] {
    let section = page.rsplit('.').next().unwrap_or_default();
    let source = fs::read_to_string(manual().join(format!("man{section}/{page}"))).expect("a page");
    let section = source.split(".Sh ").find(|section| section.starts_with("EXAMPLES\n")).expect("examples");
    let blocks = section.split(".Bd ").skip(1).filter_map(|block| block.split_once('\n')?.1.split(".Ed\n").next());
    let found: Vec<String> = blocks.map(str::to_string).collect();
    // What roff would change is not as it is printed.
    assert!(found.iter().all(|example| !example.contains('\\') && !example.contains("\n.")), "{page}: {found:#?}");
    let count = found.len();
    found.try_into().unwrap_or_else(|_| panic!("{page} has {count} examples, and its test knows {N}"))
}

#[test]
fn every_page_has_a_test_of_its_examples() {
    let tests = [
        include_str!("examples/orders.rs"),
        include_str!("examples/looks.rs"),
        include_str!("examples/boots.rs"),
        include_str!("examples/slots.rs"),
    ];
    for section in ["man5", "man7", "man8"] {
        for page in fs::read_dir(manual().join(section)).expect("a section") {
            let page = page.expect("a page").file_name().into_string().expect("a name");
            assert!(tests.iter().any(|test| test.contains(&format!("examples(\"{page}\")"))), "{page}");
        }
    }
}

/// A tree with the slots of default, coder and writer, in which coder is up.
fn tree() -> Tree {
    let tree = Tree::up();
    fill(&tree);
    tree
}

/// The same where the gateways have API servers that answer.
fn serving() -> Tree {
    let mut tree = Tree::new();
    let port = free_port();
    tree.env.push(("HERMES_PORT_RANGE".to_string(), format!("{port}-{}", port + 20)));
    let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/stand-in-gateway");
    fs::copy(stand_in, tree.bin().join("hermes")).expect("the stand-in");
    tree.svscan();
    for name in ["coder", "writer"] {
        tree.profile(name).env("API_SERVER_ENABLED=true\nAPI_SERVER_KEY=0123456789abcdef\n");
    }
    fill(&tree);
    tree
}

/// A tree whose scandir and s6-svscan are the account's as well, so that no command needs root.
fn yours() -> Tree {
    let tree = Tree::new();
    std::os::unix::fs::chown(tree.scandir(), Some(tree.uid), Some(tree.gid)).expect("owner");
    let svscan = r#"setsid s6-svscan "$S6_PROFILE_GATEWAY_SCANDIR" >svscan.log 2>&1 &"#;
    tree.tool_as_account("sh").args(["-c", svscan]).run().is(0, "", "");
    wait_until("s6-svscan", || tree.tool("s6-svscanctl").arg("-a").arg(tree.scandir()).run().code == 0);
    for name in ["default", "coder", "writer"] {
        tree.profile(name);
    }
    tree
}

fn fill(tree: &Tree) {
    for name in ["default", "coder", "writer"] {
        tree.profile(name);
    }
    tree.tool("hermes-reconcile-all").run().is(0, "**", "");
    tree.tool("hermes-svc-start").args(["-W", "coder"]).run().is(0, "profile=coder action=started\n", "");
}

/// The one command of an example.
#[track_caller]
fn command(example: &str) -> Step {
    let mut steps = steps(example);
    assert_eq!(steps.len(), 1, "{example}");
    steps.remove(0)
}

/// What types a command: the account behind `$`, root behind `#`.
fn keyboard(tree: &Tree, step: &Step) -> Tool {
    let shell = if step.as_root { tree.tool("sh") } else { tree.tool_as_account("sh") };
    shell.args(["-c", &step.command])
}

/// Type the commands of an example. Each succeeds without a word on stderr, and prints what the page prints.
#[track_caller]
fn typed(tree: &Tree, example: &str) -> String {
    typed_in(tree, example, &tree.scratch())
}

#[track_caller]
fn typed_in(tree: &Tree, example: &str, directory: &Path) -> String {
    let mut printed = String::new();
    for step in steps(example) {
        let ran = keyboard(tree, &step).directory(directory).run();
        assert!(ran.code == 0 && ran.stderr.is_empty() && step.prints(&ran.stdout), "{ran}---- page\n{}", step.output);
        printed += &ran.stdout;
    }
    printed
}

/// Type a command that does not end by itself, with its output in `scratch/output`. It ends with the tree.
#[track_caller]
fn typed_on(tree: &Tree, example: &str) {
    let step = command(example);
    drop(keyboard(tree, &Step { command: format!("{{\n{}\n}} >output 2>&1", step.command), ..step }).spawn());
}

/// Wait for this text in `scratch/output`.
#[track_caller]
fn wait_for_output(tree: &Tree, text: &str) {
    wait_until(text, || fs::read_to_string(tree.scratch().join("output")).is_ok_and(|output| output.contains(text)));
}

/// An example that is a script in execline: the options of execlineb in its first line, and a file with all of it.
fn script(tree: &Tree, example: &str) -> (String, String) {
    let first = example.lines().next().expect("a line");
    let options = first.split_once("execlineb").map_or("-P", |(_, options)| options.trim());
    (options.to_string(), tree.script("example", example))
}

/// The path of a file in `scratch`, as `Tree::in_a_container` has it.
fn inside(file: &str) -> String {
    format!("/mnt/tree/scratch/{}", file.rsplit('/').next().unwrap_or_default())
}

/// Run an example in execline as root.
fn execline(tree: &Tree, example: &str, arguments: &[&str]) -> Tool {
    let (options, file) = script(tree, example);
    let options = (!options.is_empty()).then_some(options);
    tree.tool("execlineb").args(options).arg(file).args(arguments)
}

/// Run an example in shell as root.
fn shell(tree: &Tree, example: &str) -> Tool {
    tree.tool("sh").arg(tree.script("example", example))
}

/// What is typed in a container's host or does not end by itself has tests of its own.
#[test]
fn the_recipes_of_the_readme_work() {
    let readme = include_str!("../../README.md");
    let recipes = readme.split("\n## ").find(|section| section.starts_with("Recipes\n")).expect("the recipes");
    let tree = serving();
    let elsewhere = ["docker run ", "cat tell", "hermes-svc-logs -f "];
    let mut typed = 0;
    for block in recipes.split("```\n").skip(1).step_by(2) {
        for step in steps(block).iter().filter(|step| !elsewhere.iter().any(|word| step.command.starts_with(word))) {
            let ran = keyboard(&tree, step).run();
            assert!(ran.code == 0 && ran.stderr.is_empty(), "{ran}");
            typed += 1;
        }
    }
    assert_eq!(typed, 6, "{recipes}");
}
