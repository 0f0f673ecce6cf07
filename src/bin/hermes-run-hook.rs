//! See `src/tools/run_hook.rs`.
fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-run-hook")
}
