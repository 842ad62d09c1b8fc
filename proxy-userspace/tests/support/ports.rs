//! Ports of loopback that the kernel gives nobody else.

use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;

/// A port of 127.0.0.1 in this thread's network namespace, until this is dropped. Connections to it
/// are refused while nobody listens. A port that was only found free could be given out a second
/// time, to another listener of the same test.
pub(crate) struct Reserved {
    socket: Socket,
}

impl Reserved {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // Proxies share their ports (SO_REUSEPORT), so that they can listen beside this; a port that
        // the kernel chooses is never a shared one (`inet_csk_find_open_port`).
        socket.set_reuse_address(true).expect("an option");
        socket.set_reuse_port(true).expect("an option");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        Self { socket }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound").as_socket().expect("of IPv4")
    }

    pub(crate) fn port(&self) -> u16 {
        self.address().port()
    }
}
