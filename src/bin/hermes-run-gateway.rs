//! See `src/tools/run_gateway.rs`.
fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-run-gateway")
}
