//! The machine's endpoints as the standard library's addresses, and back.

use proxy_common::key::Endpoint;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// An address and a port as the machine's keys have them.
#[must_use]
pub fn endpoint(address: SocketAddr) -> Endpoint {
    match address.ip() {
        IpAddr::V4(ip) => Endpoint::v4(ip.octets(), address.port()),
        IpAddr::V6(ip) => Endpoint::v6(ip.octets(), address.port()),
    }
}

/// The IP address of an endpoint, IPv4 where it is an IPv4-mapped one.
#[must_use]
pub fn address(end: &Endpoint) -> IpAddr {
    Ipv6Addr::from(end.addr).to_canonical()
}
