//! Profiles on a tree's volume, in every state that a volume can be in.

use super::tree::Tree;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

/// A profile's directory. What is put there belongs to the runtime account.
pub struct Profile<'a> {
    tree: &'a Tree,
    pub name: String,
    pub dir: PathBuf,
}

impl<'a> Profile<'a> {
    /// The profile of this name, made with its marker if it is not there.
    pub fn new(tree: &'a Tree, name: &str) -> Profile<'a> {
        let profile = Profile::bare(tree, name);
        if name != "default" && fs::symlink_metadata(profile.dir.join("SOUL.md")).is_err() {
            return profile.file("SOUL.md", format!("I am {name}.\n"));
        }
        profile
    }

    /// The profile of this name, whether it is there or not.
    pub fn at(tree: &'a Tree, name: &str) -> Profile<'a> {
        Profile { tree, name: name.to_string(), dir: tree.profile_dir(name) }
    }

    /// The same without SOUL.md.
    pub fn bare(tree: &'a Tree, name: &str) -> Profile<'a> {
        let profile = Profile::at(tree, name);
        if name != "default" {
            profile.made(&tree.home().join("profiles"), |p| fs::create_dir_all(p));
            profile.made(&profile.dir, |p| fs::create_dir_all(p));
        }
        profile
    }

    fn made(&self, path: &Path, make: impl FnOnce(&Path) -> std::io::Result<()>) {
        let done = make(path).and_then(|()| lchown(path, Some(self.tree.uid), Some(self.tree.gid)));
        done.unwrap_or_else(|e| panic!("unable to make {}: {e}", path.display()));
    }

    /// A file with these bytes.
    pub fn file(self, name: &str, bytes: impl AsRef<[u8]>) -> Profile<'a> {
        self.made(&self.dir.join(name), |p| fs::write(p, bytes));
        self
    }

    /// The same with this mode.
    pub fn file_mode(self, name: &str, bytes: impl AsRef<[u8]>, mode: u32) -> Profile<'a> {
        let path = self.dir.join(name);
        let profile = self.file(name, bytes);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
        profile
    }

    /// `gateway_state.json`.
    pub fn state(self, json: impl AsRef<[u8]>) -> Profile<'a> {
        self.file("gateway_state.json", json)
    }

    /// `gateway_state.json` with nothing but this intent.
    pub fn intent(self, desired: &str) -> Profile<'a> {
        self.state(format!("{{\"desired_state\":\"{desired}\"}}"))
    }

    /// `.env`.
    pub fn env(self, text: &str) -> Profile<'a> {
        self.file_mode(".env", text, 0o600)
    }

    /// Tell the stand-in gateway how to behave: lines of shell, see `support/hermes`.
    pub fn stand_in(self, lines: &str) -> Profile<'a> {
        self.file("stand-in.conf", lines)
    }

    /// A FIFO.
    pub fn fifo(self, name: &str) -> Profile<'a> {
        self.made(&self.dir.join(name), |p| {
            Ok(rustix::fs::mknodat(rustix::fs::CWD, p, rustix::fs::FileType::Fifo, 0o644.into(), 0)?)
        });
        self
    }

    /// A directory.
    pub fn directory(self, name: &str) -> Profile<'a> {
        self.made(&self.dir.join(name), |p| fs::create_dir(p));
        self
    }

    /// A symbolic link.
    pub fn link(self, name: &str, target: impl AsRef<Path>) -> Profile<'a> {
        self.made(&self.dir.join(name), |p| symlink(target, p));
        self
    }

    /// What a file of the profile holds; empty if it is not there.
    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join(name)).unwrap_or_default()).into_owned()
    }

    /// `gateway_state.json`, parsed; null if it is not there or not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.read("gateway_state.json")).unwrap_or_default()
    }

    /// The recorded intent.
    pub fn desired(&self) -> Option<String> {
        self.json()["desired_state"].as_str().map(str::to_string)
    }

    /// How often the stand-in has started for this profile.
    pub fn starts(&self) -> usize {
        self.read("stand-in.starts").lines().count()
    }
}
