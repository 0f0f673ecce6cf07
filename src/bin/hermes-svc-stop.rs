//! See `src/tools/svc_stop.rs`.

fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-svc-stop")
}
