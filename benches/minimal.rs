//! The least that a boot pass can cost. This program makes the same objects and reads the same files as
//! `hermes-reconcile-all`, and does nothing else. The benchmarks run both and compare them.
//!
//! The program takes nobody's rights and checks nothing. It makes the lock files and takes no lock. In most files it
//! only looks for one word. So it is no tool: a volume with anything unusual on it gets wrong slots.
//!
//! Usage: `minimal home scandir template low-port group`

#![forbid(unsafe_code)]

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::process::{Gid, getegid, umask};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [home, scandir, template, low, group] = args.as_slice() else {
        return Err("usage: minimal home scandir template low-port group".into());
    };
    umask(Mode::empty());
    let path = home;
    let (home, scandir) = (open_dir(CWD, home)?, open_dir(CWD, scandir)?);
    let template = Template::load(template)?;
    let names = profiles(&home)?;
    let ports = ports(&home, &names, low.parse()?)?;
    let mut text = String::new();
    for name in &names {
        let dir = if name == "default" { open_dir(&home, ".")? } else { open_dir(&home, &format!("profiles/{name}"))? };
        for stale in ["gateway.pid", "processes.json", ".hermes-s6.start-now"] {
            let _ = rustix::fs::unlinkat(&dir, stale, AtFlags::empty());
        }
        let lock = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        drop(rustix::fs::openat(&dir, ".hermes-s6.intent.lock", lock, mode(0o600))?);
        for file in [".env", ".op.env", "gateway.json", "config.yaml", ".hermes-s6.gateway.lock"] {
            read(&dir, file)?;
        }
        let state = String::from_utf8(read(&dir, "gateway_state.json")?)?;
        let up = state.contains(r#""desired_state":"running""#);
        let lifecycle = String::from_utf8(read(&dir, "state/gateway.lifecycle.json")?)?;
        let exit = if lifecycle.contains(r#""phase":"exited""#) { "clean" } else { "unclean" };
        publish(&scandir, name, path, &template, up, group.parse()?)?;
        let (prior, action) = if up { ("running", "started") } else { ("stopped", "registered") };
        let port = ports[name];
        writeln!(text, "reconcile: profile={name} prior_state={prior} action={action} port={port} prior_exit={exit}")?;
    }
    std::io::stdout().write_all(text.as_bytes())?;
    let log = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
    if let Err(e) = rustix::fs::mkdirat(&home, "logs", mode(0o755))
        && e != rustix::io::Errno::EXIST
    {
        return Err(e.into());
    }
    let log = rustix::fs::openat(&home, "logs/container-boot.log", log, mode(0o644))?;
    Ok(std::fs::File::from(log).write_all(text.as_bytes())?)
}

fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits)
}

fn open_dir(dir: impl AsFd, name: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(dir, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The content of a file, empty if the file does not exist. There is one read, because the files of the benchmark are
/// shorter than 4096 bytes.
fn read(dir: &OwnedFd, name: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096);
    match rustix::fs::openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => drop(rustix::io::read(&fd, rustix::buffer::spare_capacity(&mut bytes))?),
        Err(rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(bytes)
}

/// The profile `default`, and every entry of `profiles` that has a SOUL.md.
fn profiles(home: &OwnedFd) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    let profiles = open_dir(home, "profiles")?;
    for entry in Dir::read_from(&profiles)? {
        let name = entry?.file_name().to_str()?.to_string();
        let marker = rustix::fs::statat(&profiles, format!("{name}/SOUL.md"), AtFlags::SYMLINK_NOFOLLOW);
        if !name.starts_with('.') && marker.is_ok() {
            names.push(name);
        }
    }
    names.sort();
    names.insert(0, "default".to_string());
    Ok(names)
}

/// The recorded ports. If there is no record, the profiles get consecutive ports from `low` on, and the record is
/// written.
fn ports(home: &OwnedFd, names: &[String], low: u16) -> Result<BTreeMap<String, u16>, Box<dyn Error>> {
    const FILE: &str = "gateway_ports.json";
    const STAGING: &str = ".gateway_ports.json.minimal";
    let bytes = read_all(home, FILE)?;
    if !bytes.is_empty() {
        return Ok(serde_json::from_slice::<BTreeMap<String, u16>>(&bytes)?);
    }
    let ports: BTreeMap<String, u16> = names.iter().cloned().zip(low..).collect();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let mut file = std::fs::File::from(rustix::fs::openat(home, STAGING, flags, mode(0o644))?);
    file.write_all(&serde_json::to_vec(&ports)?)?;
    file.sync_all()?;
    rustix::fs::renameat(home, STAGING, home, FILE)?;
    rustix::fs::fsync(home)?;
    Ok(ports)
}

fn read_all(dir: &OwnedFd, name: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match rustix::fs::openat(dir, name, OFlags::RDONLY, Mode::empty()) {
        Ok(fd) => drop(std::io::Read::read_to_end(&mut std::fs::File::from(fd), &mut bytes)?),
        Err(errno) if std::io::Error::from(errno).kind() == ErrorKind::NotFound => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(bytes)
}

struct Template {
    dirs: Vec<String>,
    /// The relative path of each file, and the target of the link to it.
    files: Vec<(String, String)>,
}

impl Template {
    fn load(path: &str) -> std::io::Result<Template> {
        let mut template = Template { dirs: Vec::new(), files: Vec::new() };
        template.walk(Path::new(path), "")?;
        Ok(template)
    }

    fn walk(&mut self, path: &Path, below: &str) -> std::io::Result<()> {
        for entry in std::fs::read_dir(path.join(below))? {
            let entry = entry?;
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                self.dirs.push(name.clone());
                self.walk(path, &format!("{name}/"))?;
            } else {
                self.files.push((name.clone(), path.join(&name).to_string_lossy().into_owned()));
            }
        }
        Ok(())
    }
}

fn publish(
    scandir: &OwnedFd,
    name: &str,
    home: &str,
    template: &Template,
    up: bool,
    group: u32,
) -> rustix::io::Result<()> {
    let staging = format!(".gateway-{name}.minima");
    rustix::fs::mkdirat(scandir, &staging, mode(0o755))?;
    let slot = open_dir(scandir, &staging)?;
    for dir in &template.dirs {
        rustix::fs::mkdirat(&slot, dir, mode(0o755))?;
    }
    for (file, target) in &template.files {
        rustix::fs::symlinkat(target, &slot, file)?;
    }
    rustix::fs::symlinkat(home, &slot, "home")?;
    rustix::fs::mkdirat(&slot, "supervise", mode(0o755))?;
    rustix::fs::mkdirat(&slot, "event", mode(0o700))?;
    rustix::fs::mknodat(&slot, "supervise/control", FileType::Fifo, mode(0o620), 0)?;
    if group != getegid().as_raw() {
        rustix::fs::chownat(&slot, "supervise/control", None, Some(Gid::from_raw(group)), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    rustix::fs::mkdirat(&slot, "log/supervise", mode(0o755))?;
    rustix::fs::mkdirat(&slot, "log/event", mode(0o700))?;
    rustix::fs::mknodat(&slot, "log/supervise/control", FileType::Fifo, mode(0o600), 0)?;
    if !up {
        drop(rustix::fs::openat(&slot, "down", OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC, mode(0o644))?);
    }
    rustix::fs::renameat_with(scandir, &staging, scandir, format!("gateway-{name}"), RenameFlags::NOREPLACE)
}
