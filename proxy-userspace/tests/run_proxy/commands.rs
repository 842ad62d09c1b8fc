//! Commands of the runtime socket, with HAProxy's answer beside each.

use crate::stage::{Stage, three};
use crate::support::until::{until, until_empty};
use crate::twins::Twins;
use std::net::{SocketAddr, TcpStream};

#[test]
fn a_frontend_that_was_shut_down_stays_shut() {
    let twins = Twins::start(three);
    for port in [8080, 8081, 8090, 8091] {
        assert!(twins.stage.get(port, "/").ends_with("nobody"));
    }
    for (command, answer) in [
        ("shutdown frontend", "A frontend name is expected.\n"),
        ("shutdown frontend web", "No such frontend.\n"),
        ("user; shutdown frontend in", "\nPermission denied\n"),
        ("operator; shutdown frontend in", "\nPermission denied\n"),
        ("disable frontend in", ""),
        ("shutdown frontend in", ""),
        ("shutdown frontend in", "Frontend was already shut down.\n"),
        ("enable frontend in", "Frontend was previously shut down, cannot enable.\n"),
        ("disable frontend in", "Frontend was previously shut down, cannot disable.\n"),
        ("shutdown frontend both", ""),
        ("set server both/b1 weight 3", "Proxy is disabled.\n"),
        ("get weight both/b1", "1 (initial 1)\n"),
        ("show backend", "# name\nboth\nweb\n"),
    ] {
        assert_eq!(twins.same(command), format!("{answer}\n"), "{command}");
    }
    for what in ["Paused", "Proxy in stopped", "Proxy both stopped"] {
        let [ours, theirs] = twins.lines(what);
        assert_eq!(ours, theirs);
    }
    let states = |text: &String| -> Vec<String> {
        let rows = text.lines().filter(|line| line.contains(",FRONTEND,"));
        rows.map(|row| row.split(',').nth(17).expect("a state").to_owned()).collect()
    };
    assert_eq!(twins.ask("show stat").each_ref().map(states), [["STOP"; 2]; 2]);
    for port in [8080, 8081, 8090, 8091] {
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        let refused = twins.stage.netns.run(|| TcpStream::connect(at)).expect_err("it is shut");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{port}");
    }
    twins.end();
}

/// Asserts that both show their servers alike, but for the times since something changed. While a
/// check is under way HAProxy shows that it is.
fn alike(twins: &Twins, after: &str) {
    let without_age = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        if words.len() > 20 && words[0] != "#" {
            words.remove(9);
        }
        words.join(" ")
    };
    let status = |line: &str| line.split(',').nth(17).unwrap_or_default().to_owned();
    let shown = |command: &str, part: &dyn Fn(&str) -> String| {
        twins.ask(command).map(|text| text.lines().map(part).collect::<Vec<_>>())
    };
    until_empty(after, || {
        let states = [shown("show servers state", &without_age), shown("show stat", &status)];
        let unlike = states.into_iter().filter(|[ours, theirs]| ours != theirs);
        unlike.map(|pair| format!("{pair:#?}")).collect()
    });
}

/// Servers of every kind: checked or not, up or down, in maintenance, at a path.
fn servers(stage: &Stage, which: u16) -> String {
    format!(
        "frontend in\n  bind 127.0.0.1:{}\n  default_backend web\n\
         backend web\n  server plain {server}\n\
         \x20 server checked {server} check inter 100ms rise 3 fall 4 weight 5\n\
         \x20 server off {server} check inter 100ms disabled\n  server plain-off {server} disabled\n\
         \x20 server path /nowhere\n  server elsewhere 127.0.0.1:1 check inter 100ms\n",
        8080 + which,
        server = stage.server,
    )
}

