//! A check's connection: opened, read, written, and closed as HAProxy closes a check's.

use crate::http::closes::{Class, Cookie, Doing, Upstream};
use crate::http::health::board::Place;
use crate::http::health::outcome::{Outcome, Status};
use crate::http::health::script::{CheckKind, Connect};
use crate::http::health::{Plan, Surroundings, Target};
use crate::http::proxy_line::{self, Version};
use crate::http::settings::ServerAddress;
use crate::http::sock::come_from;
use socket2::SockRef;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

/// The most bytes of an answer that are looked at (`tune.bufsize`).
const MOST: usize = 16_384;

/// Opens one, within the plan's time.
pub(super) async fn connect<'a>(
    plan: &Plan,
    around: &'a Surroundings,
    to: &Connect,
) -> Result<Connection<'a>, Outcome> {
    let begun = Instant::now();
    let by = begun + patience(plan);
    let http = plan.script.kind == CheckKind::Http;
    let opened = match target(plan, around, to) {
        Target::Inet(address) => dial(around, address, by, http).await,
        Target::Unix(path) => {
            let stream = within(by, UnixStream::connect(path)).await;
            stream.map(|stream| (Socket::Unix(stream), Cookie::default()))
        }
    };
    let (socket, cookie) = opened.map_err(|error| unconnected(plan, &error))?;
    // Without `timeout check` the interval is for the whole.
    let deadline = plan.check_timeout.map_or(by, |timeout| Instant::now() + timeout);
    let (linger, received, ended) = (to.linger, Vec::new(), false);
    let socket = Some(socket);
    let mut new = Connection { socket, cookie, around, http, linger, ended, received, deadline };
    if to.send_proxy || (to.is_default && plan.sends_proxy) {
        new.greet().await?;
    }
    Ok(new)
}

/// How long a connection may take to be there. `timeout connect` may be too short for a whole check:
/// it counts only where there is a `timeout check` for the rest.
fn patience(plan: &Plan) -> Duration {
    let connect = plan.connect_timeout.filter(|_| plan.check_timeout.is_some());
    connect.map_or(plan.interval, |limit| limit.min(plan.interval))
}

/// Opens one over TCP.
async fn dial(
    around: &Surroundings,
    address: SocketAddr,
    by: Instant,
    http: bool,
) -> io::Result<(Socket, Cookie)> {
    let upstream = Upstream { backend: &around.backend, server: &around.server };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    let cookie = around.closes.opened(socket.as_fd(), upstream, Class::Check);
    // It is closed once that is said.
    let held = socket.as_fd().try_clone_to_owned();
    let source = around.server.settings.source_to(&address.into());
    let connected = match source.map_or(Ok(()), |from| come_from(&socket, from)) {
        Ok(()) => within(by, socket.connect(address)).await,
        Err(error) => Err(error),
    };
    if let (Err(_), Ok(held)) = (&connected, &held) {
        let doing = Doing { http, ..Doing::default() };
        let socket = (held.as_fd(), cookie);
        around.closes.stated(socket, Some(upstream), Class::Check, false, &doing);
    }
    connected.map(|stream| (Socket::Tcp(stream), cookie))
}

/// What is found where there is no connection.
fn unconnected(plan: &Plan, error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::TimedOut => Outcome::new(Status::L4Timeout, ""),
        // There was one; who only wants that is content.
        io::ErrorKind::ConnectionReset if plan.script.kind == CheckKind::Connect => {
            Outcome::new(Status::L4Ok, "")
        }
        io::ErrorKind::ConnectionReset => Outcome::new(Status::SocketError, plain(error)),
        _ if is_ours(error) => Outcome::new(Status::SocketError, plain(error)),
        _ => Outcome::new(Status::L4Connection, plain(error)),
    }
}

fn target(plan: &Plan, around: &Surroundings, to: &Connect) -> Target {
    let Place { ip, port } = around.board.place(plan.server);
    let port = port.filter(|&port| port > 0);
    let own = match (around.server.address(), ip, port) {
        (ServerAddress::Inet(own), ..) => own,
        (ServerAddress::Unix(_), Some(ip), Some(port)) => SocketAddr::new(ip, port),
        (ServerAddress::Unix(path), ..) => return Target::Unix(path),
    };
    let ip = to.host.or(ip).unwrap_or_else(|| own.ip());
    let port = to.port.or(port).unwrap_or_else(|| own.port());
    Target::Inet(SocketAddr::new(ip, port))
}

