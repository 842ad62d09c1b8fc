//! The scenes: for each what the client does, and what the server does.

use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

/// How long a half-closed connection is kept where that is the point of the scene.
const HELD: Duration = Duration::from_millis(700);
/// How long the server that never closes is left alone before the client resets the connection.
const STUCK: Duration = Duration::from_secs(6);

/// One way in which a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// The server closes first, the client answers: FIN, FIN.
    ServerCloses,
    /// The client closes first, the server answers: FIN, FIN.
    ClientCloses,
    /// The client has its response and resets, as HAProxy does to a server that stays open.
    ActiveReset,
    /// The server closes and the client answers with a reset, as HAProxy 1.4 did.
    PassiveReset,
    /// The client shuts its half down, the server goes on for a while and closes then.
    HalfClosed,
    /// Nobody listens.
    Refused,
    /// The server closes with the request unread: its kernel resets, and the request is lost.
    UnreadRequest,
    /// The client resets before the server has accepted.
    ResetBeforeAccept,
    /// The client closes although the server still sends: its kernel answers with a reset.
    ClosedTooEarly,
    /// The server resets with a response half sent.
    CutResponse,
    /// The client closes, and the server never does.
    NeverCloses,
}

impl Scene {
    /// All scenes, in the order of play.
    pub const ALL: [Self; 11] = [
        Self::ServerCloses,
        Self::NeverCloses,
        Self::ClientCloses,
        Self::ActiveReset,
        Self::PassiveReset,
        Self::HalfClosed,
        Self::Refused,
        Self::UnreadRequest,
        Self::ResetBeforeAccept,
        Self::ClosedTooEarly,
        Self::CutResponse,
    ];

    /// The name that stands as the server's in the tail.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ServerCloses => "server-closes",
            Self::ClientCloses => "client-closes",
            Self::ActiveReset => "active-reset",
            Self::PassiveReset => "passive-reset",
            Self::HalfClosed => "half-closed",
            Self::Refused => "refused",
            Self::UnreadRequest => "unread-request",
            Self::ResetBeforeAccept => "reset-early",
            Self::ClosedTooEarly => "closed-too-early",
            Self::CutResponse => "cut-response",
            Self::NeverCloses => "never-closes",
        }
    }

    /// Plays the client's part.
    ///
    /// # Errors
    /// What the sockets answer; a reset is often the point.
    pub async fn client(self, server: SocketAddr) -> io::Result<()> {
        let mut stream = self.connect(server).await?;
        match self {
            Self::ServerCloses => {
                stream.write_all(REQUEST).await?;
                end_of(&mut stream).await?;
            }
            Self::ClientCloses => {
                stream.write_all(REQUEST).await?;
                response(&mut stream).await?;
                stream.shutdown().await?;
                end_of(&mut stream).await?;
            }
            Self::ActiveReset => {
                stream.write_all(REQUEST).await?;
                response(&mut stream).await?;
                reset(stream)?;
            }
            Self::PassiveReset => {
                stream.write_all(REQUEST).await?;
                end_of(&mut stream).await?;
                reset(stream)?;
            }
            Self::HalfClosed => {
                stream.write_all(REQUEST).await?;
                stream.shutdown().await?;
                end_of(&mut stream).await?;
            }
            Self::Refused => {}
            Self::UnreadRequest => {
                stream.write_all(REQUEST).await?;
                end_of(&mut stream).await?;
            }
            Self::ResetBeforeAccept => reset(stream)?,
            Self::ClosedTooEarly => {
                stream.write_all(REQUEST).await?;
                response(&mut stream).await?;
                drop(stream);
            }
            Self::CutResponse => {
                stream.write_all(REQUEST).await?;
                // Reads nothing more until the server is gone, so that its window fills.
                sleep(HELD).await;
                end_of(&mut stream).await?;
            }
            Self::NeverCloses => {
                stream.write_all(REQUEST).await?;
                response(&mut stream).await?;
                stream.shutdown().await?;
                let _ = timeout(STUCK, end_of(&mut stream)).await;
                reset(stream)?;
            }
        }
        Ok(())
    }

    async fn connect(self, server: SocketAddr) -> io::Result<TcpStream> {
        let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if self == Self::CutResponse {
            socket.set_recv_buffer_size(4096)?;
        }
        socket.connect(server).await
    }

    /// Plays the server's part on an accepted connection.
    ///
    /// # Errors
    /// What the sockets answer; a reset is often the point.
    pub async fn server(self, mut stream: TcpStream) -> io::Result<()> {
        match self {
            Self::ServerCloses | Self::PassiveReset => {
                request(&mut stream).await?;
                stream.write_all(RESPONSE).await?;
            }
            Self::ClientCloses | Self::ActiveReset => {
                request(&mut stream).await?;
                stream.write_all(RESPONSE).await?;
                end_of(&mut stream).await?;
            }
            Self::HalfClosed => {
                end_of(&mut stream).await?;
                sleep(HELD).await;
                stream.write_all(RESPONSE).await?;
            }
            Self::Refused => {}
            Self::UnreadRequest => {
                // Closes as soon as there is something that it has not read.
                stream.readable().await?;
            }
            Self::ResetBeforeAccept => end_of(&mut stream).await?,
            Self::ClosedTooEarly => {
                request(&mut stream).await?;
                stream.write_all(RESPONSE).await?;
                sleep(HELD).await;
                stream.write_all(RESPONSE).await?;
                end_of(&mut stream).await?;
            }
            Self::CutResponse => {
                request(&mut stream).await?;
                let _ = timeout(HELD / 2, stream.write_all(&vec![b'x'; 1 << 20])).await;
                reset(stream)?;
            }
            Self::NeverCloses => {
                request(&mut stream).await?;
                stream.write_all(RESPONSE).await?;
                end_of(&mut stream).await?;
                // Sees the end of the client's half, and does nothing about it.
                sleep(STUCK * 2).await;
            }
        }
        Ok(())
    }
}

/// Closes with a reset: linger of zero seconds (socket(7)).
fn reset(stream: TcpStream) -> io::Result<()> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))
}

async fn request(stream: &mut TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0; REQUEST.len()]).await.map(drop)
}

async fn response(stream: &mut TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0; RESPONSE.len()]).await.map(drop)
}

/// Reads until the peer's FIN, or its reset.
async fn end_of(stream: &mut TcpStream) -> io::Result<()> {
    let mut waste = [0; 4096];
    while stream.read(&mut waste).await? > 0 {}
    Ok(())
}
