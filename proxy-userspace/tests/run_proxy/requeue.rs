//! Requests that wait for a server which is taken out of service, with HAProxy beside.

use crate::support::until::until;
use crate::twins::{Twins, busy};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A request to one of the twins' port, of a client that `cookie` binds.
fn request(twins: &Twins, port: u16, cookie: &str) -> TcpStream {
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = twins.stage.netns.run(|| TcpStream::connect(at).expect("it listens"));
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{cookie}\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    stream
}

/// The answer's lines, in an order of their own.
fn answer(mut stream: TcpStream) -> Vec<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let mut lines: Vec<String> = text.lines().map(str::to_ascii_lowercase).collect();
    lines.sort_unstable();
    lines
}

/// How many wait for that server or backend, at both.
fn waiting(twins: &Twins, name: &str) -> [String; 2] {
    twins.ask("show stat").map(|text| {
        let row = text.lines().find(|row| row.starts_with(&format!("in,{name},"))).expect("a row");
        row.split(',').nth(2).expect("qcur").to_owned()
    })
}

fn until_one_waits(twins: &Twins, name: &str) {
    until("a request that waits", || (waiting(twins, name) == ["1", "1"]).then_some(()));
}

#[test]
fn who_waits_for_a_server_that_is_taken_out_goes_to_another_one() {
    let twins = Twins::start(|stage, which| {
        let address = busy(stage);
        format!(
            "listen in\n bind 127.0.0.1:{}\n option redispatch\n cookie S insert\n\
             \x20 server s1 {address} maxconn 1 cookie a\n server s2 {} cookie b\n",
            8080 + which,
            stage.server,
        )
    });
    let first = "Cookie: S=a\r\n";
    let served = [8080, 8081].map(|port| request(&twins, port, first));
    until("the first request", || {
        let both = twins.ask("show stat");
        both.iter().all(|text| text.contains("in,s1,0,0,1,1,")).then_some(())
    });
    for (out, back) in [
        ("state drain", "state ready"),
        ("state maint", "state ready"),
        ("health down", "health up"),
    ] {
        let clients = [8080, 8081].map(|port| request(&twins, port, first));
        until_one_waits(&twins, "s1");
        twins.same(&format!("set server in/s1 {out}"));
        let [ours, theirs] = twins.lines("in/s1");
        assert_eq!(ours, theirs);
        assert!(
            ours.contains("1 sessions requeued, 0 total") || ours.contains("1 requeued, 0 rem")
        );
        let [ours, theirs] = clients.map(answer);
        assert_eq!(ours, theirs);
        assert!(ours.iter().any(|line| line.starts_with("set-cookie: s=b")), "{ours:?}");
        twins.same(&format!("set server in/s1 {back}"));
        let [ours, theirs] = twins.lines("in/s1");
        assert_eq!(ours, theirs);
    }
    // Who waits for any server goes to the one that comes back.
    twins.same("set server in/s2 health down");
    let clients = [8080, 8081].map(|port| request(&twins, port, ""));
    until_one_waits(&twins, "BACKEND");
    twins.same("set server in/s2 health up");
    let lines = [(); 2].map(|()| twins.lines("in/s2"));
    let [ours, theirs] = &lines[1];
    assert_eq!(ours, theirs);
    assert!(ours.contains("1 sessions requeued"), "{ours}");
    let [ours, theirs] = clients.map(answer);
    assert_eq!(ours, theirs);
    // They have waited, and that is forgotten.
    let longest = || {
        twins.ask("show stat").map(|text| {
            let head = text.lines().next().unwrap_or_default().to_owned();
            let place = head.split(',').position(|name| name == "qtime_max").expect("a column");
            let rows =
                text.lines().filter(|row| row.starts_with("in,s2,") || row.starts_with("in,B"));
            let cells = rows.map(|row| row.split(',').nth(place).expect("a cell") != "0");
            cells.collect::<Vec<_>>()
        })
    };
    assert_eq!(longest(), [[true; 2]; 2]);
    twins.same("clear counters");
    assert_eq!(longest(), [[false; 2]; 2]);
    drop(served);
    twins.end();
}

/// Not so with the other algorithms: there who finds all servers busy waits for any of them.
#[test]
fn leastconn_fills_the_servers_own_queues_first() {
    for (algorithm, waits) in [("leastconn", ["2", "2", "3"]), ("first", ["0", "0", "7"])] {
        let twins = Twins::start(|stage, which| {
            let address = busy(stage);
            format!(
                "listen in\n bind 127.0.0.1:{}\n balance {algorithm}\n\
                 \x20 server s1 {address} maxconn 1 maxqueue 2\n\
                 \x20 server s2 {address} maxconn 1 maxqueue 2\n",
                8080 + which,
            )
        });
        let mut clients = Vec::new();
        for count in 1..=9 {
            clients.push([8080, 8081].map(|port| request(&twins, port, "")));
            until("the request to come", || {
                let came = twins.ask("show stat").map(|text| {
                    let row = text.lines().find(|row| row.starts_with("in,BACKEND,"));
                    row.and_then(|row| row.split(',').nth(4)?.parse().ok()) == Some(count)
                });
                (came == [true, true]).then_some(())
            });
        }
        for (name, count) in ["s1", "s2", "BACKEND"].into_iter().zip(waits) {
            until(&format!("{count} to wait at {name}"), || {
                (waiting(&twins, name) == [count, count]).then_some(())
            });
        }
    }
}
