//! The last line of a gateway's log, for messages about a gateway that is not up.

use crate::ground::profile::Profile;
use crate::ground::roots_links;
use crate::volume::home::Home;
use crate::volume::writable;
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

/// How much of the end of the log is read, in bytes.
const TAIL: u64 = 4096;

/// `see LOG, which ends in "..."`, for a message. If nothing can be written to the volume, the log's last line is an
/// old one, and the message says that instead. The line is untrusted, so the caller escapes it when it prints the
/// message.
pub fn hint(home: &Home, profile: &Profile) -> String {
    if let Ok(Some(hindrance)) = writable::hindrance(home, profile) {
        return hindrance.why.to_string();
    }
    let path = format!("logs/gateways/{profile}/current");
    let shown = home.path.join(&path);
    match last_line(home, &path) {
        Some(line) => format!("see {}, which ends in \"{line}\"", shown.display()),
        None => format!("see {}", shown.display()),
    }
}

/// At most 200 characters of the gateway's last line.
fn last_line(home: &Home, path: &str) -> Option<String> {
    let read = home.act(|home| {
        let fd = roots_links::open(home, path, OFlags::RDONLY | OFlags::NONBLOCK).ok();
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

/// The last line that tells something about the gateway. Two kinds of lines do not: the line of our `finish`, which is
/// the same for every held gateway; and the box that Hermes Agent draws, which leaves its buffer only when Hermes Agent
/// ends, behind the error with which it ended.
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
