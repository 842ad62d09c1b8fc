//! A socket serves one connection to a server after the other, and each ends as if it had had a socket
//! of its own. The witnesses are the kernel's cookies (SO_COOKIE) and what the server saw.

mod support;

use rustix::net::sockopt::socket_cookie;
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, mpsc},
    thread,
};
use support::lone;
use support::until::{PATIENCE, until};
use teardown::http::{
    closes::{Class, Closes, Cookie, Upstream},
    settings::Connection,
};

/// Takes down which socket each connection has.
#[derive(Debug, Default)]
struct Sockets(Mutex<Vec<u64>>);

impl Closes for Sockets {
    fn opened(&self, socket: BorrowedFd<'_>, _: Upstream<'_>, _: Class) -> Cookie {
        let cookie = socket_cookie(socket).expect("every socket has one");
        self.0.lock().expect("no thread has panicked").push(cookie);
        Cookie(cookie)
    }
}

/// How a connection ended at the server, and the proxy's port.
type Seen = (Result<(), ErrorKind>, u16);

/// Answers `/close` with a body that its FIN ends, and everything else without closing.
fn serve(mut stream: TcpStream, seen: &mpsc::Sender<Seen>) {
    let port = stream.peer_addr().expect("connected").port();
    let mut request = Vec::new();
    let mut buffer = [0; 4_096];
    while !request.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut buffer).expect("a request");
        request.extend_from_slice(&buffer[..count]);
    }
    if request.starts_with(b"GET /close ") {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nok").expect("an answer");
        stream.shutdown(std::net::Shutdown::Write).expect("a FIN");
    } else {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("an answer");
    }
    let end = stream.read(&mut buffer).map(|count| assert_eq!(count, 0, "nothing more is sent"));
    seen.send((end.map_err(|error| error.kind()), port)).expect("the test waits for it");
}

/// Asks for `path` on a connection of its own, until the proxy or the body's length ends it.
fn ask(proxy: SocketAddr, path: &str) {
    let mut client = TcpStream::connect(proxy).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("a time");
    write!(client, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sends");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok"), "{answer}");
}

#[test]
fn a_socket_serves_one_connection_after_the_other() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let origin = listener.local_addr().expect("bound");
    let (sender, seen) = mpsc::channel();
    thread::spawn(move || listener.incoming().flatten().for_each(|one| serve(one, &sender)));
    let sockets = Arc::new(Sockets::default());
    let closes = Arc::<Sockets>::clone(&sockets);
    let engine = lone::launch(origin, closes, |settings| {
        settings.global.threads = 1;
        settings.backends[0].connection = Connection::ServerClose;
    });
    let proxy = engine.addresses()[0].1;
    for (path, end) in [("/close", Ok(())), ("/stay", Err(ErrorKind::ConnectionReset))] {
        let mut last = None;
        // A socket that rests for a second is closed: on a busy machine one may have.
        until("two connections of one socket", || {
            ask(proxy, path);
            let (ended, port) = seen.recv_timeout(PATIENCE).expect("it ends");
            assert_eq!(ended, end, "{path}");
            let cookie = *sockets.0.lock().expect("no thread has panicked").last().expect("one");
            let (cookie_before, port_before) = last.replace((cookie, port))?;
            assert_ne!(port, port_before, "each connection has a port of its own");
            (cookie == cookie_before).then_some(())
        });
    }
    engine.hard_stop();
    engine.join();
}
