//! `.env` files, read with the grammar of python-dotenv, because the gateway reads them with python-dotenv.
//!
//! The crate `dotenvy` was tried, but it reads another language. With it, the apostrophe in `GREETING=it's me` swallows
//! the rest of the file, `A=b c` is an error, and `$HOME` is taken from our own environment. If the gateway finds a
//! pinned port that we do not find, two gateways may get the same port.

use super::python::Unclear;
use crate::ground::environment::is_space;
use std::collections::HashMap;

/// The most bytes that all values together may have. In a file of lines like `A=${B}${B}` the values double with every
/// line.
const ROOM: usize = 1 << 20;

/// The variables that the tools ask for.
const ASKED: [&str; 4] = ["API_SERVER_ENABLED", "API_SERVER_KEY", "API_SERVER_PORT", "GATEWAY_MULTIPLEX_PROFILES"];

/// The variables of one file.
#[derive(Clone, Debug, Default)]
pub struct Dotenv {
    values: HashMap<String, Option<String>>,
    /// The number of the first line with a statement that cannot be parsed.
    pub bad_line: Option<usize>,
}

impl Dotenv {
    /// Parse a file. `${NAME}` is replaced by the file's own value of NAME, else by the value in `inherited`. A
    /// statement that cannot be parsed is skipped up to the end of its line, as in python-dotenv.
    ///
    /// # Errors
    /// `Unclear` if the values grow too large, or if Hermes Agent repairs the file before it reads it
    /// (`hermes_cli/env_loader.py`). A UTF-8 byte order mark alone is no such case.
    pub fn parse(bytes: &[u8], inherited: &dyn Fn(&str) -> Option<String>) -> Result<Dotenv, Unclear> {
        let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
        let stripped = text.strip_prefix('\u{feff}').unwrap_or(&text);
        if bytes.contains(&0)
            || [[0xff, 0xfe], [0xfe, 0xff]].iter().any(|mark| bytes.starts_with(mark))
            || joins(stripped)
        {
            return Err(Unclear);
        }
        let read = Dotenv::of(stripped, inherited)?;
        // Hermes Agent removes the byte order mark only if it repairs something else in the file as well. Otherwise the
        // mark becomes part of the first name, and Hermes Agent does not find that variable. If the variable is the
        // port, that does no harm, because hermes-run-gateway passes the port on. If it is a switch, the switch is off
        // for Hermes Agent, so the file is unclear.
        if stripped.len() < text.len() {
            let marked = Dotenv::of(&text, inherited)?;
            let differs = |name: &&str| read.get(name) != marked.get(name);
            let is_missed = |name: &&str| *name == "API_SERVER_PORT" && marked.get(name).is_none();
            if ASKED.iter().any(|name| differs(name) && !is_missed(name)) {
                return Err(Unclear);
            }
        }
        Ok(read)
    }

    fn of(text: &str, inherited: &dyn Fn(&str) -> Option<String>) -> Result<Dotenv, Unclear> {
        let mut values: HashMap<String, Option<String>> = HashMap::new();
        let (mut rest, mut room, mut bad_line) = (text, ROOM, None);
        while !rest.is_empty() {
            rest = rest.trim_start_matches(is_space);
            let (begun, is_comment) = (text.len() - rest.len(), rest.is_empty() || rest.starts_with('#'));
            let Some((key, raw)) = binding(&mut rest) else {
                if !is_comment {
                    bad_line.get_or_insert_with(|| text[..begun].matches('\n').count() + 1);
                }
                rest = rest.split_once('\n').map_or("", |(_, after)| after);
                continue;
            };
            let lookup = |name: &str| match values.get(name) {
                Some(value) => Some(value.clone().unwrap_or_default()),
                None => inherited(name),
            };
            let value = raw.map(|raw| interpolate(&raw, room, &lookup)).transpose()?;
            room = room.checked_sub(value.as_ref().map_or(0, String::len)).ok_or(Unclear)?;
            values.insert(key.to_string(), value);
        }
        Ok(Dotenv { values, bad_line })
    }

