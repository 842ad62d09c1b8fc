//! One request of a client's to a proxy, and what the client sees.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use super::until::PATIENCE;

/// How long a connection whose response is whole is watched for its close.
const MOMENT: Duration = Duration::from_millis(25);

/// A request, and what was heard of it so far.
pub(crate) struct Talk {
    stream: TcpStream,
    is_of_head: bool,
    heard: Vec<u8>,
    pub(crate) is_closed: bool,
}

impl Talk {
    /// Sends the request and reads the response, patiently until it is whole; after that only to see
    /// whether the connection closes.
    pub(crate) fn new(proxy: SocketAddr, request: &[u8]) -> Self {
        let mut stream = TcpStream::connect(proxy).expect("connects");
        stream.write_all(request).expect("sends");
        let is_of_head = request.starts_with(b"HEAD");
        let mut talk = Self { stream, is_of_head, heard: Vec::new(), is_closed: false };
        talk.read(MOMENT);
        talk
    }

    /// Reads until the connection closes, or nothing comes for `wait` behind a whole response.
    pub(crate) fn read(&mut self, wait: Duration) {
        let mut buffer = [0; 65536];
        while !self.is_closed {
            let wait = if is_whole(&self.heard, self.is_of_head) { wait } else { PATIENCE };
            self.stream.set_read_timeout(Some(wait)).expect("sets");
            match self.stream.read(&mut buffer) {
                Ok(0) => self.is_closed = true,
                Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
                Err(error) => {
                    self.is_closed = error.kind() == ErrorKind::ConnectionReset;
                    return;
                }
            }
        }
    }

    /// Status line, sorted fields with names in lower case, and body, once the proxy has nothing to do
    /// with the connection any more: the next line of its log counts those that are open.
    pub(crate) fn response(mut self) -> Vec<String> {
        let (is_closed, heard) = (self.is_closed, std::mem::take(&mut self.heard));
        if !is_closed {
            let _reset = self.stream.shutdown(Shutdown::Write);
            self.stream.set_read_timeout(Some(PATIENCE)).expect("sets");
            let _reset = self.stream.read_to_end(&mut Vec::new());
        }
        let text = String::from_utf8_lossy(&heard).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.split("\r\n");
        let mut response = vec![lines.next().unwrap_or_default().to_owned()];
        let mut rest: Vec<_> = lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                format!("{}: {}", name.to_ascii_lowercase(), value.trim())
            })
            .collect();
        rest.sort_unstable();
        response.extend(rest);
        response.push(body.to_owned());
        response
    }
}

fn is_whole(bytes: &[u8], head: bool) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((fields, body)) = text.split_once("\r\n\r\n") else { return false };
    let status = fields.get(9..12).unwrap_or_default();
    if head || matches!(status, "204" | "304") {
        return true;
    }
    if status.starts_with('1') {
        let from = bytes.len() - body.len();
        return is_whole(&bytes[from..], head);
    }
    if fields.contains("transfer-encoding: chunked") {
        return body.ends_with("0\r\n\r\n");
    }
    let length = fields.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.split('\r').next()?.parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}
