//! See `command::fix_attrs`.

fn main() -> std::process::ExitCode {
    hermes_s6::command::fix_attrs::main()
}
