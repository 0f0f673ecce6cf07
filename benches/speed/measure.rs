//! Running one process and saying what it cost.

use crate::Result;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What one process cost, in microseconds.
#[derive(Clone, Copy)]
pub struct Cost {
    /// From its start to its end, by the clock: what else runs on the machine is in it.
    pub wall: f64,
    /// On a processor, in user and system mode together.
    pub cpu: f64,
}

/// Run it to its end, which has to be a good one. Nobody reads what it says, unless it fails.
pub fn run(command: &mut Command) -> Result<Cost> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |e: &dyn std::fmt::Display| format!("{program}: {e}");
    let start = Instant::now();
    let child = command.spawn().map_err(|e| failed(&e))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no pid")?;
    // Not reaped yet, so that what the scheduler counted, in nanoseconds, can still be read.
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).map_err(|e| failed(&e))?;
    let wall = start.elapsed().as_secs_f64() * 1e6;
    let scheduled = std::fs::read_to_string(format!("/proc/{}/schedstat", child.id())).map_err(|e| failed(&e))?;
    let ended = child.wait_with_output().map_err(|e| failed(&e))?;
    if !ended.status.success() {
        return Err(format!("{}: {}", failed(&ended.status), String::from_utf8_lossy(&ended.stderr).trim_end()));
    }
    let ns: f64 = scheduled.split(' ').next().and_then(|n| n.parse().ok()).ok_or("/proc/PID/schedstat is odd")?;
    Ok(Cost { wall, cpu: ns / 1e3 })
}

/// The middle one.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The costs of one program, turn by turn.
pub struct Costs(pub Vec<Cost>);

impl Costs {
    /// The median by the clock, in microseconds.
    pub fn wall(&self) -> f64 {
        median(self.0.iter().map(|c| c.wall))
    }

    /// The median of the processor's time, in microseconds.
    pub fn cpu(&self) -> f64 {
        median(self.0.iter().map(|c| c.cpu))
    }

    /// How many times the other's, by the clock and on the processor: the medians over the turns.
    pub fn over(&self, other: &Costs) -> (f64, f64) {
        let turns = || self.0.iter().zip(&other.0);
        (median(turns().map(|(a, b)| a.wall / b.wall)), median(turns().map(|(a, b)| a.cpu / b.cpu)))
    }
}

/// Run all of them `turns` times, one after the other, every second time in the opposite order.
pub fn in_turns<const N: usize>(turns: usize, mut run: impl FnMut(usize) -> Result<Cost>) -> Result<[Costs; N]> {
    let mut costs = [const { Vec::new() }; N];
    for turn in 0..turns {
        let order: Vec<usize> = if turn % 2 == 0 { (0..N).collect() } else { (0..N).rev().collect() };
        for which in order {
            costs[which].push(run(which)?);
        }
    }
    Ok(costs.map(Costs))
}
