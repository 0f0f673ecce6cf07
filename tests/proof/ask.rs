//! The command line: `key=value` arguments, as make passes them on. A key with an empty value counts as absent.

use crate::scenario::{self, Scenario};
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;

/// What the proof is to do.
pub struct Ask {
    /// Chooses the points, together with `share`. The same seed chooses the same points.
    pub seed: u64,
    /// Do one point in this many.
    pub share: u64,
    /// The scenarios to do. All are done unless some are named.
    pub scenarios: Vec<Scenario>,
    /// Do only this point, written `CALL:N=ACTION` as in the line of a violation.
    pub point: Option<String>,
    /// How many trees are in use at a time. Most of the time of a point is spent waiting.
    pub jobs: usize,
    /// The executable that the tools are links to.
    pub executable: PathBuf,
    /// The page into which the table is written.
    pub record: Option<PathBuf>,
}

impl Ask {
    pub fn new(arguments: impl Iterator<Item = String>) -> Result<Ask, String> {
        let mut ask = Ask {
            seed: 1,
            share: 1,
            scenarios: scenario::all(),
            point: None,
            jobs: 8 * std::thread::available_parallelism().map_or(2, usize::from),
            executable: env!("CARGO_BIN_EXE_hermes-s6").into(),
            record: None,
        };
        for argument in arguments {
            let (key, value) = argument.split_once('=').ok_or(format!("key=value, not {argument}"))?;
            let number =
                || value.parse().ok().filter(|n| *n > 0).ok_or(format!("{key} is a number from 1, not {value}"));
            match key {
                _ if value.is_empty() => {}
                "seed" => ask.seed = number()?,
                "share" => ask.share = number()?,
                "jobs" => ask.jobs = usize::try_from(number()?).unwrap_or(1),
                "scenario" => ask.choose(&value.split(',').collect::<Vec<_>>())?,
                "point" => {
                    let (scenario, point) = value.split_once(' ').ok_or("point=SCENARIO CALL:N=ACTION")?;
                    ask.choose(&[scenario])?;
                    ask.point = Some(point.to_string());
                }
                "executable" => ask.executable = value.into(),
                "record" => ask.record = Some(value.into()),
                _ => return Err(format!("no such key: {key}")),
            }
        }
        Ok(ask)
    }

    fn choose(&mut self, names: &[&str]) -> Result<(), String> {
        let known: Vec<&str> = self.scenarios.iter().map(|s| s.name).collect();
        if let Some(unknown) = names.iter().find(|name| !known.contains(*name)) {
            return Err(format!("no such scenario: {unknown}; there are {}", known.join(" ")));
        }
        self.scenarios.retain(|s| names.contains(&s.name));
        Ok(())
    }

    /// Is this point to be done?
    pub fn wants(&self, scenario: &str, point: &str) -> bool {
        if let Some(only) = &self.point {
            return only == point;
        }
        let hash = Sha256::digest(format!("{} {scenario} {point}", self.seed));
        let number = hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        number.is_multiple_of(self.share)
    }
}
