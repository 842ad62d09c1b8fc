//! What `ss` says is left over in a namespace.

use super::netns::Netns;
use std::process::Command;

/// One TCP socket as `ss -tan` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    /// `ss`'s word: ESTAB, FIN-WAIT-2, CLOSE-WAIT, TIME-WAIT, LISTEN ...
    pub(crate) state: String,
    pub(crate) local: String,
    pub(crate) peer: String,
}

/// Every TCP socket of the namespace, IPv4 and IPv6.
pub(crate) fn sockets(netns: &Netns) -> Vec<Socket> {
    let text = netns.output(Command::new("ss").args(["-tanH"]));
    text.lines().filter_map(parse).collect()
}

/// The sockets that are neither listening nor in TIME-WAIT.
pub(crate) fn alive(netns: &Netns) -> Vec<Socket> {
    let quiet = ["LISTEN", "TIME-WAIT"];
    sockets(netns).into_iter().filter(|socket| !quiet.contains(&socket.state.as_str())).collect()
}

/// Whether something listens on `port`.
pub(crate) fn listens(netns: &Netns, port: u16) -> bool {
    let end = format!(":{port}");
    sockets(netns).iter().any(|socket| socket.state == "LISTEN" && socket.local.ends_with(&end))
}

fn parse(line: &str) -> Option<Socket> {
    let mut words = line.split_whitespace();
    let state = words.next()?.to_owned();
    let mut words = words.skip(2);
    Some(Socket { state, local: words.next()?.to_owned(), peer: words.next()?.to_owned() })
}
