//! See `src/tools/detect_supervisor.rs`.

fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-detect-supervisor")
}
