//! What a directory holds, to prove that a refused command changed nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// Everything below `dir`: kind, mode, owner, group, and a file's bytes or a link's target. The tools' lock files, empty
/// and kept for good, are left out.
pub fn snapshot(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    walk(dir, "", &mut found);
    found
}

fn walk(dir: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("unable to read {}: {e}", dir.display())).flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if name.starts_with(".hermes-s6.") && name.ends_with(".lock") && meta.len() == 0 {
            continue;
        }
        let kind = meta.file_type();
        let what = if kind.is_dir() {
            "directory".to_string()
        } else if kind.is_symlink() {
            format!("link to {}", fs::read_link(&path).unwrap_or_default().display())
        } else if kind.is_file() {
            format!("file {:?}", String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()))
        } else if kind.is_fifo() {
            "FIFO".to_string()
        } else {
            "other".to_string()
        };
        let shown = format!("{prefix}{name}");
        found.insert(shown.clone(), format!("{:04o} {}:{} {what}", meta.mode() & 0o7777, meta.uid(), meta.gid()));
        if kind.is_dir() {
            walk(&path, &format!("{shown}/"), found);
        }
    }
}
