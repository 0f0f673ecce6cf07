//! Errors, and the exit codes of all tools. The codes have the meanings that s6 gives them.

use std::process::ExitCode;

/// The exit codes. They are a contract on which scripts rely (docs/DESIGN.md, "Exit codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// The work is done, or nothing was left to do.
    Done = 0,
    /// The answer is no. Only tools that answer a question use this code.
    No = 1,
    /// A permanent configuration error (`EX_CONFIG`). Only run-gateway, run-logger and run-hook use it; `finish` turns
    /// that of the first one into 125.
    Config = 78,
    /// A wait timed out.
    TimedOut = 99,
    /// Wrong usage, invalid profile name, or no such profile: the command will never work as asked.
    Usage = 100,
    /// Wrong state: the profile is not registered, no s6-svscan runs on the scandir, or the caller may not publish
    /// there.
    WrongState = 102,
    /// A system call failed; trying again may work.
    System = 111,
    /// The chain-loaded program could not be executed.
    CannotExec = 126,
    /// The chain-loaded program was not found.
    NotFound = 127,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// The kind of a failure. Callers branch on the kind; a tool that fails ends with the kind's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A permanent configuration error: 78.
    Config,
    /// The deadline passed: 99.
    TimedOut,
    /// The command will never work as asked: 100.
    Usage,
    /// The command cannot work in the present state: 102.
    WrongState,
    /// A system call failed, and trying again may work: 111.
    System,
    /// The chain-loaded program could not be executed: 126.
    CannotExec,
    /// The chain-loaded program was not found: 127.
    NotFound,
}

impl Kind {
    /// The code that a tool ends with.
    pub fn exit(self) -> Exit {
        match self {
            Kind::Config => Exit::Config,
            Kind::TimedOut => Exit::TimedOut,
            Kind::Usage => Exit::Usage,
            Kind::WrongState => Exit::WrongState,
            Kind::System => Exit::System,
            Kind::CannotExec => Exit::CannotExec,
            Kind::NotFound => Exit::NotFound,
        }
    }
}

/// A failure: its kind, and a text that says why, without the program's name in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    /// Verb, object and cause, on one line: "unable to open /run/service: No such file or directory".
    pub text: String,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(kind: Kind, text: impl Into<String>) -> Error {
        let text = text.into();
        Error { kind, text }
    }

    /// The error of a failed system call, with code 111: `unable to VERB OBJECT: CAUSE`.
    pub fn system(verb: &str, object: impl std::fmt::Display, cause: impl Into<std::io::Error>) -> Error {
        Error::new(Kind::System, format!("unable to {verb} {object}: {}", cause_text(&cause.into())))
    }

    /// The same error with `before` in front of its text.
    pub fn context(mut self, before: impl std::fmt::Display) -> Error {
        self.text = format!("{before}: {}", self.text);
        self
    }
}

/// The text of an errno without Rust's "(os error N)", as skarnet's programs print it.
pub fn cause_text(cause: &std::io::Error) -> String {
    let text = cause.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_error_names_verb_object_and_cause() {
        let error = Error::system("open", "/x", rustix::io::Errno::NOENT);
        assert_eq!(error.kind, Kind::System);
        assert_eq!(error.text, "unable to open /x: No such file or directory");
    }
}
