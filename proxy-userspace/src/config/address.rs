//! Addresses as HAProxy writes them: IPv4, IPv6, names, ports and ranges, Unix sockets, descriptors.

use crate::prefix::Prefix;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// An address without its ports.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A numeric address.
    Ip(IpAddr),
    /// A name, to be looked up when the configuration is put to use.
    Name(String),
}

/// Where something listens or is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Tcp {
        /// The host; the unspecified address where only a port was given.
        host: Host,
        /// The port.
        port: Port,
    },
    /// A Unix socket's path.
    Unix(PathBuf),
    /// A Unix socket's name in Linux's abstract namespace.
    Abstract(String),
    /// A descriptor inherited from the parent process.
    Fd(i32),
}

/// The port of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Port {
    /// This one.
    Fixed(u16),
    /// The port that the client connected to, plus an offset (`server` lines only). 0 where no port
    /// was written.
    Mapped(i32),
}

impl Address {
    /// The fixed port, if there is one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port: Port::Fixed(port), .. } => Some(*port),
            _ => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(out, "[{ip}]"),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(out),
            Self::Name(name) => out.write_str(name),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port: Port::Fixed(port) } => write!(out, "{host}:{port}"),
            Self::Tcp { host, port: Port::Mapped(0) } => host.fmt(out),
            Self::Tcp { host, port: Port::Mapped(offset) } => write!(out, "{host}:{offset:+}"),
            Self::Unix(path) => write!(out, "unix@{}", path.display()),
            Self::Abstract(name) => write!(out, "abns@{name}"),
            Self::Fd(fd) => write!(out, "fd@{fd}"),
        }
    }
}

/// What an address may look like at the place where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// `bind`: a port is needed, and a range is allowed.
    Listen,
    /// `server`: no port means the client's; `+N` and `-N` are offsets to it.
    Server,
    /// `log`: the default port is 514.
    Log,
    /// `addr` of a check: no port at all.
    CheckHost,
}

/// Reads one address; a port range gives several.
///
/// # Errors
/// A sentence that says what is wrong and what would be right.
pub fn parse(text: &str, usage: Use) -> Result<Vec<Address>, String> {
    let one = |address| Ok(vec![address]);
    let (family, rest) = match text.split_once('@') {
        Some((family, rest)) => (Some(family), rest),
        None => (None, text),
    };
    match family {
        Some("unix") => return unix(rest).and_then(one),
        Some("abns") if !rest.is_empty() => return one(Address::Abstract(rest.to_owned())),
        Some("abns") => return Err("'abns@' expects a name behind it".to_owned()),
        Some("fd") => {
            let fd = rest.parse().ok().filter(|fd| *fd >= 0);
            let wrong = || format!("'fd@' expects a descriptor's number, not '{rest}'");
            return fd.map(Address::Fd).ok_or_else(wrong).and_then(one);
        }
        Some("ipv4" | "ipv6" | "tcp" | "tcp4" | "tcp6" | "stream") | None => {}
        Some(
            other @ ("udp" | "udp4" | "udp6" | "quic4" | "quic6" | "sockpair" | "uxdg" | "uxst"),
        ) => {
            return Err(format!("'{other}@' is HAProxy's; teardown has not got it"));
        }
        Some(other) => {
            let known = ["ipv4", "ipv6", "tcp", "tcp4", "tcp6", "unix", "abns", "fd"];
            let hint = crate::near::hint(other, known);
            return Err(format!(
                "unknown address family '{other}@', expected one of {}{hint}",
                known.join(", ")
            ));
        }
    }
    if family.is_none() && rest.starts_with('/') {
        return unix(rest).and_then(one);
    }
    tcp(family, rest, usage)
}

fn unix(path: &str) -> Result<Address, String> {
    match path.len() {
        0 => Err("'unix@' expects a path behind it".to_owned()),
        // sun_path holds 108 bytes, the last one 0 (unix(7)).
        1..108 => Ok(Address::Unix(path.into())),
        length => Err(format!("a Unix socket's path has at most 107 bytes, not {length}")),
    }
}

fn tcp(family: Option<&str>, text: &str, usage: Use) -> Result<Vec<Address>, String> {
    // The last colon begins the port, except within brackets: "::1:80" is HAProxy's way too.
    let bracket = text.rfind(']').unwrap_or(0);
    let (host, port) = match text[bracket..].rfind(':') {
        _ if usage == Use::CheckHost => (text, None),
        Some(at) => (&text[..bracket + at], Some(&text[bracket + at + 1..])),
        None => (text, None),
    };
    let host = host_of(family, host)?;
    let address = |port| Address::Tcp { host: host.clone(), port };
    let port_text = port.unwrap_or("");
    if port_text.is_empty() {
        return match usage {
            Use::Listen => Err(format!("missing port in '{text}', expected ADDRESS:PORT")),
            Use::Log => Ok(vec![address(Port::Fixed(514))]),
            Use::Server | Use::CheckHost => Ok(vec![address(Port::Mapped(0))]),
        };
    }
    if usage == Use::Server && port_text.starts_with(['+', '-']) {
        let offset: i32 = port_text.parse().map_err(|_| number(port_text))?;
        return Ok(vec![address(Port::Mapped(offset))]);
    }
    let (low, high) = match port_text.split_once('-') {
        Some((low, high)) if usage == Use::Listen => (port_number(low)?, port_number(high)?),
        Some(_) => return Err(format!("a port range cannot stand here: '{port_text}'")),
        None => (port_number(port_text)?, port_number(port_text)?),
    };
    if usage == Use::Server && low == 0 {
        return Ok(vec![address(Port::Mapped(0))]);
    }
    if low > high || (low == 0 && usage == Use::Listen) {
        return Err(format!("'{port_text}' is no port or range of ports from 1 to 65535"));
    }
    Ok((low..=high).map(|port| address(Port::Fixed(port))).collect())
}

