//! Giving orders to a slot's s6-supervise, and checking that it took them.

use crate::ground::deadline::Deadline;
use crate::ground::error::Result;
use crate::s6::changes::{Changes, wait_for};
use crate::s6::programs::{self, Svstat};
use crate::s6::supervise;
use rustix::fs::{Mode, OFlags};
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long s6-supervise has to take an order, in milliseconds. It usually takes 5 to 40.
pub const PROMPT_MS: u64 = 5000;

/// The time beyond `timeout-kill` after which the gateway is killed here. s6-supervise gets this time to kill the
/// gateway by itself.
const GRACE: Duration = Duration::from_secs(1);

/// The time at which gateways were told to end. Each `d` in the control FIFO starts `timeout-kill` anew. The account
/// may write to the FIFO, so s6-supervise alone may never kill the gateway.
#[derive(Clone, Copy)]
pub struct Told(Instant);

impl Told {
    pub fn now() -> Told {
        Told(Instant::now())
    }

    /// Kill the gateway of this slot if its `timeout-kill` has passed since the order. If that file does not exist or
    /// contains 0, the gateway is never killed. An error is ignored, because the caller looks again, and waits only for
    /// a limited time.
    pub fn insist(self, slot: &Path) {
        if timeout_kill(slot).is_some_and(|limit| self.0.elapsed() >= limit + GRACE) {
            let _ = programs::svc("-k", slot);
        }
    }
}

/// After which time s6-supervise kills a gateway that was told to end: the slot's `timeout-kill`. `None` if the file
/// does not exist or contains 0, and then the gateway is never killed.
pub fn timeout_kill(slot: &Path) -> Option<Duration> {
    timeout_kill_ms(slot).filter(|ms| *ms != 0).map(Duration::from_millis)
}

/// The number in the slot's `timeout-kill`, in milliseconds, read like s6-supervise does: up to the first newline. In an
/// open scandir the account may have put a FIFO or a large file there. Neither is waited for or read whole.
pub fn timeout_kill_ms(slot: &Path) -> Option<u64> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(slot.join("timeout-kill"), flags, Mode::empty()).ok()?;
    let mut text = String::new();
    std::fs::File::from(file).take(32).read_to_string(&mut text).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// Run `s6-svc OPTIONS SLOT`. If the s6-supervise has ended since the caller looked at it, s6-svscan starts another one,
/// and that one gets the order.
///
/// # Errors
/// 111, with what s6-svc said, if no s6-supervise takes the order in time; 99 if s6-svc does not end in time.
pub fn give(options: &str, slot: &Path, deadline: Deadline) -> Result<()> {
    let Err(error) = programs::svc(options, slot) else { return Ok(()) };
    let usable = || Ok(supervise::is_usable(slot)?.then_some(()));
    let next = Changes::watch([slot]).and_locks().by_looks();
    match next.until(deadline.or_after_ms(PROMPT_MS), "the next s6-supervise", usable) {
        Ok(()) => programs::svc(options, slot),
        Err(_) => Err(error),
    }
}

/// Wait until s6-svstat shows that an order was taken. This is necessary because s6-svc only writes the order into a
/// FIFO.
///
/// # Errors
/// 99 if the order does not show in time, 111 if the service is not supervised any more or cannot be asked.
pub fn taken(slot: &Path, what: &str, deadline: Deadline, shows: impl Fn(&Svstat) -> bool) -> Result<Svstat> {
    let what = format!("the s6-supervise of {} to {what}", slot.display());
    wait_for(slot, deadline.or_after_ms(PROMPT_MS), what, shows)
}

/// Bring a live slot up for good (`s6-svc -U`) without recording an intent, for `hermes-svc-register -u`. Returns
/// whether there was anything to change.
///
/// # Errors
/// As `taken`; 111 also if s6-svc or s6-svstat fails.
pub fn bring_up(slot: &Path, deadline: Deadline, dry_run: bool) -> Result<bool> {
    if programs::svstat(slot)?.is_some_and(|s| s.wanted_up && s.normally_up) {
        return Ok(false);
    }
    if !dry_run {
        programs::svdt_clear(slot);
        give("-U", slot, deadline)?;
        taken(slot, "want it up", deadline, |s| s.wanted_up && s.normally_up)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_kill_is_read_from_a_file_and_never_waited_for() {
        let random = crate::ground::beneath::random_suffix().unwrap();
        let slot = std::env::temp_dir().join(format!("hermes-s6-orders-{random}"));
        std::fs::create_dir(&slot).unwrap();
        let file = slot.join("timeout-kill");
        assert_eq!((timeout_kill(&slot), timeout_kill_ms(&slot)), (None, None));
        for (text, ms) in [("30000\n", Some(30_000)), ("0\n", Some(0)), ("7", Some(7)), ("", None), ("x\n1\n", None)] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(timeout_kill_ms(&slot), ms, "{text:?}");
            assert_eq!(timeout_kill(&slot), ms.filter(|ms| *ms != 0).map(Duration::from_millis), "{text:?}");
        }
        std::fs::remove_file(&file).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(timeout_kill(&slot), None);
        std::fs::remove_dir_all(&slot).unwrap();
    }
}
