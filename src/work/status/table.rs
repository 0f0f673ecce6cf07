//! The table of statuses, for people.

use super::port::Port;
use super::{Doing, Status};
use crate::ground::message::printable;

const HEAD: [&str; 8] = ["PROFILE", "STATE", "PID", "SINCE", "READY", "INTENT", "PORT", "NOTE"];

/// The lines of the table, beginning with its head. Each column is padded to its widest entry.
pub fn lines(all: &[Status]) -> Vec<String> {
    let rows: Vec<[String; 8]> = std::iter::once(HEAD.map(str::to_string)).chain(all.iter().map(cells)).collect();
    let mut width = [0; 8];
    for row in &rows {
        for (w, cell) in width.iter_mut().zip(row) {
            *w = (*w).max(cell.chars().count());
        }
    }
    let padded = |row: &[String; 8]| -> String {
        let cells: Vec<String> = row.iter().zip(width).map(|(cell, w)| format!("{cell:w$}")).collect();
        cells.join("  ").trim_end().to_string()
    };
    rows.iter().map(padded).collect()
}

fn cells(status: &Status) -> [String; 8] {
    let dash = || "-".to_string();
    [
        status.profile.to_string(),
        status.doing.as_str().to_string(),
        status.pid.map_or_else(dash, |pid| pid.to_string()),
        status.seconds.map_or_else(dash, duration),
        if status.ready { "yes".to_string() } else { "no".to_string() },
        status.intent.as_str().to_string(),
        match status.port {
            Port::Number(port) => port.to_string(),
            Port::Off => "off".to_string(),
            Port::None | Port::Unclear => dash(),
        },
        printable(&noted(status)),
    ]
}

/// The notes, and what is worth a word besides them: the time that a drain has left, and deaths. The note of a held
/// gateway says how it died.
fn noted(status: &Status) -> String {
    let left = status.drain_left.map(|left| format!("killed in {}", duration(left)));
    let deaths = match status.deaths.count {
        0 => None,
        _ if status.doing == Doing::Held => None,
        1 => Some("1 death".to_string()),
        count => Some(format!("{count} deaths")),
    };
    let notes = status.notes.iter().map(ToString::to_string);
    notes.chain(left).chain(deaths).collect::<Vec<_>>().join(", ")
}

/// Seconds in a short form for people: 5s, 3m20s, 2h05m, 4d03h.
pub fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_duration_is_short() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (200, "3m20s"), (7500, "2h05m"), (356_400, "4d03h")] {
            assert_eq!(super::duration(seconds), text);
        }
    }
}
