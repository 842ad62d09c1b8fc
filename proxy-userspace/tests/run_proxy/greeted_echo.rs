//! A server that says what it was greeted with.

use crate::stage::Stage;
use crate::support::http::head;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener};

/// A server that gives back what it got: all of it, in the body.
pub(crate) fn echo(stage: &Stage) -> SocketAddr {
    let listener = stage.netns.run(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for (number, mut stream) in listener.incoming().flatten().enumerate() {
            std::thread::spawn(move || {
                while let Some(mut text) = head(&mut stream) {
                    // Version 2 begins with what ends a head.
                    if text == "\r\n\r\n" {
                        text = format!("V2 {}", rest_of_v2(&mut stream));
                        text += &head(&mut stream).unwrap_or_default();
                    }
                    let body = format!("connection {number}\r\n{text}");
                    let length = body.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// The bytes behind the first four of version 2, in hexadecimal, but for the client's port.
fn rest_of_v2(stream: &mut impl Read) -> String {
    let mut header = [0; 12];
    stream.read_exact(&mut header).expect("a header");
    let mut rest = vec![0; header[11].into()];
    stream.read_exact(&mut rest).expect("what it says");
    if let Some(port) = rest.get_mut(8..10) {
        port.fill(0);
    }
    let hex = header.iter().chain(&rest).map(|byte| format!("{byte:02x}"));
    format!("{}\r\n", hex.collect::<String>())
}
