//! The table of statuses, for people.

use super::port::Port;
use super::screen::{Colour, Screen};
use super::{Doing, Status};
use crate::ground::message::printable;

const HEAD: [&str; 8] = ["PROFILE", "STATE", "PID", "SINCE", "READY", "INTENT", "PORT", "NOTE"];

/// The lines of the table, beginning with its head. Each column is padded to its widest entry.
pub fn lines(all: &[Status], screen: Screen) -> Vec<String> {
    let rows: Vec<[String; 8]> = std::iter::once(HEAD.map(str::to_string)).chain(all.iter().map(cells)).collect();
    let mut width = [0; 7];
    for row in &rows {
        for (w, cell) in width.iter_mut().zip(row) {
            *w = (*w).max(cell.chars().count());
        }
    }
    let colours = std::iter::once([None, None]).chain(all.iter().map(colours));
    let shown = rows.iter().zip(colours).flat_map(|(row, [state, note])| {
        let mut line = String::new();
        for (index, (cell, w)) in row.iter().zip(width).enumerate() {
            let colour = if index == 1 { state } else { None };
            line += &format!("{}{:2$}", screen.paint(cell, colour), "", w - cell.chars().count() + 2);
        }
        let (pieces, at) = screen.fold(&row[7], width.iter().map(|w| w + 2).sum());
        pieces.into_iter().enumerate().map(move |(index, piece)| {
            let before = if index == 0 { line.clone() } else { " ".repeat(at) };
            (before + &screen.paint(&piece, note)).trim_end().to_string()
        })
    });
    shown.collect()
}

/// The colours of the state and of the note: what is not as wanted can be seen at a glance.
fn colours(status: &Status) -> [Option<Colour>; 2] {
    let state = match status.doing {
        _ if !status.is_healthy() => Some(Colour::Red),
        Doing::Up | Doing::Foreground => Some(Colour::Green),
        _ => None,
    };
    [state, Some(Colour::Yellow)]
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
    let deaths = deaths.map(|text| text + if status.deaths.end_in_memory() { " (out-of-memory)" } else { "" });
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
