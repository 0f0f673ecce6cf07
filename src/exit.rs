//! Exit codes: one enum for all tools, with the meanings that s6 gives the numbers.

use std::process::ExitCode;

/// How a tool ends. The numbers are the contract (DESIGN, section 3); scripts branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done, or already so.
    Done = 0,
    /// The answer is no (predicates).
    No = 1,
    /// run-gateway and run-logger only: a permanent configuration error (`EX_CONFIG`); `finish` turns it into 125.
    Config = 78,
    /// Timed out while waiting.
    TimedOut = 99,
    /// Wrong usage, invalid profile name, no such profile: it will never work as asked.
    Usage = 100,
    /// Wrong state: not registered, no s6-svscan on the scandir, not permitted to publish here.
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

/// A failure: the code to end with and the words that say why, without the program's name in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The code to end with.
    pub exit: Exit,
    /// Verb, object and cause, on one line: "unable to open /run/service: No such file or directory".
    pub text: String,
}

/// What nearly every function of this library returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with this code and these words.
    pub fn new(exit: Exit, text: impl Into<String>) -> Error {
        let text = text.into();
        Error { exit, text }
    }

    /// A failed system call (111): `unable to VERB OBJECT: CAUSE`.
    pub fn system(verb: &str, object: impl std::fmt::Display, cause: impl Into<std::io::Error>) -> Error {
        Error::new(Exit::System, format!("unable to {verb} {object}: {}", cause_text(&cause.into())))
    }

    /// The same words with more of the story in front of them.
    pub fn context(mut self, before: impl std::fmt::Display) -> Error {
        self.text = format!("{before}: {}", self.text);
        self
    }
}

/// strerror without Rust's "(os error N)", as skarnet's programs print it.
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
        assert_eq!(error.exit, Exit::System);
        assert_eq!(error.text, "unable to open /x: No such file or directory");
    }
}
