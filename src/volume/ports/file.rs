//! `gateway_ports.json` in the home, the record of the ports that were given to profiles: `{"coder":9530}`.

use crate::ground::beneath::{self, Content};
use crate::ground::error::{Error, Kind, Result, cause_text};
use crate::ground::profile::Profile;
use crate::volume::home::RECORD_OF_PORTS;
use crate::volume::json_shape::Shape;
use rustix::fs::{AtFlags, FileType, Mode};
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;

/// The name of the file in the home.
pub const FILE: &str = RECORD_OF_PORTS;

/// The largest file that is read, in bytes, and the most entries that it has.
const LIMIT: usize = 1 << 20;
const MOST: usize = 20_000;

/// The content of the file.
#[derive(Debug, Default)]
pub struct PortsFile {
    /// The port of each profile.
    pub ports: BTreeMap<Profile, u16>,
    /// Entries that are not a profile and its port. They take no part in the allocation, and are written back as they
    /// were.
    pub foreign: BTreeMap<String, Box<RawValue>>,
    /// Why the file cannot be parsed. Before a new file is written, the old one is renamed.
    pub broken: Option<String>,
}

impl PortsFile {
    /// Read the file in the open home; `shown` is its path, for messages. If there is no file, the record is empty.
    ///
    /// # Errors
    /// 111 if the file may be sound and only cannot be read just now. It must not be overwritten then.
    pub fn read(home: impl AsFd, shown: &Path) -> Result<PortsFile> {
        let home = home.as_fd();
        let broken = |why: String| PortsFile { broken: Some(why), ..PortsFile::default() };
        let unable = |why: &str| Error::new(Kind::System, format!("unable to read {}: {why}", shown.display()));
        match beneath::read(home, FILE, LIMIT).map_err(|e| unable(&cause_text(&e.into())))? {
            Content::Absent => Ok(PortsFile::default()),
            Content::Bytes(bytes) if Shape::of(&bytes).members > MOST => {
                Ok(broken(format!("more than {MOST} entries")))
            }
            Content::Bytes(bytes) => Ok(match serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(&bytes) {
                Ok(entries) => PortsFile::of(entries),
                Err(_) if serde_json::from_slice::<Box<RawValue>>(&bytes).is_ok() => {
                    broken("not a JSON object".to_string())
                }
                Err(_) => broken("not JSON".to_string()),
            }),
            Content::Unfit(why) => {
                // A regular file that the account may not read was left by root, and must not be overwritten.
                let stat = rustix::fs::statat(home, FILE, AtFlags::SYMLINK_NOFOLLOW);
                match stat.map_err(|e| unable(&cause_text(&e.into())))? {
                    stat if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                        && stat.st_size <= LIMIT as i64 =>
                    {
                        Err(unable(&why))
                    }
                    _ => Ok(broken(why)),
                }
            }
        }
    }

    fn of(entries: BTreeMap<String, Box<RawValue>>) -> PortsFile {
        let mut record = PortsFile::default();
        for (name, value) in entries {
            let port = serde_json::from_str(value.get()).ok().filter(|port| *port != 0);
            match (Profile::from_bytes(name.as_bytes()), port) {
                (Some(profile), Some(port)) => {
                    record.ports.insert(profile, port);
                }
                _ => {
                    record.foreign.insert(name, value);
                }
            }
        }
        record
    }

    /// Replace the file atomically.
    ///
    /// # Errors
    /// The system's error.
    pub fn write(&self, home: impl AsFd) -> std::io::Result<()> {
        let home = home.as_fd();
        let mut entries = self.foreign.clone();
        for (profile, port) in &self.ports {
            entries.insert(profile.to_string(), to_raw_value(port)?);
        }
        let mut bytes = serde_json::to_vec(&entries)?;
        bytes.push(b'\n');
        // This is called when the new file is on disk, so on a full volume the broken file keeps its name.
        let aside = || {
            if self.broken.is_some() {
                beneath::set_aside(home, FILE)?;
            }
            Ok(true)
        };
        beneath::replace_if(home, FILE, &bytes, Mode::from_raw_mode(0o644), aside).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_profile_and_a_port_make_an_entry() {
        let entries = r#"{"coder": 9530, "default": 9495, "Bad": 9500, "a/b": 9501, "x": 0, "y": 65536, "z": "9502",
            "w": 9503.0, "v": -1, "u": null, "": 9504, "t": 1e400, "s": 123456789012345678901234567890}"#;
        let record = PortsFile::of(serde_json::from_str(entries).unwrap());
        let ports: Vec<(&str, u16)> = record.ports.iter().map(|(p, port)| (p.as_str(), *port)).collect();
        assert_eq!(ports, [("coder", 9530), ("default", 9495)]);
        assert_eq!(record.foreign.len(), 11);
    }
}
