//! See `src/tools/reconcile_one.rs`.

fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-reconcile-one")
}
