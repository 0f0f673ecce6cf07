//! See `command::svc_list`.

fn main() -> std::process::ExitCode {
    hermes_s6::command::svc_list::main()
}