    /// The last value of this variable. `None` if the file does not have the variable, or if its last statement has no
    /// `=`: then the gateway keeps the inherited value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.as_deref()
    }
}

/// Does the name of one of `ASKED` and its `=` stand right behind other text in a line? Hermes Agent repairs such
/// lines.
fn joins(text: &str) -> bool {
    let is_joined = |at: usize, name: &str| {
        let is_behind = text[..at].ends_with(|c: char| !is_space(c) && c != '#');
        is_behind && text[at + name.len()..].starts_with('=')
    };
    ASKED.iter().any(|name| text.match_indices(name).any(|(at, _)| is_joined(at, name)))
}

/// Parse one statement. `None` for a comment, and for text that python-dotenv cannot parse.
fn binding<'a>(rest: &mut &'a str) -> Option<(&'a str, Option<String>)> {
    if let Some(after) = rest.strip_prefix("export").filter(|after| after.starts_with(is_blank)) {
        *rest = after.trim_start_matches(is_blank);
    }
    let key = key(rest)?;
    *rest = rest.trim_start_matches(is_blank);
    let mut raw = None;
    if let Some(after) = rest.strip_prefix('=') {
        *rest = after.trim_start_matches(is_blank);
        raw = Some(value(rest)?);
    }
    *rest = rest.trim_start_matches(is_blank);
    if rest.starts_with('#') {
        *rest = &rest[line_end(rest)..];
    }
    if !rest.is_empty() {
        *rest = rest.strip_prefix('\n')?;
    }
    Some((key, raw))
}

fn key<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let (key, after) = match rest.strip_prefix('\'') {
        Some(quoted) => quoted.split_once('\'')?,
        None => rest.split_at(rest.find(|c| c == '=' || c == '#' || is_space(c)).unwrap_or(rest.len())),
    };
    *rest = if key.is_empty() { return None } else { after };
    Some(key)
}

fn value(rest: &mut &str) -> Option<String> {
    let Some(quote) = rest.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        let (line, after) = rest.split_at(line_end(rest));
        *rest = after;
        let comment = line.match_indices('#').find(|(at, _)| line[..*at].ends_with(is_space));
        return Some(line[..comment.map_or(line.len(), |(at, _)| at)].trim_end_matches(is_space).to_string());
    };
    // The closing quote is the first one without a backslash before it. If every quote has a backslash before it, it is
    // the last one, because python-dotenv's regular expression backtracks to it.
    let inner = &rest[1..];
    let is_closing = |at: &usize| !inner[..*at].ends_with('\\');
    let end = inner.match_indices(quote).map(|(at, _)| at).find(is_closing).or_else(|| inner.rfind(quote))?;
    *rest = &inner[end + 1..];
    Some(unescape(&inner[..end], quote == '"'))
}

/// Replace the escape sequences of a quoted value. A backslash can escape a backslash or a quote, and in double quotes
/// also one of some letters.
fn unescape(raw: &str, is_double: bool) -> String {
    let mut text = String::new();
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        let known = |next: &char| if is_double { "\\'\"abfnrtv".contains(*next) } else { "\\'".contains(*next) };
        text.push(match chars.next_if(|next| c == '\\' && known(next)) {
            None => c,
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            // No valid port or switch contains one of these four control characters, so one of them stands for all.
            Some('a' | 'b' | 'f' | 'v') => '\u{7}',
            Some(itself) => itself,
        });
    }
    text
}