#[test]
fn checks_are_switched_off_and_moved() {
    let twins = Twins::start(servers);
    let settled = |what: &str, word: &str| {
        until(what, || {
            let states = twins.ask("show stat");
            states.iter().all(|text| text.contains(word)).then_some(())
        });
    };
    settled("the one elsewhere to be down", "web,elsewhere,0,0,0,0,,0,0,0,,0,,0,0,0,0,DOWN,");
    settled("the checked one to be well", ",L4OK,");
    for command in [
        "enable health",
        "enable health web",
        "enable health web/nobody",
        "enable health nowhere/plain",
        "enable health web/plain",
        "disable health web/plain",
        "disable health web/checked",
        "operator; disable health web/checked",
        "enable agent web/checked",
        "disable agent web/checked",
        "disable agent web/nobody",
        "set server web/plain",
        "set server web/checked agent up",
        "set server web/checked agent-addr 127.0.0.1",
        "set server web/checked agent-send x",
        "set server web/checked fqdn x",
        "set server web/checked ssl on",
        "set server web/checked check-port 1",
        "enable health web/checked",
        "set server web/plain check-port 1",
        "set server web/checked check-port",
        "set server web/checked check-port x",
        "set server web/checked check-port 99999",
        "set server web/checked check-addr",
        "set server web/checked check-addr nowhere",
        "set server web/checked check-addr 127.0.0.1 port",
        "set server web/plain state maint",
        "set server web/plain state ready",
        "set server web/off health up",
        "set server web/checked state drain",
        "disable health web/checked",
        "set server web/checked state ready",
        "enable health web/checked",
        "set server web/path addr 127.0.0.1",
        "set server web/plain addr nowhere",
        "set server web/plain addr 127.0.0.1 other",
        "set server web/plain addr 127.0.0.1 port",
        "set server web/plain addr 127.0.0.1 port x",
    ] {
        twins.same(command);
        alike(&twins, command);
    }
    let nobody = "set server web/checked check-addr 127.0.0.1 port 1";
    twins.same(nobody);
    settled("the check to go where nobody is", "web,checked,0,0,0,0,,0,0,0,,0,,0,0,0,0,DOWN,5,");
    alike(&twins, nobody);
    twins.same("set server web/checked check-port 0");
    settled("its own port to do again", "web,checked,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,5,");
    // Nobody sees where it went while its checks are off, and others are seen coming.
    twins.same("disable health web/checked");
    twins.same("set server web/checked addr 127.0.0.1 port 1");
    twins.same(&format!(
        "set server web/elsewhere addr 127.0.0.1 port {}",
        twins.stage.server.port()
    ));
    settled("the other one to be up", "web,elsewhere,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,");
    alike(&twins, "disable health web/checked");
    settled("it to be there", "web,checked,0,0,0,0,,0,0,0,,0,,0,0,0,0,no check,5,");
    twins.same("enable health web/checked");
    settled("it to be gone", "web,checked,0,0,0,0,,0,0,0,,0,,0,0,0,0,DOWN,5,");
    twins.end();
}

#[test]
fn what_becomes_of_a_server_is_told_alike() {
    let twins = Twins::start(servers);
    for line in twins.lines("web/elsewhere is DOWN") {
        assert!(line.starts_with("<129"), "{line}");
    }
    for command in [
        "set server web/checked state maint",
        "set server web/checked state ready",
        "set server web/checked state drain",
        "set server web/checked state maint",
        "set server web/checked state drain",
        "set server web/checked state ready",
        "set server web/elsewhere state maint",
        "set server web/plain health stopping",
        "set server web/plain state maint",
    ] {
        twins.same(command);
        let [ours, theirs] = twins.lines("Server web/");
        assert_eq!(ours, theirs, "{command}");
        if ours.contains("UP/DRAIN") {
            let [ours, theirs] = twins.lines("Server web/");
            assert_eq!(ours, theirs, "{command}");
        }
    }
    twins.end();
}

#[test]
fn what_there_is_none_of_is_said_alike() {
    let twins = Twins::start(three);
    for command in [
        "show map",
        "show map x",
        "show acl x",
        "show table",
        "show table web",
        "show env NOWHERE",
        "user; show env",
        "show env PATH",
        "show sess 0x1",
        "show servers conn nobody",
        "show stat nobody 1 1",
        "show stat typed up no-maint",
    ] {
        twins.same(command);
    }
    until("both to be idle", || {
        let idle = twins.ask("show info").map(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("Idle_pct: "));
            line.and_then(|idle| idle.parse::<u32>().ok())
        });
        idle.iter().all(|idle| matches!(idle, Some(50..=100))).then_some(())
    });
    let all = twins.ask("show env");
    assert!(all[0].contains(twins.same("show env PATH").trim_end()), "{}", all[0]);
    twins.end();
}

/// The first three cells and the state of each row.
fn rows(text: &str) -> Vec<String> {
    let rows = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    rows.map(|row| {
        let cells: Vec<&str> = row.split(',').collect();
        format!("{}/{} {}", cells[0], cells[1], cells[17])
    })
    .collect()
}

#[test]
fn statistics_are_chosen_as_haproxy_chooses_them() {
    let twins = Twins::start(servers);
    until("both to have made their checks", || {
        let states = twins.ask("show stat").map(|text| rows(&text));
        let done = states.iter().all(|rows| {
            ["web/elsewhere DOWN", "web/checked UP"]
                .iter()
                .all(|row| rows.iter().any(|it| it == row))
        });
        done.then_some(())
    });
    twins.same("set server web/plain state drain");
    twins.same("set server web/path health stopping");
    twins.same("disable health web/checked");
    for words in [
        "",
        "up",
        "no-maint",
        "up no-maint",
        "web 4 2",
        "web 4 2 up",
        "web 6 -1 up",
        "web 4 x",
        "web x -1",
        "-1 1 -1",
        "-1 7 -1 no-maint",
        "3 4 1",
        "3 4",
        "#3 4 1",
        "web",
        "nobody",
        "99 4 1",
    ] {
        let [ours, theirs] = twins.ask(&format!("show stat {words}")).map(|text| rows(&text));
        assert_eq!(ours, theirs, "{words}");
    }
    // What is not of the moment: names, numbers, tags, types.
    let form = |text: &str| -> Vec<String> {
        let without_value = |line: &str| match line.rsplit_once(':') {
            Some((before, _)) => before.to_owned(),
            None => line.to_owned(),
        };
        text.lines().map(without_value).collect()
    };
    let [ours, theirs] = twins.ask("show stat -1 1 -1 typed").map(|text| form(&text));
    assert_eq!(ours, theirs);
    let in_pieces = |text: &str| -> Vec<String> {
        let pieces = text.split("\"value\":{").map(|piece| piece.split_once('}'));
        pieces.map(|piece| piece.map_or(String::new(), |(_, rest)| rest.to_owned())).collect()
    };
    for command in ["show stat web 6 2 json", "show info json"] {
        let [ours, theirs] = twins.ask(command).map(|text| in_pieces(&text));
        assert_eq!(ours, theirs, "{command}");
    }
    twins.end();
}

