//! Profile names, and where a profile lives.

use crate::ground::error::{Error, Kind, Result};
use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The longest profile name, in bytes.
pub const NAME_MAX: usize = 64;

/// The file whose presence marks a directory as a profile. Hermes Agent writes it early (docs/DESIGN.md, "Facts about
/// Hermes Agent").
pub const MARKER: &str = "SOUL.md";

/// A valid profile name: `default`, or `^[a-z0-9][a-z0-9_-]*$` of at most 64 bytes. Names are copied often, so the
/// copies share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Profile(Rc<str>);

impl Profile {
    /// The profile `default`, whose directory is the home itself. It always exists (B9).
    pub fn default_profile() -> Profile {
        Profile("default".into())
    }

    /// Parse a name from a command line.
    ///
    /// # Errors
    /// 100, naming the argument, if it is not a valid profile name.
    pub fn parse(name: &OsStr) -> Result<Profile> {
        Profile::from_bytes(name.as_encoded_bytes()).ok_or_else(|| {
            let shown = name.to_string_lossy();
            let text =
                format!("invalid profile name \"{shown}\": it must be [a-z0-9][a-z0-9_-]* of at most {NAME_MAX} bytes");
            Error::new(Kind::Usage, text)
        })
    }

    /// The profile of this name, if the name is valid.
    pub fn from_bytes(name: &[u8]) -> Option<Profile> {
        let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = name.len() <= NAME_MAX
            && name.first().is_some_and(alphanumeric)
            && name.iter().all(|b| alphanumeric(b) || *b == b'_' || *b == b'-');
        valid.then(|| Profile(String::from_utf8_lossy(name).into()))
    }

    /// The order in which profiles are processed and shown: `default` first, then by name.
    pub fn default_first(&self, other: &Profile) -> Ordering {
        (!self.is_default(), self).cmp(&(!other.is_default(), other))
    }

    /// Is it `default`, the profile whose directory is the home itself?
    pub fn is_default(&self) -> bool {
        &*self.0 == "default"
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the profile's slot in the scandir.
    pub fn slot(&self) -> String {
        format!("gateway-{}", self.0)
    }

    /// The profile whose slot has this name; `None` if it is not the name of a slot.
    pub fn of_slot(name: &[u8]) -> Option<Profile> {
        name.strip_prefix(b"gateway-").and_then(Profile::from_bytes)
    }

    /// The profile's directory, relative to the home.
    pub fn path(&self) -> String {
        if self.is_default() { ".".to_string() } else { format!("profiles/{}", self.0) }
    }
}

/// The words of a variable that lists profiles.
pub fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty())
}

/// What is said of a word in such a list that is no name.
pub fn no_name(variable: &str, word: &str) -> String {
    format!("{variable}: \"{word}\" is no profile name: it is passed over")
}

