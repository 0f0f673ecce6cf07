//! What standard output takes: colours, and lines of a certain width, if it is a terminal.

/// The fewest columns in which a note is folded beside its row. If there are fewer, it comes below the row.
const BESIDE: usize = 20;

/// How far a note below its row is moved to the right.
const BELOW: usize = 4;

/// A colour of ECMA-48.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
}

/// Standard output as a screen.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Are there colours? There are none in a file or a pipe, with `NO_COLOR`, and on a dumb terminal.
    pub colour: bool,
    /// The width in columns. `None` for a file or a pipe.
    pub width: Option<usize>,
}

impl Screen {
    /// The screen that standard output is.
    pub fn of_stdout() -> Screen {
        let stdout = std::io::stdout();
        if !rustix::termios::isatty(&stdout) {
            return Screen { colour: false, width: None };
        }
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let colour = set("NO_COLOR").is_none() && set("TERM").is_some_and(|term| term != "dumb");
        let width = rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col));
        Screen { colour, width: width.filter(|width| *width > 0) }
    }

    /// The text in this colour, if there are colours.
    pub fn paint(self, text: &str, colour: Option<Colour>) -> String {
        match colour.filter(|_| self.colour && !text.is_empty()) {
            Some(colour) => format!("\u{1b}[{}m{text}\u{1b}[0m", colour as u8),
            None => text.to_string(),
        }
    }

    /// A note in pieces that fit on the screen, behind a row that takes `column` columns. The second value is the column
    /// at which all pieces but the first begin. The first piece is empty if nothing of the note fits beside the row.
    pub fn fold(self, note: &str, column: usize) -> (Vec<String>, usize) {
        let Some(width) = self.width.filter(|width| column + note.chars().count() > *width) else {
            return (vec![note.to_string()], column);
        };
        let beside = column + BESIDE <= width;
        let at = if beside { column } else { BELOW };
        let room = width.saturating_sub(at).max(1);
        let mut pieces: Vec<String> = Vec::new();
        for word in note.split(' ') {
            match pieces.last_mut() {
                Some(last) if last.chars().count() + 1 + word.chars().count() <= room => {
                    last.push(' ');
                    last.push_str(word);
                }
                _ => pieces.push(word.to_string()),
            }
        }
        if !beside {
            pieces.insert(0, String::new());
        }
        (pieces, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_folded_at_words_and_below_a_row_that_leaves_no_room() {
        let note = "wanted-but-down, 3 deaths";
        for (width, column, pieces, at) in [
            (None, 50, vec![note], 50),
            (Some(75), 50, vec![note], 50),
            (Some(74), 50, vec!["wanted-but-down, 3", "deaths"], 50),
            (Some(60), 50, vec!["", note], 4),
            (Some(20), 50, vec!["", "wanted-but-down,", "3 deaths"], 4),
        ] {
            let screen = Screen { colour: false, width };
            let pieces: Vec<String> = pieces.into_iter().map(str::to_string).collect();
            assert_eq!(screen.fold(note, column), (pieces, at), "{width:?}");
        }
    }
}
