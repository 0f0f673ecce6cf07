//! See `src/tools/svc_unregister.rs`.

fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-svc-unregister")
}
