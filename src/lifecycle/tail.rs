//! What a gateway said last: its log's name and last line, for whoever asks why it is not up.

use crate::beneath;
use crate::home::Home;
use crate::profile::Profile;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

/// How much of the end is looked at, bytes.
const TAIL: u64 = 4096;

/// "see LOG, which ends in \"...\"". The line is untrusted: who prints it escapes it.
pub fn hint(home: &Home, profile: &Profile) -> String {
    let path = format!("logs/gateways/{profile}/current");
    let shown = home.path.join(&path);
    match last_line(home, &path) {
        Some(line) => format!("see {}, which ends in \"{line}\"", shown.display()),
        None => format!("see {}", shown.display()),
    }
}

/// The last line that is not blank, at most 200 characters of it.
fn last_line(home: &Home, path: &str) -> Option<String> {
    let read = home.act(|home| {
        let fd = beneath::open(home, path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).ok();
        Ok(fd.and_then(|fd| {
            let mut file = File::from(fd);
            let length = file.metadata().ok().filter(|m| m.is_file())?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
            let mut bytes = Vec::new();
            file.take(TAIL).read_to_end(&mut bytes).ok()?;
            Some(bytes)
        }))
    });
    let text = String::from_utf8_lossy(&read.ok()??).into_owned();
    let line = text.lines().rev().find(|l| !l.trim().is_empty())?;
    Some(line.chars().take(200).collect())
}
