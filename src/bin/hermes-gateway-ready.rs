//! hermes-gateway-ready(8).
fn main() -> std::process::ExitCode {
    hermes_s6::command::gateway_ready::main()
}
