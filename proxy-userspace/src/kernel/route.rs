//! The way to a peer, by rtnetlink: for connections whose own segments were not seen to leave.

use super::links::{hardware_address, messages};
use crate::ends::address;
use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use proxy_common::key::Endpoint;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

/// The interface towards a peer, and the link header's destination and source: zeros where the
/// device has no link header, or needs none, as loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The interface's index.
    pub interface: u32,
    /// Destination and source.
    pub link: [u8; 12],
}

/// What one peer is asked for: our address, its address, and the interface that a socket is bound
/// to, or 0.
type Wanted = (IpAddr, IpAddr, u32);

/// Ways to peers, for as long as they are not likely to change: one look at a crowd.
#[derive(Default)]
pub(super) struct Ways {
    socket: Option<Socket>,
    known: HashMap<Wanted, Option<Way>>,
}

impl Ways {
    /// The way from `local` to `peer`, out of interface `bound` if that is not 0; `None` where
    /// there is no route, or the next hop's link address is not known.
    ///
    /// # Errors
    /// Those of the netlink socket.
    pub(super) fn towards(
        &mut self,
        local: &Endpoint,
        peer: &Endpoint,
        bound: u32,
    ) -> io::Result<Option<Way>> {
        let [local, peer] = [local, peer].map(address);
        if let Some(known) = self.known.get(&(local, peer, bound)) {
            return Ok(*known);
        }
        let way = self.find(local, peer, bound)?;
        self.known.insert((local, peer, bound), way);
        Ok(way)
    }

    fn find(&mut self, local: IpAddr, peer: IpAddr, bound: u32) -> io::Result<Option<Way>> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(open()?),
        };
        let Some((interface, hop)) = route(socket, local, peer, bound)? else { return Ok(None) };
        let Some(own) = own_address(socket, interface)? else {
            return Ok(Some(Way { interface, link: [0; 12] }));
        };
        let found = if own == [0; 6] { Some(own) } else { neighbour(socket, interface, hop)? };
        let link = |hop: [u8; 6]| {
            let mut link = [0; 12];
            link[..6].copy_from_slice(&hop);
            link[6..].copy_from_slice(&own);
            Way { interface, link }
        };
        Ok(found.map(link))
    }
}

/// The outgoing interface and the next hop.
fn route(
    socket: &Socket,
    local: IpAddr,
    peer: IpAddr,
    bound: u32,
) -> io::Result<Option<(u32, IpAddr)>> {
    let mut request = RouteMessage::default();
    let bits = if peer.is_ipv4() { 32 } else { 128 };
    request.header.address_family = family(peer);
    request.header.destination_prefix_length = bits;
    request.header.source_prefix_length = bits;
    request.attributes.push(RouteAttribute::Destination(peer.into()));
    request.attributes.push(RouteAttribute::Source(local.into()));
    if bound != 0 {
        request.attributes.push(RouteAttribute::Oif(bound));
    }
    let Some(RouteNetlinkMessage::NewRoute(found)) =
        ask(socket, RouteNetlinkMessage::GetRoute(request))?
    else {
        return Ok(None);
    };
    let mut interface = None;
    let mut hop = peer;
    for attribute in found.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(index),
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => hop = gateway.into(),
            RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) => hop = gateway.into(),
            _ => {}
        }
    }
    Ok(interface.map(|interface| (interface, hop)))
}

/// The interface's own Ethernet address; `None` where it has no Ethernet header.
fn own_address(socket: &Socket, interface: u32) -> io::Result<Option<[u8; 6]>> {
    let mut request = LinkMessage::default();
    request.header.index = interface;
    hardware_address(&exchange(socket, RouteNetlinkMessage::GetLink(request))?)
}

/// The Ethernet address of a next hop; `None` where it is not known.
fn neighbour(socket: &Socket, interface: u32, hop: IpAddr) -> io::Result<Option<[u8; 6]>> {
    let mut request = NeighbourMessage::default();
    request.header.family = family(hop);
    request.header.ifindex = interface;
    request.attributes.push(NeighbourAttribute::Destination(match hop {
        IpAddr::V4(hop) => NeighbourAddress::Inet(hop),
        IpAddr::V6(hop) => NeighbourAddress::Inet6(hop),
    }));
    let answer = ask(socket, RouteNetlinkMessage::GetNeighbour(request))?;
    let Some(RouteNetlinkMessage::NewNeighbour(found)) = answer else { return Ok(None) };
    Ok(found.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(address) => address.as_slice().try_into().ok(),
        _ => None,
    }))
}

const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// One question, and its answer as it came.
fn exchange(socket: &Socket, request: RouteNetlinkMessage) -> io::Result<Vec<u8>> {
    let mut request = NetlinkMessage::from(request);
    request.header.flags = NLM_F_REQUEST;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    Ok(socket.recv_from_full()?.0)
}

/// One question, one answer; `None` where the kernel knows none.
fn ask(socket: &Socket, request: RouteNetlinkMessage) -> io::Result<Option<RouteNetlinkMessage>> {
    for message in messages(&exchange(socket, request)?)? {
        match message.payload {
            NetlinkPayload::InnerMessage(answer) => return Ok(Some(answer)),
            // ENOENT, ENETUNREACH and the like.
            NetlinkPayload::Error(_) => return Ok(None),
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_reaches_itself() {
        let v4 = Endpoint::v4([127, 0, 0, 1], 1);
        let v6 = Endpoint::v6(std::net::Ipv6Addr::LOCALHOST.octets(), 1);
        for end in [v4, v6] {
            let way = Ways::default().towards(&end, &end, 0).expect("rtnetlink");
            assert_eq!(way, Some(Way { interface: 1, link: [0; 12] }));
        }
    }
}
