//! See `command::svc_stop`.

fn main() -> std::process::ExitCode {
    hermes_s6::command::svc_stop::main()
}
