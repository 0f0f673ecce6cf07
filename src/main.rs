//! The one executable that `make install` ships. The tools are symbolic links to it, and it picks the tool by the name
//! under which it was called.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    hermes_s6::main_of(&Path::new(&called).file_name().unwrap_or_default().to_string_lossy())
}
