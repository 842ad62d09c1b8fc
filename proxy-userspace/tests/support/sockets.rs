//! Sockets with options that most have not.

use rustix::net::netdevice::name_to_index;
use socket2::{Domain, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

/// What is done to a socket before it connects or listens: towards the peer's address.
pub(crate) type Prepare<'a> = &'a (dyn Fn(&Socket, IpAddr) + Sync);

/// A socket that listens, prepared for peers with this address.
pub(crate) fn listen(
    at: SocketAddr,
    peer: IpAddr,
    prepare: Prepare<'_>,
) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    prepare(&socket, peer);
    socket.bind(&at.into())?;
    socket.listen(16)?;
    Ok(socket.into())
}

/// A connection from a socket that was prepared.
pub(crate) fn connect(to: SocketAddr, prepare: Prepare<'_>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    prepare(&socket, to.ip());
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// Nothing is done.
pub(crate) fn plain(_: &Socket, _: IpAddr) {}

/// Binds to an interface of this thread's namespace (SO_BINDTODEVICE).
pub(crate) fn bind_to(socket: &Socket, interface: &str) {
    socket.bind_device(Some(interface.as_bytes())).expect("an interface");
}

/// The number of an interface of this thread's namespace.
pub(crate) fn index_of(interface: &str) -> u32 {
    let any = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    name_to_index(&any, interface).expect("an interface")
}

/// What the kernel knows of a connection (TCP_INFO).
pub(crate) fn tcp_info(socket: &TcpStream) -> libc::tcp_info {
    // SAFETY: integers alone; all zeros is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes of `info`.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    assert_eq!(failed, 0, "{}", io::Error::last_os_error());
    info
}

/// Signs every segment to and from the peer (RFC 2385).
pub(crate) fn sign(socket: &Socket, peer: IpAddr) {
    const TCP_MD5SIG: libc::c_int = 14;
    const KEY: &[u8] = b"secret";
    // struct tcp_md5sig (linux/tcp.h): a sockaddr_storage, flags, a prefix's length, the key's
    // length, an interface, the key.
    let mut argument = [0_u8; 216];
    let (family, at) = if peer.is_ipv4() { (libc::AF_INET, 4) } else { (libc::AF_INET6, 8) };
    argument[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    match peer {
        IpAddr::V4(peer) => argument[at..at + 4].copy_from_slice(&peer.octets()),
        IpAddr::V6(peer) => argument[at..at + 16].copy_from_slice(&peer.octets()),
    }
    argument[130..132].copy_from_slice(&(KEY.len() as u16).to_ne_bytes());
    argument[136..136 + KEY.len()].copy_from_slice(KEY);
    // SAFETY: the kernel reads that many bytes.
    let failed = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_MD5SIG,
            argument.as_ptr().cast(),
            argument.len() as libc::socklen_t,
        )
    };
    assert_eq!(failed, 0, "TCP_MD5SIG: {}", io::Error::last_os_error());
}

/// Closes with a RST, whatever was said.
pub(crate) fn abort(stream: TcpStream) {
    abort_when_closed(&stream);
    drop(stream);
}

/// Makes a RST of the close that is still to come (SO_LINGER of 0).
pub(crate) fn abort_when_closed(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("an option");
}
