//! Two servers, one of which closes well and the other never, and clients for the proxy before them.

use super::reach_loopback;
use socket2::SockRef;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Time between two requests.
const PACE: Duration = Duration::from_millis(700);
/// The longest head that a server reads.
const HEAD: usize = 4096;
/// Longer than anybody waits for a server that never closes.
const NEVER: Duration = Duration::from_secs(75);

/// The servers, bound and ready.
#[derive(Debug)]
pub struct Pair {
    listeners: [std::net::TcpListener; 2],
    addresses: [SocketAddr; 2],
}

impl Pair {
    /// Binds a free port of 127.0.0.1 for each.
    ///
    /// # Errors
    /// Where none can be bound, or loopback is down.
    pub fn bind() -> io::Result<Self> {
        reach_loopback()?;
        let bind = || {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            Ok::<_, io::Error>((listener.local_addr()?, listener))
        };
        let ((first, good), (second, dodgy)) = (bind()?, bind()?);
        Ok(Self { listeners: [good, dodgy], addresses: [first, second] })
    }

    /// Where they listen: the one that closes first.
    #[must_use]
    pub fn addresses(&self) -> [SocketAddr; 2] {
        self.addresses
    }

    /// Serves, and asks the proxy at `front`, for ever; dropped, it closes all that it opened.
    pub async fn play(self, front: SocketAddr) {
        let mut open = JoinSet::new();
        for (listener, closes) in self.listeners.into_iter().zip([true, false]) {
            open.spawn(serve(listener, closes));
        }
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            open.spawn(async move {
                // One that fails closes in some way too, which is all that is asked of it.
                let _ = ask(front).await;
            });
            while open.try_join_next().is_some() {}
        }
    }
}

/// A client of HTTP/1.0: it reads until the connection ends.
async fn ask(front: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(front).await?;
    stream.write_all(b"GET / HTTP/1.0\r\nAccept: */*\r\n\r\n").await?;
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}

async fn serve(listener: std::net::TcpListener, closes: bool) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let mut open = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                open.spawn(async move {
                    let _ = answer(stream, closes).await;
                });
            }
            // Out of descriptors, or reset before it was accepted: the next may do better.
            Err(_) => sleep(PACE).await,
        }
        while open.try_join_next().is_some() {}
    }
}

/// Answers one request; then the FIN goes with the data, or never.
async fn answer(mut stream: TcpStream, closes: bool) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    SockRef::from(&stream).set_tcp_cork(closes)?;
    let text = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\
                 Connection: close\r\n\r\nok\n";
    stream.write_all(text).await?;
    if closes {
        stream.shutdown().await?;
    }
    // Until the other end closes too.
    while stream.read(&mut [0; 64]).await? > 0 {}
    if !closes {
        sleep(NEVER).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_closes_and_the_other_does_not() {
        let pair = Pair::bind().expect("loopback");
        let [good, dodgy] = pair.addresses();
        // They need no proxy between.
        let playing = tokio::spawn(pair.play(good));
        ask(good).await.expect("it closes");
        let mut stream = TcpStream::connect(dodgy).await.expect("it listens");
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("it reads");
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\nok\n") {
            assert_ne!(stream.read_buf(&mut text).await.expect("a response"), 0);
        }
        let mut more = [0];
        let closed = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut more));
        closed.await.expect_err("it never closes");
        playing.abort();
    }
}
