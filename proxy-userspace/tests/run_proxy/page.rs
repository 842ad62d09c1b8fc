//! The statistics page, with HAProxy's beside it.

use crate::stage::Stage;
use crate::support::process::Process;
use crate::support::until::until;
use crate::support::watch::teardown;
use crate::twins::Twins;
use rustix::process::Signal;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

#[test]
fn it_takes_the_words_that_haproxys_takes() {
    let stage = Stage::new();
    let file = |port: u16| {
        let path = stage.path(&format!("{port}.cfg"));
        let text = format!(
            "defaults\n  mode http\n  timeout connect 2s\n  timeout client 10s\n\
             \x20 timeout server 10s\nlisten s\n  bind 127.0.0.1:{port}\n  stats uri /st\n\
             \x20 stats refresh 7s\n  server up {0}\n  server off {0} disabled\n",
            stage.server
        );
        std::fs::write(&path, text).expect("a file");
        path
    };
    let mut command = teardown();
    command.arg("run").arg("--socket").arg(stage.path("own")).arg("-f").arg(file(8080));
    let mut daemon = Process::start(&stage.netns, &mut command);
    daemon.wait_for_words("watching");
    let mut haproxy = Command::new("haproxy");
    let mut haproxy = Process::start(&stage.netns, haproxy.arg("-db").arg("-f").arg(file(8081)));
    let theirs = SocketAddr::from(([127, 0, 0, 1], 8081));
    until("HAProxy to listen", || stage.netns.run(|| TcpStream::connect(theirs)).ok());
    for words in [
        "",
        "?x",
        ";csv",
        ";json",
        ";norefresh",
        ";csv;norefresh",
        ";up",
        ";csv;up",
        ";no-maint;csv",
        "/more",
    ] {
        let [ours, theirs] = [8080, 8081].map(|port| {
            let text = stage.get(port, &format!("/st{words}"));
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            let head = head.to_ascii_lowercase();
            let field = |name: &str| head.lines().find(|line| line.starts_with(name));
            let kinds = [field("http/1.1 "), field("content-type"), field("refresh")];
            let kinds = kinds.map(|line| line.unwrap_or_default().to_owned());
            // In JSON and in the page names are quoted or in tags.
            let names = ["up", "off"].map(|name| {
                [format!("s,{name},"), format!("\"{name}\""), format!(">{name}<")]
                    .iter()
                    .any(|shown| body.contains(shown.as_str()))
            });
            let form = ["# pxname", "\"objType\"", "<"].map(|form| body.contains(form));
            (kinds, names, form)
        });
        assert_eq!(ours, theirs, "/st{words}");
    }
    for process in [&mut haproxy, &mut daemon] {
        process.signal(Signal::TERM);
        process.wait();
    }
}

/// The rows of a page as CSV that tell a server's address and cookie, or a backend's algorithm and cookie.
fn legends(csv: &str) -> [bool; 4] {
    [",127.0.0.1:", ",roundrobin,", ",own-value,", ",its-name,"].map(|legend| csv.contains(legend))
}

#[test]
fn it_asks_who_somebody_is_and_keeps_addresses_to_itself() {
    let twins = Twins::start(|stage, which| {
        format!(
            "listen closed\n  bind 127.0.0.1:{}\n  stats uri /st\n  stats realm My\\ page\n\
             \x20 stats auth admin:secret\n  stats auth bob:b:x\n  stats auth nopass\n\
             \x20 stats hide-version\n  cookie its-name insert\n\
             \x20 server s {server} cookie own-value\n\
             listen open\n  bind 127.0.0.1:{}\n  stats uri /st\n  stats show-legends\n\
             \x20 stats show-node\n  stats show-desc of ours\n  cookie its-name insert\n\
             \x20 server s {server} cookie own-value\n",
            8080 + which,
            8090 + which,
            server = stage.server
        )
    });
    for (said, status) in [
        ("", 401),
        ("Authorization: Basic YWRtaW46c2VjcmV0\r\n", 200),
        ("authorization: basic  YWRtaW46c2VjcmV0\r\n", 200),
        ("Authorization: Basic Ym9iOmI6eA==\r\n", 200),
        ("Authorization: Basic bm9wYXNzOg==\r\n", 200),
        ("Authorization: Basic bm9wYXNz\r\n", 401),
        ("Authorization: Basic YWRtaW46d3Jvbmc=\r\n", 401),
        ("Authorization: Basic YWRtaW46c2VjcmV0eA==\r\n", 401),
        ("Authorization: Bearer YWRtaW46c2VjcmV0\r\n", 401),
        ("Authorization: Basic\r\n", 401),
    ] {
        let [ours, theirs] = [8080, 8081].map(|port| {
            let head =
                format!("GET /st;csv HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{said}\r\n");
            let text = twins.stage.request(port, &head);
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            let challenge = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("www-authenticate").then(|| value.to_owned())
            });
            let status = head.lines().next().unwrap_or_default().to_owned();
            (status, challenge, (!body.contains("pxname")).then(|| body.to_owned()), legends(body))
        });
        assert_eq!(ours, theirs, "{said}");
        assert!(ours.0.contains(&status.to_string()), "{said}: {ours:?}");
        assert_eq!(ours.3, [false; 4], "{said}");
    }
    for port in [8090, 8091] {
        assert_eq!(legends(&twins.stage.get(port, "/st;csv")), [true; 4], "{port}");
    }
    twins.end();
}

