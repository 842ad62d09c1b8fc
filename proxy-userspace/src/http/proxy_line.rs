//! The PROXY protocol, versions 1 and 2: what a proxy says before anything else of the connection
//! that it passes on (proxy-protocol.txt, which comes with HAProxy).

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// How it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text (`send-proxy`).
    V1,
    /// Bytes (`send-proxy-v2`).
    V2,
}

/// The client's address, and the one that it connected to.
pub(crate) type Ends = [SocketAddr; 2];

/// Why it is not understood; in HAProxy's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not all of it came at once.
    Truncated,
    /// It is something else.
    Other,
    /// It names a protocol that nobody knows.
    Protocol,
    /// It is malformed.
    Invalid,
}

impl Fault {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "Truncated PROXY protocol header received",
            Self::Other => "Received something which does not look like a PROXY protocol header",
            Self::Protocol => "Received an unhandled protocol in the PROXY protocol header",
            Self::Invalid => "Received an invalid PROXY protocol header",
        }
    }
}

/// The longest line of version 1, its end included.
const LONGEST: usize = 107;

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Its length, with the command, the family and the length of the rest.
const HEADER: usize = 16;

/// The commands of version 2: nobody else's connection is passed on, or that of these ends.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// The families of version 2, each over TCP.
const INET: u8 = 0x11;
const INET6: u8 = 0x21;

/// Says it; without the ends, that they are not known.
pub(crate) fn write(version: Version, ends: Option<Ends>, out: &mut Vec<u8>) {
    match version {
        Version::V1 => write_line(ends, out),
        Version::V2 => write_bytes(ends, out),
    }
}

fn write_line(ends: Option<Ends>, out: &mut Vec<u8>) {
    let Some([from, to]) = ends else { return out.extend_from_slice(b"PROXY UNKNOWN\r\n") };
    let (name, [source, target]) = match (from.ip(), to.ip()) {
        ends @ (IpAddr::V4(_), IpAddr::V4(_)) => ("TCP4", [ends.0, ends.1]),
        (from, to) => ("TCP6", [from, to].map(|ip| IpAddr::V6(wide(ip)))),
    };
    // A vector takes everything.
    let _ = write!(out, "PROXY {name} {source} {target} {} {}\r\n", from.port(), to.port());
}

fn write_bytes(ends: Option<Ends>, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    let Some([from, to]) = ends else { return out.extend_from_slice(&[LOCAL, 0, 0, 0]) };
    match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            out.extend_from_slice(&[PROXY, INET, 0, 12]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&target.octets());
        }
        (source, target) => {
            out.extend_from_slice(&[PROXY, INET6, 0, 36]);
            out.extend_from_slice(&wide(source).octets());
            out.extend_from_slice(&wide(target).octets());
        }
    }
    out.extend_from_slice(&from.port().to_be_bytes());
    out.extend_from_slice(&to.port().to_be_bytes());
}

fn wide(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// What `bytes` begin with: how long it is, and the ends, if it says any. As HAProxy has it, all of it
/// is there, or nothing is good.
pub(crate) fn read(bytes: &[u8]) -> Result<(usize, Option<Ends>), Fault> {
    match bytes.strip_prefix(b"PROXY ") {
        _ if bytes.len() < 6 => Err(Fault::Truncated),
        Some(_) => line(&bytes[..bytes.len().min(LONGEST)]),
        None => read_bytes(bytes),
    }
}

/// How long what `bytes` begin with is, good or not; 0 where it is something else.
pub(crate) fn length(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"PROXY ") {
        return memchr::memchr(b'\n', bytes).map_or(0, |at| at + 1);
    }
    match bytes.strip_prefix(SIGNATURE) {
        Some([_, _, high, low, ..]) => HEADER + behind_header(*high, *low),
        _ => 0,
    }
}

/// How long version 2 says that all behind its header is.
fn behind_header(high: u8, low: u8) -> usize {
    u16::from_be_bytes([high, low]).into()
}

/// A line that begins with `PROXY`.
fn line(bytes: &[u8]) -> Result<(usize, Option<Ends>), Fault> {
    const UNKNOWN: &[u8] = b"UNKNOWN\r\n";
    let after = &bytes[6..];
    let wide = match after {
        _ if after.starts_with(b"TCP4 ") => false,
        _ if after.starts_with(b"TCP6 ") => true,
        _ if after.starts_with(UNKNOWN) => return Ok((6 + UNKNOWN.len(), None)),
        _ if [b"TCP4 ".as_slice(), b"TCP6 ", UNKNOWN].iter().any(|all| all.starts_with(after)) => {
            return Err(Fault::Truncated);
        }
        _ => return Err(Fault::Protocol),
    };
    let end = after.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let Some(end) = end.filter(|&end| after.len() > end + 1 || after[end] == b'\n') else {
        return Err(if bytes.len() < LONGEST { Fault::Truncated } else { Fault::Invalid });
    };
    if after.get(end..end + 2) != Some(b"\r\n") {
        return Err(Fault::Invalid);
    }
    let text = std::str::from_utf8(&after[5..end]).map_err(|_| Fault::Invalid)?;
    let ends = ends(text, wide).ok_or(Fault::Invalid)?;
    Ok((6 + end + 2, Some(ends)))
}

