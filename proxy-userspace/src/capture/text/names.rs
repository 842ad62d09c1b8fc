//! What stands for an endpoint in a text: an address or a name, and a port or a service.

use super::super::Sink;
use proxy_common::key::Endpoint;
use std::collections::HashMap;

/// The prefix of addresses that hold the place of names: the discard-only one (RFC 6666), which
/// no connection can have.
const PREFIX: [u8; 8] = [0x01, 0, 0, 0, 0, 0, 0, 0];
/// The byte behind the prefix of a name that a text shows, and of an end that was inferred.
const SHOWN: u8 = 1;
const INFERRED: u8 = 2;

/// Services as /etc/services and tcpdump name them.
const SERVICES: [(&str, u16); 56] = [
    ("amqp", 5672),
    ("amqps", 5671),
    ("bgp", 179),
    ("domain", 53),
    ("domain-s", 853),
    ("epmd", 4369),
    ("finger", 79),
    ("ftp", 21),
    ("ftp-data", 20),
    ("ftps", 990),
    ("http", 80),
    ("http-alt", 8080),
    ("https", 443),
    ("imap", 143),
    ("imap2", 143),
    ("imaps", 993),
    ("ircd", 6667),
    ("iscsi-target", 3260),
    ("kerberos", 88),
    ("kerberos-adm", 749),
    ("ldap", 389),
    ("ldaps", 636),
    ("loc-srv", 135),
    ("microsoft-ds", 445),
    ("ms-sql-s", 1433),
    ("ms-wbt-server", 3389),
    ("mysql", 3306),
    ("netbios-ssn", 139),
    ("nfs", 2049),
    ("nntp", 119),
    ("openvpn", 1194),
    ("pop3", 110),
    ("pop3s", 995),
    ("postgresql", 5432),
    ("printer", 515),
    ("radius", 1812),
    ("redis", 6379),
    ("rsync", 873),
    ("rtsp", 554),
    ("sip", 5060),
    ("sip-tls", 5061),
    ("smtp", 25),
    ("smux", 199),
    ("ssh", 22),
    ("submission", 587),
    ("submissions", 465),
    ("sunrpc", 111),
    ("svn", 3690),
    ("syslog-tls", 6514),
    ("telnet", 23),
    ("telnets", 992),
    ("webcache", 8080),
    ("x11", 6000),
    ("xmpp-client", 5222),
    ("xmpp-server", 5269),
    ("zabbix-trapper", 10051),
];

/// What stands in a text, or in its readers' minds, instead of an address.
#[derive(Clone, Copy, Debug)]
pub enum Name<'a> {
    /// A name that the text shows: the same end wherever it stands.
    Shown(&'a str),
    /// The client of a connection whose addresses were removed: another each time.
    Client,
    /// The server of such connections: as far as anybody can tell, one for all.
    Server,
}

/// The made-up endpoints that hold the places of names, for all files that are read as one.
#[derive(Debug, Default)]
pub struct Places {
    shown: HashMap<Box<str>, Endpoint>,
    clients: u32,
}

impl Places {
    /// The endpoint for a name, and how the name reads.
    pub fn endpoint(&mut self, name: Name<'_>) -> (Endpoint, String) {
        let made_up = |kind, number| Endpoint::v6(placeholder(kind, number), 0);
        match name {
            Name::Shown(name) => {
                let number = self.shown.len() as u32;
                let place = self.shown.entry(name.into()).or_insert(made_up(SHOWN, number));
                (*place, name.into())
            }
            Name::Client => {
                self.clients += 1;
                (made_up(INFERRED, self.clients), format!("client-{}", self.clients))
            }
            Name::Server => (made_up(INFERRED, 0), "server".into()),
        }
    }
}

/// The endpoints of a text.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    names: HashMap<Box<[u8]>, Endpoint>,
    services: Option<HashMap<String, u16>>,
}

impl Addresses {
    /// The endpoint that `token` stands for: `192.0.2.1.80`, `2001:db8::1.http`, `web1.8080`, or
    /// a name without a port, whose port is 0. Names are told to the sink when first seen.
    pub(super) fn endpoint(&mut self, token: &[u8], sink: &mut impl Sink) -> Option<Endpoint> {
        if let Some(endpoint) = ipv4_with_port(token) {
            return Some(endpoint);
        }
        if let Some(endpoint) = self.names.get(token) {
            return Some(*endpoint);
        }
        let text = std::str::from_utf8(token).ok()?;
        let (endpoint, is_name) = self.read(text, sink);
        // Of addresses there may be as many as there are clients: they are read again each time.
        if is_name {
            self.names.insert(token.into(), endpoint);
        }
        Some(endpoint)
    }

    /// The endpoint, and whether a made-up one for a name.
    fn read(&mut self, text: &str, sink: &mut impl Sink) -> (Endpoint, bool) {
        let (host, port) = match text.rsplit_once('.') {
            // An IPv4 address without a port has three dots of its own.
            Some(_) if text.parse::<std::net::Ipv4Addr>().is_ok() => (text, 0),
            Some((host, port)) if !host.is_empty() => match self.port(port) {
                Some(port) => (host, port),
                None => (text, 0),
            },
            _ => (text, 0),
        };
        if let Ok(address) = host.parse::<std::net::Ipv4Addr>() {
            return (Endpoint::v4(address.octets(), port), false);
        }
        let without_zone = host.split('%').next().unwrap_or(host);
        if let Ok(address) = without_zone.parse::<std::net::Ipv6Addr>() {
            return (Endpoint::v6(address.octets(), port), false);
        }
        let number = match self.names.get(host.as_bytes()) {
            Some(known) => *known,
            None => {
                let made_up = sink.name(Name::Shown(host));
                self.names.insert(host.as_bytes().into(), made_up);
                made_up
            }
        };
        (Endpoint { port, ..number }, true)
    }

