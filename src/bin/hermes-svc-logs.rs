//! See `src/tools/svc_logs.rs`.

fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-svc-logs")
}
