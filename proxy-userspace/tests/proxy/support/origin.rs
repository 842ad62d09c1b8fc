//! A server behind the proxy.

use super::{PATIENCE, find};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// A server that runs `serve` for each connection, and keeps what it received.
pub struct Origin {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Origin {
    pub fn new(serve: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("binds");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(AtomicUsize::new(0));
        let (serve, count) = (Arc::new(serve), Arc::clone(&connections));
        let asked = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                stream.set_read_timeout(Some(PATIENCE)).expect("sets");
                stream.set_nodelay(true).expect("sets");
                let number = count.fetch_add(1, Relaxed);
                let (serve, asked) = (Arc::clone(&serve), Arc::clone(&asked));
                thread::spawn(move || serve(Peer { stream, early: Vec::new(), number, asked }));
            }
        });
        Self { address, connections, requests }
    }

    /// Answers every request of a connection with these bytes.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::new(move |mut peer| {
            while peer.request().is_some() {
                peer.send(&bytes);
            }
        })
    }

    /// Answers with what it received.
    pub fn echo() -> Self {
        Self::new(|mut peer| {
            while let Some(request) = peer.request() {
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.len()));
                peer.send(request);
            }
        })
    }

    pub fn opened(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// How many requests have come as a whole: who has only been connected to may get none yet.
    pub fn asked(&self) -> usize {
        self.requests.load(Relaxed)
    }
}

/// The server's end of a connection.
pub struct Peer {
    pub stream: TcpStream,
    early: Vec<u8>,
    /// Counts the server's connections.
    pub number: usize,
    asked: Arc<AtomicUsize>,
}

impl Peer {
    /// A request with its body; none when the proxy has closed.
    pub fn request(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(whole) = whole(&self.early) {
                self.asked.fetch_add(1, Relaxed);
                return Some(self.early.drain(..whole).collect());
            }
            if !self.read() {
                return None;
            }
        }
    }

    /// A request's head alone.
    pub fn head(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.early, b"\r\n\r\n") {
                return Some(self.early.drain(..end + 4).collect());
            }
            if !self.read() {
                return None;
            }
        }
    }

    pub fn read(&mut self) -> bool {
        let mut buffer = [0; 65536];
        match self.stream.read(&mut buffer) {
            Ok(count @ 1..) => {
                self.early.extend_from_slice(&buffer[..count]);
                true
            }
            _ => false,
        }
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.early.len() < count && self.read() {}
        let count = count.min(self.early.len());
        self.early.drain(..count).collect()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The proxy may have closed: the test looks at what came through.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Closes with RST.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("sets");
    }
}

/// The length of the first message, if it is there as a whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let end = find(bytes, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    if head.contains("\r\ntransfer-encoding:") {
        let last = find(&bytes[end..], b"0\r\n")?;
        return find(&bytes[end + last..], b"\r\n\r\n").map(|at| end + last + at + 4);
    }
    let length = head.split("\r\ncontent-length: ").nth(1).map_or(0, |rest| {
        rest.split('\r').next().expect("split").parse::<usize>().expect("number")
    });
    (bytes.len() >= end + length).then_some(end + length)
}