async fn within<T>(by: Instant, connecting: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout_at(by, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Whether the fault is this process's or host's, not the server's.
fn is_ours(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// The system's words for an error, without Rust's "(os error 111)".
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }

    /// This process's end, and the server's; none of a Unix socket.
    fn ends(&self) -> Option<[SocketAddr; 2]> {
        match self {
            Self::Tcp(stream) => Some([stream.local_addr().ok()?, stream.peer_addr().ok()?]),
            Self::Unix(_) => None,
        }
    }

    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => read(stream, buffer).await,
            Self::Unix(stream) => read(stream, buffer).await,
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => write(stream, bytes).await,
            Self::Unix(stream) => write(stream, bytes).await,
        }
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> io::Result<usize> {
    stream.read(buffer).await
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await
}

/// A check's connection. Dropping it closes it as HAProxy closes a check's: with RST, unless the
/// server's FIN has been seen or `linger` was asked for.
pub(super) struct Connection<'a> {
    socket: Option<Socket>,
    cookie: Cookie,
    around: &'a Surroundings,
    /// `string` means the body, not everything that came.
    pub(super) http: bool,
    linger: bool,
    /// The server's FIN has been seen.
    ended: bool,
    pub(super) received: Vec<u8>,
    /// When what is done on it must be over.
    pub(super) deadline: Instant,
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        let Some(socket) = self.socket.take() else { return };
        let reset = !self.linger && !self.ended;
        if reset {
            // Where that fails the close is a FIN: nothing is lost.
            let _ = SockRef::from(&socket.as_fd()).set_linger(Some(Duration::ZERO));
        }
        let upstream = Upstream { backend: &self.around.backend, server: &self.around.server };
        let class = Class::Check;
        let nothing = Doing { http: self.http, ..Doing::default() };
        let socket = (socket.as_fd(), self.cookie);
        self.around.closes.stated(socket, Some(upstream), class, reset, &nothing);
    }
}

impl Connection<'_> {
    /// Says whose connection it is: by version 1 this process's, by version 2 nobody's.
    async fn greet(&mut self) -> Result<(), Outcome> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let version = self.around.server.settings.send_proxy.unwrap_or(Version::V1);
        let ends = socket.ends().filter(|_| version == Version::V1);
        let mut line = Vec::new();
        proxy_line::write(version, ends, &mut line);
        let sent = socket.write(&line).await;
        sent.map_err(|error| Outcome::new(Status::L4Connection, plain(&error)))
    }

    /// Sends; what came before is forgotten.
    pub(super) async fn send(&mut self, bytes: &[u8], number: usize) -> Outcome {
        self.received.clear();
        let Some(socket) = &mut self.socket else { return Outcome::new(Status::SocketError, "") };
        match socket.write(bytes).await {
            Ok(()) => Outcome::new(Status::L7Ok, ""),
            Err(error) => {
                let info = format!("{} at step {number} (send)", plain(&error));
                Outcome::new(Status::L4Connection, info)
            }
        }
    }

    /// Reads once more; false at the end, or where more would be too much.
    pub(super) async fn more(&mut self) -> io::Result<bool> {
        let Some(socket) = &mut self.socket else { return Ok(false) };
        if self.ended || self.received.len() >= MOST {
            return Ok(false);
        }
        let mut buffer = [0; 4_096];
        let count = socket.read(&mut buffer).await?;
        self.ended = count == 0;
        self.received.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }

    /// Whether the server's FIN is already there: then the close is no reset. It is looked for
    /// behind [`MOST`] further bytes at most, as a server may send for ever.
    pub(super) fn see_end(&mut self) {
        let Some(socket) = &self.socket else { return };
        let mut buffer = [0; 4_096];
        let mut passed = 0;
        while !self.ended && passed < MOST {
            match socket.try_read(&mut buffer) {
                Ok(count) => {
                    self.ended = count == 0;
                    passed += count;
                }
                Err(_) => return,
            }
        }
    }
}
