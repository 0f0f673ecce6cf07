//! `.env` files with the grammar of python-dotenv, which the gateway reads them with.
//!
//! The `dotenvy` crate was tried and reads another language: an apostrophe in `GREETING=it's me` swallows the rest of the
//! file, `A=b c` is an error, `$HOME` is taken from our own environment. A pinned port that the gateway sees and we do
//! not is a collision.

use super::python::is_space;
use std::borrow::Cow;
use std::collections::HashMap;

/// How much all values together may grow to: `A=${B}${B}` doubles with every line.
const ROOM: usize = 1 << 20;

/// How far the end of a `${NAME:-default}` is looked for, in bytes: where there is none, every `${` would look again.
const REFERENCE: usize = 512;

/// The variables of one file.
#[derive(Debug, Default)]
pub struct Dotenv(HashMap<String, Option<String>>);

impl Dotenv {
    /// Parse a file. What it does not set, `${NAME}` takes from `inherited`. A statement that cannot be parsed is passed
    /// over to the end of its line, as python-dotenv does.
    pub fn parse(bytes: &[u8], inherited: &dyn Fn(&str) -> Option<String>) -> Dotenv {
        let text = decode(bytes);
        let mut rest = text.as_str();
        let mut values: HashMap<String, Option<String>> = HashMap::new();
        let mut room = ROOM;
        while !rest.is_empty() {
            match binding(&mut rest) {
                Ok(Some((key, value))) => {
                    let value = value.map(|raw| {
                        let text = interpolate(&raw, room, &|name| match values.get(name) {
                            Some(value) => Some(Cow::from(value.as_deref().unwrap_or(""))),
                            None => inherited(name).map(Cow::from),
                        });
                        room -= text.len();
                        text
                    });
                    values.insert(key, value);
                }
                Ok(None) => {}
                Err(Unparsable) => skip_line(&mut rest),
            }
        }
        Dotenv(values)
    }

    /// The last value of this variable. A last mention without `=` leaves the variable as the gateway inherits it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_deref()
    }
}

struct Unparsable;

/// UTF-8, else Latin-1; without a byte order mark and NULs, which Hermes Agent removes; with Python's line ends.
fn decode(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_string(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    };
    let text = text.trim_start_matches('\u{feff}');
    text.replace('\0', "").replace("\r\n", "\n").replace('\r', "\n")
}

/// One statement, or nothing where only blank lines or a comment are left of it.
fn binding(rest: &mut &str) -> Result<Option<(String, Option<String>)>, Unparsable> {
    *rest = rest.trim_start_matches(is_space);
    if rest.is_empty() {
        return Ok(None);
    }
    if let Some(after) = rest.strip_prefix("export")
        && after.starts_with(is_blank)
    {
        *rest = after.trim_start_matches(is_blank);
    }
    let key = key(rest)?;
    *rest = rest.trim_start_matches(is_blank);
    let value = match rest.strip_prefix('=') {
        Some(after) => {
            *rest = after.trim_start_matches(is_blank);
            Some(value(rest)?)
        }
        None => None,
    };
    *rest = rest.trim_start_matches(is_blank);
    if rest.starts_with('#') {
        *rest = &rest[line_end(rest)..];
    }
    match rest.strip_prefix('\n') {
        Some(after) => *rest = after,
        None if rest.is_empty() => {}
        None => return Err(Unparsable),
    }
    Ok(key.map(|key| (key, value)))
}

fn key(rest: &mut &str) -> Result<Option<String>, Unparsable> {
    let (key, after) = match rest.strip_prefix('\'') {
        Some(quoted) => quoted.split_once('\'').ok_or(Unparsable)?,
        None if rest.starts_with('#') => return Ok(None),
        None => rest.split_at(rest.find(|c| c == '=' || c == '#' || is_space(c)).unwrap_or(rest.len())),
    };
    if key.is_empty() {
        return Err(Unparsable);
    }
    *rest = after;
    Ok(Some(key.to_string()))
}

fn value(rest: &mut &str) -> Result<String, Unparsable> {
    match rest.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let end = closing(&rest[1..], quote).ok_or(Unparsable)?;
            let raw = &rest[1..=end];
            *rest = &rest[end + 2..];
            Ok(unescape(raw, if quote == '"' { "\\'\"abfnrtv" } else { "\\'" }))
        }
        _ => {
            let (line, after) = rest.split_at(line_end(rest));
            *rest = after;
            let comment = line.match_indices('#').find(|(at, _)| line[..*at].ends_with(is_space));
            Ok(line[..comment.map_or(line.len(), |(at, _)| at)].trim_end_matches(is_space).to_string())
        }
    }
}

/// Where the closing quote is: the first without a backslash before it, else, as python-dotenv's regular expression gives
/// back what it took, the last one with.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut last = None;
    for (at, _) in text.match_indices(quote) {
        if !text[..at].ends_with('\\') {
            return Some(at);
        }
        last = Some(at);
    }
    last
}

fn unescape(raw: &str, known: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next_if(|next| known.contains(*next)) } else { None };
        text.push(match escaped {
            None => c,
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some(itself) => itself,
        });
    }
    text
}

