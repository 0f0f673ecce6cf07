//! See `src/tools/home.rs`.

fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-home")
}
