//! The one executable that `make install` ships: it looks at its own name, and the tools are symbolic links to it.

use hermes_s6::command::TOOLS;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default().to_string_lossy();
    if let Some((_, main)) = TOOLS.iter().find(|(tool, _)| *tool == name) {
        return main();
    }
    let names: Vec<&str> = TOOLS.iter().map(|(tool, _)| *tool).collect();
    let all = names.join(" ");
    match std::env::args_os().nth(1).as_deref().and_then(|a| a.to_str()) {
        Some("--help") => say(&format!("usage: call it by a tool's name: {all}")),
        Some("--version") => say(concat!("hermes-s6 ", env!("CARGO_PKG_VERSION"))),
        _ => {
            hermes_s6::message::Stderr::new("hermes-s6", false).usage(&format!("call it by a tool's name: {all}"));
            hermes_s6::exit::Exit::Usage.into()
        }
    }
}

fn say(text: &str) -> ExitCode {
    let said = hermes_s6::record::line(text);
    said.map_or_else(|e| e.exit.into(), |()| ExitCode::SUCCESS)
}
