//! A set-user-ID root program that gives /run to the user that the container was
//! started as, before there is a supervision tree. s6-overlay has such a helper as
//! well. Only a direct child of PID 1 may use it, and only while PID 1 is not s6-svscan
//! yet.

use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

fn main() -> ExitCode {
    let first = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
    if std::os::unix::process::parent_id() != 1 || first.trim_end() == "s6-svscan" {
        eprintln!("own-run: fatal: not asked by /init");
        return ExitCode::from(100);
    }
    // The owner of PID 1's /proc entry is the user that the container was started as.
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
