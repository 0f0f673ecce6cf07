//! Where Hermes Agent is installed, by the names of files. No program is run, and its place may belong to the account, so
//! call all of this with the account's rights.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// How many entries of a directory are looked at.
const MOST: usize = 4096;

/// The directories of Python packages beside each `hermes` on this PATH, in the order of the PATH.
pub fn packages(path: &OsStr) -> Vec<PathBuf> {
    let installed = std::env::split_paths(path).filter_map(|dir| dir.join("hermes").canonicalize().ok());
    let environments = installed.filter_map(|program| Some(program.parent()?.parent()?.join("lib")));
    let pythons = environments.flat_map(|lib| names(&lib));
    let is_python = |dir: &PathBuf| dir.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"python"));
    pythons.filter(is_python).map(|python| python.join("site-packages")).collect()
}

/// The directory that has the code of the first `hermes` on this PATH: the one of its packages, or the source tree in
/// which its virtual environment lies.
pub fn code(path: &OsStr) -> Option<PathBuf> {
    packages(path).into_iter().find_map(|packages| {
        let source = packages.ancestors().nth(4).map(Path::to_path_buf);
        [Some(packages), source].into_iter().flatten().find(|dir| dir.join("hermes_cli").is_dir())
    })
}

/// The paths of the entries of a directory, as far as they can be read.
pub fn names(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().take(MOST).flatten().map(|entry| entry.path()).collect()
}
