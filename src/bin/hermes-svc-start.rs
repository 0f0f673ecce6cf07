//! See `command::svc_start`.

fn main() -> std::process::ExitCode {
    hermes_s6::command::svc_start::main()
}
