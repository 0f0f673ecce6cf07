//! See `command::svc_restart`.

fn main() -> std::process::ExitCode {
    hermes_s6::command::svc_restart::main()
}
