//! Servers that end their connections in every way, each on a port of its own.

use super::sockets::abort_when_closed;
use super::topology::Topology;
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Bytes of every response's body.
pub(crate) const BODY: usize = 512;

/// How a server answers and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Manner {
    /// The FIN stands in the segment of the response.
    FinWithData,
    /// The FIN follows at once, in a segment of its own.
    FinAfter,
    /// The FIN follows 30 ms later.
    FinLater,
    /// No Content-Length; the FIN ends the response.
    NoLength,
    /// Says its length and `Connection: close`, and never closes.
    Dodgy,
    /// Reads the request and resets.
    Resetting,
    /// Sends half the response, then the rest 30 ms later, and closes.
    Slow,
    /// Half-closes after the response and waits for the peer's end.
    HalfClosing,
    /// Keeps the connection for further requests until the peer closes.
    KeepAlive,
}

impl Manner {
    pub(crate) const ALL: [Self; 9] = [
        Self::FinWithData,
        Self::FinAfter,
        Self::FinLater,
        Self::NoLength,
        Self::Dodgy,
        Self::Resetting,
        Self::Slow,
        Self::HalfClosing,
        Self::KeepAlive,
    ];

    /// The port on which [`Servers`] answers in this manner.
    pub(crate) fn port(self) -> u16 {
        let index = Self::ALL.iter().position(|manner| *manner == self).expect("one of all");
        9001 + u16::try_from(index).expect("a small number")
    }
}

/// How a connection ended for the one who watched it from an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// A read gave end of file.
    Eof,
    /// A read or write gave ECONNRESET or EPIPE.
    Reset,
    /// We closed, not having waited for the peer.
    ByUs,
    /// Nothing came until the test's patience ended.
    Silence,
}

/// What a server saw of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) peer: SocketAddr,
    pub(crate) manner: Manner,
    pub(crate) bytes: usize,
    pub(crate) ended: Ended,
}

/// One server of each manner, all in the backend's namespace.
pub(crate) struct Servers {
    served: Arc<Mutex<Vec<Served>>>,
    released: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
    addr: IpAddr,
    acceptors: Vec<std::thread::JoinHandle<()>>,
    topology: Topology,
}

impl Servers {
    pub(crate) fn start(topology: &Topology) -> Self {
        let served = Arc::new(Mutex::new(Vec::new()));
        let released = Arc::new(AtomicBool::new(false));
        let stopped = Arc::new(AtomicBool::new(false));
        let addr = topology.backend_addr;
        let mut acceptors = Vec::new();
        for manner in Manner::ALL {
            let listener = topology
                .backend
                .run(|| TcpListener::bind((addr, manner.port())))
                .expect("a port of our own namespace");
            let (served, released) = (Arc::clone(&served), Arc::clone(&released));
            let stopped = Arc::clone(&stopped);
            let accept = move || accept(&listener, manner, &served, &released, &stopped);
            let thread = std::thread::Builder::new().name("server".into());
            acceptors.push(thread.spawn(accept).expect("a thread"));
        }
        Self { served, released, stopped, addr, acceptors, topology: topology.clone() }
    }

    /// Lets the servers that never close do it now.
    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::Release);
    }

    /// What each finished connection looked like from here.
    pub(crate) fn served(&self) -> Vec<Served> {
        self.served.lock().expect("the list").clone()
    }

    /// Stops listening; connections under way go on.
    pub(crate) fn stop(mut self) -> Vec<Served> {
        self.halt();
        self.served()
    }

    fn halt(&mut self) {
        self.release();
        self.stopped.store(true, Ordering::Release);
        for acceptor in self.acceptors.drain(..) {
            let _a_server_panicked = acceptor.join();
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.halt();
    }
}

fn accept(
    listener: &TcpListener,
    manner: Manner,
    served: &Arc<Mutex<Vec<Served>>>,
    released: &Arc<AtomicBool>,
    stopped: &AtomicBool,
) {
    listener.set_nonblocking(true).expect("a mode");
    while !stopped.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((stream, peer)) => {
                stream.set_nonblocking(false).expect("a mode");
                let (served, released) = (Arc::clone(served), Arc::clone(released));
                let serve = move || {
                    let (bytes, ended) = serve(stream, manner, &released);
                    served.lock().expect("the list").push(Served { peer, manner, bytes, ended });
                };
                std::thread::Builder::new().name("server".into()).spawn(serve).expect("a thread");
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("accept: {error}"),
        }
    }
}

fn serve(mut stream: TcpStream, manner: Manner, released: &AtomicBool) -> (usize, Ended) {
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    let mut taken = 0;
    loop {
        match request(&mut stream, &mut taken, released) {
            Ok(()) => {}
            Err(ended) => return (taken, ended),
        }
        match answer(&mut stream, manner) {
            Ok(()) => {}
            Err(_) => return (taken, Ended::Reset),
        }
        match manner {
            Manner::KeepAlive => {}
            Manner::Dodgy => {
                while !released.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                return (taken, Ended::ByUs);
            }
            Manner::HalfClosing => {
                let _reset_already = stream.shutdown(Shutdown::Write);
                let (more, ended) = to_the_end(&mut stream, released);
                return (taken + more, ended);
            }
            _ => return (taken, Ended::ByUs),
        }
    }
}

/// Reads up to the empty line of a request.
fn request(stream: &mut TcpStream, taken: &mut usize, released: &AtomicBool) -> Result<(), Ended> {
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Err(Ended::Eof),
            Ok(length) => {
                *taken += length;
                head.extend_from_slice(&chunk[..length]);
                if head.windows(4).any(|window| window == b"\r\n\r\n") {
                    return Ok(());
                }
            }
            Err(error) if is_timeout(&error) => {
                if released.load(Ordering::Acquire) {
                    return Err(Ended::Silence);
                }
            }
            Err(_) => return Err(Ended::Reset),
        }
    }
}

fn answer(stream: &mut TcpStream, manner: Manner) -> std::io::Result<()> {
    let length = format!("Content-Length: {BODY}\r\n");
    let length = if manner == Manner::NoLength { "" } else { &length };
    let keep = if manner == Manner::KeepAlive { "keep-alive" } else { "close" };
    let body = "b".repeat(BODY);
    let head = format!("HTTP/1.1 200 OK\r\n{length}Connection: {keep}\r\n\r\n");
    match manner {
        Manner::FinWithData => {
            // Corked data goes out with the FIN, when the socket is closed.
            SockRef::from(&*stream).set_tcp_cork(true)?;
            stream.write_all((head + &body).as_bytes())
        }
        Manner::Slow => {
            stream.write_all((head + &body[..BODY / 2]).as_bytes())?;
            std::thread::sleep(Duration::from_millis(30));
            stream.write_all(&body.as_bytes()[BODY / 2..])
        }
        Manner::Resetting => {
            abort_when_closed(stream);
            Ok(())
        }
        _ => {
            stream.write_all((head + &body).as_bytes())?;
            if manner == Manner::FinLater {
                std::thread::sleep(Duration::from_millis(30));
            }
            Ok(())
        }
    }
}

/// Reads and throws away until the peer ends the connection.
fn to_the_end(stream: &mut TcpStream, released: &AtomicBool) -> (usize, Ended) {
    let (mut bytes, mut chunk) = (0, [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return (bytes, Ended::Eof),
            Ok(length) => bytes += length,
            Err(error) if is_timeout(&error) => {
                if released.load(Ordering::Acquire) {
                    return (bytes, Ended::Silence);
                }
            }
            Err(_) => return (bytes, Ended::Reset),
        }
    }
}

/// Whether a read only timed out.
pub(crate) fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
