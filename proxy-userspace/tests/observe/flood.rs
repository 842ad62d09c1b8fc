//! 100,000 connections, closed as fast as two cores can: none is lost.

use crate::support::topology::{Family, Topology};
use crate::support::watch::Watch;
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

const CONNECTIONS: usize = 100_000;
const CLIENTS: usize = 4;

#[test]
fn a_hundred_thousand_closes_are_all_told() {
    let topology = Topology::loopback(Family::V4);
    let watch = Watch::start(&topology, &[]);
    let listener =
        topology.proxy.run(|| TcpListener::bind(("0.0.0.0", 0))).expect("a listening socket");
    let port = listener.local_addr().expect("its address").port();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let listener = listener.try_clone().expect("a descriptor");
            std::thread::Builder::new()
                .name("server".into())
                .spawn_scoped(scope, move || serve(&listener))
                .expect("a thread");
        }
        for client in 0..CLIENTS {
            let netns = topology.proxy.clone();
            scope.spawn(move || {
                netns.enter();
                ask(client, port);
            });
        }
    });
    // The kernel's own count of connections made is the witness.
    let made = active_opens(&topology);
    assert_eq!(made, CONNECTIONS + CLIENTS);
    watch.wait_for_closes(made);
    let stopped = watch.stop();
    assert_eq!(stopped.closes.len(), made, "{:?}", stopped.words);
    let summary = stopped.summary();
    assert_eq!((&summary["lost"], &summary["closes"]), (&0.into(), &made.into()), "{summary}");
    let count = |state| {
        stopped.closes.iter().filter(|close| close["conn_state"].as_str() == Some(state)).count()
    };
    let resets = CONNECTIONS / 3;
    assert!(count("RSTO").abs_diff(resets) <= CLIENTS, "{} resets of {resets}", count("RSTO"));
    assert_eq!(count("RSTO") + count("SF"), made);
}

/// Closes first when asked by an `s`, after the client otherwise; an `x` ends the thread.
fn serve(listener: &TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut word = [0];
        match stream.read(&mut word) {
            Ok(1) if word[0] == b's' => {}
            Ok(1) if word[0] == b'x' => return,
            _ => {
                let _reset_or_end = stream.read(&mut word);
            }
        }
    }
}

/// A third closes first, a third after the server, a third with a RST.
fn ask(client: usize, port: u16) {
    for number in 0..CONNECTIONS / CLIENTS {
        // Several addresses, so that the ports in TIME_WAIT do not run out.
        let last = u8::try_from(1 + client * 4 + number % 4).expect("small");
        let server = SocketAddr::new(Ipv4Addr::new(127, 0, 0, last).into(), port);
        let mut stream = TcpStream::connect(server).expect("a connection");
        match (client + number) % 3 {
            0 => stream.write_all(b"c").expect("sent"),
            1 => {
                stream.write_all(b"s").expect("sent");
                assert_eq!(stream.read(&mut [0]).expect("the server's end"), 0);
            }
            _ => {
                stream.write_all(b"r").expect("sent");
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
            }
        }
    }
    let mut last = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    last.write_all(b"x").expect("sent");
    assert_eq!(last.read(&mut [0]).expect("the server's end"), 0);
}

/// `TcpActiveOpens` of the namespace.
fn active_opens(topology: &Topology) -> usize {
    let text = topology.proxy.output(Command::new("nstat").args(["-asz", "TcpActiveOpens"]));
    let line = text.lines().find(|line| line.starts_with("TcpActiveOpens")).expect("the counter");
    line.split_whitespace().nth(1).and_then(|count| count.parse().ok()).expect("a number")
}