/// Replace `${NAME}` and `${NAME:-default}`; the text is cut where it would outgrow `room`.
fn interpolate<'v>(raw: &str, room: usize, lookup: &dyn Fn(&str) -> Option<Cow<'v, str>>) -> String {
    let mut text = String::new();
    let mut rest = raw;
    while let Some(at) = rest.find("${") {
        push(&mut text, &rest[..at], room);
        match variable(&rest[at + 2..]) {
            Some((name, default, after)) => {
                push(&mut text, &lookup(name).unwrap_or(Cow::from(default)), room);
                rest = after;
            }
            None => {
                push(&mut text, "${", room);
                rest = &rest[at + 2..];
            }
        }
    }
    push(&mut text, rest, room);
    text
}

/// The name, the default and what follows of `NAME:-default}...`
fn variable(text: &str) -> Option<(&str, &str, &str)> {
    let near = &text.as_bytes()[..text.len().min(REFERENCE)];
    let name = near.iter().position(|b| matches!(b, b'}' | b':'))?;
    if near[name] == b'}' {
        return Some((&text[..name], "", &text[name + 1..]));
    }
    let default = name + 2;
    let end = default + near.get(default..)?.iter().position(|b| *b == b'}')?;
    (near[name + 1] == b'-').then(|| (&text[..name], &text[default..end], &text[end + 1..]))
}

fn push(text: &mut String, more: &str, room: usize) {
    if text.len() + more.len() <= room {
        text.push_str(more);
    }
}

fn skip_line(rest: &mut &str) {
    let end = line_end(rest);
    *rest = rest.get(end + 1..).unwrap_or("");
}

fn line_end(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

fn is_blank(c: char) -> bool {
    c != '\n' && is_space(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(text: &str) -> Option<String> {
        let inherited = |name: &str| (name == "OUTSIDE").then(|| "9100".to_string());
        Dotenv::parse(text.as_bytes(), &inherited).get("P").map(str::to_string)
    }

    /// What python-dotenv 1.2.2 makes of each of these.
    #[test]
    fn a_file_is_read_as_python_dotenv_reads_it() {
        for (text, value) in [
            ("P=9000", Some("9000")),
            ("P=9000\nP=9001\n", Some("9001")),
            ("P=9000\nP\n", None),
            ("P", None),
            ("P=", Some("")),
            ("P= \n", Some("")),
            ("  P = 9000  \n", Some("9000")),
            ("export P=9000", Some("9000")),
            ("export\tP=9000", Some("9000")),
            ("'P'=9000", Some("9000")),
            ("\"P\"=9000", None),
            ("#P=9000", None),
            ("P=9000 # mine", Some("9000")),
            ("P=9000# mine", Some("9000# mine")),
            ("P=# mine", Some("# mine")),
            ("P= # mine", Some("# mine")),
            ("P='9000' # mine", Some("9000")),
            ("P=\"9000\"# mine", Some("9000")),
            ("P=\"9000\" mine", None),
            ("P='90\n00'", Some("90\n00")),
            ("P=\"90\\n00\\x\"", Some("90\n00\\x")),
            ("P='90\\n\\''", Some("90\\n'")),
            ("P=\"a\\\"", Some("a\\")),
            ("A=it's me\nP=9000", Some("9000")),
            ("A='open\nP=9000", Some("9000")),
            ("A=b c\nP=9000", Some("9000")),
            ("A B=1\nP=9000", Some("9000")),
            ("=1\nP=9000", Some("9000")),
            ("A=1\rP=9000\r\n", Some("9000")),
            ("\u{feff}P=9000", Some("9000")),
            ("P=90\u{0}00", Some("9000")),
            ("A=9000\nP=${A}", Some("9000")),
            ("A=90\nP='${A}00'", Some("9000")),
            ("P=$A", Some("$A")),
            ("P=${A}", Some("")),
            ("P=${A:-9000}", Some("9000")),
            ("A=\nP=${A:-9000}", Some("")),
            ("A\nP=${A:-9000}", Some("")),
            ("P=${OUTSIDE}", Some("9100")),
            ("OUTSIDE=9000\nP=${OUTSIDE}", Some("9000")),
            ("P=${A", Some("${A")),
            ("P=${A:9000}", Some("${A:9000}")),
            ("P=${${A}}", Some("}")),
            ("P=9000\u{a0}", Some("9000")),
            ("P==9000", Some("=9000")),
            ("EXPORT P=9000", None),
        ] {
            assert_eq!(get(text).as_deref(), value, "{text:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_utf_8_is_latin_1() {
        let env = Dotenv::parse(b"NAME=caf\xe9\nP=9000\n", &|_| None);
        assert_eq!((env.get("NAME"), env.get("P")), (Some("caf\u{e9}"), Some("9000")));
    }

    #[test]
    fn a_reference_without_an_end_in_sight_is_text() {
        for far in ["x".repeat(REFERENCE), format!(":-{}", "x".repeat(REFERENCE))] {
            let text = format!("${{A{far}}}");
            assert_eq!(get(&format!("P={text}")), Some(text));
        }
    }

    #[test]
    fn values_that_double_do_not_fill_the_memory() {
        let mut text = "A0=0123456789\n".to_string();
        for line in 1..64 {
            text += &format!("A{line}=${{A{}}}${{A{}}}\n", line - 1, line - 1);
        }
        let env = Dotenv::parse((text + "P=9000").as_bytes(), &|_| None);
        assert!(env.0.values().flatten().map(String::len).sum::<usize>() <= ROOM);
    }
}
