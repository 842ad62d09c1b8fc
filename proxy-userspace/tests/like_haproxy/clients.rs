//! Clients that ask, read and close in their own ways.

use crate::support::process::undivided;
use crate::support::sockets::abort_when_closed;
use crate::support::topology::Topology;
use crate::support::until::PATIENCE;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// How a client asks and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// HTTP/1.0: reads until the connection ends.
    Http10,
    /// HTTP/1.1 with `Connection: close`: reads until the connection ends.
    Http11Close,
    /// HTTP/1.1: asks twice if the first response lets it, and closes once it has what it wants.
    KeepAlive,
    /// HTTP/1.0: ends its sending behind the request, and reads until the connection ends.
    HalfClosing,
    /// HTTP/1.0: resets once it has what it wants.
    Resetting,
}

impl Client {
    pub(crate) const ALL: [Self; 5] =
        [Self::Http10, Self::Http11Close, Self::KeepAlive, Self::HalfClosing, Self::Resetting];

    /// Asks the proxy for `path`; the response.
    pub(crate) fn ask(self, topology: &Topology, proxy: SocketAddr, path: &str) -> String {
        let stream = topology.client.run(|| TcpStream::connect(proxy));
        let mut stream = stream.unwrap_or_else(|error| panic!("{proxy} for {path}: {error}"));
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = match self {
            Self::Http10 | Self::HalfClosing | Self::Resetting => {
                format!("GET {path} HTTP/1.0\r\n\r\n")
            }
            Self::Http11Close => {
                format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            }
            Self::KeepAlive => format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"),
        };
        stream.write_all(request.as_bytes()).expect("the proxy reads");
        let text = match self {
            Self::Http10 | Self::Http11Close => to_the_end(&mut stream),
            Self::HalfClosing => {
                stream.shutdown(Shutdown::Write).expect("a connection");
                to_the_end(&mut stream)
            }
            Self::Resetting => {
                let text = one_response(&mut stream);
                abort_when_closed(&stream);
                text
            }
            Self::KeepAlive => {
                let first = one_response(&mut stream);
                if first.to_ascii_lowercase().contains("connection: close") {
                    first
                } else {
                    stream.write_all(request.as_bytes()).expect("the proxy reads");
                    one_response(&mut stream)
                }
            }
        };
        undivided(|| drop(stream));
        text
    }
}

/// A proxy that gives up a response may reset: what came before counts.
fn to_the_end(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Reads up to the end of the body `ok`.
fn one_response(stream: &mut TcpStream) -> String {
    let (mut text, mut byte) = (Vec::new(), [0; 1]);
    while !text.ends_with(b"\r\n\r\nok") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        text.push(byte[0]);
    }
    String::from_utf8_lossy(&text).into_owned()
}
