//! See `command::reconcile_one`.

fn main() -> std::process::ExitCode {
    hermes_s6::command::reconcile_one::main()
}
