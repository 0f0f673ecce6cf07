//! Messages on stderr, one line each, in the format of skalibs' strerr.

use crate::ground::waiting;
use std::fmt::Write as _;
use std::io::Write as _;

/// The longest message, in characters. A message may quote untrusted text of any length, and is cut here.
const LONGEST: usize = 2000;

/// The receiver of the library's warnings and information. The library never prints by itself.
pub trait Log {
    /// Report that something is wrong although the work goes on.
    fn warning(&self, text: &str);
    /// Report a detail that is only shown with `-v`.
    fn info(&self, text: &str);
}

/// A log that writes to stderr, with the program's name in front.
pub struct Stderr {
    prog: &'static str,
    verbose: bool,
}

impl Stderr {
    /// A log for the program `prog`. It prints `info:` lines only if `verbose`.
    pub fn new(prog: &'static str, verbose: bool) -> Stderr {
        Stderr { prog, verbose }
    }

    /// Print `prog: fatal: text`. An error without a text has nothing to say: the reader of standard output has gone.
    pub fn fatal(&self, text: &str) {
        if !text.is_empty() {
            self.line("fatal", text);
        }
    }

    /// Print `prog: usage: text`.
    pub fn usage(&self, text: &str) {
        self.line("usage", text);
    }

    fn line(&self, level: &str, text: &str) {
        let short: String = text.chars().take(LONGEST).collect();
        let more = if short.len() < text.len() { "..." } else { "" };
        let line = format!("{}: {level}: {}{more}\n", self.prog, printable(&short));
        waiting::over();
        // A closed or full stderr must not change what the tool does.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

impl Log for Stderr {
    fn warning(&self, text: &str) {
        self.line("warning", text);
    }

    fn info(&self, text: &str) {
        if self.verbose {
            self.line("info", text);
        }
    }
}

/// A log that drops everything, for a caller that only wants the result.
pub struct Silent;

impl Log for Silent {
    fn warning(&self, _text: &str) {}
    fn info(&self, _text: &str) {}
}

/// The text with every character escaped that could end a line, move a cursor or reorder what a terminal shows. Names
/// and values on the volume are untrusted (docs/DESIGN.md, "Invariants": no untrusted byte reaches a terminal raw).
pub fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                let _ = write!(clean, "{}", c.escape_unicode());
            }
            c if c.is_control() => {
                let _ = write!(clean, "{}", c.escape_default());
            }
            c => clean.push(c),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn nothing_that_moves_a_cursor_is_printable() {
        for (raw, shown) in [
            ("a b", "a b"),
            ("a\nb", "a\\nb"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("\u{202e}x", "\\u{202e}x"),
            ("é", "é"),
        ] {
            assert_eq!(printable(raw), shown);
        }
    }
}
