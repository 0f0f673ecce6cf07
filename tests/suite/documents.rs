//! The documents compared with the tree: the table of rooms in README.md, and every path and link.

use std::fs;
use std::path::{Path, PathBuf};

/// The directories of the checkout with which a path in a document may begin.
const FOLDERS: [&str; 9] =
    ["src/", "tests/", "benches/", "docs/", "scripts/", "template/", "image/", "image-build/", "deploy/"];

/// Paths that begin in this way are those of files in s6's own source.
const S6: [&str; 2] = ["src/supervision/", "src/libs6/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let top = ["README.md", "SECURITY.md", "NEWS.md", "CONTRIBUTING.md"].map(|name| root().join(name));
    let docs = fs::read_dir(root().join("docs")).expect("docs").map(|entry| entry.expect("docs").path());
    top.into_iter().chain(docs.filter(|path| path.extension().is_some_and(|e| e == "md"))).collect()
}

/// The pieces of a text between `open` and `close` in one line.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    let parts = text.lines().flat_map(|line| line.split(open).skip(1));
    parts.filter_map(|part| part.split_once(close)).map(|(piece, _)| piece).collect()
}

/// The pieces of a text that are set as code.
fn code(text: &str) -> Vec<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The anchors that GitHub makes of the headings.
fn anchors(text: &str) -> Vec<String> {
    let headings =
        text.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings.map(|h| h.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()).collect()
}

/// What is wrong with a link of this document. `None` if the link leads somewhere, or to another site.
fn broken(document: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { document.to_path_buf() } else { document.parent()?.join(path) };
    if !target.exists() {
        return Some(format!("{}: no {path}", document.display()));
    }
    let text = fs::read_to_string(&target).unwrap_or_default();
    (!anchor.is_empty() && !anchors(&text).iter().any(|a| a == anchor))
        .then(|| format!("{}: no heading {anchor} in {}", document.display(), target.display()))
}

/// The rooms of README.md, in the first column of the table in "Reading the code".
fn rooms(readme: &str) -> Vec<&str> {
    let section = readme.split("\n## ").find(|section| section.starts_with("Reading the code\n")).expect("the section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")).filter_map(|line| line.split_once(" | "));
    rows.flat_map(|(rooms, _)| code(rooms)).collect()
}

/// Directories of the tree that no room contains. In `src`, files are checked as well.
fn homeless(rooms: &[&str]) -> Vec<String> {
    let listed = |dir: &str| fs::read_dir(root().join(dir)).expect("a folder").map(|entry| entry.expect("an entry"));
    let visible = |name: &str| !name.starts_with('.') && !matches!(name, "target" | "src" | "lib.rs");
    let name = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let top =
        listed(".").filter(|e| e.path().is_dir()).map(|e| name(&e)).filter(|n| visible(n)).map(|n| format!("{n}/"));
    let below = listed("src").filter(|e| visible(&name(e))).map(|e| {
        let end = if e.path().is_dir() { "/" } else { "" };
        format!("src/{}{end}", name(&e))
    });
    top.chain(below).filter(|path| !rooms.iter().any(|room| room.starts_with(path.as_str()))).collect()
}

#[test]
fn the_readme_names_every_room_and_none_that_is_not_there() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let rooms = rooms(&readme);
    let gone: Vec<_> = rooms.iter().filter(|room| !root().join(room).exists()).collect();
    assert!(rooms.len() > 10 && gone.is_empty(), "not there: {gone:?}, of {rooms:?}");
    assert_eq!(homeless(&rooms), Vec::<String>::new());
    // If a room is left out of the table, that is noticed.
    let fewer: Vec<&str> = rooms.iter().copied().filter(|room| *room != "src/bin/").collect();
    assert_eq!(homeless(&fewer), ["src/bin/"]);
}

#[test]
fn every_link_and_every_path_in_the_documents_leads_somewhere() {
    let mut wrong = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("a document");
        wrong.extend(between(&text, "](", ")").into_iter().filter_map(|link| broken(&document, link)));
        let below = |path: &str, folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
        let paths = code(&text).into_iter().filter(|path| below(path, &FOLDERS) && !below(path, &S6));
        // A path may have a line number, as in `src/state.rs:12`. A pattern such as `tests/*.rs` is not checked.
        let whole = paths.filter(|path| !path.contains(['*', '{', '<', ' ']));
        let missing = whole.filter(|path| !root().join(path.split(':').next().unwrap_or(path)).exists());
        wrong.extend(missing.map(|path| format!("{}: no {path}", document.display())));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let readme = root().join("README.md");
    assert_eq!(between("a [b](c.md), [d](e) and\n[f](g#h)\n", "](", ")"), ["c.md", "e", "g#h"]);
    assert_eq!(code("`a/b` and `c`, no `d\n`e`"), ["a/b", "c", "d", "e"]);
    assert_eq!(anchors("# One, two\ntext\n## `hermes-s6`: it's\n"), ["one-two", "hermes-s6-its"]);
    for (link, leads) in [
        ("SECURITY.md", true),
        ("https://example.org/nothing", true),
        ("nothing.md", false),
        ("#reading-the-code", true),
        ("#nothing", false),
        ("README.md#nothing", false),
    ] {
        assert_eq!(broken(&readme, link).is_none(), leads, "{link}");
    }
}
