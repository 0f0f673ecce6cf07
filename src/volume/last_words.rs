//! The last words of a gateway: the last lines of its log, for messages about a gateway that is not up or not well.

use crate::ground::profile::Profile;
use crate::ground::roots_links;
use crate::volume::home::Home;
use crate::volume::log_line;
use crate::volume::writable;
use jiff::tz::TimeZone;
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// How much of the end of the log is read, in bytes.
const TAIL: u64 = 16 * 1024;

/// How many lines are quoted.
const LINES: usize = 3;

/// The longest line that is quoted whole, in characters.
const LONGEST: usize = 400;

/// The path of a gateway's log, and the last lines in it that the gateway itself has written since it was last
/// started, without their times. The lines are untrusted, so the caller escapes them when it prints them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastWords {
    pub log: PathBuf,
    pub lines: Vec<String>,
}

impl LastWords {
    /// The last words of this profile's gateway. `started` is when the gateway was last started, in seconds since the
    /// epoch, as the slot's `run` has written it into the log and into `data/started`. If it is not known, lines of an
    /// earlier run may be among them.
    pub fn of(home: &Home, profile: &Profile, started: Option<u64>) -> LastWords {
        let path = format!("logs/gateways/{profile}/current");
        let tail = Tail::read(home, &path);
        let lines = tail.map_or_else(Vec::new, |tail| own_lines(&tail, started));
        LastWords { log: home.path.join(path), lines }
    }
}

/// `see LOG, which ends in "...", "..."`, for a message. If nothing can be written to the volume, the lines of the log
/// are old, and the message says that instead.
pub fn hint(home: &Home, profile: &Profile, started: Option<u64>) -> String {
    if let Ok(Some(hindrance)) = writable::hindrance(home, profile) {
        return hindrance.why.to_string();
    }
    let LastWords { log, lines } = LastWords::of(home, profile, started);
    let quoted: Vec<String> = lines.iter().map(|line| format!("\"{line}\"")).collect();
    match quoted.is_empty() {
        true => format!("see {}", log.display()),
        false => format!("see {}, which ends in {}", log.display(), quoted.join(", ")),
    }
}

/// The end of a log.
struct Tail {
    text: String,
    /// When the log was last written, in seconds since the epoch.
    written: u64,
}

impl Tail {
    fn read(home: &Home, path: &str) -> Option<Tail> {
        let read = home.act(|home| {
            let fd = roots_links::open(home, path, OFlags::RDONLY | OFlags::NONBLOCK).ok();
            Ok(fd.and_then(|fd| Tail::of(File::from(fd))))
        });
        read.ok()?
    }

    fn of(mut file: File) -> Option<Tail> {
        let metadata = file.metadata().ok().filter(|m| m.is_file())?;
        let from = metadata.len().saturating_sub(TAIL);
        file.seek(SeekFrom::Start(from)).ok()?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        // The first line is not whole if the log is longer.
        let text = if from == 0 { &text } else { text.split_once('\n').map_or("", |(_, rest)| rest) };
        let written =
            metadata.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs);
        Some(Tail { text: text.to_string(), written })
    }
}

/// The last lines that the gateway itself has written since it was started. If there is no error among them, the last
/// error is quoted in place of the first of them.
fn own_lines(tail: &Tail, started: Option<u64>) -> Vec<String> {
    let lines: Vec<&str> = tail.text.lines().map(without_time).collect();
    let mark = lines.iter().rposition(|line| mark_of(line).is_some());
    let since = match (mark, started) {
        // Nothing of this run is in the log, perhaps because the volume could not be written.
        (Some(mark), Some(started)) if mark_of(lines[mark]) != Some(started) => return Vec::new(),
        (None, Some(started)) if tail.written < started => return Vec::new(),
        (Some(mark), _) => mark + 1,
        (None, _) => 0,
    };
    let own: Vec<&str> = lines[since..].iter().copied().filter(|line| tells(line)).collect();
    let (before, last) = own.split_at(own.len().saturating_sub(LINES));
    // Hermes Agent warns of what follows from an error behind the error itself.
    let error = before.iter().rfind(|line| is_error(line)).filter(|_| !last.iter().any(|line| is_error(line)));
    error.into_iter().chain(&last[usize::from(error.is_some())..]).map(|line| shortened(line)).collect()
}

/// Is this one of Hermes Agent's own lines about an error?
fn is_error(line: &str) -> bool {
    line.starts_with("ERROR ") || line.starts_with("CRITICAL ")
}

/// The line without the time in front.
fn without_time(line: &str) -> &str {
    log_line::split(line, &TimeZone::UTC).1.trim_end()
}

/// The time in the line with which the slot's `run` begins: `run: coder starts, 1795774815`.
fn mark_of(line: &str) -> Option<u64> {
    line.strip_prefix("run: ")?.rsplit_once(" starts, ")?.1.parse().ok()
}

