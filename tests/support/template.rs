//! The template, as `make install` would put it.

use std::path::Path;
use std::process::Command;

/// Copy the template to `to`, with the modes that `make install` sets. `bin` is the directory in which the scripts look
/// for the tools.
#[track_caller]
pub fn copy_template(to: &Path, bin: &Path) {
    // A shell does the copying, for the reason given at `executable`.
    let script = r#"umask 022
        mkdir -p "$2"; cp -R "$1/." "$2"; chmod -R u=rwX,go=rX "$2"
        printf '%s\n' "$3" >"$2/data/bin""#;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("template/gateway");
    let status = Command::new("sh").args(["-ec", script, "sh"]).args([&source, to, bin]).status().expect("sh");
    assert!(status.success(), "unable to copy the template to {}", to.display());
}
