//! See `src/tools/port_alloc.rs`.
fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-port-alloc")
}
