//! Local TCP sockets by sock_diag(7): which there are, and having the kernel abort one.

use netlink_sys::{Socket, SocketAddr};
use proxy_common::key::{Endpoint, FlowKey, Side};
use proxy_common::socket::tcp_state::FIN_WAIT2;
use std::io;

/// The protocol and its messages (include/uapi/linux/sock_diag.h).
const NETLINK_SOCK_DIAG: isize = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
/// Messages of netlink itself, and flags of a request (include/uapi/linux/netlink.h).
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
/// Bytes of a netlink header, and of an `inet_diag_sockid`.
const HEADER: usize = 16;
const ID: usize = 48;

/// One local socket of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Local {
    /// The connection.
    pub key: FlowKey,
    /// Which end the socket is.
    pub local: Side,
    /// Its state, as in `proxy_common::socket::tcp_state`; of an orphan's minisock its substate.
    pub state: u8,
    /// The interface that it is bound to, or 0.
    pub bound: u32,
    /// Bytes that wait to be sent or acknowledged.
    pub unacked: u32,
    /// Bytes that wait to be read.
    pub unread: u32,
    /// What tells it from a later socket of the same connection's addresses.
    cookie: [u8; 8],
}

/// Every socket of this network namespace whose state is among the bits of `states`.
///
/// # Errors
/// Those of the netlink socket.
pub(super) fn list(states: u32) -> io::Result<Vec<Local>> {
    let socket = open()?;
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let id = [0; ID];
        socket.send(&request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, family as u8, states, &id), 0)?;
        receive(&socket, |message| found.extend(read(message)))?;
    }
    Ok(found)
}

/// The socket of one connection's end at `local`, whatever its state. `bound` as in [`Local`].
///
/// # Errors
/// `NotFound` where there is none; else those of the netlink socket.
pub(super) fn find(key: &FlowKey, local: Side, bound: u32) -> io::Result<Local> {
    let socket = open()?;
    let id = id(key, local, bound, [0xff; 8]);
    socket.send(&request(SOCK_DIAG_BY_FAMILY, NLM_F_ACK, family(key), u32::MAX, &id), 0)?;
    let mut found = None;
    receive(&socket, |message| found = found.or_else(|| read(message)))?;
    // Where no connection has these addresses, the kernel finds the socket that listens there.
    found.filter(|one| one.key == *key).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Has the kernel abort a socket: it sends the RST that the state asks for, and its application
/// gets ECONNABORTED.
///
/// # Errors
/// `NotFound` where the socket is gone, or has become a minisock; `Unsupported` where the kernel
/// was built without `CONFIG_INET_DIAG_DESTROY`; else those of the netlink socket.
pub(super) fn destroy(one: &Local) -> io::Result<()> {
    let socket = open()?;
    let id = id(&one.key, one.local, one.bound, one.cookie);
    socket.send(&request(SOCK_DESTROY, NLM_F_ACK, family(&one.key), u32::MAX, &id), 0)?;
    receive(&socket, |_| {}).map_err(|error| match error.raw_os_error() {
        Some(libc::ESTALE) => io::ErrorKind::NotFound.into(),
        _ => error,
    })
}

/// Has the kernel forget an orphan's minisock. Its peer must have been reset already: else the peer
/// would never know. One that has become a proper TIME_WAIT stays, as does a full socket.
///
/// # Errors
/// Those of the netlink socket.
pub(super) fn forget_minisock(key: &FlowKey, local: Side) -> io::Result<()> {
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    };
    match find(key, local, 0) {
        Ok(one) if one.state == FIN_WAIT2 => destroy(&one).or_else(gone),
        Ok(_) => Ok(()),
        Err(error) => gone(error),
    }
}

/// Whether this kernel can abort sockets.
#[must_use]
pub fn can_destroy() -> bool {
    // No connection has such an end.
    let nobody = FlowKey { ends: [Endpoint::v4([0; 4], 1); 2] };
    let one = Local {
        key: nobody,
        local: Side::LOW,
        state: 0,
        bound: 0,
        unacked: 0,
        unread: 0,
        cookie: [0; 8],
    };
    destroy(&one).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

fn family(key: &FlowKey) -> u8 {
    (if key.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET }) as u8
}

