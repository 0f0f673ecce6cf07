//! hermes-svc-register: publish the slot of one profile atomically. The gateway stays down unless `-u` is given.

use crate::ground::error::{self, Error, Exit, Kind};
use crate::ground::record::Record;
use crate::s6::publish::{Change, HELD_MS};
use crate::tools::Opened;
use crate::tools::cli::{self, Args, Ending, Tool, flag, valued};
use crate::tools::several::FORCE;
use crate::work::action::Action;
use crate::work::container;
use crate::work::note::Note;
use crate::work::register;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

pub static TOOL: Tool = Tool {
    name: "hermes-svc-register",
    usage: "[ -H home ] [ -s scandir ] [ -v ] [ -n ] [ -j ] [ -f ] [ -u ] [ -t ms ] [ -e KEY=VALUE ]... [ -T template ] profile",
    summary: "Publish the slot of one profile, down unless told otherwise, and wait until it is supervised.",
    options: &[
        cli::COMMON,
        &[
            FORCE,
            flag('u', "up", "start its gateway"),
            cli::TIMEOUT,
            valued('e', "env", "KEY=VALUE", "a variable for the slot's env/; may be repeated"),
            cli::TEMPLATE,
        ],
    ],
    run,
};

fn run(args: &mut Args) -> Result<Exit, Ending> {
    let (mut up, mut force, mut env) = (false, false, Vec::new());
    let profile = args.one_profile(|letter, value| {
        match letter {
            'u' => {
                up = true;
                return Ok(());
            }
            'f' => {
                force = true;
                return Ok(());
            }
            _ => {}
        }
        let (key, value) = variable(&value)?;
        env.retain(|(k, _)| *k != key);
        env.push((key, value));
        Ok(())
    })?;
    container::require_owner(force)?;
    let template = args.template()?;
    let opened = Opened::open(args)?;
    opened.home.require(&profile)?;
    let context = opened.context(args, HELD_MS);
    let done = register::register(&context, &profile, &template, up, &env)?;
    let action = match done.change {
        Change::Published => Action::Registered,
        Change::Updated => Action::Updated,
        Change::Unchanged => Action::Unchanged,
    };
    let record = Record::new()
        .text("profile", profile.as_str())
        .text("action", action.as_str())
        .number_or_none("port", done.port.map(u64::from))
        .note("note", done.stale.then(|| Note::StaleTemplate.to_string()))
        .flag("dry_run", args.dry_run());
    args.output().record("", &record)?;
    Ok(Exit::Done)
}

/// Parse the value of one `-e KEY=VALUE`.
///
/// # Errors
/// 100 if there is no `=`, or KEY cannot be the name of a variable and of a file.
fn variable(text: &OsStr) -> error::Result<(String, OsString)> {
    let bytes = text.as_bytes();
    let bad = || {
        let shown = text.to_string_lossy();
        Error::new(Kind::Usage, format!("invalid variable \"{shown}\": it must be KEY=VALUE, KEY a name as in a shell"))
    };
    let equals = bytes.iter().position(|b| *b == b'=').ok_or_else(bad)?;
    let key = std::str::from_utf8(&bytes[..equals]).map_err(|_| bad())?;
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let valid = key.len() <= 255 && key.bytes().enumerate().all(|(i, b)| letter(b) || i > 0 && b.is_ascii_digit());
    if key.is_empty() || !valid {
        return Err(bad());
    }
    if key == "HERMES_HOME" {
        let text = "HERMES_HOME is the home that the slot is published for: give it with -H";
        return Err(Error::new(Kind::Usage, text));
    }
    Ok((key.to_string(), OsStr::from_bytes(&bytes[equals + 1..]).to_os_string()))
}
