//! Running one process and measuring its cost.

use crate::Result;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The cost of one process, in microseconds.
#[derive(Clone, Copy)]
pub struct Cost {
    /// The time from the start of the process to its end. It includes what other processes on the machine take.
    pub wall: f64,
    /// The time on a processor, in user and system mode together.
    pub cpu: f64,
}

/// Run a command to its end, and measure it. It is an error if the command fails; the error then quotes its stderr.
pub fn run(command: &mut Command) -> Result<Cost> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |e: &dyn std::fmt::Display| format!("{program}: {e}");
    let start = Instant::now();
    let child = command.spawn().map_err(|e| failed(&e))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no pid")?;
    // The process has ended and is not reaped yet. So its scheduler statistics, in nanoseconds, can still be read.
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

/// The median.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The costs of one program, one for each turn.
pub struct Costs(pub Vec<Cost>);

impl Costs {
    /// The median of the times by the clock, in microseconds.
    pub fn wall(&self) -> f64 {
        median(self.0.iter().map(|c| c.wall))
    }

    /// The median of the processor times, in microseconds.
    pub fn cpu(&self) -> f64 {
        median(self.0.iter().map(|c| c.cpu))
    }

    /// How many times as much this program costs as `other`, by the clock and on the processor. Each is the median of
    /// the ratios within a turn.
    pub fn over(&self, other: &Costs) -> (f64, f64) {
        let turns = || self.0.iter().zip(&other.0);
        (median(turns().map(|(a, b)| a.wall / b.wall)), median(turns().map(|(a, b)| a.cpu / b.cpu)))
    }
}

/// Run all programs in each of `turns` turns. Every second turn runs them in the opposite order.
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
