//! See `src/tools/fix_attrs.rs`.

fn main() -> std::process::ExitCode {
    hermes_s6::main_of("hermes-fix-attrs")
}
