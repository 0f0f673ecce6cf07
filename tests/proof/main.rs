//! `make proof` kills each tool, and makes its system calls fail, at every moment, and checks what is left.
//! docs/proof.md explains the proof, and has the table of the last whole run.
//!
//! One process leads and hands out points to workers. A worker is this same program, as PID 1 of its own namespaces,
//! with a real s6-svscan below it.
#![forbid(unsafe_code)]

#[allow(unused_macros)] // shared with the suite
#[path = "../support/mod.rs"]
mod support;

/// The command line.
mod ask;
/// Running a disturbed command, and checking everything that must hold after that.
mod examine;
/// The tree of a worker, made anew for each point.
mod ground;
/// A description of a tree, and checks that every tree must pass.
mod look;
/// The points at which a tool can be disturbed.
mod point;
/// The workers, each in its own namespaces.
mod pool;
/// Handing out the points, and the table at the end.
mod report;
/// The commands that are disturbed, and the trees that they run on.
mod scenario;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("worker") {
        pool::work();
        return ExitCode::SUCCESS;
    }
    let ask = match ask::Ask::new(std::env::args().skip(1)) {
        Ok(ask) => ask,
        Err(fault) => {
            eprintln!("proof: usage: {fault}");
            return ExitCode::from(100);
        }
    };
    if !support::is_root() {
        eprintln!("proof: fatal: it makes namespaces and plays root: run it as root");
        return ExitCode::from(100);
    }
    report::prove(&ask)
}
