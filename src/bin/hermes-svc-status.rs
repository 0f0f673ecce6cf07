//! See `command::svc_status`.

fn main() -> std::process::ExitCode {
    hermes_s6::command::svc_status::main()
}
