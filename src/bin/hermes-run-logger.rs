//! See `src/tools/run_logger.rs`.
fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-run-logger")
}
