//! The server behind both: what it does is in the request's path, or its first word in `mode tcp`.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use crate::support::sockets::abort;
use crate::support::until::{PATIENCE, until};

/// A server, and the requests that it holds back.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    held: Arc<Held>,
    /// Its connections, by the proxy's end.
    open: Arc<Mutex<HashMap<SocketAddr, TcpStream>>>,
}

#[derive(Default)]
struct Held {
    /// Requests that wait, and those of which only a part came.
    waiting: Mutex<u32>,
    changed: Condvar,
}

impl Origin {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let held = Arc::new(Held::default());
        let open = Arc::<Mutex<HashMap<_, _>>>::default();
        let (of_threads, all) = (Arc::clone(&held), Arc::clone(&open));
        std::thread::spawn(move || {
            while let Ok((stream, peer)) = listener.accept() {
                let (held, all) = (Arc::clone(&of_threads), Arc::clone(&all));
                let again = stream.try_clone().expect("a descriptor");
                all.lock().expect("unpoisoned").insert(peer, again);
                std::thread::spawn(move || {
                    // A proxy that hangs up ends it.
                    let _hung_up = serve(stream, &held);
                    all.lock().expect("unpoisoned").remove(&peer);
                });
            }
        });
        Self { address, held, open }
    }

    /// Closes those that wait for a request, and waits until the proxies have closed them too.
    pub(crate) fn close_idle(&self) {
        until("the end of idle connections", || {
            let open = self.open.lock().expect("unpoisoned");
            // One that is over already cannot be closed.
            open.values().for_each(|stream| _ = stream.shutdown(Shutdown::Write));
            open.is_empty().then_some(())
        });
    }

    /// Waits until that many requests are held.
    pub(crate) fn holds(&self, count: u32) {
        let waiting = self.held.waiting.lock().expect("unpoisoned");
        let enough = |waiting: &mut u32| *waiting < count;
        let got = self.held.changed.wait_timeout_while(waiting, PATIENCE, enough);
        assert!(!got.expect("unpoisoned").1.timed_out(), "{count} requests do not arrive");
    }

    /// Lets all go that are held.
    pub(crate) fn release(&self) {
        *self.held.waiting.lock().expect("unpoisoned") = 0;
        self.held.changed.notify_all();
    }
}

impl Held {
    /// A request is there, or its beginning.
    fn arrived(&self) {
        *self.waiting.lock().expect("unpoisoned") += 1;
        self.changed.notify_all();
    }

    /// Waits to be released.
    fn hold(&self) {
        self.arrived();
        let waiting = self.waiting.lock().expect("unpoisoned");
        drop(self.changed.wait_while(waiting, |waiting| *waiting > 0).expect("unpoisoned"));
    }
}

const UPGRADED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhi";

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn serve(mut stream: TcpStream, held: &Held) -> std::io::Result<()> {
    let mut input = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let end = match whole(&input) {
            Some(end) => end,
            None => match stream.read(&mut buffer)? {
                0 => return Ok(()),
                count => {
                    input.extend_from_slice(&buffer[..count]);
                    if input.windows(4).any(|end| end == b"\r\n\r\n") && whole(&input).is_none() {
                        held.arrived();
                    }
                    continue;
                }
            },
        };
        let request: Vec<u8> = input.drain(..end).collect();
        let text = String::from_utf8_lossy(&request).into_owned();
        let word = text.split([' ', '\n']).find(|word| !word.chars().all(char::is_uppercase));
        let (answer, stays) = match word.unwrap_or_default() {
            "/reset" | "reset" => {
                abort(stream);
                return Ok(());
            }
            "/half" => ("HTTP/1.1 200 OK\r\nContent-Le", false),
            "/bad" => ("garbage\r\n\r\n", false),
            "/cut" => ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", false),
            "/cut-chunk" => {
                ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", false)
            }
            "/stall" => ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", true),
            "/until-close" => ("HTTP/1.1 200 OK\r\n\r\nok", false),
            "/404" => ("HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", true),
            "/interim" => (
                "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                true,
            ),
            "/silent" | "silent" => ("", true),
            "/upgrade" => (UPGRADED, true),
            "/upgrade-end" => (UPGRADED, false),
            "/upgrade-reset" => {
                stream.write_all(UPGRADED.as_bytes())?;
                // The proxy has it before the RST throws it away.
                stream.read_exact(&mut buffer[..1])?;
                abort(stream);
                return Ok(());
            }
            "/204" => ("HTTP/1.1 204 No Content\r\n\r\n", true),
            "/304" => ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", true),
            "/long" => ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more", true),
            "/close" => {
                ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", true)
            }
            "/old" => ("HTTP/1.0 200 OK\r\n\r\nok", false),
            "/old-kept" => {
                ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", true)
            }
            "/early" => ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
            "/500" => ("HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno", true),
            "/head" => ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true),
            "/held" => {
                held.hold();
                (OK, true)
            }
            "/endless" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")?;
                loop {
                    stream.write_all(&buffer)?;
                }
            }
            "hello" => ("hi", true),
            "bye" => ("hi", false),
            "/fin" | "fin" => ("", false),
            _ => (OK, true),
        };
        stream.write_all(answer.as_bytes())?;
        if !stays {
            return Ok(());
        }
    }
}

/// Where the first request ends, or the first line in `mode tcp`.
fn whole(input: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(input).ok()?;
    if !text.contains("HTTP/1") {
        return text.find('\n').map(|end| end + 1);
    }
    let head = text.find("\r\n\r\n")? + 4;
    // HAProxy writes names in lower case.
    let lower = text[..head].to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.split('\r').next()?.parse::<usize>().ok());
    let end = head + length.unwrap_or(0);
    (input.len() >= end).then_some(end)
}

/// A listener whose queue is full: the kernel drops every further SYN.
pub(crate) struct Mute {
    pub(crate) address: SocketAddr,
    _listener: socket2::Socket,
    _first: TcpStream,
}

impl Mute {
    pub(crate) fn start() -> Self {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let listener = listener.expect("a socket");
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        // One is taken all the same (`sk_acceptq_is_full`).
        listener.listen(0).expect("a listener");
        let address = listener.local_addr().expect("bound").as_socket().expect("of IPv4");
        let first = TcpStream::connect(address).expect("the one that is taken");
        Self { address, _listener: listener, _first: first }
    }
}
