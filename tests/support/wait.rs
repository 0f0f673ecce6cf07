//! Waiting for a condition.
#![allow(dead_code)] // each program of the tests uses a part

use std::time::{Duration, Instant};

/// The longest time that a test waits for anything. It is long because it is a limit and not a measurement.
const CEILING: Duration = Duration::from_secs(60);

/// Wait until `condition` returns a value, looking every 5 ms.
#[track_caller]
pub fn wait_for<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_at_pace(what, Duration::from_millis(5), CEILING, condition)
}

/// Wait until `condition` is true.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Wait until `condition` returns a value, looking once in every `pace`, for at most `ceiling`.
#[track_caller]
pub fn wait_at_pace<T>(what: &str, pace: Duration, ceiling: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < ceiling, "gave up after {ceiling:?} waiting for {what}");
        std::thread::sleep(pace);
    }
}
