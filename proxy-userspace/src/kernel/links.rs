//! The interfaces of this network namespace, by rtnetlink. Not by `/sys/class/net`: that shows the
//! namespace in which /sys was mounted.

use super::error::Error;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::link::{LinkAttribute, LinkLayerType, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{
    AsyncSocket as _, AsyncSocketExt as _, Socket, SocketAddr, TokioSocket,
    protocols::NETLINK_ROUTE,
};
use std::io;

/// RTMGRP_LINK: interfaces come, go and change.
const GROUP_LINK: u32 = 1;

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    /// Its index: names may change.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether frames begin with an Ethernet header; else with an IP header.
    pub has_ethernet_header: bool,
}

/// What happened to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is there, perhaps new.
    There(Interface),
    /// It is gone.
    Gone(u32),
    /// Messages were lost: list them anew.
    Unknown,
}

/// Lists the interfaces of this namespace.
///
/// # Errors
/// Those of the netlink socket.
pub(super) fn list() -> io::Result<Vec<Interface>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetLink(LinkMessage::default()));
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut found = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        for message in messages(&datagram)? {
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                    found.extend(interface(&link));
                }
                _ => {}
            }
        }
    }
}

/// Follows the interfaces as they come and go.
pub(super) struct Watch(TokioSocket);

impl Watch {
    /// Begins to follow; list the interfaces after this, so that none is missed between.
    ///
    /// # Errors
    /// Those of the netlink socket.
    pub(super) fn start() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, GROUP_LINK))?;
        Ok(Self(socket))
    }

    /// Waits for the next changes.
    ///
    /// # Errors
    /// Those of the netlink socket; an overrun is [`Change::Unknown`].
    pub(super) async fn next(&mut self) -> io::Result<Vec<Change>> {
        let datagram = match self.0.recv_from_full().await {
            Ok((datagram, _)) => datagram,
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                return Ok(vec![Change::Unknown]);
            }
            Err(error) => return Err(error),
        };
        Ok(messages(&datagram)?.iter().filter_map(change).collect())
    }
}

/// What a message says of an interface. Of another family than none it says what became of it as a
/// bridge's port: one that leaves its bridge is deleted there, and lives on.
fn change(message: &NetlinkMessage<RouteNetlinkMessage>) -> Option<Change> {
    match &message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
            interface(link).map(Change::There)
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link))
            if link.header.interface_family == AddressFamily::Unspec =>
        {
            Some(Change::Gone(link.header.index))
        }
        _ => None,
    }
}

/// The messages of a datagram.
pub(super) fn messages(datagram: &[u8]) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
    let mut found = Vec::new();
    let mut rest = datagram;
    while rest.len() >= 16 {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        let length = (message.header.length as usize).next_multiple_of(4);
        found.push(message);
        if length == 0 || length > rest.len() {
            break;
        }
        rest = &rest[length..];
    }
    Ok(found)
}

fn interface(link: &LinkMessage) -> Option<Interface> {
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    let has_ethernet_header =
        matches!(link.header.link_layer_type, LinkLayerType::Ether | LinkLayerType::Loopback);
    Some(Interface { index: link.header.index, name, has_ethernet_header })
}

/// Whether an interface is one of those that were named, where any was.
pub(super) fn is_wanted(names: &[String], interface: &Interface) -> bool {
    names.is_empty() || names.contains(&interface.name)
}

/// Whether there is no such interface any more.
///
/// # Errors
/// Where the interfaces cannot be listed.
pub(super) fn is_gone(interface: &Interface) -> Result<bool, Error> {
    let there = list().map_err(Error::system("listing the interfaces"))?;
    Ok(there.iter().all(|known| known.index != interface.index))
}

/// Looks whether there is an interface of each name.
///
/// # Errors
/// The first name that none has, with those that there are.
pub(super) fn check_names(names: &[String], there: &[Interface]) -> Result<(), Error> {
    let known = |name: &String| there.iter().any(|interface| interface.name == *name);
    match names.iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => {
            let known: Vec<&str> = there.iter().map(|interface| interface.name.as_str()).collect();
            Err(Error::NoInterface { name: name.clone(), known: known.join(", ") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_leaves_its_bridge_lives_on() {
        let said = |family| {
            let mut link = LinkMessage::default();
            (link.header.index, link.header.interface_family) = (7, family);
            let message = NetlinkMessage::from(RouteNetlinkMessage::DelLink(link));
            change(&message).map(|change| matches!(change, Change::Gone(7)))
        };
        assert_eq!(said(AddressFamily::Unspec), Some(true));
        assert_eq!(said(AddressFamily::Bridge), None);
    }

    #[test]
    fn loopback_is_listed() {
        let found = list().expect("rtnetlink");
        let loopback = found.iter().find(|interface| interface.name == "lo").expect("lo");
        assert_eq!(loopback.index, 1);
        assert!(loopback.has_ethernet_header);
    }
}
