//! Clients that end their connections in every way.

use super::servers::Ended;
use super::sockets::abort_when_closed;
use super::topology::Topology;
use super::until::PATIENCE;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// How a client asks and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// HTTP/1.0: reads to the end, closes after the peer.
    Http10,
    /// HTTP/1.1: two requests on one connection if the peer allows, then closes first.
    KeepAlive,
    /// Half-closes after the request, reads to the end.
    HalfClosing,
    /// Resets as soon as a byte of the response is there.
    Resetting,
    /// Closes with the response unread, so that the kernel resets.
    Unread,
}

impl Way {
    pub(crate) const ALL: [Self; 5] =
        [Self::Http10, Self::KeepAlive, Self::HalfClosing, Self::Resetting, Self::Unread];
}

/// What a client saw of its connection.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) way: Way,
    /// Bytes read.
    pub(crate) bytes: usize,
    pub(crate) ended: Ended,
}

/// Makes one connection to `peer` from the client's namespace and ends it the given way.
pub(crate) fn ask(topology: &Topology, peer: SocketAddr, way: Way) -> Asked {
    let mut stream = topology
        .client
        .run(|| TcpStream::connect(peer))
        .unwrap_or_else(|error| panic!("connect to {peer}: {error}"));
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let local = stream.local_addr().expect("an address");
    let (bytes, ended) = converse(&mut stream, way);
    Asked { local, peer, way, bytes, ended }
}

fn converse(stream: &mut TcpStream, way: Way) -> (usize, Ended) {
    let version = if way == Way::Http10 { "1.0" } else { "1.1" };
    let request = format!("GET / HTTP/{version}\r\nHost: witness\r\n\r\n");
    if stream.write_all(request.as_bytes()).is_err() {
        return (0, Ended::Reset);
    }
    match way {
        Way::Http10 => to_the_end(stream),
        Way::HalfClosing => {
            let _reset_already = stream.shutdown(Shutdown::Write);
            to_the_end(stream)
        }
        Way::KeepAlive => {
            let (first, ended) = one_response(stream);
            if let Some(ended) = ended {
                return (first, ended);
            }
            if stream.write_all(request.as_bytes()).is_err() {
                return (first, Ended::Reset);
            }
            let (second, ended) = one_response(stream);
            (first + second, ended.unwrap_or(Ended::ByUs))
        }
        Way::Resetting => {
            let first = stream.peek(&mut [0]);
            abort_when_closed(stream);
            match first {
                Ok(0) => (0, Ended::Eof),
                Ok(_) => (0, Ended::ByUs),
                Err(_) => (0, Ended::Reset),
            }
        }
        Way::Unread => match stream.peek(&mut [0]) {
            Ok(0) => (0, Ended::Eof),
            Ok(_) => (0, Ended::ByUs),
            Err(_) => (0, Ended::Reset),
        },
    }
}

/// Reads until the peer ends the connection.
fn to_the_end(stream: &mut TcpStream) -> (usize, Ended) {
    let (mut bytes, mut chunk) = (0, [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return (bytes, Ended::Eof),
            Ok(length) => bytes += length,
            Err(error) if super::servers::is_timeout(&error) => return (bytes, Ended::Silence),
            Err(_) => return (bytes, Ended::Reset),
        }
    }
}

/// Reads one response by its Content-Length; says how the connection ended if it did.
fn one_response(stream: &mut TcpStream) -> (usize, Option<Ended>) {
    let (mut text, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(whole) = response_length(&text)
            && text.len() >= whole
        {
            return (text.len(), None);
        }
        match stream.read(&mut chunk) {
            Ok(0) => return (text.len(), Some(Ended::Eof)),
            Ok(length) => text.extend_from_slice(&chunk[..length]),
            Err(error) if super::servers::is_timeout(&error) => {
                return (text.len(), Some(Ended::Silence));
            }
            Err(_) => return (text.len(), Some(Ended::Reset)),
        }
    }
}

/// Head and body together, once the head is whole and says its length.
fn response_length(text: &[u8]) -> Option<usize> {
    let head = text.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let words = String::from_utf8_lossy(&text[..head]).to_ascii_lowercase();
    let value = words.split("content-length:").nth(1)?.split("\r\n").next()?.trim().to_owned();
    Some(head + value.parse::<usize>().ok()?)
}