#[test]
fn refused_messages_are_shown_by_proxy_and_kind() {
    let twins = Twins::start(three);
    let odd = "GET /\u{1} HTTP/1.1\r\nHost: x\r\n\r\n";
    for port in [8080, 8081, 8090, 8091, 8080, 8081] {
        assert!(twins.stage.request(port, odd).starts_with("HTTP/1.1 400 "), "{port}");
    }
    for words in [
        "",
        "in",
        "in request",
        "in response",
        "in other",
        "both",
        "web",
        "2",
        "#2 request",
        "-1 request",
        "-1 response",
        "99",
        "request",
        "nobody",
    ] {
        let heads = twins.ask(&format!("show errors {words}")).map(|text| {
            let events =
                text.lines().filter(|line| line.contains("invalid ") || line.contains("event #"));
            let plain = |line: &str| {
                let line = line.split_once("] ").map_or(line, |(_, rest)| rest);
                line.split(", src").next().unwrap_or_default().to_owned()
            };
            let total = text.lines().next().and_then(|line| line.rsplit_once(' '));
            let total = total.map(|(_, total)| total.to_owned());
            (total, events.map(plain).collect::<Vec<_>>())
        });
        assert_eq!(heads[0], heads[1], "{words}");
    }
    twins.end();
}

#[test]
fn http_is_counted_as_haproxy_counts_it() {
    let twins = Twins::start(|stage, which| {
        format!(
            "listen http\n  bind 127.0.0.1:{}\n  server s {server}\n\
             listen tcp\n  mode tcp\n  bind 127.0.0.1:{}\n  server s {server}\n",
            8080 + which,
            8090 + which,
            server = stage.server
        )
    });
    for port in [8080, 8081, 8080, 8081, 8090, 8091] {
        assert!(twins.stage.get(port, "/").ends_with("nobody"));
    }
    let of_http = |text: &str| -> Vec<String> {
        let names: Vec<&str> = text.lines().next().unwrap_or_default().split(',').collect();
        let cells = text.lines().skip(1).flat_map(|row| names.iter().zip(row.split(',')));
        let of_http = cells.filter(|(name, _)| name.starts_with("h1_"));
        of_http.map(|(name, value)| format!("{name} {value}")).collect()
    };
    until_empty("what is counted of HTTP", || {
        let [ours, theirs] = twins.ask("show stat").map(|text| of_http(&text));
        assert_eq!(theirs.len(), 6 * 8);
        // Of a backend's bytes nothing is known here.
        let unknown = |ours: &str| matches!(ours, "h1_bytes_in 0" | "h1_bytes_out 0");
        assert_eq!(ours.iter().filter(|ours| unknown(ours)).count(), 2 * 3);
        let pairs = ours.iter().zip(&theirs).filter(|(ours, _)| !unknown(ours));
        let unlike = pairs.filter(|(ours, theirs)| ours != theirs);
        unlike.map(|(ours, theirs)| format!("{ours}, HAProxy {theirs}")).collect()
    });
    twins.end();
}

#[test]
fn what_is_in_maintenance_stays_there_whatever_else_is_said_of_it() {
    let twins = Twins::start(|stage, which| {
        format!(
            "listen l\n  id 50\n  bind 127.0.0.1:{}\n\
             \x20 server unknown nosuch.invalid:80 init-addr none\n\
             \x20 server known {server} id 7 check inter 1h on-marked-down shutdown-sessions\n\
             backend other\n  server a {server} id 2\n  server b {server}\n",
            8080 + which,
            server = stage.server,
        )
    });
    until("the first check", || {
        twins.ask("show stat").iter().all(|text| text.contains(",L4OK,")).then_some(())
    });
    alike(&twins, "the start");
    for order in ["ready", "drain", "ready", "maint", "drain", "ready", "maint", "ready"] {
        twins.same(&format!("set server l/unknown state {order}"));
        alike(&twins, order);
    }
    twins.same("set server l/known state maint");
    for order in ["down", "stopping", "up", "down"] {
        twins.same(&format!("set server l/known health {order}"));
        alike(&twins, order);
    }
    twins.same("set server l/known state ready");
    alike(&twins, "its end");
    let lines: Vec<_> = (0..4).map(|_| twins.lines("Server ")).collect();
    for [ours, theirs] in &lines {
        assert_eq!(ours, theirs);
    }
    assert!(lines[3][0].contains("l/known is UP/READY"), "{lines:?}");
    twins.end();
}
