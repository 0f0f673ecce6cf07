//! See `command::reconcile_all`.

fn main() -> std::process::ExitCode {
    hermes_s6::command::reconcile_all::main()
}
