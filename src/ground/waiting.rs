//! The line that says on a terminal what a command waits for. It appears after two seconds, is written again with each
//! look, and is erased before anything else is written. In a pipe there is no such line.

use rustix::termios::{isatty, tcgetwinsize};
use std::io::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// After how long the line appears.
const PATIENCE: Duration = Duration::from_secs(2);

/// The least width of a terminal for which the line is cut. A narrower one does not know its width.
const NARROWEST: usize = 20;

/// The wait that goes on.
struct Wait {
    /// What Ctrl-C leaves behind.
    on_interrupt: &'static str,
    what: String,
    since: Instant,
    is_shown: bool,
}

static WAIT: Mutex<Option<Wait>> = Mutex::new(None);

/// From now on, say on standard error what is waited for, if that is a terminal. `on_interrupt` is what Ctrl-C leaves
/// behind.
pub fn announce(on_interrupt: &'static str) {
    if isatty(std::io::stderr())
        && let Ok(mut wait) = WAIT.lock()
    {
        *wait = Some(Wait { on_interrupt, what: String::new(), since: Instant::now(), is_shown: false });
    }
}

/// Say that the command waits for `what`, if it has waited for long. This is called before each sleep. The text must be
/// printable.
pub fn going_on(what: impl FnOnce() -> String) {
    let Ok(mut wait) = WAIT.lock() else { return };
    let Some(wait) = wait.as_mut() else { return };
    let what = what();
    if wait.what != what {
        erase(wait);
        (wait.what, wait.since) = (what, Instant::now());
    }
    let waited = wait.since.elapsed();
    if waited < PATIENCE {
        return;
    }
    let line = format!("waiting for {}, {} s ({})", wait.what, waited.as_secs(), wait.on_interrupt);
    let width = tcgetwinsize(std::io::stderr()).map_or(0, |size| usize::from(size.ws_col));
    // A line that reaches the edge could not be erased.
    let width = if width < NARROWEST { usize::MAX } else { width - 1 };
    let line: String = line.chars().take(width).collect();
    let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
    wait.is_shown = true;
}

/// Erase the line, because something else is about to be written.
pub fn over() {
    if let Ok(mut wait) = WAIT.lock()
        && let Some(wait) = wait.as_mut()
    {
        erase(wait);
        wait.since = Instant::now();
    }
}

fn erase(wait: &mut Wait) {
    if std::mem::take(&mut wait.is_shown) {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}
