//! `hermes-reconcile-all` compared with the minimal program and with Hermes Agent's reconciler. No s6-svscan runs on
//! the scandir.

use crate::Result;
use crate::measure::{Cost, Costs, in_turns, run as cost};
use crate::place::Place;
use crate::programs::Programs;
use crate::support::is_root;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// The goal for a pass over a thousand profiles: at most this many times the time of the minimal program.
const GOAL: f64 = 1.5;

/// The caller of the pass.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    /// Root, with a separate account for the volume, as in a container.
    Root,
    /// The account that owns both the home and the scandir, as in a container with `--user`.
    Owner,
}

pub fn run(programs: &Programs) -> Result<()> {
    println!("\nreconcile: one pass, microseconds a profile (by the clock, and on the processor); goal {GOAL} at 1000");
    println!(
        "{:<36} {:>8} {:>15} {:>15} {:>13} {:>10} {:>9}",
        "", "profiles", "minimal", "reconcile-all", "ratio (cpu)", "python", "to python"
    );
    let disk = std::env::var_os("HERMES_BENCH_DISK").unwrap_or_else(|| "/var/tmp".into());
    let volumes = [(Path::new("/dev/shm"), "memory", &[1, 10, 100, 1000][..]), (Path::new(&disk), "disk", &[1000][..])];
    for (volume, name, sizes) in volumes {
        for &profiles in sizes {
            for who in [Who::Root, Who::Owner] {
                if who == Who::Root && !is_root() {
                    continue;
                }
                // Each run has a volume of its own. If the minimal program ran as root, its boot log belongs to root.
                let place = Place::new(programs, volume, profiles)?;
                for first in [true, false] {
                    let label = format!(
                        "{}, {} boot, volume on {name}",
                        if who == Who::Root { "root" } else { "owner" },
                        if first { "first" } else { "later" }
                    );
                    compare(programs, &place, who, profiles, first, &label)?;
                }
            }
        }
    }
    if !is_root() {
        println!("(left out: root with an account for the volume, because it needs root)");
    }
    Ok(())
}

fn compare(programs: &Programs, place: &Place, who: Who, profiles: usize, first: bool, label: &str) -> Result<()> {
    let contenders = [minimal(programs, place), place.tool("hermes-reconcile-all")];
    let mut commands: Vec<Command> =
        contenders.into_iter().chain(programs.python.as_ref().map(|p| python(place, p))).collect();
    if who == Who::Owner && is_root() {
        for command in &mut commands {
            command.uid(place.owner).gid(place.group);
        }
    }
    let mut pass = |which: usize| -> Result<Cost> {
        let scandir = place.empty_scandir(if who == Who::Root { 0 } else { place.owner });
        scandir.map_err(|e| format!("unable to empty the scandir: {e}"))?;
        if first {
            place.forget(profiles);
        }
        let cost = cost(&mut commands[which])?;
        match place.slots() {
            found if found == profiles => Ok(cost),
            found => Err(format!("{:?} made {found} slots of {profiles}", commands[which].get_program())),
        }
    };
    // This pass is not measured. It leaves the files that a later boot finds, and they belong to the account.
    place.forget(profiles);
    pass(1)?;
    let turns = if profiles == 1000 { 11 } else { 21 };
    let [minimal, ours] = in_turns(turns, &mut pass)?;
    let python = if programs.python.is_some() { in_turns::<1>(3, |_| pass(2))?.into_iter().next() } else { None };
    let (wall, cpu) = ours.over(&minimal);
    let each = |costs: &Costs| {
        let profiles = profiles as f64;
        format!("{:.1} ({:.1})", costs.wall() / profiles, costs.cpu() / profiles)
    };
    let (theirs, to_theirs) = match &python {
        Some(python) => {
            (format!("{:.0}", python.wall() / profiles as f64), format!("1/{:.0}", python.wall() / ours.wall()))
        }
        None => ("missing".to_string(), "-".to_string()),
    };
    println!(
        "{label:<36} {profiles:>8} {:>15} {:>15} {:>13} {theirs:>10} {to_theirs:>9}{}",
        each(&minimal),
        each(&ours),
        format!("{wall:.2} ({cpu:.2})"),
        if profiles == 1000 && wall > GOAL { "  OVER" } else { "" }
    );
    Ok(())
}

fn minimal(programs: &Programs, place: &Place) -> Command {
    let mut command = place.command(&programs.minimal);
    command.arg(&place.home).arg(place.scandir()).arg(place.template()).args(["10000", &place.group.to_string()]);
    command
}

fn python(place: &Place, python: &Path) -> Command {
    let mut command = place.command(python);
    command.args(["-m", "hermes_cli.container_boot"]).env("HOME", &place.home);
    command
}
