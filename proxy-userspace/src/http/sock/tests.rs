//! What is sent, and when.

use super::*;
use std::{io::Read as _, net::TcpListener};

#[test]
fn the_first_write_alone_may_be_held_back() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = ServerAddress::Inet(listener.local_addr().expect("its address"));
    let sock = Sock::open(&address, None, Tcp::default(), &Watch::new().expect("a descriptor"))
        .expect("a socket");
    sock.connect(&address).expect("on loopback it stands at once");
    let (mut peer, _) = listener.accept().expect("the connection");
    let send = |text: &[u8]| sock.try_send(&[IoSlice::new(text)]).expect("it is sent");
    assert_eq!(sock.try_send(&[]).expect("nothing to send"), 0);
    assert_eq!(send(b"one "), 4);
    assert!(!sockopt::tcp_nodelay(&sock.fd).expect("the option"));
    assert_eq!(send(b"two "), 4);
    assert!(sockopt::tcp_nodelay(&sock.fd).expect("the option"));
    let slices = [IoSlice::new(b"three "), IoSlice::new(b""), IoSlice::new(b"four")];
    assert_eq!(sock.try_send(&slices).expect("it is sent"), 10);
    drop(sock);
    let mut text = String::new();
    peer.read_to_string(&mut text).expect("all of it");
    assert_eq!(text, "one two three four");
}
