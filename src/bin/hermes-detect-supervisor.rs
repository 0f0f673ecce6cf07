//! See `command::detect_supervisor`.

fn main() -> std::process::ExitCode {
    hermes_s6::command::detect_supervisor::main()
}
