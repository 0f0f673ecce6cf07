//! See `src/tools/profile_watch.rs`.

fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-profile-watch")
}
