//! Servers of each kind of the table, all answering the same.

use crate::support::http::head;
use crate::support::process::undivided;
use crate::support::topology::Topology;
use socket2::SockRef;
use std::collections::HashMap;
use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The table says 50 ms; what matters is that the proxy is done by then, on a busy machine too.
const LATER: Duration = Duration::from_millis(500);

/// When a server closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// The FIN stands in the segment of the response.
    WithData,
    /// The FIN follows later.
    Later,
    /// Never, although it said `Connection: close`.
    Never,
    /// The response has no length; the FIN that ends it follows later.
    NoLength,
    /// The response has no length, and no end.
    NoEnd,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::WithData, Self::Later, Self::Never, Self::NoLength, Self::NoEnd];

    /// Where [`Servers`] answer in this kind.
    pub(crate) fn port(self) -> u16 {
        let index = Self::ALL.iter().position(|kind| *kind == self).expect("one of all");
        9001 + u16::try_from(index).expect("a small number")
    }

    fn has_length(self) -> bool {
        matches!(self, Self::WithData | Self::Later | Self::Never)
    }

    fn closes(self) -> bool {
        !matches!(self, Self::Never | Self::NoEnd)
    }
}

/// Paths by the proxy's end and the server's port: a proxy takes one port towards several servers.
type Asked = HashMap<(SocketAddr, u16), String>;

/// One server of each kind. They remember who asked for what.
pub(crate) struct Servers {
    asked: Arc<Mutex<Asked>>,
    released: Arc<AtomicBool>,
}

impl Servers {
    pub(crate) fn start(topology: &Topology) -> Self {
        let servers = Self { asked: Arc::default(), released: Arc::default() };
        for kind in Kind::ALL {
            let at = SocketAddr::new(topology.backend_addr, kind.port());
            let listener = topology.backend.run(|| TcpListener::bind(at)).expect("a free port");
            let (asked, released) = (Arc::clone(&servers.asked), Arc::clone(&servers.released));
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (asked, released) = (Arc::clone(&asked), Arc::clone(&released));
                    std::thread::spawn(move || serve(stream, kind, &asked, &released));
                }
            });
        }
        servers
    }

    /// What that connection asked for.
    pub(crate) fn asked(&self, from: SocketAddr, port: u16) -> Option<String> {
        self.asked.lock().expect("unpoisoned").get(&(from, port)).cloned()
    }

    /// Those that never close do it now.
    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::Release);
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.release();
    }
}

fn serve(mut stream: TcpStream, kind: Kind, asked: &Mutex<Asked>, released: &AtomicBool) {
    let Some(path) = request(&mut stream) else { return };
    let peer = stream.peer_addr().expect("a connection");
    asked.lock().expect("unpoisoned").insert((peer, kind.port()), path);
    let length = if kind.has_length() { "Content-Length: 2\r\n" } else { "" };
    let answer = format!("HTTP/1.1 200 OK\r\n{length}Connection: close\r\n\r\nok");
    let flags = if kind == Kind::WithData { libc::MSG_MORE } else { 0 };
    let socket = SockRef::from(&stream);
    if socket.send_with_flags(answer.as_bytes(), flags).is_err() {
        return;
    }
    if matches!(kind, Kind::Later | Kind::NoLength) {
        std::thread::sleep(LATER);
    }
    if kind.closes() {
        // A RST may have come before.
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    } else {
        while !released.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    undivided(|| drop(stream));
}

/// Reads a head; its path.
fn request(stream: &mut TcpStream) -> Option<String> {
    head(stream)?.split(' ').nth(1).map(str::to_owned)
}
