//! Tools that only look, compared with `s6-svstat` on a service that is really supervised.

use crate::Result;
use crate::measure::{in_turns, run as cost};
use crate::place::Place;
use crate::programs::Programs;
use std::path::Path;

pub fn run(programs: &Programs) -> Result<()> {
    let mut place = Place::new(programs, Path::new("/dev/shm"), 2)?;
    place.empty_scandir(rustix::process::geteuid().as_raw()).map_err(|e| e.to_string())?;
    place.supervise();
    cost(place.tool("hermes-svc-register").arg("p0001"))?;
    let mut svstat = place.command("s6-svstat");
    svstat.args(["-o", "up"]).arg(place.scandir().join("gateway-p0001"));
    let mut commands = [svstat, place.tool("hermes-svc-list"), place.tool("hermes-port-alloc")];
    commands[2].args(["-p", "p0001"]);
    commands.iter_mut().try_for_each(|c| cost(c).map(drop))?;
    let [svstat, list, port] = in_turns(301, |which| cost(&mut commands[which]))?;
    println!("\nlook: microseconds by the clock (on the processor); goal: no longer than s6-svstat");
    println!("{:<36} {:>8.0} ({:.0})", "s6-svstat -o up", svstat.wall(), svstat.cpu());
    for (name, costs) in [("hermes-svc-list", list), ("hermes-port-alloc -p", port)] {
        let (wall, cpu) = costs.over(&svstat);
        println!("{name:<36} {:>8.0} ({:.0})   ratio {wall:.2} ({cpu:.2})", costs.wall(), costs.cpu());
    }
    Ok(())
}
