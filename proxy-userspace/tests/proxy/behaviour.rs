//! What clients, servers and logs see.

use crate::support::{Origin, Proxy, settings};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Srv: Y\r\n\r\nok";

#[test]
fn a_kept_connection_serves_several_requests() {
    let origin = Origin::answering(OK);
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    for _ in 0..5 {
        client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.response(), OK);
    }
    let log = proxy.log(5);
    assert!(log.iter().all(|line| line.status == 200 && line.state == "----"));
    assert_eq!(log[0].request, "GET /a HTTP/1.1");
    assert!(origin.opened() <= 2, "{} connections", origin.opened());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::echo();
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    client.send(
        "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\
         GET /2 HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET /3 HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    let first = client.response();
    assert!(first.contains("POST /1 ") && first.ends_with("\r\n\r\nabc"), "{first}");
    assert!(client.response().contains("GET /2 "));
    assert!(client.response().contains("GET /3 "));
}