    /// The port that a number or a service's name stands for.
    fn port(&mut self, text: &str) -> Option<u16> {
        if let Ok(port) = text.parse() {
            return Some(port);
        }
        let services = self.services.get_or_insert_with(services);
        services.get(text).copied()
    }
}

/// An address that holds the place of the name with this number.
pub(crate) fn placeholder(kind: u8, number: u32) -> [u8; 16] {
    let mut address = [0; 16];
    address[..8].copy_from_slice(&PREFIX);
    address[8] = kind;
    address[12..].copy_from_slice(&number.to_be_bytes());
    address
}

/// Whether a host's address or name has a port or a service behind it, also one whose number is not
/// known here. tcpdump always prints one; what people put in an address's place is a bare word, or an
/// address, real or masked (`x.x.x.x`).
pub(super) fn has_port(token: &[u8]) -> bool {
    let parts = || token.split(|&byte| byte == b'.');
    let is_address = parts().count() == 4 && parts().all(|part| (1..=3).contains(&part.len()));
    !is_address && parts().count() > 1 && parts().all(|part| !part.is_empty())
}

/// Whether an address holds the place of a name.
#[must_use]
pub fn is_placeholder(endpoint: &Endpoint) -> bool {
    endpoint.addr.starts_with(&PREFIX) && matches!(endpoint.addr[8], SHOWN | INFERRED)
}

/// This host's services and, where it has no list, the usual ones.
fn services() -> HashMap<String, u16> {
    let mut services: HashMap<String, u16> =
        SERVICES.iter().map(|&(name, port)| (name.into(), port)).collect();
    let list = std::fs::read_to_string("/etc/services").unwrap_or_default();
    for line in list.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let (Some(name), Some(port)) = (words.next(), words.next()) else { continue };
        let Some(port) = port.strip_suffix("/tcp").and_then(|port| port.parse().ok()) else {
            continue;
        };
        for name in [name].into_iter().chain(words) {
            services.entry(name.into()).or_insert(port);
        }
    }
    services
}

/// `192.0.2.1.80`, which nearly every line has.
fn ipv4_with_port(token: &[u8]) -> Option<Endpoint> {
    let mut address = [0_u8; 4];
    let mut at = 0;
    for octet in &mut address {
        let mut value = 0_u32;
        let start = at;
        while let Some(digit @ b'0'..=b'9') = token.get(at) {
            // More than three digits are refused below, whatever they come to.
            value = value.wrapping_mul(10).wrapping_add(u32::from(digit - b'0'));
            at += 1;
        }
        if !(1..=3).contains(&(at - start)) || value > 255 || token.get(at) != Some(&b'.') {
            return None;
        }
        *octet = value as u8;
        at += 1;
    }
    let mut port = 0_u32;
    let digits = &token[at..];
    if digits.is_empty() || digits.len() > 5 {
        return None;
    }
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        port = port * 10 + u32::from(digit - b'0');
    }
    Some(Endpoint::v4(address, u16::try_from(port).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;

    #[derive(Default)]
    struct Names(Places, Vec<String>);

    impl Sink for Names {
        fn segment(&mut self, _: &super::super::super::Seen<'_>) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }

        fn name(&mut self, name: Name<'_>) -> Endpoint {
            let (endpoint, name) = self.0.endpoint(name);
            assert!(is_placeholder(&endpoint));
            self.1.push(name);
            endpoint
        }
    }

    #[test]
    fn addresses_names_ports_and_services() {
        let mut names = Names::default();
        let mut addresses = Addresses::default();
        let mut read = |token: &str| addresses.endpoint(token.as_bytes(), &mut names).unwrap();
        assert_eq!(read("192.0.2.1.80"), Endpoint::v4([192, 0, 2, 1], 80));
        assert_eq!(read("192.0.2.1.http"), Endpoint::v4([192, 0, 2, 1], 80));
        assert_eq!(read("192.0.2.1"), Endpoint::v4([192, 0, 2, 1], 0));
        let v6 = "2001:db8::21".parse::<std::net::Ipv6Addr>().unwrap().octets();
        assert_eq!(read("2001:db8::21.21"), Endpoint::v6(v6, 21));
        assert_eq!(read("2001:db8::21.ssh"), Endpoint::v6(v6, 22));
        let web = read("web1.example.com.https");
        assert_eq!((web.port, read("web1.example.com.4000").addr), (443, web.addr));
        assert_eq!(read("x.x.x.x.4000").port, 4000);
        assert_ne!(read("x.x.x.x.4000").addr, web.addr);
        assert_eq!(read("proxy").port, 0);
        assert_eq!(read(".80").port, 0);
        assert_eq!(names.1, ["web1.example.com", "x.x.x.x", "proxy", ".80"]);
    }

    #[test]
    fn memory_does_not_grow_with_the_addresses_of_a_text() {
        let (mut names, mut addresses) = (Names::default(), Addresses::default());
        for port in 1..1000 {
            for token in [format!("2001:db8::{port:x}.{port}"), "web1.80".into()] {
                addresses.endpoint(token.as_bytes(), &mut names).unwrap();
            }
        }
        assert_eq!(addresses.names.len(), 2, "{:?}", addresses.names.keys());
    }

    #[test]
    fn ports_out_of_range_are_none() {
        assert_eq!(ipv4_with_port(b"192.0.2.1.70000"), None);
        assert_eq!(ipv4_with_port(b"192.0.2.256.80"), None);
        assert_eq!(ipv4_with_port(b"192.0.2.1."), None);
        assert_eq!(ipv4_with_port(b"99999999999999999999.0.2.1.80"), None);
    }
}
