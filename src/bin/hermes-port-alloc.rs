//! The stable TCP port of a profile.
fn main() -> std::process::ExitCode {
    hermes_s6::command::port_alloc::main()
}
