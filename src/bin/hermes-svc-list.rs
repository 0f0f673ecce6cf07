//! See `src/tools/svc_list.rs`.

fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-svc-list")
}
