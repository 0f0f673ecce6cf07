//! Profiles on a tree's volume, in every state that a volume can be in.

use super::tree::Tree;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

/// A profile's directory. The files that are made in it belong to the runtime account.
pub struct Profile<'a> {
    tree: &'a Tree,
    pub name: String,
    pub dir: PathBuf,
}

impl<'a> Profile<'a> {
    /// The profile of this name. If it does not exist, it is made with its marker.
    pub fn new(tree: &'a Tree, name: &str) -> Profile<'a> {
        let profile = Profile::bare(tree, name);
        if name != "default" && fs::symlink_metadata(profile.dir.join("SOUL.md")).is_err() {
            return profile.file("SOUL.md", format!("I am {name}.\n"));
        }
        profile
    }

    /// The profile of this name. It need not exist.
    pub fn at(tree: &'a Tree, name: &str) -> Profile<'a> {
        Profile { tree, name: name.to_string(), dir: tree.profile_dir(name) }
    }

    /// A profile's directory without SOUL.md.
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

    /// Write a file with these bytes.
    pub fn file(self, name: &str, bytes: impl AsRef<[u8]>) -> Profile<'a> {
        self.made(&self.dir.join(name), |p| fs::write(p, bytes));
        self
    }

    /// Write a file with these bytes and this mode.
    pub fn file_mode(self, name: &str, bytes: impl AsRef<[u8]>, mode: u32) -> Profile<'a> {
        let path = self.dir.join(name);
        let profile = self.file(name, bytes);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
        profile
    }

    /// Write `gateway_state.json`.
    pub fn state(self, json: impl AsRef<[u8]>) -> Profile<'a> {
        self.file("gateway_state.json", json)
    }

    /// Write a `gateway_state.json` that has only this intent and the name of the profile.
    pub fn intent(self, desired: &str) -> Profile<'a> {
        let owner = self.name.clone();
        self.state(format!("{{\"desired_state\":\"{desired}\",\"hermes_s6_profile\":\"{owner}\"}}"))
    }

    /// Write `.env`.
    pub fn env(self, text: &str) -> Profile<'a> {
        self.file_mode(".env", text, 0o600)
    }

    /// Configure the stand-in gateway with lines of shell, see `support/hermes`.
    pub fn stand_in(self, lines: &str) -> Profile<'a> {
        self.file("stand-in.conf", lines)
    }

    /// Make a FIFO.
    pub fn fifo(self, name: &str) -> Profile<'a> {
        self.made(&self.dir.join(name), |p| {
            Ok(rustix::fs::mknodat(rustix::fs::CWD, p, rustix::fs::FileType::Fifo, 0o644.into(), 0)?)
        });
        self
    }

    /// Make a directory.
    pub fn directory(self, name: &str) -> Profile<'a> {
        self.made(&self.dir.join(name), |p| fs::create_dir(p));
        self
    }

    /// Make a symbolic link.
    pub fn link(self, name: &str, target: impl AsRef<Path>) -> Profile<'a> {
        self.made(&self.dir.join(name), |p| symlink(target, p));
        self
    }

    /// The content of a file of the profile; empty if it does not exist.
    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join(name)).unwrap_or_default()).into_owned()
    }

    /// `gateway_state.json`, parsed; null if it does not exist or is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.read("gateway_state.json")).unwrap_or_default()
    }

    /// The recorded intent.
    pub fn desired(&self) -> Option<String> {
        self.json()["desired_state"].as_str().map(str::to_string)
    }

    /// How many times the stand-in has started for this profile.
    pub fn starts(&self) -> usize {
        self.read("stand-in.starts").lines().count()
    }
}
