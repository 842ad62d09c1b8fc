//! Which server, and from where: `use-server`, `server-template` and `source`, with HAProxy beside.

use crate::stage::Stage;
use crate::support::http::head;
use crate::support::until::until;
use crate::twins::Twins;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// A server that says its name, and notes who connected.
fn named(stage: &Stage, name: &'static str, seen: &Arc<Mutex<Vec<IpAddr>>>) -> SocketAddr {
    let listener = stage.netns.run(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let address = listener.local_addr().expect("bound");
    let seen = Arc::clone(seen);
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            seen.lock().expect("unpoisoned").push(peer.ip());
            // A check may have gone.
            let _ = head(&mut stream);
            let length = name.len();
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}");
        }
    });
    address
}

#[test]
fn rules_choose_a_server_that_runs() {
    let nobody = Arc::default();
    let twins = Twins::start(|stage, which| {
        let [a, b, c] = ["a", "b", "c"].map(|name| named(stage, name, &nobody));
        format!(
            "frontend in\n bind 127.0.0.1:{}\n http-request set-header X-To b if {{ path /b }}\n\
             \x20 default_backend web\n\
             backend web\n option httpclose\n balance first\n\
             \x20 use-server b if {{ hdr(x-to) b }}\n use-server c unless {{ path_beg /a /b /z }}\n\
             \x20 use-server c if {{ path /b }}\n\
             \x20 server a {a}\n server b {b}\n server c {c} backup\n\
             listen bytes\n bind 127.0.0.1:{}\n mode tcp\n use-server b if {{ src 127.0.0.0/8 }}\n\
             \x20 server a {a}\n server b {b}\n",
            8080 + which,
            8090 + which,
        )
    });
    let get = |port: u16, path: &str| {
        let both = [0, 1].map(|which| {
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let text = twins.stage.request(port + which, &request);
            text.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
        });
        assert_eq!(both[0], both[1], "{port} {path}");
        both[0].clone()
    };
    let all = || ["/a", "/b", "/c", "/z"].map(|path| get(8080, path)).join("");
    assert_eq!((all(), get(8090, "/")), ("abca".into(), "b".into()));
    // Who is drained, or has no weight, is used all the same.
    twins.same("set server web/b state drain");
    twins.same("set server web/c weight 0");
    assert_eq!(all(), "abca");
    // Who does not run leaves it to the next rule, and to the balance.
    twins.same("set server web/b state maint");
    assert_eq!(all(), "acca");
    twins.same("set server web/c health down");
    assert_eq!(all(), "aaaa");
    twins.same("set server web/b state ready");
    twins.same("set server bytes/b health down");
    assert_eq!((all(), get(8090, "/")), ("abaa".into(), "a".into()));
    twins.end();
}

#[test]
fn connections_come_from_their_source() {
    let seen: [Arc<Mutex<Vec<IpAddr>>>; 8] = Default::default();
    let twins = Twins::start(|stage, which| {
        let [a, b, c, d] = [0, 1, 2, 3]
            .map(|server: usize| named(stage, "x", &seen[usize::from(which) * 4 + server]));
        format!(
            "listen l\n bind 127.0.0.1:{}\n source 127.0.0.2\n option httpclose\n\
             \x20 server a {a}\n server b {b} source 127.0.0.3\n server c {c} source 0.0.0.0\n\
             backend checked\n option httpchk\n server d {d} source 127.0.0.4 check inter 100ms\n\
             backend several\n server-template t 2-4 127.0.0.1:1 weight 7 source 127.0.0.5\n\
             \x20 server-template u 2 127.0.0.1:1\n",
            8080 + which,
        )
    });
    for which in 0..2 {
        for _ in 0..3 {
            assert!(twins.stage.get(8080 + which, "/").ends_with('x'));
        }
    }
    let from: [Vec<IpAddr>; 8] = seen.each_ref().map(|seen| {
        until("a connection", || seen.lock().expect("unpoisoned").first().map(|ip| vec![*ip]))
    });
    let ours: Vec<_> = from[..4].iter().flatten().map(ToString::to_string).collect();
    assert_eq!(ours, ["127.0.0.2", "127.0.0.3", "127.0.0.1", "127.0.0.4"]);
    assert_eq!(from[..4], from[4..]);
    let [ours, theirs] = twins.ask("show stat").map(|text| {
        let rows = text.lines().filter(|row| row.starts_with("several,"));
        let cells = rows.map(|row| row.split(',').take(2).collect::<Vec<_>>().join("/"));
        cells.collect::<Vec<_>>()
    });
    assert_eq!(ours, theirs);
    let names = ["t2", "t3", "t4", "u1", "u2", "BACKEND"].map(|name| format!("several/{name}"));
    assert_eq!(ours, names);
    twins.end();
}

#[test]
fn a_name_that_nobody_knows_may_be_told_later() {
    let nobody = Arc::default();
    let twins = Twins::start(|stage, which| {
        format!(
            "listen l\n bind 127.0.0.1:{}\n\
             \x20 server n nosuch.invalid:80 init-addr last,libc,none\n\
             \x20 server i nosuch.invalid:{} init-addr libc,127.0.0.1\n",
            8080 + which,
            named(stage, "i", &nobody).port(),
        )
    });
    let shown = || {
        twins.ask("show servers state").map(|text| {
            let row = text.lines().find(|row| row.contains(" n ")).expect("a row").to_owned();
            [3, 4, 5, 6, 17, 18].map(|word| row.split(' ').nth(word).expect("a word").to_owned())
        })
    };
    let [ours, theirs] = shown();
    assert_eq!(ours, theirs);
    let status = |text: &String| text.contains("l,n,") && text.contains(",MAINT (resolution),");
    assert!(twins.ask("show stat").iter().all(status));
    for which in 0..2 {
        assert!(twins.stage.get(8080 + which, "/").ends_with('i'));
    }
    // It stays where it is until it has an address, whoever wants it otherwise.
    twins.same("set server l/n state ready");
    assert!(twins.ask("show stat").iter().all(status));
    let port = named(&twins.stage, "n", &nobody).port();
    twins.ask(&format!("set server l/n addr 127.0.0.1 port {port}"));
    twins.same("set server l/i state maint");
    // HAProxy 2.6 has it ready, but without the address.
    assert!(twins.stage.get(8080, "/").ends_with('n'));
    twins.end();
}
