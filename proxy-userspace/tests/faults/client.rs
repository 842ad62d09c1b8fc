//! A client that follows a list, and tells what it got.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::origin::Origin;
use crate::support::sockets::abort;
use crate::support::until::PATIENCE;

/// One thing that a client does. When its list is over it closes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Sends these bytes.
    Send(&'static str),
    /// Reads a response to its end.
    Answer,
    /// Reads this many bytes.
    Bytes(usize),
    /// Reads until the end.
    End,
    /// Says that it will send no more.
    Finish,
    /// Closes with RST.
    Reset,
    /// Waits until the proxy tries to connect to its first server.
    Connecting,
    /// Waits until the proxy has a request in a queue.
    Queued,
    /// Waits until the server holds that many requests back.
    Held(u32),
    /// Lets the server answer them.
    Release,
    /// From now on a second connection is spoken on.
    Second,
    /// Back to the first, the second is closed.
    First,
}

/// Does all of it; `proxy_is` waits for [`Act::Connecting`] and [`Act::Queued`]. Returns the responses (status and what is said of the connection) and ends.
pub(crate) fn follow(
    acts: &[Act],
    proxy: SocketAddr,
    origin: &Origin,
    proxy_is: impl Fn(Act),
) -> Vec<String> {
    let connect = || {
        let stream = TcpStream::connect(proxy).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    };
    let mut streams = vec![connect()];
    let mut got = Vec::new();
    for act in acts {
        let Some(stream) = streams.last_mut() else { break };
        match *act {
            Act::Send(text) => stream.write_all(text.as_bytes()).expect("it takes it"),
            Act::Answer => got.push(answer(stream)),
            Act::Bytes(count) => {
                stream.read_exact(&mut vec![0; count]).expect("so many bytes");
            }
            Act::End => {
                let mut rest = Vec::new();
                got.push(match stream.read_to_end(&mut rest) {
                    Ok(_) => format!("{} FIN", first_line(&rest)),
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => "RST".into(),
                    Err(error) => format!("{error}"),
                });
            }
            Act::Finish => stream.shutdown(Shutdown::Write).expect("open"),
            Act::Reset => streams.pop().into_iter().for_each(abort),
            Act::Connecting | Act::Queued => proxy_is(*act),
            Act::Held(count) => origin.holds(count),
            Act::Release => origin.release(),
            Act::Second => streams.push(connect()),
            Act::First => drop(streams.pop()),
        }
    }
    got
}

fn first_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().next().unwrap_or("nothing,").to_owned()
}

/// The status line and what is said of the connection, of a response that has a length.
fn answer(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut byte = [0; 1];
    while !all.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(0) => return format!("{} FIN", first_line(&all)),
            Ok(_) => all.push(byte[0]),
            Err(error) => return format!("{} {:?}", first_line(&all), error.kind()),
        }
    }
    let head = String::from_utf8_lossy(&all).to_ascii_lowercase();
    let field = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned())
    };
    let length = field("content-length:").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let cut = stream.read_exact(&mut body).is_err();
    let connection = field("connection:").unwrap_or_else(|| "-".into());
    format!("{}, connection {connection}{}", first_line(&all), if cut { ", cut" } else { "" })
}