/// The home that this path means, and the profile whose directory it is. Inside the gateway of a named profile,
/// `HERMES_HOME` is that profile's directory, `HOME/profiles/NAME`. Every other path is a home, which is the directory
/// of `default`. Only the text of the path decides, as in Hermes Agent's own rule (`hermes_constants.py`,
/// `get_default_hermes_root`).
pub fn home_of(path: &Path) -> (PathBuf, Profile) {
    let parts: Option<_> = (|| {
        let profiles = path.parent().filter(|parent| parent.file_name() == Some(OsStr::new("profiles")))?;
        let profile = Profile::from_bytes(path.file_name()?.as_encoded_bytes()).filter(|p| !p.is_default())?;
        Some((profiles.parent()?.to_path_buf(), profile))
    })();
    parts.unwrap_or_else(|| (path.to_path_buf(), Profile::default_profile()))
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn the_directory_of_a_named_profile_means_its_home() {
        for (path, home, profile) in [
            ("/opt/data", "/opt/data", "default"),
            ("/opt/data/profiles/coder", "/opt/data", "coder"),
            ("/opt/data/profiles/coder/", "/opt/data", "coder"),
            ("/opt/data//profiles/./coder", "/opt/data", "coder"),
            ("/profiles/coder", "/", "coder"),
            ("/srv/profiles/a/profiles/b", "/srv/profiles/a", "b"),
            ("/opt/data/profiles", "/opt/data/profiles", "default"),
            ("/opt/data/profiles/Coder", "/opt/data/profiles/Coder", "default"),
            ("/opt/data/profiles/default", "/opt/data/profiles/default", "default"),
            ("/opt/data/profiles/coder/logs", "/opt/data/profiles/coder/logs", "default"),
            ("/opt/data/profiles/..", "/opt/data/profiles/..", "default"),
            ("/", "/", "default"),
        ] {
            let (found, of) = home_of(Path::new(path));
            assert_eq!((found.as_path(), of.as_str()), (Path::new(home), profile), "{path}");
        }
    }

    /// Rows B7, B8 of docs/failures.md.
    #[test]
    fn names_are_what_the_design_says() {
        let longest = "a".repeat(64);
        for good in ["default", "coder", "0", "a-b_c", "9x", longest.as_str()] {
            assert_eq!(Profile::parse(OsStr::new(good)).map(|p| p.to_string()), Ok(good.to_string()));
        }
        let long = "a".repeat(65);
        let bad: [&[u8]; 12] = [
            b"",
            b"Coder",
            b"a/b",
            b"..",
            b"-x",
            b"_x",
            b"a b",
            b"a.b",
            b"a\nb",
            b"\xff",
            "é".as_bytes(),
            long.as_bytes(),
        ];
        for name in bad {
            let error = Profile::parse(OsStr::from_bytes(name)).unwrap_err();
            assert_eq!(error.kind, Kind::Usage);
            assert!(error.text.starts_with("invalid profile name \""), "{}", error.text);
        }
    }

    #[test]
    fn a_list_is_separated_by_blanks_and_commas() {
        for (list, found) in [
            ("", &[][..]),
            (" ,\t\n", &[]),
            ("coder", &["coder"]),
            ("coder,writer", &["coder", "writer"]),
            (",coder, !writer\t*\n", &["coder", "!writer", "*"]),
        ] {
            assert_eq!(words(list).collect::<Vec<_>>(), found, "{list:?}");
        }
        assert_eq!(no_name("LIST", "A b"), "LIST: \"A b\" is no profile name: it is passed over");
    }

    #[test]
    fn a_slot_name_is_a_profile_and_back() {
        assert_eq!(Profile::of_slot(b"gateway-coder").map(|p| p.slot()), Some("gateway-coder".to_string()));
        for other in [&b"gateway-"[..], b"gateway-A", b"dashboard", b".gateway-coder.x1y2z3"] {
            assert_eq!(Profile::of_slot(other), None);
        }
    }

    #[test]
    fn default_is_the_home_itself_and_the_first() {
        let profile = |name: &str| Profile::parse(OsStr::new(name)).unwrap();
        let mut profiles: Vec<Profile> = ["zeta", "0", "default", "alpha", "defaults"].map(profile).to_vec();
        profiles.sort_by(Profile::default_first);
        assert_eq!(
            profiles.iter().map(Profile::as_str).collect::<Vec<_>>(),
            ["default", "0", "alpha", "defaults", "zeta"]
        );
        assert_eq!(profile("coder").default_first(&profile("coder")), Ordering::Equal);
        assert_eq!(Profile::default_profile(), profile("default"));
        for (name, is_default, path, slot) in [
            ("default", true, ".", "gateway-default"),
            ("defaults", false, "profiles/defaults", "gateway-defaults"),
            ("coder", false, "profiles/coder", "gateway-coder"),
        ] {
            let profile = profile(name);
            assert_eq!(
                (profile.is_default(), profile.path().as_str(), profile.slot().as_str()),
                (is_default, path, slot)
            );
            assert_eq!((profile.as_str(), profile.to_string().as_str()), (name, name));
        }
    }
}
