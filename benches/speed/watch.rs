//! The time from a new profile directory with its SOUL.md until an s6-supervise holds the profile's slot. The watcher
//! runs in between.

use crate::Result;
use crate::measure::median;
use crate::place::{Place, profile};
use crate::programs::Programs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How many profiles appear, one after the other.
const PROFILES: usize = 50;

/// The goal on an idle machine, in milliseconds.
const GOAL: f64 = 50.0;

pub fn run(programs: &Programs) -> Result<()> {
    let mut place = Place::new(programs, Path::new("/dev/shm"), 1)?;
    place.empty_scandir(rustix::process::geteuid().as_raw()).map_err(|e| e.to_string())?;
    place.supervise();
    let mut watcher = place.tool("hermes-profile-watch");
    watcher.arg("hermes-reconcile-one").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut watcher = watcher.spawn().map_err(|e| format!("unable to run hermes-profile-watch: {e}"))?;
    let times: Result<Vec<f64>> = (1..=PROFILES).map(|number| appears(&place, &profile(number))).collect();
    watcher.kill().and_then(|()| watcher.wait()).map_err(|e| e.to_string())?;
    let times = times?;
    let worst = times.iter().copied().fold(0.0, f64::max);
    let middle = median(times);
    println!(
        "\nwatch: {PROFILES} profiles appear, milliseconds until s6-supervise holds each slot; goal {GOAL:.0}, idle"
    );
    println!("median {middle:.1}, worst {worst:.1}{}", if middle > GOAL { "  OVER" } else { "" });
    Ok(())
}

fn appears(place: &Place, name: &str) -> Result<f64> {
    let dir = place.home.join("profiles").join(name);
    let slot = place.scandir().join(format!("gateway-{name}"));
    let start = Instant::now();
    (std::fs::create_dir(&dir))
        .and_then(|()| chown(&dir, Some(place.owner), Some(place.group)))
        .and_then(|()| std::fs::write(dir.join("SOUL.md"), "I am a profile.\n"))
        .map_err(|e| format!("unable to make {}: {e}", dir.display()))?;
    while hermes_s6::under_test::is_held(&slot) != Ok(true) {
        if start.elapsed() > Duration::from_secs(10) {
            return Err(format!("{} is held by nobody", slot.display()));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
