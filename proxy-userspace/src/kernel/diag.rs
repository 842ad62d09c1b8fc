//! Local TCP sockets by sock_diag(7): which there are, and having the kernel abort one.

use netlink_sys::{Socket, SocketAddr};
use proxy_common::abi::LOOPBACK;
use proxy_common::key::{Endpoint, FlowKey, Side};
use proxy_common::socket::tcp_state::{CLOSE_WAIT, FIN_WAIT1, FIN_WAIT2, LISTEN};
use std::collections::HashSet;
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

/// Whatever a socket's cookie is (`INET_DIAG_NOCOOKIE`).
const ANY_COOKIE: [u8; 8] = [0xff; 8];
/// Questions in one datagram: their answers have room in the socket's buffer.
const AT_ONCE: usize = 64;

/// The states, as bits, in which one end has closed.
pub(super) const HALF_CLOSED: u32 = 1 << FIN_WAIT1 | 1 << FIN_WAIT2 | 1 << CLOSE_WAIT;

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
    /// Whether an application holds on to it: no orphan, and no minisock.
    pub owned: bool,
    /// What tells it from a later socket of the same connection's addresses.
    cookie: [u8; 8],
}

/// An open netlink socket, for any number of questions one after the other.
pub(super) struct Diag {
    socket: Socket,
    /// What the last question was numbered: an answer to an earlier one is none to this.
    number: u32,
}