#[test]
fn it_comes_behind_rules_and_before_redirects() {
    let twins = Twins::start(|stage, which| {
        format!(
            "listen in\n  bind 127.0.0.1:{}\n  stats uri /st\n\
             \x20 http-request allow if {{ path /allowed }}\n\
             \x20 http-request deny if {{ path /st/denied }}\n\
             \x20 redirect location /st code 303 if {{ path /allowed }}\n\
             \x20 redirect location /elsewhere\n  server s {}\n",
            8080 + which,
            stage.server
        )
    });
    for (path, status) in [("/", 302), ("/allowed", 303), ("/st", 200), ("/st/denied", 403)] {
        let [ours, theirs] = [8080, 8081].map(|port| {
            let text = twins.stage.get(port, path);
            text.lines().next().unwrap_or_default().to_owned()
        });
        assert_eq!(ours, theirs, "{path}");
        assert!(ours.contains(&status.to_string()), "{path}: {ours}");
    }
    twins.end();
}

#[test]
fn a_monitor_is_answered_before_any_rule_and_is_not_logged() {
    let twins = Twins::start(|stage, which| {
        format!(
            " option httplog\nfrontend in\n bind 127.0.0.1:{}\n monitor-uri /health\n\
             http-request deny if {{ path /health }}\n default_backend b\n\
             backend b\n server s {}\n",
            8080 + which,
            stage.server
        )
    });
    for (request, status) in [
        ("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        ("HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        ("GET http://x/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        ("GET /health HTTP/1.0\r\n\r\n", 200),
        (
            "POST /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab",
            200,
        ),
        ("GET /health?x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 403),
    ] {
        let [ours, theirs] = [8080, 8081].map(|port| {
            let text = twins.stage.request(port, request).to_ascii_lowercase();
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            let mut head: Vec<String> = head.lines().map(str::to_owned).collect();
            head.sort();
            (head, body.to_owned())
        });
        assert_eq!(ours, theirs, "{request}");
        assert!(ours.0.iter().any(|line| line.contains(&format!(" {status} "))), "{ours:?}");
    }
    for line in twins.lines("HTTP/1.") {
        assert!(line.ends_with("\"GET /health?x HTTP/1.1\""), "{line}");
    }
    let intercepted = twins
        .ask("show stat in 1 -1")
        .map(|text| text.lines().nth(1).and_then(|row| row.split(',').nth(80)).map(str::to_owned));
    assert_eq!(intercepted, [const { Some("5") }; 2].map(|count| count.map(str::to_owned)));
    twins.end();
}

#[test]
fn it_shows_the_proxies_of_its_scope() {
    let twins = Twins::start(|stage, which| {
        format!(
            "listen a\n  bind 127.0.0.1:{}\n  stats uri /st\n  stats scope .\n  server s {server}\n\
             listen b\n  bind 127.0.0.1:{}\n  stats uri /st\n  stats scope a\n  stats scope c\n\
             \x20 stats scope none\n  server s {server}\n\
             listen c\n  bind 127.0.0.1:{}\n  stats uri /st\n  server s {server}\n",
            8080 + which,
            8090 + which,
            8070 + which,
            server = stage.server
        )
    });
    for (port, names) in [(8080, "a"), (8090, "ac"), (8070, "abc")] {
        for form in [";csv", ""] {
            let [ours, theirs] = [port, port + 1].map(|port| {
                let text = twins.stage.get(port, &format!("/st{form}"));
                let shown = |name: &&str| {
                    let own =
                        [format!("\n{name},"), format!("<h2>{name}<"), format!(">{name}</a>")];
                    own.iter().any(|own| text.contains(own.as_str()))
                };
                ["a", "b", "c"].into_iter().filter(shown).collect::<String>()
            });
            assert_eq!((ours.as_str(), theirs.as_str()), (names, names), "{port}{form}");
        }
    }
    twins.end();
}
