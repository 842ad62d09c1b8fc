//! What becomes of a socket, and what its peer sees of it.

use super::*;
use std::io::{ErrorKind, IoSlice, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::time::{Duration, Instant};

/// A server, and what a worker has to connect to it.
struct Server {
    listener: TcpListener,
    watch: Rc<Watch>,
    spares: Spares,
}

impl Server {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let watch = Watch::new().expect("a descriptor");
        Self { listener, watch, spares: Spares::default() }
    }

    fn address(&self) -> ServerAddress {
        ServerAddress::Inet(self.listener.local_addr().expect("its address"))
    }

    /// A socket that is connected, new or spare, and its peer, to which it has said something.
    fn connect(&self) -> (Sock, TcpStream) {
        let address = self.address();
        let sock = self.spares.open(&address, None, Tcp::default(), &self.watch).expect("a socket");
        sock.connect(&address).expect("on loopback it stands at once");
        let (mut peer, _) = self.listener.accept().expect("the connection");
        assert_eq!(sock.try_send(&[IoSlice::new(b"hello")]).expect("it is new"), 5);
        peer.read_exact(&mut [0; 5]).expect("what was said");
        (sock, peer)
    }
}

fn number(sock: &Sock) -> RawFd {
    sock.as_fd().as_raw_fd()
}

/// Waits for what the kernel does in its own time.
fn until(mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(30));
        std::thread::yield_now();
    }
}

#[test]
fn a_connection_that_is_reset_leaves_its_socket() {
    let server = Server::new();
    let (sock, mut peer) = server.connect();
    let first = number(&sock);
    server.spares.reset(sock);
    let error = peer.read(&mut [0; 8]).expect_err("a RST came");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let (again, _peer) = server.connect();
    assert_eq!(number(&again), first);
    again.error().expect("nothing is left of the RST");
}

#[test]
fn so_does_one_whose_two_fins_are_acknowledged() {
    let server = Server::new();
    let (sock, peer) = server.connect();
    let first = number(&sock);
    peer.shutdown(std::net::Shutdown::Write).expect("a FIN");
    until(|| sock.end().is_some());
    server.spares.close(sock);
    until(|| server.spares.leaving.borrow()[0].is_over());
    let mut peer = peer;
    assert_eq!(peer.read(&mut [0; 8]).expect("no RST came"), 0);
    let (again, _peer) = server.connect();
    assert_eq!(number(&again), first);
    assert!(!again.peer_closed());
}

#[test]
fn a_socket_that_waits_for_its_peer_is_not_connected_again() {
    let server = Server::new();
    let (sock, mut peer) = server.connect();
    let first = number(&sock);
    sock.shutdown().expect("a FIN");
    server.spares.leaving.borrow_mut().push_back(sock);
    let (other, _other_peer) = server.connect();
    assert_ne!(number(&other), first);
    assert_eq!(peer.read(&mut [0; 8]).expect("no RST came"), 0);
    peer.write_all(b"still here").expect("nobody has reset it");
}

#[test]
fn a_close_with_something_unread_is_a_rst() {
    let server = Server::new();
    let (sock, mut peer) = server.connect();
    peer.write_all(b"unread").expect("room");
    peer.shutdown(std::net::Shutdown::Write).expect("a FIN");
    until(|| sock.try_recv(&mut [0; 1]).is_ok());
    server.spares.close(sock);
    let error = peer.read(&mut [0; 8]).expect_err("a RST came");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(!server.spares.clear(), "none was kept");
}

#[test]
fn who_waits_for_long_is_closed_and_no_more_than_some_are_kept() {
    let server = Server::new();
    let leave = || {
        let (sock, peer) = server.connect();
        sock.shutdown().expect("a FIN");
        server.spares.leaving.borrow_mut().push_back(sock);
        peer
    };
    let _first = leave();
    server.spares.tidy();
    let _second = leave();
    assert_eq!(server.spares.leaving.borrow().len(), 2);
    server.spares.tidy();
    assert_eq!(server.spares.leaving.borrow().len(), 1, "the first has waited since before");
    let (sockets, _peers): (Vec<_>, Vec<_>) = (0..MOST + 3).map(|_| server.connect()).unzip();
    sockets.into_iter().for_each(|sock| server.spares.reset(sock));
    assert_eq!(server.spares.free.borrow().len(), MOST);
    server.spares.tidy();
    let (_used, _its_peer) = server.connect();
    server.spares.tidy();
    assert!(!server.spares.clear(), "of the rest none was needed since");
    let (sock, _peer) = server.connect();
    server.spares.reset(sock);
    assert!(server.spares.clear());
    assert!(!server.spares.clear());
}

#[test]
fn what_is_good_for_several_connections_is_so_to_one_address() {
    let address = ServerAddress::Inet(([127, 0, 0, 1], 80).into());
    assert_eq!(Kind::of(&address, Some(([127, 0, 0, 2], 0).into()), Tcp::default()), None);
    let path = ServerAddress::Unix("/run/server".into());
    assert_eq!(Kind::of(&path, None, Tcp::default()), None);
    let probing = Tcp { keepalive: true, ..Tcp::default() };
    assert_ne!(Kind::of(&address, None, Tcp::default()), Kind::of(&address, None, probing));
    let other = ServerAddress::Inet(([127, 0, 0, 2], 80).into());
    assert_ne!(Kind::of(&address, None, Tcp::default()), Kind::of(&other, None, Tcp::default()));
}
