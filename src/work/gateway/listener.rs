//! Does the gateway's API server answer?
//!
//! We only connect to a socket on which the gateway's own process listens, according to the kernel. So we need not know
//! the configured host, another server on the same port is not taken for the gateway, and nothing on the volume can
//! make us connect elsewhere.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

/// How long each step (connect, write, read) may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// How much of the kernel's table of sockets is read, in bytes.
const TABLE_MAX: u64 = 16 << 20;

/// The address on which this process listens on this port, in the form in which we can connect to it.
pub fn address(pid: i32, port: u16) -> Option<SocketAddr> {
    let sockets = sockets(pid);
    ["tcp", "tcp6"]
        .iter()
        .find_map(|table| {
            let mut text = String::new();
            let file = std::fs::File::open(format!("/proc/{pid}/net/{table}")).ok()?;
            file.take(TABLE_MAX).read_to_string(&mut text).ok()?;
            text.lines().skip(1).filter_map(listener).find(|(at, inode)| at.port() == port && sockets.contains(inode))
        })
        .map(|(at, _)| reachable(at))
}

/// How many descriptors of a process are looked at. The process chooses how many it has.
const DESCRIPTORS_MAX: usize = 1 << 16;

/// The TCP ports on which this process listens. Call it with the rights of the process's account.
///
/// # Errors
/// The system's error if the descriptors of the process or the tables of sockets cannot be read. `FileTooLarge` if
/// there are too many of them.
pub fn ports(pid: i32) -> std::io::Result<Vec<u16>> {
    let mut descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))?;
    let looked = descriptors.by_ref().take(DESCRIPTORS_MAX).map(|entry| inode(entry?));
    let sockets: HashSet<u64> = looked.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    if descriptors.next().is_some() {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let mut ports = Vec::new();
    for table in ["tcp", "tcp6"] {
        let file = match std::fs::File::open(format!("/proc/{pid}/net/{table}")) {
            Ok(file) => file,
            // A kernel without IPv6 does not have the table `tcp6`.
            Err(e) if table == "tcp6" && e.kind() == ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        let mut lines = BufReader::new(file.take(TABLE_MAX));
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 {
            ports.extend(listener(&line).filter(|(_, inode)| sockets.contains(inode)).map(|(at, _)| at.port()));
            line.clear();
        }
        if lines.into_inner().limit() == 0 {
            return Err(ErrorKind::FileTooLarge.into());
        }
    }
    Ok(ports)
}

/// The inodes of the process's sockets.
fn sockets(pid: i32) -> Vec<u64> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    links.filter_map(|entry| inode(entry).ok()?).collect()
}

/// The inode of the socket that an entry of `/proc/PID/fd` leads to. `None` if it is not a socket, or the descriptor
/// was closed meanwhile.
fn inode(entry: std::fs::DirEntry) -> std::io::Result<Option<u64>> {
    let link = match std::fs::read_link(entry.path()) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        link => link?,
    };
    let digits =
        |link: &[u8]| std::str::from_utf8(link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?).ok()?.parse().ok();
    Ok(digits(link.as_os_str().as_bytes()))
}

/// Parse a line of `/proc/net/tcp` or `tcp6`: the address and the inode, if the socket listens (state 0A).
fn listener(line: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != "0A" {
        return None;
    }
    let (address, port) = fields[1].split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // The address is printed in words of 32 bits, each in the machine's byte order; the words' bytes are in network
    // order.
    let word = |i: usize| u32::from_str_radix(address.get(i * 8..i * 8 + 8)?, 16).ok();
    let words: Vec<u32> = (0..address.len() / 8).map(word).collect::<Option<_>>()?;
    let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
    let address = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)),
    };
    Some((SocketAddr::new(address, port), fields.get(9)?.parse().ok()?))
}

/// The address to connect to: the loopback address in place of a wildcard.
fn reachable(at: SocketAddr) -> SocketAddr {
    let address = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    SocketAddr::new(address, at.port())
}

/// Does `GET /health` at this address answer 200?
///
/// # Errors
/// The reason, in words, if it does not.
pub fn is_healthy(at: SocketAddr) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{at} does not answer: {}", crate::ground::error::cause_text(&e));
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE))).map_err(failed)?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    // The status line is enough. It is short, so it comes in one piece.
    let mut piece = [0; 64];
    while answer.len() < 12 {
        match stream.read(&mut piece).map_err(failed)? {
            0 => break,
            read => answer.extend_from_slice(&piece[..read]),
        }
    }
    match answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(1..5)) {
        Some(b" 200") => Ok(()),
        Some(code) => Err(format!("{at} answers{} to GET /health", String::from_utf8_lossy(code))),
        None => Err(format!("{at} does not answer in HTTP")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_sockets_are_listeners() {
        let tcp = "   0: 0100007F:253A 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0";
        let any = "   0: 00000000:253A 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4243 1 0";
        let six =
            "   1: 00000000000000000000000001000000:253A 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 4244 1";
        let busy =
            "   2: 0100007F:253A 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 4245 1 0";
        assert_eq!(listener(tcp), Some(("127.0.0.1:9530".parse().unwrap(), 4242)));
        assert_eq!(listener(any).map(|(at, _)| reachable(at)), "127.0.0.1:9530".parse().ok());
        assert_eq!(listener(six), Some(("[::1]:9530".parse().unwrap(), 4244)));
        for line in [busy, "", "   0: zz 0 0A", "   0: 0100007F:253A 0 0A"] {
            assert_eq!(listener(line), None);
        }
    }

    #[test]
    fn our_own_listener_is_found_and_another_process_has_none_there() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        assert_eq!(address(crate::ground::process::own_pid(), at.port()), Some(at));
        assert!(ports(crate::ground::process::own_pid()).unwrap().contains(&at.port()));
        // The test may read the descriptors of this process, so the answer is no only because the process has no such
        // socket.
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(other.id()).unwrap();
        let (open, found) = (std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(), address(pid, at.port()));
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(open > 0);
        assert_eq!(found, None);
    }
}
