//! Speed and size of the tools, compared with a minimal program that makes the same slots, with Hermes Agent's own
//! reconciler in Python, and with s6's programs.
//!
//! Whole processes are measured, built as `make build` builds them. The programs run in turns, one after the other, so
//! that a busy machine slows all of them alike. The results are medians. A ratio is the median of the ratios within
//! each turn. `cargo bench -- reconcile` runs one part; the parts are `reconcile`, `look`, `register`, `watch` and
//! `memory`.
#![forbid(unsafe_code)]

mod look;
mod measure;
mod memory;
mod place;
mod programs;
mod reconcile;
mod register;
mod watch;

#[path = "../../tests/support/mod.rs"]
mod support;

use programs::Programs;
use std::process::ExitCode;

/// The error is a message for the person who runs the bench.
pub type Result<T> = std::result::Result<T, String>;

type Part = fn(&Programs) -> Result<()>;

fn main() -> ExitCode {
    // Arguments that begin with a dash are ignored: cargo passes `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let parts: [(&str, Part); 5] = [
        ("reconcile", reconcile::run),
        ("look", look::run),
        ("register", register::run),
        ("watch", watch::run),
        ("memory", memory::run),
    ];
    let run = || {
        let programs = Programs::build()?;
        for (name, part) in parts {
            if wanted.is_empty() || wanted.iter().any(|w| w == name) {
                part(&programs).map_err(|e| format!("{name}: {e}"))?;
            }
        }
        Ok(())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err::<(), String>(e) => {
            eprintln!("speed: fatal: {e}");
            ExitCode::FAILURE
        }
    }
}
