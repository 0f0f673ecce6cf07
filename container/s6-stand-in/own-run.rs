//! Set-user-ID root: gives /run to the user that the container was started as, before
//! there is a supervision tree, as s6-overlay's own helper does. Only PID 1's direct
//! child may ask, and only while PID 1 is not yet s6-svscan.

use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

fn main() -> ExitCode {
    let first = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
    if std::os::unix::process::parent_id() != 1 || first.trim_end() == "s6-svscan" {
        eprintln!("own-run: fatal: not asked by /init");
        return ExitCode::from(100);
    }
    // The owner of PID 1's /proc entry is who the container was started as.
    let result = std::fs::metadata("/proc/1")
        .and_then(|who| std::os::unix::fs::chown("/run", Some(who.uid()), Some(who.gid())));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("own-run: fatal: unable to chown /run: {error}");
            ExitCode::from(111)
        }
    }
}
