//! HTTP load of our own making: a connection for each request, closed by the server's side.

use crate::support::netns::Netns;
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
/// Bytes of a response's body.
pub(crate) const BODY: usize = 1024;
/// Threads of the server: a connection is served to its end before the next is accepted.
const SERVERS: usize = 4;

/// Where the server's FIN stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closes {
    /// In the segment of the response: whoever waits for the response has it too.
    WithData,
    /// In the next one.
    AfterData,
}

/// A server that answers one request a connection, and closes.
pub(crate) struct Server {
    addr: SocketAddr,
    netns: Netns,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Serves at `addr` in `netns`.
    pub(crate) fn start(netns: &Netns, addr: SocketAddr, closes: Closes) -> Self {
        let listener = Arc::new(netns.run(|| TcpListener::bind(addr)).expect("the server's port"));
        let over = Arc::new(AtomicBool::new(false));
        let threads = (0..SERVERS)
            .map(|_| {
                let (listener, over) = (Arc::clone(&listener), Arc::clone(&over));
                std::thread::spawn(move || serve(&listener, &over, closes))
            })
            .collect();
        Self { addr, netns: netns.clone(), over, threads }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // A connection for each thread, so that its accept comes back; closed at once.
        for _ in &self.threads {
            drop(self.netns.run(|| TcpStream::connect(self.addr)));
        }
        for thread in self.threads.drain(..) {
            thread.join().expect("the server's thread");
        }
    }
}

fn serve(listener: &TcpListener, over: &AtomicBool, closes: Closes) {
    let mut response =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\nConnection: close\r\n\r\n")
            .into_bytes();
    response.resize(response.len() + BODY, b'x');
    let mut request = [0; 4096];
    while !over.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else { continue };
        // The request is one segment; whoever closes before it is no client of ours.
        if stream.read(&mut request).is_ok_and(|length| length > 0) {
            if closes == Closes::WithData {
                SockRef::from(&stream).set_tcp_cork(true).expect("an option");
            }
            let _the_client_may_be_gone = stream.write_all(&response);
        }
    }
}

/// What a run of clients came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Connections that got their whole response.
    pub(crate) connections: u64,
    /// Connections that did not.
    pub(crate) failed: u64,
    /// From the first to the last.
    pub(crate) time: Duration,
}

impl Load {
    pub(crate) fn a_second(&self) -> f64 {
        self.connections as f64 / self.time.as_secs_f64()
    }
}

/// Asks `peer` from `clients` threads in `netns` for as long as `time`: each as fast as it can, or,
/// together, `rate` connections a second.
pub(crate) fn clients(
    netns: &Netns,
    peer: SocketAddr,
    clients: u32,
    time: Duration,
    rate: Option<u32>,
) -> Load {
    let (good, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    // The time between two connections of one thread.
    let pace = rate.map(|rate| Duration::from_secs(1) * clients / rate);
    std::thread::scope(|scope| {
        for number in 0..clients {
            let (good, failed) = (&good, &failed);
            scope.spawn(move || {
                netns.enter();
                let mut due = start + pace.unwrap_or_default() * number / clients;
                while start.elapsed() < time {
                    if let Some(pace) = pace {
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        due += pace;
                    }
                    let counter = if ask(peer) { good } else { failed };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    Load { connections: good.into_inner(), failed: failed.into_inner(), time: start.elapsed() }
}

/// One request and its response, read to the end. Whether it was whole.
fn ask(peer: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(peer) else { return false };
    if stream.write_all(REQUEST).is_err() {
        return false;
    }
    let (mut length, mut chunk) = (0, [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return length > BODY,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}
