//! See `src/tools/svc_register.rs`.

fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-svc-register")
}