/// `192.0.2.1 192.0.2.2 4000 80`.
fn ends(text: &str, wide: bool) -> Option<Ends> {
    let mut words = text.split(' ');
    let mut word = || words.next();
    let [source, target, from, to] = [word()?, word()?, word()?, word()?];
    let ip = |text: &str| -> Option<IpAddr> {
        if wide { text.parse().ok().map(IpAddr::V6) } else { text.parse().ok().map(IpAddr::V4) }
    };
    let port = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        let is_padded = text.len() > 1 && text.starts_with('0');
        text.parse().ok().filter(|_| is_plain && !is_padded)
    };
    let ends = [SocketAddr::new(ip(source)?, port(from)?), SocketAddr::new(ip(target)?, port(to)?)];
    words.next().is_none().then_some(ends)
}

/// Version 2.
fn read_bytes(bytes: &[u8]) -> Result<(usize, Option<Ends>), Fault> {
    let Some(&header) = bytes.first_chunk::<HEADER>() else { return Err(Fault::Truncated) };
    let [.., command, family, high, low] = header;
    if !header.starts_with(SIGNATURE) || command & 0xf0 != LOCAL & 0xf0 {
        return Err(Fault::Other);
    }
    let length = HEADER + behind_header(high, low);
    let Some(whole) = bytes.get(..length) else { return Err(Fault::Truncated) };
    let rest = &whole[HEADER..];
    let (ends, further) = match (command, family) {
        (LOCAL, _) => return Ok((length, None)),
        (PROXY, INET) => split::<12, 4>(rest, |ip| Ipv4Addr::from(ip).into()),
        (PROXY, INET6) => split::<36, 16>(rest, |ip| Ipv6Addr::from(ip).into()),
        // HAProxy 2.6 takes no other family, though the protocol has some.
        _ => None,
    }
    .ok_or(Fault::Invalid)?;
    check_fields(whole, length - further.len())?;
    Ok((length, Some(ends)))
}

/// The ends that bytes begin with, and what follows them.
fn split<const ALL: usize, const IP: usize>(
    bytes: &[u8],
    ip: impl Fn([u8; IP]) -> IpAddr,
) -> Option<(Ends, &[u8])> {
    let (ends, further) = bytes.split_first_chunk::<ALL>()?;
    let (source, after) = ends.split_first_chunk::<IP>()?;
    let (target, ports) = after.split_first_chunk::<IP>()?;
    let &[from_high, from_low, to_high, to_low] = ports.first_chunk::<4>()?;
    let from = u16::from_be_bytes([from_high, from_low]);
    let to = u16::from_be_bytes([to_high, to_low]);
    Some(([SocketAddr::new(ip(*source), from), SocketAddr::new(ip(*target), to)], further))
}

/// The types of fields whose contents HAProxy looks at.
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;

/// Looks at the fields behind the ends, which begin at `at`: nothing of them is used, but they are
/// what they say.
fn check_fields(whole: &[u8], mut at: usize) -> Result<(), Fault> {
    while at < whole.len() {
        let Some(&[kind, high, low]) = whole[at..].first_chunk::<3>() else {
            return Err(Fault::Invalid);
        };
        let begin = at + 3;
        at = begin + usize::from(u16::from_be_bytes([high, low]));
        let value = whole.get(begin..at).ok_or(Fault::Invalid)?;
        let is_good = match kind {
            AUTHORITY => value.len() <= 255,
            UNIQUE_ID => value.len() <= 128,
            CRC32C => value == checksum(&whole[..begin], &whole[at..]),
            _ => true,
        };
        if !is_good {
            return Err(Fault::Invalid);
        }
    }
    Ok(())
}

/// The CRC32C (RFC 9260, appendix A) of all before and after its own four bytes, which count as zero.
fn checksum(before: &[u8], after: &[u8]) -> [u8; 4] {
    let mut sum = u32::MAX;
    for byte in before.iter().chain(&[0; 4]).chain(after) {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            let odd = sum & 1;
            sum = (sum >> 1) ^ (odd * 0x82f6_3b78);
        }
    }
    (!sum).to_be_bytes()
}

#[cfg(test)]
mod tests;