/// Does the line tell something about the gateway? The lines of `run`, of `finish`, of the operator's program, of s6's
/// programs, and the `info` lines of ours do not. Neither does the box that Hermes Agent draws, which leaves its buffer only when Hermes Agent
/// ends, behind the error with which it ended.
fn tells(line: &str) -> bool {
    let line = line.trim_start();
    let prog = line.split_once(": ").map_or("", |(prog, _)| prog);
    let of_s6 = prog.starts_with("s6-") && !prog.contains(' ');
    let info = prog.starts_with("hermes-") && line[prog.len()..].starts_with(": info: ");
    let in_box = line.starts_with(|c| ('\u{2500}'..='\u{257f}').contains(&c));
    !(line.is_empty() || in_box || of_s6 || info || matches!(prog, "run" | "finish" | "hermes-run-hook"))
}

/// The line, cut behind a word if it is long.
fn shortened(line: &str) -> String {
    let Some((end, _)) = line.char_indices().nth(LONGEST) else { return line.to_string() };
    let end = line[..end].rfind(char::is_whitespace).unwrap_or(end);
    format!("{} ...", line[..end].trim_end())
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Tail, own_lines};

    const TIME: &str = "2026-11-26 16:20:16.552335152  ";

    fn words(lines: &[&str], started: Option<u64>) -> Vec<String> {
        let text: String = lines.iter().map(|line| format!("{TIME}{line}\n")).collect();
        own_lines(&Tail { text, written: 100 }, started)
    }

    #[test]
    fn the_last_words_are_the_gateways_own() {
        let after = [
            "s6-permafailon: info: PERMANENT FAILURE triggered after 5 events",
            "finish: coder exited with 1 after 0 s, 5 of 5 in 60 s",
            "hermes-run-hook: info: sent",
            "hermes-run-hook: fatal: coder died: /x/tell failed: exit status: 1",
            "finish: the gateway is held down after dying 5 times in 60 seconds: see its log above, then start it again",
        ];
        let all = |before: &[&str]| words(&[before, &after].concat(), Some(50));
        assert_eq!(all(&["run: coder starts, 50"]), Vec::<String>::new());
        assert_eq!(
            all(&["run: coder starts, 50", "hermes-run-gateway: info: coder in /x", "a", "  b", "", "c"]),
            ["a", "  b", "c"]
        );
        assert_eq!(all(&["run: coder starts, 50", "a", "b", "c", "FATAL: bad token"]), ["b", "c", "FATAL: bad token"]);
        let ours = "hermes-run-gateway: fatal: unable to execute hermes: No such file or directory";
        assert_eq!(all(&["run: coder starts, 50", ours]), [ours]);
        assert_eq!(
            all(&["run: coder starts, 50", "port in use", "\u{250c}\u{2500}", "\u{2502} Starting"]),
            ["port in use"]
        );
    }

    #[test]
    fn the_last_words_are_not_older_than_the_last_start() {
        let old = ["run: coder starts, 40", "old"];
        assert_eq!(words(&[&old[..], &["run: coder starts, 50", "new"]].concat(), Some(50)), ["new"]);
        assert_eq!(words(&[&old[..], &["run: coder starts, 50"]].concat(), Some(50)), Vec::<String>::new());
        assert_eq!(words(&old, Some(50)), Vec::<String>::new());
        // A gateway that has written much since its start, and a log that is older than the start.
        assert_eq!(words(&["some"], Some(50)), ["some"]);
        assert_eq!(words(&["some"], Some(101)), Vec::<String>::new());
        // A template that does not write the time of the start.
        assert_eq!(words(&["some"], None), ["some"]);
    }

    #[test]
    fn an_error_is_quoted_in_place_of_the_first_of_three_warnings() {
        let error = "ERROR gateway: no key";
        let lines = |end: &[&'static str]| words(&[&["ERROR old", "WARNING a", error][..], end].concat(), None);
        assert_eq!(lines(&["WARNING b"]), ["WARNING a", error, "WARNING b"]);
        assert_eq!(lines(&["WARNING b", "WARNING c", "WARNING d", "WARNING e"]), [error, "WARNING d", "WARNING e"]);
        assert_eq!(lines(&["b", "c", "CRITICAL d"]), ["b", "c", "CRITICAL d"]);
    }

    #[test]
    fn a_long_line_is_cut_behind_a_word() {
        let line = format!("{} end", "abc ".repeat(LONGEST / 4));
        let said = words(&[&line], None).remove(0);
        assert!(said.ends_with("abc ...") && said.len() <= LONGEST + 4, "{said}");
        let one_word = "x".repeat(LONGEST + 1);
        assert_eq!(words(&[&one_word], None), [format!("{} ...", "x".repeat(LONGEST))]);
        assert_eq!(words(&["  two  blanks"], None), ["  two  blanks"]);
    }

    #[test]
    fn the_time_in_front_is_not_quoted() {
        let tail = |text: &str| own_lines(&Tail { text: text.to_string(), written: 0 }, None);
        assert_eq!(tail("@400000006b0979e830d6e03b said\nno time\n"), ["said", "no time"]);
        assert_eq!(tail(""), Vec::<String>::new());
        assert_eq!(tail("\n \n"), Vec::<String>::new());
    }
}
