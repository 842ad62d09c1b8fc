//! The runtime socket, teardown's or HAProxy's: a line asked, and the whole answer.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// What is answered to one line.
pub(crate) fn ask(socket: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("the runtime socket listens");
    writeln!(stream, "{line}").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}
