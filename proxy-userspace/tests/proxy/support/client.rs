//! A client of the proxy's.

use super::find;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

/// A client.
pub struct Client {
    pub stream: TcpStream,
    pub early: Vec<u8>,
}

impl Client {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("sends");
    }

    /// Reads a response that has a Content-Length, or no body.
    pub fn response(&mut self) -> String {
        String::from_utf8_lossy(&self.response_bytes()).into_owned()
    }

    /// The same, where the body is no text.
    pub fn response_bytes(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = find(&self.early, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.early[..end]).to_ascii_lowercase();
                let length = head.split("content-length: ").nth(1).map_or(0, |rest| {
                    rest.split('\r').next().expect("split").parse::<usize>().expect("number")
                });
                let whole = end + 4 + length;
                if self.early.len() >= whole {
                    return self.early.drain(..whole).collect();
                }
            }
            let before = self.early.len();
            self.read();
            assert!(self.early.len() > before, "closed after {:?}", self.early.escape_ascii());
        }
    }

    /// Reads until so many bytes of something are there.
    pub fn until(&mut self, end: &[u8]) -> String {
        loop {
            if let Some(at) = find(&self.early, end) {
                let message = self.early.drain(..at + end.len()).collect::<Vec<_>>();
                return String::from_utf8_lossy(&message).into_owned();
            }
            let before = self.early.len();
            self.read();
            assert!(self.early.len() > before, "closed after {:?}", self.early.escape_ascii());
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 65536];
        let count = self.stream.read(&mut buffer).expect("reads in time");
        self.early.extend_from_slice(&buffer[..count]);
    }

    /// Everything until the proxy closes.
    pub fn rest(&mut self) -> String {
        String::from_utf8_lossy(&self.rest_bytes()).into_owned()
    }

    pub fn rest_bytes(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.early);
        let mut buffer = [0; 65536];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return all,
                Ok(count) => all.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
                Err(error) => panic!("after {:?}: {error}", all.escape_ascii().to_string()),
            }
        }
    }

    pub fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).expect("shuts down");
    }
}
