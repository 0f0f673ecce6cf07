//! See `src/tools/svc_restart.rs`.

fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-svc-restart")
}
