//! What the tests stand on.

pub mod agent;
mod container;
mod glob;
mod port;
mod proc;
mod profile;
mod snapshot;
mod tool;
mod tree;

pub use glob::glob;
pub use port::preferred_port;
pub use proc::{Process, kill, processes, start_time};
pub use profile::Profile;
pub use snapshot::snapshot;
pub use tool::{Ran, Tool};
pub use tree::{Tree, is_root};

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up: generous, because it is a ceiling and not a measurement.
const CEILING: Duration = Duration::from_secs(30);

/// Wait until `condition` gives something, looking every 5 ms.
#[track_caller]
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < CEILING, "gave up after {CEILING:?} waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Wait until `condition` is true.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Leave a test that only root can do, and say so where it is seen: libtest does not capture this.
#[macro_export]
macro_rules! needs_root {
    () => {
        if !$crate::support::is_root() {
            use std::io::Write as _;
            let name = std::thread::current().name().unwrap_or("a test").to_string();
            let _ = writeln!(std::io::stderr(), "suite: warning: left out, because it needs root: {name}");
            return;
        }
    };
}
