//! hermes-run-logger(8).
fn main() -> std::process::ExitCode {
    hermes_s6::command::run_logger::main()
}
