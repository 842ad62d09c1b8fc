//! Commands of the runtime socket, with HAProxy's answer beside each.

use crate::stage::Stage;
use crate::twins::Twins;
use std::net::{SocketAddr, TcpStream};

/// A frontend, a `listen` and a backend.
fn three(stage: &Stage, which: u16) -> String {
    format!(
        "frontend in\n  bind 127.0.0.1:{}\n  default_backend web\n\
         listen both\n  bind 127.0.0.1:{}\n  server b1 {server}\n\
         backend web\n  server w1 {server}\n  server w2 {server} check inter 100ms\n",
        8080 + which,
        8090 + which,
        server = stage.server,
    )
}

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
