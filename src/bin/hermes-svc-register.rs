//! See `command::svc_register`.

fn main() -> std::process::ExitCode {
    hermes_s6::command::svc_register::main()
}
