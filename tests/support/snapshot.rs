//! Snapshots of directories, which show that a command has changed nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Everything below some directories at one moment: kind, mode, owner, group, and the bytes of a file or the target of
/// a link. Left out are the tools' lock files, which are empty and stay, and files that s6's own programs write.
pub struct Snapshot {
    dirs: Vec<PathBuf>,
    /// The description of each entry, by path relative to its directory.
    pub found: BTreeMap<String, String>,
}

/// Take a snapshot.
pub fn snapshot(dirs: &[&Path]) -> Snapshot {
    let mut found = BTreeMap::new();
    dirs.iter().for_each(|dir| walk(dir, "", &mut found));
    Snapshot { dirs: dirs.iter().map(|dir| dir.to_path_buf()).collect(), found }
}

impl Snapshot {
    /// Check that nothing was added, removed or changed since.
    #[track_caller]
    pub fn still_holds(&self) {
        let dirs: Vec<&Path> = self.dirs.iter().map(PathBuf::as_path).collect();
        let now = snapshot(&dirs).found;
        let gone: Vec<_> = self.found.iter().filter(|(name, what)| now.get(*name) != Some(what)).collect();
        let come: Vec<_> = now.iter().filter(|(name, what)| self.found.get(*name) != Some(what)).collect();
        assert!(gone.is_empty() && come.is_empty(), "was: {gone:#?}\nis: {come:#?}");
    }
}

/// Is this a file that changes through other processes?
fn is_alive(path: &str) -> bool {
    ["supervise/", "event/"].iter().any(|dir| path.contains(dir))
}

fn walk(dir: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("unable to read {}: {e}", dir.display())).flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        let shown = format!("{prefix}{name}");
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let lock = name.starts_with(".hermes-s6.") && name.ends_with(".lock") && meta.len() == 0;
        if lock || name.starts_with("ftrig1:@") || name == "status.new" || shown == "logs/gateways" {
            continue;
        }
        let kind = meta.file_type();
        let what = if kind.is_dir() {
            "directory".to_string()
        } else if kind.is_symlink() {
            format!("link to {}", fs::read_link(&path).unwrap_or_default().display())
        } else if kind.is_file() && is_alive(&shown) {
            "file".to_string()
        } else if kind.is_file() {
            format!("file {:?}", String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()))
        } else if kind.is_fifo() {
            "FIFO".to_string()
        } else {
            "other".to_string()
        };
        found.insert(shown.clone(), format!("{:04o} {}:{} {what}", meta.mode() & 0o7777, meta.uid(), meta.gid()));
        if kind.is_dir() {
            walk(&path, &format!("{shown}/"), found);
        }
    }
}