/// `struct inet_diag_sockid`.
fn id(key: &FlowKey, local: Side, bound: u32, cookie: [u8; 8]) -> [u8; ID] {
    let (source, target) = (key.end(local), key.end(local.other()));
    let mut id = [0; ID];
    id[0..2].copy_from_slice(&source.port.to_be_bytes());
    id[2..4].copy_from_slice(&target.port.to_be_bytes());
    let from = if key.is_ipv6() { 0 } else { 12 };
    id[4..20 - from].copy_from_slice(&source.addr[from..]);
    id[20..36 - from].copy_from_slice(&target.addr[from..]);
    id[36..40].copy_from_slice(&bound.to_ne_bytes());
    id[40..48].copy_from_slice(&cookie);
    id
}

/// A netlink message with a `struct inet_diag_req_v2`.
fn request(kind: u16, flags: u16, family: u8, states: u32, id: &[u8; ID]) -> Vec<u8> {
    let length = (HEADER + 8 + ID) as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, libc::IPPROTO_TCP as u8, 0, 0]);
    bytes.extend(states.to_ne_bytes());
    bytes.extend(id);
    bytes
}

/// Gives every message's body to `each`, until the kernel says that there are no more.
fn receive(socket: &Socket, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while let Some((header, _)) = rest.split_at_checked(HEADER) {
            let word = |at: usize| {
                u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
            };
            let kind = u16::from_ne_bytes([header[4], header[5]]);
            let length = word(0) as usize;
            let Some(body) = rest.get(HEADER..length) else { break };
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                    return if code == 0 {
                        Ok(())
                    } else {
                        Err(io::Error::from_raw_os_error(-code))
                    };
                }
                _ => each(body),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// A socket out of a `struct inet_diag_msg`; `None` of one that is no connection's.
fn read(message: &[u8]) -> Option<Local> {
    let bytes: &[u8; 72] = message.first_chunk()?;
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let word =
        |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let v4 = i32::from(bytes[0]) == libc::AF_INET;
    let end = |at: usize, port: u16| {
        let address: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
        let [a, b, c, d, ..] = address;
        Some(if v4 { Endpoint::v4([a, b, c, d], port) } else { Endpoint::v6(address, port) })
    };
    let peer_port = port(6);
    if peer_port == 0 {
        return None;
    }
    let (key, local) = FlowKey::new(end(8, port(4))?, end(24, peer_port)?);
    Some(Local {
        key,
        local,
        state: bytes[1],
        bound: word(40),
        unread: word(56),
        unacked: word(60),
        cookie: bytes[44..52].try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_common::socket::tcp_state::ESTABLISHED;
    use std::net::{SocketAddr as Address, TcpListener, TcpStream};

    fn endpoint(address: Address) -> Endpoint {
        match address {
            Address::V4(v4) => Endpoint::v4(v4.ip().octets(), v4.port()),
            Address::V6(v6) => Endpoint::v6(v6.ip().octets(), v6.port()),
        }
    }

    #[test]
    fn a_socket_is_found_and_aborted() {
        assert!(can_destroy(), "this kernel lacks CONFIG_INET_DIAG_DESTROY, or we are not root");
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).expect("a port");
            let stream =
                TcpStream::connect(listener.local_addr().expect("it")).expect("it listens");
            let (accepted, _) = listener.accept().expect("a connection");
            let ours = endpoint(stream.local_addr().expect("bound"));
            let (key, local) = FlowKey::new(ours, endpoint(stream.peer_addr().expect("connected")));
            let found = find(&key, local, 0).expect("it is there");
            assert_eq!((found.state, found.local), (ESTABLISHED, local));
            let all = list(1 << ESTABLISHED).expect("a list");
            assert!(all.iter().any(|one| one.key == key && one.local == local), "{all:?}");
            destroy(&found).expect("it is there");
            let error = accepted.peek(&mut [0]).expect_err("the RST came");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            // Only the listener is left, and that is no connection.
            let gone = find(&key, local.other(), 0).map(|one| one.state);
            assert!(gone.is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
            assert!(destroy(&found).is_err());
            assert!(TcpStream::connect(listener.local_addr().expect("it")).is_ok());
        }
    }
}
