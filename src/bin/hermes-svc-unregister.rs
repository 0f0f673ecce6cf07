//! See `command::svc_unregister`.

fn main() -> std::process::ExitCode {
    hermes_s6::command::svc_unregister::main()
}
