//! `logs/container-boot.log`, which records what each boot pass did. It answers why a gateway did not come back.

use crate::ground::beneath;
use crate::ground::error::{Error, Result};
use crate::ground::roots_links;
use crate::volume::home::Home;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io::Write as _;

/// The name of the log, in the directory `logs` of the home.
pub const NAME: &str = "container-boot.log";

/// The name that the log gets when a new one begins.
pub const ROTATED: &str = "container-boot.log.1";

/// The size in bytes from which on the log is renamed before more is written.
const ROTATE_AT: u64 = 256 * 1024;

/// The machine's time zone. `TimeZone::system` would also look for the zone's name, which takes as long as a pass over
/// ten profiles.
pub fn time_zone() -> TimeZone {
    if std::env::var_os("TZ").is_some_and(|tz| !tz.is_empty()) {
        return TimeZone::system();
    }
    let local = std::fs::read("/etc/localtime").ok().and_then(|bytes| TimeZone::tzif("", &bytes).ok());
    local.unwrap_or(TimeZone::UTC)
}

/// The present time in the machine's zone, in ISO 8601 with offset.
pub fn now() -> String {
    Timestamp::now().to_zoned_datetime(time_zone()).strftime("%Y-%m-%dT%H:%M:%S%z").to_string()
}

/// Append these lines, each with the time in front.
///
/// # Errors
/// 111 if the log cannot be opened or written.
pub fn append(home: &Home, lines: &str) -> Result<()> {
    let now = now();
    let text: String = lines.lines().flat_map(|line| [&now, " ", line, "\n"]).collect();
    let shown = home.path.join("logs").join(NAME);
    let unable = |e: std::io::Error| Error::system("write", shown.display(), e);
    home.act(|home| {
        match rustix::fs::mkdirat(home, "logs", Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(unable(errno.into())),
        }
        let logs = roots_links::open_dir(home, "logs").map_err(|e| unable(e.into()))?;
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK;
        let open = || beneath::open(&logs, NAME, flags, Mode::from_raw_mode(0o644)).map_err(|e| unable(e.into()));
        let mut file = std::fs::File::from(open()?);
        let meta = file.metadata().map_err(unable)?;
        if !meta.is_file() {
            return Err(unable(std::io::Error::other("not a regular file")));
        }
        if meta.len() >= ROTATE_AT {
            rustix::fs::renameat(&logs, NAME, &logs, ROTATED).map_err(|e| unable(e.into()))?;
            file = std::fs::File::from(open()?);
        }
        file.write_all(text.as_bytes()).map_err(unable)
    })
}
