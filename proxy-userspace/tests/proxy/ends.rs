//! What rules and log lines know of the ends of a connection.

use std::net::{SocketAddr, TcpStream};

use crate::edits::assembled;
use crate::support::{Client, Origin, PATIENCE, Proxy, ports::Reserved};

/// A client at one of the addresses of a frontend.
fn connect(address: impl Into<SocketAddr>) -> Client {
    let stream = TcpStream::connect(address.into()).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("sets");
    Client { stream, early: Vec::new() }
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[test]
fn requests_and_connections_are_sent_on_by_the_address_that_the_client_took() {
    for mode in ["http", "tcp"] {
        let ports = [Reserved::new(), Reserved::new()];
        let [first, second] = ports.each_ref().map(Reserved::port);
        let names = ["usual", "by-port", "by-address"];
        let origins = names.map(|name| Origin::answering(answer(name)));
        let [usual, by_port, by_address] = origins.each_ref().map(|origin| origin.address);
        let proxy = Proxy::start(assembled(&format!(
            "defaults\n mode {mode}\n timeout client 1m\n timeout server 1m\n timeout connect 1m\n\
             frontend f\n bind *:{first}\n bind *:{second}\n\
             \x20use_backend by-port if {{ dst_port {second} }}\n\
             \x20use_backend by-address if {{ dst 127.0.0.3 }}\n default_backend usual\n\
             backend usual\n server s {usual}\n\
             backend by-port\n server s {by_port}\n\
             backend by-address\n server s {by_address}\n"
        )));
        let taken = [([127, 0, 0, 1], first), ([127, 0, 0, 2], second), ([127, 0, 0, 3], first)];
        for (index, (address, name)) in taken.into_iter().zip(names).enumerate() {
            let mut client = connect(address);
            client.send(GET);
            let response = client.response();
            assert!(response.ends_with(name), "mode {mode}, at {address:?}: {response}");
            drop(client);
            let line = proxy.log(index + 1).pop().expect("a line");
            assert_eq!(line.local, Some(SocketAddr::from(address)), "mode {mode}");
        }
    }
}

#[test]
fn a_log_line_says_where_its_server_was_connected_from() {
    for (format, asks) in [("%ci %b/%s", false), ("%bi:%bp", true)] {
        let origin = Origin::new(|mut peer| {
            while peer.request().is_some() {
                peer.send(answer(&peer.stream.peer_addr().expect("connected").to_string()));
            }
        });
        let port = Reserved::new();
        let proxy = Proxy::start(assembled(&format!(
            "defaults\n mode http\n timeout client 1m\n timeout server 1m\n timeout connect 1m\n\
             listen f\n bind {}\n log-format {}\n server s {}\n",
            port.address(),
            format.replace(' ', "\\ "),
            origin.address
        )));
        // The second request takes the connection of the first.
        let mut client = proxy.connect();
        for requests in 1..=2 {
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            let response = client.response();
            let seen = response.split_once("\r\n\r\n").expect("a body").1.parse().expect("address");
            let line = proxy.log(requests).pop().expect("a line");
            assert_eq!(line.source, asks.then_some(seen), "{format}");
        }
        assert_eq!(origin.opened(), 1);
    }
}
