//! Records on stdout: `key=value` fields for people and shells, or one JSON object a line for programs.

use crate::ground::error::{Error, Kind, Result};
use crate::ground::message::printable;
use crate::ground::waiting;
use serde_json::Value as Json;
use std::io::Write as _;

/// One record: the same fields in the same order in both forms.
#[derive(Clone, Debug, Default)]
pub struct Record {
    fields: Vec<(&'static str, Field)>,
}

#[derive(Clone, Debug)]
enum Field {
    Text(String),
    Number(u64),
    /// A boolean that only JSON shows.
    Flag(bool),
    YesNo(bool),
    /// A text that only JSON shows.
    Aside(String),
    /// Texts that only JSON shows.
    List(Vec<String>),
    /// No value: `null` in JSON. The text form shows this word, or leaves the field out if there is no word.
    Absent(Option<&'static str>),
}

impl Record {
    pub fn new() -> Record {
        Record::default()
    }

    /// Add a text.
    #[must_use]
    pub fn text(mut self, key: &'static str, value: impl Into<String>) -> Record {
        self.fields.push((key, Field::Text(value.into())));
        self
    }

    /// Add a number.
    #[must_use]
    pub fn number(mut self, key: &'static str, value: u64) -> Record {
        self.fields.push((key, Field::Number(value)));
        self
    }

    /// Add a number that may be absent: the word `none` in text, null in JSON.
    #[must_use]
    pub fn number_or_none(mut self, key: &'static str, value: Option<u64>) -> Record {
        self.fields.push((key, value.map_or(Field::Absent(Some("none")), Field::Number)));
        self
    }

    /// Add a number that may be absent: left out of the text form, null in JSON.
    #[must_use]
    pub fn number_if_any(mut self, key: &'static str, value: Option<u64>) -> Record {
        self.fields.push((key, value.map_or(Field::Absent(None), Field::Number)));
        self
    }

    /// Add texts that only JSON shows, as an array.
    #[must_use]
    pub fn list(mut self, key: &'static str, values: &[String]) -> Record {
        self.fields.push((key, Field::List(values.to_vec())));
        self
    }

    /// Add a text that may be absent: left out of the text form, null in JSON.
    #[must_use]
    pub fn note(mut self, key: &'static str, value: Option<impl Into<String>>) -> Record {
        self.fields.push((key, value.map_or(Field::Absent(None), |v| Field::Text(v.into()))));
        self
    }

    /// Add a boolean that only JSON shows. `dry_run` is one, because the text of a dry run is that of a real run.
    #[must_use]
    pub fn flag(mut self, key: &'static str, value: bool) -> Record {
        self.fields.push((key, Field::Flag(value)));
        self
    }

    /// Add a boolean, shown as `yes` or `no` in text.
    #[must_use]
    pub fn yes_no(mut self, key: &'static str, value: bool) -> Record {
        self.fields.push((key, Field::YesNo(value)));
        self
    }

    /// Add a text that only JSON shows, because the text form has it elsewhere.
    #[must_use]
    pub fn json_only(mut self, key: &'static str, value: &str) -> Record {
        self.fields.push((key, Field::Aside(value.to_string())));
        self
    }

    /// Add the fields of another record.
    #[must_use]
    pub fn and(mut self, other: Record) -> Record {
        self.fields.extend(other.fields);
        self
    }

    /// The fields as `key=value`, separated by single spaces. In a value, white space and every unprintable character
    /// are escaped.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(128);
        for (key, field) in &self.fields {
            let value = match field {
                Field::Text(value) => spaceless(value),
                Field::Number(value) => value.to_string(),
                Field::YesNo(value) => (if *value { "yes" } else { "no" }).to_string(),
                Field::Absent(Some(word)) => (*word).to_string(),
                Field::Flag(_) | Field::Aside(_) | Field::List(_) | Field::Absent(None) => continue,
            };
            let before = if text.is_empty() { "" } else { " " };
            text.extend([before, key, "=", &value]);
        }
        text
    }

    /// One JSON object with the fields in the order in which they were added.
    pub fn to_json(&self) -> String {
        let fields: Vec<String> = (self.fields.iter())
            .map(|(key, field)| {
                let value = match field {
                    Field::Text(value) | Field::Aside(value) => Json::from(printable(value)),
                    Field::List(values) => values.iter().map(|value| printable(value)).collect(),
                    Field::Number(value) => Json::from(*value),
                    Field::Flag(value) | Field::YesNo(value) => Json::from(*value),
                    Field::Absent(_) => Json::Null,
                };
                format!("\"{key}\":{value}")
            })
            .collect();
        format!("{{{}}}", fields.join(","))
    }
}

/// stdout, in the form that the caller asked for.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// Print JSON (`-j`).
    pub json: bool,
}

impl Output {
    /// Print one record, in text form with `prefix` in front.
    ///
    /// # Errors
    /// As `line`.
    pub fn record(self, prefix: &str, record: &Record) -> Result<()> {
        match self.json {
            true => line(record.to_json()),
            false => line(format!("{prefix}{}", record.to_text())),
        }
    }
}

/// Write one line on stdout and flush it.
///
/// # Errors
/// 111 if the line cannot be written, also if the reader has closed the pipe. Then the error has no text, because the
/// reader wants no more words.
pub fn line(text: impl Into<String>) -> Result<()> {
    let mut text = text.into();
    text.push('\n');
    waiting::over();
    let mut out = std::io::stdout().lock();
    (out.write_all(text.as_bytes())).and_then(|()| out.flush()).map_err(|e| match e.kind() {
        std::io::ErrorKind::BrokenPipe => Error::new(Kind::System, ""),
        _ => Error::system("write to", "standard output", e),
    })
}

/// The value as one word, for a reader that splits a line at white space, Unicode's included.
fn spaceless(value: &str) -> String {
    let mut word = String::with_capacity(value.len());
    for c in printable(value).chars() {
        match c {
            ' ' => word.push_str("\\x20"),
            c if c.is_whitespace() => word.extend(c.escape_unicode()),
            c => word.push(c),
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::Record;

    #[test]
    fn text_and_json_show_the_same_fields_in_the_same_order() {
        let record = Record::new()
            .text("profile", "coder")
            .number_or_none("port", None)
            .note("note", None::<String>)
            .text("odd", "a b\n\"\u{a0}")
            .flag("dry_run", true);
        assert_eq!(record.to_text(), "profile=coder port=none odd=a\\x20b\\n\"\\u{a0}");
        assert_eq!(record.to_json(), r#"{"profile":"coder","port":null,"note":null,"odd":"a b\\n\" ","dry_run":true}"#);
    }
}
