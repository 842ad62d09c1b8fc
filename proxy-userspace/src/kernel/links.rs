//! The interfaces of this network namespace, by rtnetlink. Not by `/sys/class/net`: that shows the
//! namespace in which /sys was mounted.

use super::error::Error;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_sys::{
    AsyncSocket as _, AsyncSocketExt as _, Socket, SocketAddr, TokioSocket,
    protocols::NETLINK_ROUTE,
};
use std::io;

/// RTMGRP_LINK: interfaces come, go and change. RTMGRP_TC: so do their qdiscs.
const GROUP_LINK: u32 = 1;
const GROUP_TC: u32 = 8;
/// TC_H_CLSACT: where the qdisc hangs that our filters hang on.
const CLSACT: u32 = 0xffff_fff1;

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
    /// It has no clsact qdisc any more, and no filter that hung there.
    Bare(u32),
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
        for message in split(&datagram) {
            let (kind, body) = message?;
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(found),
                libc::NLMSG_ERROR => return Err(refusal(body)),
                _ => {}
            }
            if let Some(Change::There(interface)) = change(kind, body) {
                found.push(interface);
            }
        }
    }
}

/// Follows the interfaces as they come and go.
pub(super) struct Watch(TokioSocket);

impl Watch {
    /// Begins to follow, and with `filters` also what becomes of them; list the interfaces after this,
    /// so that none is missed between.
    ///
    /// # Errors
    /// Those of the netlink socket.
    pub(super) fn start(filters: bool) -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        let groups = GROUP_LINK | if filters { GROUP_TC } else { 0 };
        socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
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
        Ok(changes(&datagram))
    }
}

/// What a datagram says of interfaces; of one that is cut off nobody knows all.
fn changes(datagram: &[u8]) -> Vec<Change> {
    let message = |message: io::Result<(u16, &[u8])>| match message {
        Ok((kind, body)) => change(kind, body),
        Err(_) => Some(Change::Unknown),
    };
    split(datagram).filter_map(message).collect()
}

/// What a message says of an interface. Of another family than none it says what became of it as a
/// bridge's port: one that leaves its bridge is deleted there, and lives on.
///
/// It is read by hand, and only what is needed of it: netlink-packet-route refuses a whole message
/// for one attribute that a later kernel writes in another way.
fn change(kind: u16, body: &[u8]) -> Option<Change> {
    let (&[family, _, low, high, ref index @ ..], attributes) =
        body.split_first_chunk::<8>().zip(body.get(16..)).map(|((head, _), rest)| (head, rest))?;
    let (index, layer) = (u32::from_ne_bytes(*index), u16::from_ne_bytes([low, high]));
    if kind == libc::RTM_DELQDISC {
        let parent = body.get(12..16).and_then(<[u8]>::first_chunk);
        return (parent == Some(&CLSACT.to_ne_bytes())).then_some(Change::Bare(index));
    }
    if kind == libc::RTM_DELLINK && i32::from(family) == libc::AF_UNSPEC {
        return Some(Change::Gone(index));
    }
    let name = attribute(attributes, libc::IFLA_IFNAME).filter(|_| kind == libc::RTM_NEWLINK)?;
    let name = String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(name)).into_owned();
    let has_ethernet_header = [libc::ARPHRD_ETHER, libc::ARPHRD_LOOPBACK].contains(&layer);
    Some(Change::There(Interface { index, name, has_ethernet_header }))
}

/// The Ethernet address in the answer about one interface; none where it has no Ethernet header, or is
/// not there. Read by hand as [`change`] is.
///
/// # Errors
/// Where the answer is cut off.
pub(super) fn hardware_address(datagram: &[u8]) -> io::Result<Option<[u8; 6]>> {
    let Some(answer) = split(datagram).next() else { return Ok(None) };
    let (kind, body) = answer?;
    let attributes = body.get(16..).filter(|_| kind == libc::RTM_NEWLINK);
    let address = attributes.and_then(|attributes| attribute(attributes, libc::IFLA_ADDRESS));
    Ok(address.and_then(|address| address.try_into().ok()))
}

