//! Servers whose requests say how they are, with HAProxy beside.

use crate::stage::Stage;
use crate::support::http::head;
use crate::support::until::{until, until_empty};
use crate::twins::Twins;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// A server that answers by the path.
fn server(stage: &Stage) -> SocketAddr {
    let listener = stage.netns.run(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let Some(head) = head(&mut stream) else { return };
                let rest = "Content-Length: 0\r\nConnection: close\r\n\r\n";
                let answer = match head.split(' ').nth(1).unwrap_or_default() {
                    "/bad" => "HTTP/1.1 2x0 Odd\r\n\r\n".to_owned(),
                    "/cut" => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_owned(),
                    "/nothing" => String::new(),
                    path => format!("HTTP/1.1 {} Some\r\n{rest}", &path[1..]),
                };
                // Who asked may have gone.
                let _ = stream.write_all(answer.as_bytes());
            });
        }
    });
    address
}

const MODES: [&str; 4] = ["fastinter", "fail-check", "sudden-death", "mark-down"];

fn configuration(stage: &Stage, which: u16) -> String {
    let server = server(stage);
    let mut text = " retries 0\n".to_owned();
    for (layer, base) in [("layer4", 8000), ("layer7", 8100)] {
        for (number, mode) in (0..).zip(MODES) {
            let address =
                if layer == "layer4" { "127.0.0.1:1".to_owned() } else { server.to_string() };
            text += &format!(
                "listen {layer}-{mode}\n bind 127.0.0.1:{}\n server s {address} check port {} inter 4s \
                 rise 3 fall 4 observe {layer} error-limit 3 on-error {mode}\n",
                base + 10 * number + which,
                server.port(),
            );
        }
    }
    text
}

/// The state's columns of a section's server.
fn columns(twins: &Twins, section: &str) -> [String; 2] {
    const NAMES: [&str; 8] = [
        "status",
        "chkfail",
        "chkdown",
        "hanafail",
        "check_status",
        "last_chk",
        "check_desc",
        "check_health",
    ];
    twins.ask("show stat").map(|text| {
        let head = text.lines().next().unwrap_or_default().trim_start_matches("# ");
        let begin = format!("{section},s,");
        let row = text.lines().find(|row| row.starts_with(&begin)).expect("a row");
        // A comma within quotes parts no cells.
        let (mut cells, mut quoted) = (vec![String::new()], false);
        for c in row.chars() {
            quoted ^= c == '"';
            match c {
                ',' if !quoted => cells.push(String::new()),
                '"' => {}
                _ => cells.last_mut().expect("one").push(c),
            }
        }
        let cell = |name: &&str| &*cells[head.split(',').position(|it| it == *name).expect("one")];
        NAMES.each_ref().map(cell).join("|")
    })
}

fn ask(twins: &Twins, port: u16, path: &str) {
    for which in 0..2 {
        let at = SocketAddr::from(([127, 0, 0, 1], port + which));
        let mut stream = twins.stage.netns.run(|| TcpStream::connect(at).expect("it listens"));
        let request = format!("GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        // An answer, or none.
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

fn same(twins: &Twins, section: &str, part: &str) {
    until_empty("states differ", || {
        let [ours, theirs] = columns(twins, section);
        let good = ours == theirs && ours.contains(part);
        (!good).then(|| format!("{section}, {part}:\n{ours}\n{theirs}")).into_iter().collect()
    });
}

#[test]
fn requests_say_how_a_server_is() {
    let twins = Twins::start(configuration);
    until("the first checks", || {
        let both = twins.ask("show stat");
        both.iter().all(|text| text.matches(",L4OK,").count() == 8).then_some(())
    });
    for (layer, base, good, bad) in [("layer4", 8000, "200", "200"), ("layer7", 8100, "200", "500")]
    {
        for (number, mode) in (0..).zip(MODES) {
            let (section, port) = (format!("{layer}-{mode}"), base + 10 * number);
            ask(&twins, port, bad);
            ask(&twins, port, bad);
            same(&twins, &section, "|0|L4OK|");
            if layer == "layer7" {
                // They have to be in a row.
                ask(&twins, port, good);
                ask(&twins, port, bad);
                ask(&twins, port, bad);
                same(&twins, &section, "|0|L4OK|");
            }
            ask(&twins, port, bad);
            same(&twins, &section, "|1|");
            if mode == "mark-down" {
                for line in twins.lines(&format!("{section}/s is")) {
                    let reason = line.split(". ").next().expect("a sentence").to_owned();
                    let last = if layer == "layer4" {
                        "L4 unsuccessful connection"
                    } else {
                        "Wrong http response"
                    };
                    assert_eq!(
                        reason,
                        format!(
                            "<129> Server {section}/s is DOWN, reason: Health analyze, info: \
                             \"Detected 3 consecutive errors, last one was: {last}\""
                        )
                    );
                }
            }
        }
    }
    // What else is an error, and what is none.
    let section = "layer7-fastinter";
    for (path, alarms) in
        [("bad", 2), ("nothing", 3), ("cut", 3), ("501", 3), ("404", 3), ("503", 4)]
    {
        ask(&twins, 8100, "200");
        for _ in 0..3 {
            ask(&twins, 8100, path);
        }
        same(&twins, section, &format!("|{alarms}|L4OK"));
    }
    // One more of these than a server that is nearly down can take.
    let section = "layer7-fail-check";
    for (path, why) in
        [("bad", "Invalid http response (headers)"), ("nothing", "Close from server (http)")]
    {
        for _ in 0..3 {
            ask(&twins, 8110, path);
        }
        same(&twins, section, why);
    }
    twins.end();
}
