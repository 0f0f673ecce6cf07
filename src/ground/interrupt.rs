//! Deferring the signals that would otherwise end a command while its work is half done.

use crate::ground::error::{Error, Result};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

/// The number of the signal that came, or 0.
static CAUGHT: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

/// From now on, SIGHUP, SIGINT and SIGTERM only set a flag, which ends every wait. A signal that the caller has set to
/// be ignored (by nohup, or for a script's background job) stays ignored.
///
/// # Errors
/// 111 if the kernel refuses to install a handler.
pub fn defer() -> Result<()> {
    let ignored = ignored();
    for signal in [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| ignored & 1 << (signal - 1) == 0) {
        signal_hook::flag::register_usize(signal, Arc::clone(&CAUGHT), signal.unsigned_abs() as usize)
            .map_err(|e| Error::system("catch", format!("signal {signal}"), e))?;
    }
    Ok(())
}

/// Has a deferred signal come?
pub fn caught() -> bool {
    CAUGHT.load(Ordering::SeqCst) != 0
}

/// If a deferred signal came, end the process by that signal, so that the caller's shell sees it.
pub fn end() {
    let signal = i32::try_from(CAUGHT.load(Ordering::SeqCst)).unwrap_or(0);
    if signal != 0 {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
}

/// The set of ignored signals as a mask, the lowest bit for signal 1.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
