//! `make install` and `make uninstall`, with other prefixes than the default one.

use crate::support::Tree;
use std::fs;
use std::path::{Path, PathBuf};

/// Run a target of the Makefile. The executable of the tests takes the place of the static one, which is not built.
#[track_caller]
fn make(tree: &Tree, target: &str, prefix: &Path, destdir: &Path) {
    let built = env!("CARGO_BIN_EXE_hermes-s6");
    let make = tree.tool("make").directory(env!("CARGO_MANIFEST_DIR")).args(["-s", "-o", built, target]);
    let set = |name: &str, value: &Path| format!("{name}={}", value.display());
    let variables = [set("EXECUTABLE", built.as_ref()), set("PREFIX", prefix), set("DESTDIR", destdir)];
    make.args(variables).run().is(0, "", "");
}

/// Every file and link below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found
}

/// Nothing names the prefix but `data/bin`: the executable finds its template, and the template's scripts find the
/// tools.
#[test]
fn a_gateway_runs_with_any_prefix() {
    let tree = Tree::up();
    let prefix = tree.root().join("opt/x");
    make(&tree, "install", &prefix, Path::new(""));
    // The tools are nowhere else on the PATH.
    for tool in files(&tree.bin()).iter().filter(|file| !file.ends_with("hermes")) {
        fs::remove_file(tool).expect("a tool");
    }
    tree.profile("coder");
    let tool = |name: &str| tree.tool(&prefix.join("bin").join(name).display().to_string());
    let tool = |name: &str| tool(name).env("HERMES_SLOT_TEMPLATE", "");
    tool("hermes-svc-start").args(["-W", "coder"]).run().is(0, "profile=coder action=started\n", "");
    let template = prefix.join("lib/hermes-s6/gateway");
    assert_eq!(fs::read_link(tree.slot("coder").join("run")).expect("run"), template.join("run"));
    assert_eq!(
        fs::read_to_string(tree.slot("coder").join("data/bin")).expect("data/bin"),
        format!("{}\n", prefix.join("bin").display())
    );
    tool("hermes-svc-stop").args(["-w", "coder"]).run().is(0, "profile=coder action=stopped\n", "");
}

#[test]
fn a_staged_installation_is_whole_and_can_be_taken_away() {
    let tree = Tree::up();
    let stage = tree.root().join("stage");
    make(&tree, "install", Path::new("/usr"), &stage);
    let usr = stage.join("usr");
    assert_eq!(fs::read_link(usr.join("bin/hermes-svc-start")).expect("a link"), Path::new("hermes-s6"));
    assert_eq!(fs::read_to_string(usr.join("lib/hermes-s6/gateway/data/bin")).expect("data/bin"), "/usr/bin\n");
    assert!(usr.join("share/man/man8/hermes-svc-start.8").exists());
    tree.profile("coder");
    let register = tree.tool(&usr.join("bin/hermes-svc-register").display().to_string());
    register.env("HERMES_SLOT_TEMPLATE", "").arg("coder").run().is(
        0,
        "profile=coder action=registered port=9530\n",
        "",
    );
    assert_eq!(fs::read_link(tree.slot("coder").join("run")).expect("run"), usr.join("lib/hermes-s6/gateway/run"));
    make(&tree, "uninstall", Path::new("/usr"), &stage);
    assert_eq!(files(&stage), Vec::<PathBuf>::new());
}

/// An executable that was copied by itself has no template beside it.
#[test]
fn without_its_template_an_executable_names_the_place_where_it_looked() {
    let tree = Tree::up();
    tree.profile("coder");
    let bin = tree.root().join("alone/bin");
    fs::create_dir_all(&bin).expect("bin");
    tree.tool("cp")
        .args([Path::new(env!("CARGO_BIN_EXE_hermes-s6")), &bin.join("hermes-svc-register")])
        .run()
        .is(0, "", "");
    let register = tree.tool(&bin.join("hermes-svc-register").display().to_string());
    register
        .env("HERMES_SLOT_TEMPLATE", "")
        .arg("coder")
        .run()
        .fails(100, "unable to use template */alone/lib/hermes-s6/gateway: *No such file or directory");
}

#[test]
fn where_there_is_no_cargo_one_line_says_what_to_do() {
    let tree = Tree::new();
    let none = tree.scratch().join("none");
    let make = tree.tool("make").directory(env!("CARGO_MANIFEST_DIR")).args(["-s", "install"]);
    let make = make.arg(format!("CARGO_TARGET_DIR={}", none.display())).env("PATH", "/usr/bin:/bin");
    let ran = make.run();
    let said = "make: no cargo on the PATH: run `make` as a user who has it, then `sudo make install`";
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().next()), (2, "", Some(said)), "{ran}");
    assert!(!none.exists());
}

#[test]
fn the_pages_are_there_as_html_and_lead_to_each_other() {
    let tree = Tree::new();
    let target = format!("CARGO_TARGET_DIR={}", tree.scratch().display());
    tree.tool("make").directory(env!("CARGO_MANIFEST_DIR")).args(["-s", "html", &target]).run().is(0, "", "");
    let page = fs::read_to_string(tree.scratch().join("html/hermes-svc-logs.8.html")).expect("a page");
    assert!(page.contains("href=\"hermes-services.7.html\""), "{page}");
    let pages = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("man"));
    let pages = pages.iter().filter(|page| page.extension().is_some_and(|e| e != "txt"));
    assert_eq!(files(&tree.scratch().join("html")).len(), pages.count());
}
