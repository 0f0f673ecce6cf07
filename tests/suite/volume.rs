//! A home with files of the account and of root, for the tools that look at these.

use crate::support::{Tool, Tree, needs_root};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

pub use crate::support::UID as ACCOUNT;

/// A tree without s6-svscan.
pub struct Volume {
    tree: Tree,
    pub home: PathBuf,
}

impl Volume {
    #[track_caller]
    pub fn new() -> Volume {
        needs_root();
        let tree = Tree::new();
        let volume = Volume { home: tree.home(), tree };
        volume.dir("profiles");
        volume
    }

    /// One of the tools, or any other program, in the tree's environment.
    pub fn tool(&self, name: &str) -> Tool {
        self.tree.tool(name)
    }

    /// A path beside the home, to which the account has no access.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.tree.root().join(name)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    pub fn give(&self, path: &Path) {
        chown(path, Some(self.tree.uid), Some(self.tree.gid)).unwrap();
    }

    /// A directory of the account.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        self.give(&path);
        path
    }

    /// A file of the account.
    pub fn file(&self, name: &str) -> PathBuf {
        let path = self.root_file(name);
        self.give(&path);
        path
    }

    /// A file that root left.
    pub fn root_file(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, "root was here\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// A profile of the account.
    pub fn profile(&self, name: &str) -> PathBuf {
        let path = self.dir(&format!("profiles/{name}"));
        self.file(&format!("profiles/{name}/SOUL.md"));
        path
    }

    pub fn owner(&self, name: &str) -> u32 {
        fs::symlink_metadata(self.path(name)).unwrap().uid()
    }
}
