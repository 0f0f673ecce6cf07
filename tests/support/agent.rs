//! The real Hermes Agent, from the virtual environment that `scripts/hermes-venv` makes.

use super::{Tool, Tree, is_root};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The `hermes` of that environment. If it cannot be installed, the test fails. A skipped test would look like a
/// success.
static HERMES: LazyLock<PathBuf> = LazyLock::new(|| {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/hermes-venv");
    let ran = Command::new(&script).stdin(Stdio::null()).output().expect("scripts/hermes-venv");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "no Hermes Agent to test with: {said}");
    PathBuf::from(String::from_utf8_lossy(&ran.stdout).trim_end())
});

/// `bin/hermes` of the virtual environment.
pub fn hermes() -> &'static Path {
    &HERMES
}

/// The second number of its version, which is 0.N.x: what Hermes Agent does has changed with N.
pub fn minor() -> u32 {
    let libraries = hermes().ancestors().nth(2).expect("a virtual environment").join("lib");
    let pythons = std::fs::read_dir(libraries).expect("lib").flatten();
    let installed = pythons.filter_map(|python| std::fs::read_dir(python.path().join("site-packages")).ok()).flatten();
    let names = installed.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let version = names.filter_map(|name| name.strip_prefix("hermes_agent-0.").map(str::to_string)).next();
    let minor = version.as_ref().and_then(|version| version.split('.').next()?.parse().ok());
    minor.unwrap_or_else(|| panic!("no version of Hermes Agent beside {}", hermes().display()))
}

/// The environment's Python as the runtime account, with these arguments. As root, it runs in a PID namespace of its
/// own: Hermes Agent takes any `main-wrapper.sh` in `/proc` for its own container's (docs/failures.md, G2), even that
/// of another test.
pub fn python<'a>(tree: &Tree, arguments: impl IntoIterator<Item = &'a str>) -> Tool {
    let python = hermes().with_file_name("python").display().to_string();
    if !is_root() {
        return tree.tool(&python).args(arguments);
    }
    let (uid, gid) = (tree.uid.to_string(), tree.gid.to_string());
    let alone = tree.tool("unshare").args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
    let account = alone.args(["setpriv", "--reuid", &uid, "--regid", &gid, "--clear-groups", &python]);
    account.args(arguments)
}

/// Install the real `hermes` in this tree, in place of the stand-in, so that the slots run it.
pub fn install(tree: &Tree) {
    let link = tree.bin().join("hermes");
    std::fs::remove_file(&link).expect("the stand-in");
    std::os::unix::fs::symlink(hermes(), link).expect("link");
}
