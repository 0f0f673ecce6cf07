//! The time from the start of `hermes-svc-register` until its slot and the slot's logger are supervised and usable,
//! which is when the tool returns. It is compared with `s6-svlink` for a service with a logger. s6-svlink returns when
//! both supervisors run. The two programs run in turns.

use crate::Result;
use crate::measure::{median, run as cost};
use crate::place::{Place, profile};
use crate::programs::Programs;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// How many services each of the two programs registers, one after the other.
const SLOTS: usize = 100;

pub fn run(programs: &Programs) -> Result<()> {
    let mut place = Place::new(programs, Path::new("/dev/shm"), SLOTS + 1)?;
    place.empty_scandir(rustix::process::geteuid().as_raw()).map_err(|e| e.to_string())?;
    place.supervise();
    let (mut ours, mut links) = (Vec::with_capacity(SLOTS), Vec::with_capacity(SLOTS));
    for number in 1..=SLOTS {
        ours.push(cost(place.tool("hermes-svc-register").arg(profile(number)))?.wall / 1e3);
        let service = service(&place, number).map_err(|e| e.to_string())?;
        let mut link = place.command("s6-svlink");
        links.push(cost(link.args(["-D", "-t", "5000"]).arg(place.scandir()).arg(service))?.wall / 1e3);
    }
    let worst = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    println!("\nregister: {SLOTS} slots on a real s6-svscan, milliseconds until each is usable, beside s6-svlink");
    println!("hermes-svc-register median {:.1}, worst {:.1}", median(ours.clone()), worst(&ours));
    println!("s6-svlink           median {:.1}, worst {:.1}", median(links.clone()), worst(&links));
    println!("ratio of the medians {:.2}", median(ours) / median(links));
    Ok(())
}

/// Make a service directory with a logger, as s6-svlink needs it. Returns its path.
fn service(place: &Place, number: usize) -> std::io::Result<PathBuf> {
    let service = place.scandir().with_extension("services").join(format!("linked{number}"));
    fs::create_dir_all(service.join("log"))?;
    for (name, text) in [("run", "#!/bin/sh\nexec sleep 3600\n"), ("log/run", "#!/bin/sh\nexec s6-log -d3 1\n")] {
        fs::write(service.join(name), text)?;
        fs::set_permissions(service.join(name), fs::Permissions::from_mode(0o755))?;
    }
    fs::write(service.join("log/notification-fd"), "3\n")?;
    fs::write(service.join("down"), "")?;
    Ok(service)
}