fn port_number(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| number(text))
}

fn number(text: &str) -> String {
    format!("'{text}' is not a port, a number from 1 to 65535")
}

fn host_of(family: Option<&str>, text: &str) -> Result<Host, String> {
    let only_v4 = matches!(family, Some("ipv4" | "tcp4"));
    let only_v6 = matches!(family, Some("ipv6" | "tcp6"));
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let host = match (text, inside) {
        ("" | "*", _) if only_v6 => Host::Ip(Ipv6Addr::UNSPECIFIED.into()),
        ("" | "*", _) => Host::Ip(Ipv4Addr::UNSPECIFIED.into()),
        (_, Some(inside)) => {
            let wrong = || format!("'{inside}' within brackets is not an IPv6 address");
            Host::Ip(IpAddr::V6(inside.parse().map_err(|_| wrong())?))
        }
        (_, None) => match text.parse::<IpAddr>() {
            Ok(ip) => Host::Ip(ip),
            Err(_) if is_name(text) => Host::Name(text.to_owned()),
            Err(_) => return Err(format!("'{text}' is neither an address nor a host name")),
        },
    };
    match host {
        Host::Ip(IpAddr::V4(ip)) if only_v6 => Err(format!("{ip} is not an IPv6 address")),
        Host::Ip(IpAddr::V6(ip)) if only_v4 => Err(format!("{ip} is not an IPv4 address")),
        host => Ok(host),
    }
}

fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= 255 && text.bytes().all(fits)
}

/// An address and its prefix length; the whole address without one.
pub(super) fn network(text: &str) -> Option<Prefix> {
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    let address = address.parse().ok()?;
    if length.is_empty() {
        return Some(Prefix::whole(address));
    }
    Prefix::new(address, length.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, usage: Use) -> String {
        let list = parse(text, usage).unwrap();
        list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn binds_take_every_form_of_haproxys() {
        let cases = [
            (":80", "0.0.0.0:80"),
            ("*:80", "0.0.0.0:80"),
            ("ipv6@:80", "[::]:80"),
            ("[::1]:80", "[::1]:80"),
            ("::1:80", "[::1]:80"),
            (":::80", "[::]:80"),
            ("10.0.0.1:80-82", "10.0.0.1:80 10.0.0.1:81 10.0.0.1:82"),
            ("/run/x.sock", "unix@/run/x.sock"),
            ("unix@x.sock", "unix@x.sock"),
            ("abns@name", "abns@name"),
            ("fd@3", "fd@3"),
        ];
        for (text, want) in cases {
            assert_eq!(shown(text, Use::Listen), want, "{text}");
        }
    }

    #[test]
    fn servers_may_follow_the_clients_port() {
        assert_eq!(shown("w1:80", Use::Server), "w1:80");
        assert_eq!(shown("10.0.0.1", Use::Server), "10.0.0.1");
        assert_eq!(shown("10.0.0.1:0", Use::Server), "10.0.0.1");
        assert_eq!(shown("10.0.0.1:+1000", Use::Server), "10.0.0.1:+1000");
        assert_eq!(shown("10.0.0.1:-1", Use::Server), "10.0.0.1:-1");
        assert_eq!(shown("fe80::1", Use::CheckHost), "[fe80::1]");
        assert_eq!(shown("127.0.0.1", Use::Log), "127.0.0.1:514");
    }

    #[test]
    fn wrong_addresses_say_what_would_be_right() {
        let cases = [
            ("127.0.0.1", Use::Listen, "missing port"),
            (":0", Use::Listen, "from 1 to 65535"),
            (":80-70", Use::Listen, "from 1 to 65535"),
            (":99999", Use::Listen, "from 1 to 65535"),
            (":a", Use::Listen, "not a port"),
            ("ipv4@[::1]:80", Use::Listen, "not an IPv4"),
            ("[::g]:80", Use::Listen, "not an IPv6"),
            ("unix@", Use::Listen, "a path"),
            ("fd@x", Use::Listen, "descriptor"),
            ("quic4@:443", Use::Listen, "teardown has not"),
            ("ipv5@:80", Use::Listen, "did you mean"),
            ("a b:80", Use::Server, "neither"),
            ("127.0.0.1:80-81", Use::Server, "range"),
        ];
        for (text, usage, part) in cases {
            let error = parse(text, usage).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            for usage in [Use::Listen, Use::Server, Use::Log, Use::CheckHost] {
                let _ = parse(&text, usage);
            }
        }
    }
}
