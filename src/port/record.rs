//! `home/gateway_ports.json`: which port was given to which profile, `{"coder":9530}`.

use crate::beneath::{self, Content};
use crate::exit::{Error, Exit, Result};
use crate::profile::Profile;
use rustix::fs::{AtFlags, FileType, Mode};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::os::fd::AsFd;

/// Its name in the home.
pub const FILE: &str = "gateway_ports.json";

/// The largest file that is read, in bytes.
const LIMIT: usize = 1 << 20;

/// The file's content.
#[derive(Debug, Default)]
pub struct Record {
    /// The ports by profile.
    pub ports: BTreeMap<Profile, u16>,
    /// Entries that are not a profile and its port: kept in the file, out of the allocation.
    pub foreign: Map<String, Value>,
    /// Why the file cannot be understood. Writing sets it aside first.
    pub broken: Option<String>,
}

impl Record {
    /// Read the file in the open home. No file is an empty record.
    ///
    /// # Errors
    /// 111 if it seems to be sound and only cannot be read just now: then it must not be written anew.
    pub fn read(home: impl AsFd) -> Result<Record> {
        let home = home.as_fd();
        let broken = |why: String| Record { broken: Some(why), ..Record::default() };
        match beneath::read(home, FILE, LIMIT) {
            Content::Absent => Ok(Record::default()),
            Content::Bytes(bytes) => Ok(match serde_json::from_slice(&bytes) {
                Ok(Value::Object(entries)) => Record::of(entries),
                Ok(_) => broken("not a JSON object".to_string()),
                Err(_) => broken("not JSON".to_string()),
            }),
            Content::Unfit(why) => {
                let stat = rustix::fs::statat(home, FILE, AtFlags::SYMLINK_NOFOLLOW);
                let sound = stat.is_ok_and(|stat| {
                    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size <= LIMIT as i64
                });
                if sound {
                    return Err(Error::new(Exit::System, format!("unable to read {FILE}: {why}")));
                }
                Ok(broken(why))
            }
        }
    }

    fn of(entries: Map<String, Value>) -> Record {
        let mut record = Record::default();
        for (name, value) in entries {
            let port = value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
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

    /// Replace the file, atomically.
    pub fn write(&self, home: impl AsFd) -> std::io::Result<()> {
        let home = home.as_fd();
        let mut entries = self.foreign.clone();
        entries.extend(self.ports.iter().map(|(profile, port)| (profile.to_string(), Value::from(*port))));
        let mut bytes = serde_json::to_vec(&entries)?;
        bytes.push(b'\n');
        // Only when the new one is on disk: on a full volume the broken one stays where it is.
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
    use serde_json::json;

    #[test]
    fn only_a_profile_and_a_port_make_an_entry() {
        let entries = json!({"coder": 9530, "default": 9495, "Bad": 9500, "a/b": 9501, "x": 0, "y": 65536, "z": "9502",
            "w": 9503.0, "v": -1, "u": null, "": 9504});
        let Value::Object(entries) = entries else { panic!("an object") };
        let record = Record::of(entries);
        let ports: Vec<(&str, u16)> = record.ports.iter().map(|(p, port)| (p.as_str(), *port)).collect();
        assert_eq!(ports, [("coder", 9530), ("default", 9495)]);
        assert_eq!(record.foreign.len(), 9);
    }
}
