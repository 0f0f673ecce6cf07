//! See `src/tools/gateway_ready.rs`.
fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-gateway-ready")
}
