//! See `src/tools/reconcile_all.rs`.

fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-reconcile-all")
}
