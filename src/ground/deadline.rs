//! The deadline of a command, which the option `-t` sets.

use crate::ground::error::{Error, Kind, Result};
use crate::ground::interrupt;
use crate::ground::message::printable;
use crate::ground::waiting;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A point in time after which a command stops waiting, or no limit.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Option<Instant>,
    ms: u64,
}

/// The deadline of the command that this process is.
static COMMAND: OnceLock<Deadline> = OnceLock::new();

impl Deadline {
    /// The deadline of the whole command, `ms` milliseconds from now; 0 means no limit. It also bounds the s6 programs
    /// that the command runs. Only the first call sets it.
    pub fn of_command(ms: u64) -> Deadline {
        *COMMAND.get_or_init(|| Deadline::after_ms(ms))
    }

    /// The deadline of the command; no limit if `of_command` was not called.
    pub fn command() -> Deadline {
        COMMAND.get().copied().unwrap_or(Deadline { at: None, ms: 0 })
    }

    /// `ms` milliseconds from now; 0 = no limit.
    pub fn after_ms(ms: u64) -> Deadline {
        let at = (ms != 0).then(|| Instant::now() + Duration::from_millis(ms));
        Deadline { at, ms }
    }

    /// The time that is left, at most `most`; `None` once the deadline has passed.
    pub fn left(self, most: Duration) -> Option<Duration> {
        match self.at {
            None => Some(most),
            Some(at) => at.checked_duration_since(Instant::now()).filter(|d| !d.is_zero()).map(|d| d.min(most)),
        }
    }

    /// The time to sleep before the next look: what is left, at most `most`.
    ///
    /// # Errors
    /// 99, naming `what`, once the deadline has passed; 111 once a deferred signal has come.
    pub fn patience(self, most: Duration, what: impl std::fmt::Display) -> Result<Duration> {
        if interrupt::caught() {
            return Err(Error::new(Kind::System, format!("interrupted while waiting for {what}")));
        }
        waiting::going_on(|| printable(&what.to_string()));
        self.left(most).ok_or_else(|| self.timed_out(what))
    }

    /// Is there no limit?
    pub fn is_endless(self) -> bool {
        self.at.is_none()
    }

    /// Has the deadline passed?
    pub fn passed(self) -> bool {
        self.left(Duration::MAX).is_none()
    }

    /// The earlier of this deadline and `ms` milliseconds from now.
    #[must_use]
    pub fn or_after_ms(self, ms: u64) -> Deadline {
        match self.left(Duration::from_millis(ms)) {
            Some(left) if left >= Duration::from_millis(ms) => Deadline::after_ms(ms.max(1)),
            _ => self,
        }
    }

    /// The error `timed out after MS ms waiting for WHAT`, with code 99.
    pub fn timed_out(self, what: impl std::fmt::Display) -> Error {
        Error::new(Kind::TimedOut, format!("timed out after {} ms waiting for {what}", self.ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_has_passed_is_the_earlier_one() {
        let passed = Deadline { at: Some(Instant::now()), ms: 300 };
        assert!(passed.or_after_ms(5000).passed());
        assert_eq!(Deadline::after_ms(0).or_after_ms(5000).ms, 5000);
        assert_eq!(Deadline::after_ms(60_000).or_after_ms(5000).ms, 5000);
        assert_eq!(Deadline::after_ms(5000).or_after_ms(60_000).ms, 5000);
    }

    #[test]
    fn zero_is_no_deadline() {
        assert!(!Deadline::after_ms(0).passed());
        assert_eq!(Deadline::after_ms(0).left(Duration::from_secs(9)), Some(Duration::from_secs(9)));
    }

    #[test]
    fn what_is_left_is_at_most_what_is_asked_and_never_nothing() {
        let (long, short) = (Duration::from_secs(3600), Duration::from_secs(9));
        let soon = Deadline::after_ms(60_000);
        assert_eq!(soon.left(short), Some(short));
        assert!(soon.left(long).is_some_and(|left| left <= Duration::from_secs(60) && left > Duration::from_secs(1)));
        assert!(!soon.is_endless() && !soon.passed());
        assert_eq!(soon.patience(short, "it"), Ok(short));

        let passed = Deadline { at: Some(Instant::now()), ms: 300 };
        assert!(passed.passed() && !passed.is_endless());
        assert_eq!(passed.left(long), None);
        let error = passed.patience(long, "the slot").unwrap_err();
        assert_eq!((error.kind, error.text.as_str()), (Kind::TimedOut, "timed out after 300 ms waiting for the slot"));

        let endless = Deadline::after_ms(0);
        assert!(endless.is_endless() && !endless.passed());
        assert_eq!(endless.left(long), Some(long));
        assert!(!endless.or_after_ms(5000).is_endless());
        // If neither of the two deadlines has a limit, a limit of zero milliseconds from now still is a limit.
        assert!(!endless.or_after_ms(0).is_endless());
    }
}
