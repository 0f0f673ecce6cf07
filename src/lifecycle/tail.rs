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

/// The gateway's last line, at most 200 characters of it.
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
    last_words(&text).map(|line| line.chars().take(200).collect())
}

/// The last line that says something: not what our `finish` says of every gateway that it holds, nor the box that Hermes
/// Agent draws, which leaves its buffer only when it ends, behind the error that it ended with.
fn last_words(text: &str) -> Option<&str> {
    let said = |line: &str| line.split_once("  ").map_or(line, |(_, said)| said).trim().to_string();
    let tells = |line: &&str| !said(line).starts_with(|c| ('\u{2500}'..='\u{257f}').contains(&c));
    let lines = || text.lines().rev().filter(|line| !said(line).is_empty());
    lines().filter(tells).find(|line| !said(line).starts_with("finish: ")).or_else(|| lines().next())
}

#[cfg(test)]
mod tests {
    use super::last_words;

    #[test]
    fn the_last_words_are_the_gateways_own() {
        let time = "2026-11-26 16:20:16.552335152  ";
        let held = format!("{time}finish: the gateway is held down after exit code 78\n");
        for (log, last) in [
            (String::new(), None),
            ("\n \n".to_string(), None),
            (format!("{time}one\n{time}two\n\n"), Some(format!("{time}two"))),
            (
                format!("{time}port in use\n{time}\u{250c}\u{2500}\n{time}\u{2502} Starting\n{time}\n{held}"),
                Some(format!("{time}port in use")),
            ),
            ("no time\n".to_string() + &held, Some("no time".to_string())),
            (held.clone(), Some(held.trim().to_string())),
        ] {
            assert_eq!(last_words(&log).map(str::to_string), last);
        }
    }
}
