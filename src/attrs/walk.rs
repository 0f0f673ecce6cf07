//! A walk down a tree that its owner may rearrange meanwhile: no recursion, a bounded number of descriptors at any depth,
//! and no path resolved through a symbolic link or a mount point.

use crate::beneath;
use rustix::fs::OFlags;
use rustix::io::{Errno, Result};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// So many of the deepest directories are kept open; those above are opened again when the walk comes back to them.
const KEEP: usize = 64;

/// The longest path resolved in one go; under `PATH_MAX`, which a deep tree exceeds.
const HOP: usize = 2048;

/// The directories of a tree, each before what is in it.
pub struct Walk {
    root: Rc<OwnedFd>,
    /// From the root to the directory last entered, without a leading slash.
    path: Vec<u8>,
    frames: Vec<Frame>,
    /// Names still to be entered, each behind a NUL: those of the deepest directory at the end.
    names: Vec<u8>,
    /// Descriptors of the deepest frames, the deepest at the end.
    dirs: VecDeque<Rc<OwnedFd>>,
    begun: bool,
}

/// A directory that was entered.
struct Frame {
    path_end: usize,
    names_start: usize,
}

/// What became of one that was to be entered.
pub enum Step {
    /// It is open for reading.
    Entered(Rc<OwnedFd>),
    /// It could not be opened; `path` is its path.
    Failed(Errno),
}

impl Walk {
    /// A walk of `root`, which is entered first; `later` says where to go on.
    pub fn new(root: OwnedFd) -> Walk {
        Walk {
            root: Rc::new(root),
            path: Vec::new(),
            frames: Vec::new(),
            names: Vec::new(),
            dirs: VecDeque::new(),
            begun: false,
        }
    }

    /// The path of the directory that `advance` was last about, relative to the root, which is the empty path.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Enter the subdirectory `name` of the directory last entered, later.
    pub fn later(&mut self, name: &[u8]) {
        self.names.push(0);
        self.names.extend_from_slice(name);
    }

    /// Enter the next directory; `None` when all were.
    pub fn advance(&mut self) -> Option<Step> {
        if !self.begun {
            self.begun = true;
            return Some(self.enter(self.root.clone()));
        }
        loop {
            let frame = self.frames.last()?;
            self.path.truncate(frame.path_end);
            if self.names.len() == frame.names_start {
                self.leave();
                continue;
            }
            let Ok(parent) = self.deepest() else {
                // It was moved away since: what is in there went with it.
                self.names.truncate(self.frames.last()?.names_start);
                self.leave();
                continue;
            };
            let end = self.names.len();
            let start = self.names.iter().rposition(|b| *b == 0).unwrap_or(0);
            let name = &self.names[start + 1..end];
            let opened = beneath::open_same_mount(&parent, name, OFlags::RDONLY | OFlags::DIRECTORY);
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name);
            self.names.truncate(start);
            return Some(match opened {
                Ok(dir) => self.enter(Rc::new(dir)),
                Err(errno) => Step::Failed(errno),
            });
        }
    }

    fn enter(&mut self, dir: Rc<OwnedFd>) -> Step {
        self.frames.push(Frame { path_end: self.path.len(), names_start: self.names.len() });
        self.dirs.push_back(dir.clone());
        if self.dirs.len() > KEEP {
            self.dirs.pop_front();
        }
        Step::Entered(dir)
    }

    fn leave(&mut self) {
        self.frames.pop();
        self.dirs.pop_back();
    }

    /// The deepest directory; with some of those above it, if they have to be opened again, so that a walk back up from
    /// any depth resolves each name a few times only.
    fn deepest(&mut self) -> Result<Rc<OwnedFd>> {
        if let Some(dir) = self.dirs.back() {
            return Ok(dir.clone());
        }
        let first = self.frames.len().saturating_sub(KEEP / 2);
        let mut dir = self.root.clone();
        let mut from = 0;
        let mut dirs = VecDeque::with_capacity(KEEP);
        for (level, frame) in self.frames.iter().enumerate() {
            let wanted = level >= first;
            if !wanted && frame.path_end < from + HOP {
                continue;
            }
            if frame.path_end > from {
                let hop = &self.path[from..frame.path_end];
                let hop = hop.strip_prefix(b"/").unwrap_or(hop);
                dir = Rc::new(beneath::open_same_mount(&dir, hop, OFlags::RDONLY | OFlags::DIRECTORY)?);
                from = frame.path_end;
            }
            if wanted {
                dirs.push_back(dir.clone());
            }
        }
        self.dirs = dirs;
        Ok(dir)
    }
}
