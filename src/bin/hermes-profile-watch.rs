//! See `command::profile_watch`.

fn main() -> std::process::ExitCode {
    hermes_s6::command::profile_watch::main()
}