/// Replace `${NAME}` and `${NAME:-default}`. `room` is the most bytes that the result may have.
fn interpolate(raw: &str, room: usize, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, Unclear> {
    // A reference ends with a brace, so there is none after the last brace. As long as a brace follows, no search goes
    // over the same text twice.
    let (mut rest, tail) = raw.split_at(raw.rfind('}').map_or(0, |at| at + 1));
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once("${") {
        let (name, end) = after.split_at(after.find(['}', ':']).unwrap_or(after.len()));
        let reference = match end.strip_prefix(":-") {
            Some(default) => default.split_once('}'),
            None => end.strip_prefix('}').map(|after| ("", after)),
        };
        text.push_str(before);
        match reference {
            Some((default, after)) => {
                text.push_str(&lookup(name).unwrap_or_else(|| default.to_string()));
                rest = after;
            }
            None => {
                text.extend(["${", name]);
                rest = end;
            }
        }
        if text.len() > room {
            return Err(Unclear);
        }
    }
    Ok(text + rest + tail)
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

    fn parse(text: &str) -> Result<Option<String>, Unclear> {
        let inherited = |name: &str| (name == "OUTSIDE").then(|| "9100".to_string());
        Ok(Dotenv::parse(text.as_bytes(), &inherited)?.get("P").map(str::to_string))
    }

    /// The values that python-dotenv 1.2.2 reads in these files.
    #[test]
    fn a_file_is_read_as_python_dotenv_reads_it() {
        for (text, value) in [
            ("P=9000\nP\n", None),
            ("export\tP=9000", Some("9000")),
            ("'P'=9000", Some("9000")),
            ("\"P\"=9000", None),
            ("P=9000 # mine", Some("9000")),
            ("P= # mine", Some("# mine")),
            ("P='9000' # mine", Some("9000")),
            ("P=\"9000\" mine", None),
            ("P='90\n00'", Some("90\n00")),
            ("P=\"90\\n00\\x\"", Some("90\n00\\x")),
            ("P='90\\n\\''", Some("90\\n'")),
            ("P=\"a\\\"", Some("a\\")),
            ("A B=1\nP=9000", Some("9000")),
            ("A=1\rP=9000\r\n", Some("9000")),
            ("A=90\nP='${A}00'", Some("9000")),
            ("P=${A:-9000}", Some("9000")),
            ("A\nP=${A:-9000}", Some("")),
            ("P=${OUTSIDE}", Some("9100")),
            ("OUTSIDE=9000\nP=${OUTSIDE}", Some("9000")),
            ("P=${A${B:c}${OUTSIDE}${:-", Some("${A${B:c}9100${:-")),
            ("P=${${A}}", Some("}")),
            ("P==9000\u{a0}", Some("=9000")),
            ("\u{feff}P=9000", Some("9000")),
        ] {
            assert_eq!(parse(text), Ok(value.map(str::to_string)), "{text:?}");
        }
    }

    #[test]
    fn the_first_line_that_cannot_be_read_has_its_number() {
        for (text, line) in [
            ("", None),
            ("A=1\n# it's mine\n\n  # \nB\nexport C='2'", None),
            ("A=1\n# mine\n\nB=\"open\nC=1\nD='open", Some(4)),
            ("A='1\n2'\n 'B=1\n", Some(3)),
            ("A='1' 2", Some(1)),
        ] {
            let read = Dotenv::parse(text.as_bytes(), &|_| None).map(|read| read.bad_line);
            assert_eq!(read, Ok(line), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_read_as_hermes_agent_reads_it_is_said_to_be_unclear() {
        let mut doubling = "A0=0123456789\n".to_string();
        for line in 1..64 {
            doubling += &format!("A{line}=${{A{}}}${{A{}}}\n", line - 1, line - 1);
        }
        for text in [
            "\u{feff}API_SERVER_KEY=a",
            "\u{feff}A=1\nAPI_SERVER_PORT=${A}",
            "P=9000\0",
            "KEY=aAPI_SERVER_PORT=9000",
            &(doubling + "P=9000"),
        ] {
            assert_eq!(parse(text), Err(Unclear), "{text:?}");
        }
    }
}
