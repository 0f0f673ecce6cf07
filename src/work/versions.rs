//! The versions of what works together in this container, as far as file names tell them. No program is run.

use crate::ground::error::Result;
use crate::ground::record::Record;
use crate::s6::programs;
use crate::volume::client::Client;
use crate::volume::home::Home;

/// The link of s6-overlay that leads to a directory named after its version.
const OVERLAY: &str = "/package/admin/s6-overlay";

/// The first line of a pass in the boot log.
///
/// # Errors
/// 111 if the account's rights cannot be taken.
pub fn line(home: &Home) -> Result<Record> {
    let account = home.account();
    let unknown = |version: Option<String>| version.unwrap_or_else(|| "unknown".to_string());
    let s6 = programs::program("s6-svscan").ok().and_then(|path| path.canonicalize().ok());
    let s6 = s6.and_then(|path| path.iter().find_map(|name| behind(name.to_str()?, "s6-")));
    let overlay = std::fs::read_link(OVERLAY).ok();
    let overlay = overlay.and_then(|path| behind(path.file_name()?.to_str()?, "s6-overlay-"));
    let client = account.act(|| Ok(Client::here().unwrap_or_default().version))?;
    Ok(Record::new()
        .text("hermes-s6", env!("CARGO_PKG_VERSION"))
        .text("client", unknown(client))
        .text("s6", unknown(s6))
        .text("s6-overlay", unknown(overlay))
        .number("uid", account.uid.into())
        .number("gid", account.gid.into()))
}

/// The version behind this prefix: it begins with a digit.
fn behind(name: &str, prefix: &str) -> Option<String> {
    name.strip_prefix(prefix).filter(|v| v.starts_with(|c: char| c.is_ascii_digit())).map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::behind;

    #[test]
    fn a_version_is_what_follows_the_name() {
        for (name, prefix, version) in [
            ("s6-2.13.1.0", "s6-", Some("2.13.1.0")),
            ("s6-overlay-3.2.3.0", "s6-", None),
            ("s6-overlay-3.2.3.0", "s6-overlay-", Some("3.2.3.0")),
            ("hermes_agent-0.19.0", "hermes_agent-", Some("0.19.0")),
            ("s6-svscan", "s6-", None),
        ] {
            assert_eq!(behind(name, prefix).as_deref(), version, "{name}");
        }
    }
}
