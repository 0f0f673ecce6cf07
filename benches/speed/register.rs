//! From `hermes-svc-register` to a slot that is supervised and usable, logger included: that is when it returns.

use crate::Result;
use crate::measure::{median, run as cost};
use crate::place::{Place, profile};
use crate::programs::Programs;
use std::path::Path;

/// How many are registered, one after the other.
const SLOTS: usize = 100;

pub fn run(programs: &Programs) -> Result<()> {
    let mut place = Place::new(programs, Path::new("/dev/shm"), SLOTS + 1)?;
    place.empty_scandir(rustix::process::geteuid().as_raw()).map_err(|e| e.to_string())?;
    place.supervise()?;
    let mut times = Vec::with_capacity(SLOTS);
    for number in 1..=SLOTS {
        times.push(cost(place.tool("hermes-svc-register").arg(profile(number)))?.wall / 1e3);
    }
    let worst = times.iter().copied().fold(0.0, f64::max);
    println!("\nregister: {SLOTS} slots on a real s6-svscan, milliseconds until each is usable");
    println!("median {:.1}, worst {worst:.1}", median(times));
    Ok(())
}
