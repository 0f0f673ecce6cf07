//! Speed and size, side by side with what they are held against: a minimal program that makes the same slots, Hermes
//! Agent's own reconciler in Python, and s6's programs.
//!
//! Whole processes, as `make build` makes them, one after the other in turn, so that a busy machine hits all alike. Medians;
//! a ratio is the median of the ratios within each turn. `cargo bench -- reconcile` runs one part of
//! `reconcile`, `look`, `register`, `watch`, `memory`.
#![forbid(unsafe_code)]

mod look;
mod measure;
mod memory;
mod place;
mod programs;
mod reconcile;
mod register;
mod watch;

use programs::Programs;
use std::process::ExitCode;

/// What a part says when it cannot go on.
pub type Result<T> = std::result::Result<T, String>;

type Part = fn(&Programs) -> Result<()>;

fn main() -> ExitCode {
    // cargo itself adds --bench.
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
