//! The `.env` in the directory of Hermes Agent's own code, which is for its developers (`gateway/run.py`,
//! `load_hermes_dotenv`). If a profile has no `.env`, it overrides the variables of the environment, else it only adds to
//! them.

use super::dotenv::Dotenv;
use super::{Fault, LIMIT, UNCLEAR};
use crate::ground::beneath::Content;
use crate::ground::error::{Error, Result};
use crate::ground::roots_links;
use crate::volume::client;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::sync::OnceLock;

/// The variables of that file.
#[derive(Clone, Debug, Default)]
pub struct Project {
    pub env: Dotenv,
    /// The path of the file, for messages.
    pub file: &'static str,
    pub fault: Option<Fault>,
}

impl Project {
    /// Read the file for the `hermes` on this PATH. Call this with the account's rights.
    ///
    /// # Errors
    /// 111 if the file could not be looked at just now.
    pub fn read(path: &OsStr) -> Result<Project> {
        static FILE: OnceLock<String> = OnceLock::new();
        let Some(code) = client::code(path)? else { return Ok(Project::default()) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = match rustix::fs::open(&code, flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Project::default()),
            Err(errno) => return Err(Error::system("open", code.display(), errno)),
        };
        let file = FILE.get_or_init(|| code.join(super::DOTENV).display().to_string());
        let unclear = |why: String| Project { env: Dotenv::default(), file, fault: Some(Fault::unclear(file, why)) };
        Ok(match roots_links::read(&dir, super::DOTENV, LIMIT).map_err(|e| Error::system("read", file, e))? {
            Content::Absent => Project::default(),
            Content::Unfit(why) => unclear(format!("not read: {why}")),
            // Which value a reference has depends on the profile.
            Content::Bytes(bytes) => match Dotenv::parse(&bytes, &|_| None) {
                Ok(env) if !bytes.windows(2).any(|two| two == b"${") => Project { env, file, fault: None },
                _ => unclear(UNCLEAR.to_string()),
            },
        })
    }
}
