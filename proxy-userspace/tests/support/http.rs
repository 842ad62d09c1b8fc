//! HTTP as far as a server of a test needs it.

use std::io::Read;
use std::net::TcpStream;

/// A request's head, read byte by byte: nothing behind it is taken. `None` where the client ends
/// before.
pub(crate) fn head(stream: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read(&mut byte).ok().filter(|&length| length == 1)?;
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}