/// The value of an attribute.
fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some(&[a, b, c, d]) = rest.first_chunk() {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        // One that is shorter than its own header ends the look too.
        let value = rest.get(4..length)?;
        if u16::from_ne_bytes([c, d]) == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// The messages of a datagram: what kind each is, and what follows its header. One that is not whole
/// is the last.
fn split(datagram: &[u8]) -> impl Iterator<Item = io::Result<(u16, &[u8])>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let here = std::mem::take(&mut rest);
        if here.is_empty() {
            return None;
        }
        let message = here.first_chunk().and_then(|&[a, b, c, d, e, f]: &[u8; 6]| {
            let length = u32::from_ne_bytes([a, b, c, d]) as usize;
            let body = here.get(16..length)?;
            rest = here.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some((u16::from_ne_bytes([e, f]), body))
        });
        Some(message.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData)))
    })
}

/// Why a request was refused.
fn refusal(body: &[u8]) -> io::Error {
    let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
    io::Error::from_raw_os_error(-code)
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

/// Whether an interface is one of those that were named, where any was.
pub(super) fn is_wanted(names: &[String], interface: &Interface) -> bool {
    names.is_empty() || names.contains(&interface.name)
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

    /// A message as the kernel writes it.
    fn written(kind: u16, family: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![family, 0];
        body.extend(libc::ARPHRD_ETHER.to_ne_bytes());
        body.extend(7u32.to_ne_bytes());
        body.extend([0; 8]);
        for (kind, value) in attributes {
            body.extend((4 + value.len() as u16).to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_port_that_leaves_its_bridge_lives_on() {
        let gone = |family: i32| changes(&written(libc::RTM_DELLINK, family as u8, &[]));
        assert_eq!(gone(libc::AF_UNSPEC), [Change::Gone(7)]);
        assert_eq!(gone(libc::AF_BRIDGE), []);
    }

    #[test]
    fn an_attribute_of_a_later_kernel_does_not_matter() {
        let odd: [(u16, &[u8]); 3] =
            [(libc::IFLA_MTU, &[1]), (0x3fff, b"new"), (libc::IFLA_IFNAME, b"veth0\0")];
        let mut datagram = written(libc::RTM_NEWLINK, 0, &odd);
        let there =
            Change::There(Interface { index: 7, name: "veth0".into(), has_ethernet_header: true });
        assert_eq!(changes(&datagram), std::slice::from_ref(&there));
        // What is cut off, or says a length that cannot be, is not known.
        datagram.extend(written(libc::RTM_DELLINK, 0, &[]));
        assert_eq!(changes(&datagram), [there.clone(), Change::Gone(7)]);
        datagram.truncate(datagram.len() - 1);
        assert_eq!(changes(&datagram), [there, Change::Unknown]);
        for length in [0u32, 3, 15, u32::MAX] {
            let mut odd = written(libc::RTM_DELLINK, 0, &[]);
            odd[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(changes(&odd), [Change::Unknown], "{length}");
        }
        assert_eq!(changes(&[1, 2]), [Change::Unknown]);
    }

    #[test]
    fn an_address_is_found_beside_an_attribute_of_a_later_kernel() {
        let odd: [(u16, &[u8]); 2] = [(libc::IFLA_MTU, &[1]), (libc::IFLA_ADDRESS, b"\x02macad")];
        let mut datagram = written(libc::RTM_NEWLINK, 0, &odd);
        assert!(messages(&datagram).is_err(), "netlink-packet-route refuses it whole");
        assert_eq!(hardware_address(&datagram).expect("it is whole"), Some(*b"\x02macad"));
        datagram.truncate(datagram.len() - 1);
        assert!(hardware_address(&datagram).is_err());
        let none = written(libc::RTM_NEWLINK, 0, &[(libc::IFLA_ADDRESS, &[1; 20])]);
        assert_eq!(hardware_address(&none).expect("it is whole"), None, "no Ethernet header");
        let refused = written(libc::NLMSG_ERROR as u16, 0, &odd);
        assert_eq!(hardware_address(&refused).expect("it is whole"), None);
    }

    #[test]
    fn loopback_is_listed() {
        let found = list().expect("rtnetlink");
        let loopback = found.iter().find(|interface| interface.name == "lo").expect("lo");
        assert_eq!(loopback.index, 1);
        assert!(loopback.has_ethernet_header);
    }
}