impl Diag {
    /// Opens it.
    ///
    /// # Errors
    /// Those of the netlink socket.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, number: 0 })
    }

    /// Every socket of this network namespace whose state is among the bits of `states`.
    ///
    /// # Errors
    /// Those of the netlink socket.
    pub(super) fn list(&mut self, states: u32) -> io::Result<Vec<Local>> {
        self.list_those(states, [0, 0], |_| true)
    }

    /// Those of them that are `wanted`, with these ports: its own and its peer's, 0 for any. The
    /// others may be a million: they take no room, and by its port the kernel passes one over.
    ///
    /// # Errors
    /// Those of the netlink socket.
    pub(super) fn list_those(
        &mut self,
        states: u32,
        ports: [u16; 2],
        wanted: impl Fn(&Local) -> bool,
    ) -> io::Result<Vec<Local>> {
        let mut found = Vec::new();
        self.dump(states, ports, |message| found.extend(read(message).filter(&wanted)))?;
        Ok(found)
    }

    /// What the sockets of this network namespace listen on.
    ///
    /// # Errors
    /// Those of the netlink socket.
    pub(super) fn listening(&mut self) -> io::Result<HashSet<Endpoint>> {
        let mut found = HashSet::new();
        self.dump(1 << LISTEN, [0, 0], |message| found.extend(ends(message).map(|[own, _]| own)))?;
        Ok(found)
    }

    fn dump(
        &mut self,
        states: u32,
        ports: [u16; 2],
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let mut id = [0; ID];
        id[..4].copy_from_slice(ports.map(u16::to_be_bytes).as_flattened());
        [libc::AF_INET, libc::AF_INET6].into_iter().try_for_each(|family| {
            let asked = Question { family: family as u8, states, id };
            self.ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &asked, &mut each)
        })
    }

    /// The socket of one connection's end at `local`, whatever its state. `bound` as in [`Local`].
    ///
    /// # Errors
    /// `NotFound` where there is none; else those of the netlink socket.
    pub(super) fn find(&mut self, key: &FlowKey, local: Side, bound: u32) -> io::Result<Local> {
        let asked = Question::about(key, local, bound, ANY_COOKIE);
        let mut found = None;
        self.ask(SOCK_DIAG_BY_FAMILY, NLM_F_ACK, &asked, |message| {
            found = found.or_else(|| read(message));
        })?;
        // Where no connection has these addresses, the kernel finds the socket that listens there.
        found.filter(|one| one.key == *key).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Has the kernel abort a socket: it sends the RST that the state asks for, and its application
    /// gets ECONNABORTED.
    ///
    /// # Errors
    /// `NotFound` where the socket is gone, or has become a minisock; `Unsupported` where the
    /// kernel was built without `CONFIG_INET_DIAG_DESTROY`; else those of the netlink socket.
    pub(super) fn destroy(&mut self, one: &Local) -> io::Result<()> {
        let asked = Question::about(&one.key, one.local, one.bound, one.cookie);
        self.ask(SOCK_DESTROY, NLM_F_ACK, &asked, |_| {}).map_err(|error| {
            match error.raw_os_error() {
                Some(libc::ESTALE) => io::ErrorKind::NotFound.into(),
                _ => error,
            }
        })
    }

    /// Has the kernel forget orphans on loopback that were seen a moment ago. Their peers must have
    /// been reset already: a minisock goes without a word. One that is gone is no error.
    ///
    /// # Errors
    /// Those of the netlink socket.
    pub(super) fn forget_orphans(&mut self, those: &[(FlowKey, Side)]) -> io::Result<()> {
        for some in those.chunks(AT_ONCE) {
            let mut bytes = Vec::new();
            let last = some.len() - 1;
            for (at, (key, local)) in some.iter().enumerate() {
                let asked = Question::about(key, *local, 0, ANY_COOKIE);
                self.number = self.number.wrapping_add(1);
                // One answer for all: what the others say is that they are gone.
                let flags = if at == last { NLM_F_ACK } else { 0 };
                bytes.extend(asked.message(SOCK_DESTROY, flags, self.number));
            }
            self.socket.send(&bytes, 0)?;
            match receive(&self.socket, self.number, |_| {}) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Asks, and gives every answer's body to `each`.
    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        asked: &Question,
        each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        self.number = self.number.wrapping_add(1);
        self.socket.send(&asked.message(kind, flags, self.number), 0)?;
        receive(&self.socket, self.number, each)
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
        owned: false,
        cookie: [0; 8],
    };
    let asked = Diag::open().and_then(|mut diag| diag.destroy(&one));
    asked.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn family(key: &FlowKey) -> u8 {
    (if key.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET }) as u8
}

/// A `struct inet_diag_req_v2`.
struct Question {
    family: u8,
    states: u32,
    /// `struct inet_diag_sockid`.
    id: [u8; ID],
}

impl Question {
    fn about(key: &FlowKey, local: Side, bound: u32, cookie: [u8; 8]) -> Self {
        let (source, target) = (key.end(local), key.end(local.other()));
        let mut id = [0; ID];
        id[0..2].copy_from_slice(&source.port.to_be_bytes());
        id[2..4].copy_from_slice(&target.port.to_be_bytes());
        let first = if key.is_ipv6() { 0 } else { 12 };
        id[4..20 - first].copy_from_slice(&source.addr[first..]);
        id[20..36 - first].copy_from_slice(&target.addr[first..]);
        // As the program looks: one that is not bound is found from anywhere, and one that is bound to
        // loopback from there.
        let from = if bound == 0 { LOOPBACK } else { bound };
        id[36..40].copy_from_slice(&from.to_ne_bytes());
        id[40..48].copy_from_slice(&cookie);
        Self { family: family(key), states: u32::MAX, id }
    }

    /// The netlink message.
    fn message(&self, kind: u16, flags: u16, number: u32) -> Vec<u8> {
        let length = (HEADER + 8 + ID) as u32;
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        bytes.extend(number.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend([self.family, libc::IPPROTO_TCP as u8, 0, 0]);
        bytes.extend(self.states.to_ne_bytes());
        bytes.extend(self.id);
        bytes
    }
}

/// Gives the body of every answer to question `number` to `each`, until the kernel says that there
/// are no more.
fn receive(socket: &Socket, number: u32, mut each: impl FnMut(&[u8])) -> io::Result<()> {
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
                _ if word(8) != number => {}
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
    let word =
        |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let [own, peer] = ends(message)?;
    if peer.port == 0 {
        return None;
    }
    let (key, local) = FlowKey::new(own, peer);
    Some(Local {
        key,
        local,
        state: bytes[1],
        bound: word(40),
        unread: word(56),
        unacked: word(60),
        owned: word(68) != 0,
        cookie: bytes[44..52].try_into().ok()?,
    })
}

/// A socket's own end, and its peer's.
fn ends(message: &[u8]) -> Option<[Endpoint; 2]> {
    let bytes: &[u8; 72] = message.first_chunk()?;
    let end = |address: usize, port: usize| {
        let port = u16::from_be_bytes([bytes[port], bytes[port + 1]]);
        let address: [u8; 16] = bytes.get(address..address + 16)?.try_into().ok()?;
        let [a, b, c, d, ..] = address;
        let v4 = i32::from(bytes[0]) == libc::AF_INET;
        Some(if v4 { Endpoint::v4([a, b, c, d], port) } else { Endpoint::v6(address, port) })
    };
    Some([end(8, 4)?, end(24, 6)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ends::endpoint;
    use proxy_common::socket::tcp_state::ESTABLISHED;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_socket_is_found_and_aborted() {
        assert!(can_destroy(), "this kernel lacks CONFIG_INET_DIAG_DESTROY, or we are not root");
        let mut diag = Diag::open().expect("a netlink socket");
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).expect("a port");
            let stream =
                TcpStream::connect(listener.local_addr().expect("it")).expect("it listens");
            let (accepted, _) = listener.accept().expect("a connection");
            let ours = endpoint(stream.local_addr().expect("bound"));
            let (key, local) = FlowKey::new(ours, endpoint(stream.peer_addr().expect("connected")));
            let found = diag.find(&key, local, 0).expect("it is there");
            assert_eq!((found.state, found.local), (ESTABLISHED, local));
            let all = diag.list(1 << ESTABLISHED).expect("a list");
            assert!(all.iter().any(|one| one.key == key && one.local == local), "{all:?}");
            let [own, peer] = [key.end(local).port, key.end(local.other()).port];
            for (ports, count) in
                [([own, 0], 1), ([0, peer], 1), ([own, peer], 1), ([peer, own], 0), ([0, own], 0)]
            {
                let ours = diag.list_those(1 << ESTABLISHED, ports, |one| {
                    (one.key, one.local) == (key, local)
                });
                assert_eq!(ours.expect("a list").len(), count, "{ports:?}");
            }
            // What is not wanted is left out in the kernel already.
            let mut told = 0;
            diag.dump(1 << ESTABLISHED, [own, peer], |_| told += 1).expect("a list");
            assert_eq!(told, 1);
            diag.destroy(&found).expect("it is there");
            let error = accepted.peek(&mut [0]).expect_err("the RST came");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            // Only the listener is left, and that is no connection.
            let gone = diag.find(&key, local.other(), 0).map(|one| one.state);
            assert!(gone.is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
            assert!(diag.destroy(&found).is_err());
            assert!(TcpStream::connect(listener.local_addr().expect("it")).is_ok());
        }
    }
}
