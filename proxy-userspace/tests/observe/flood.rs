//! Many connections, closed as fast as two cores can: with default sizes none is lost, and with
//! small ones every loss is counted.

use crate::support::sockets::abort;
use crate::support::ss;
use crate::support::topology::{Family, Topology};
use crate::support::until::{until, until_empty};
use crate::support::watch::Watch;
use rustix::process::Signal;
use serde_json::Value;
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
    let made = connect(&topology, CONNECTIONS);
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

#[test]
fn what_a_small_ring_buffer_loses_is_counted() {
    let topology = Topology::loopback(Family::V4);
    let watch = Watch::start(&topology, &["--ring", "64k"]);
    // A daemon that does not run cannot empty the ring.
    watch.process.signal(Signal::STOP);
    connect(&topology, 2_000);
    // A FIN that met its socket on the way to TIME-WAIT is sent again after 200 ms.
    until_empty("connections that are not over", || {
        ss::alive(&topology.proxy).iter().map(|one| format!("{one:?}")).collect()
    });
    watch.process.signal(Signal::CONT);
    // Once the ring is empty again, closes come through, and in order: the last comes last.
    let listener = topology.proxy.run(|| TcpListener::bind("127.0.0.1:0")).expect("a listener");
    let end = listener.local_addr().expect("its address");
    let open_and_close = || {
        let client = topology.client.run(|| TcpStream::connect(end)).expect("a connection");
        let ours = client.local_addr().expect("its address").to_string();
        drop(client);
        drop(listener.accept().expect("a connection"));
        ours
    };
    until("a close after the ring was full", || {
        open_and_close();
        std::thread::sleep(Duration::from_millis(20));
        let is_late = |close: &Value| close["resp"].as_str() == Some(&end.to_string());
        watch.closes().iter().any(is_late).then_some(())
    });
    let last = open_and_close();
    until("the last close", || {
        let is_last = |close: &Value| close["orig"].as_str() == Some(&last);
        watch.closes().iter().any(is_last).then_some(())
    });
    let made = active_opens(&topology);
    let stopped = watch.stop();
    let summary = stopped.summary();
    let lost = summary["lost_ring_full"].as_u64().expect("a count");
    assert!(lost > 0, "{summary}");
    assert_eq!(stopped.closes.len() as u64 + lost, made as u64, "{summary}");
}

/// Makes `count` connections, and four more that end the servers; gives the kernel's own count.
fn connect(topology: &Topology, count: usize) -> usize {
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
                ask(client, count / CLIENTS, port);
            });
        }
    });
    let made = active_opens(topology);
    assert_eq!(made, count + CLIENTS);
    made
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
fn ask(client: usize, count: usize, port: u16) {
    for number in 0..count {
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
                abort(stream);
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
