//! A new configuration under way.

use crate::stage::{Stage, start};
use crate::support::until::{Over, until};
use crate::support::watch::teardown;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[test]
fn a_reload_takes_what_is_right_and_leaves_what_is_wrong() {
    let stage = Stage::new();
    let (mut daemon, config) = start(&stage, 8080);
    let reload = || {
        let mut command = teardown();
        let output = command.arg("reload").arg("--socket").arg(stage.path("own")).output();
        output.expect("it starts")
    };
    let text = std::fs::read_to_string(&config).expect("the file");
    std::fs::write(&config, text.replace("string pong", "string PONG")).expect("a file");
    assert!(reload().status.success());
    assert!(stage.get(8080, "/ping").ends_with("PONG"));
    std::fs::write(&config, text.replace("mode http", "mode htpp")).expect("a file");
    let refused = reload();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("The old configuration runs on."), "{said}");
    assert!(stage.get(8080, "/ping").ends_with("PONG"));
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}

#[test]
fn fifty_reloads_by_sighup_lose_no_request() {
    const CLIENTS: usize = 4;
    let stage = Stage::new();
    let (mut daemon, _) = start(&stage, 8080);
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (stage, done, asked) = (&stage, &done, &asked);
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    // Half of them ask several times on one connection.
                    if client % 2 == 0 {
                        assert!(stage.get(8080, "/").ends_with("X-From: 127.0.0.1"));
                    } else {
                        kept(stage, 8080);
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _over = Over(&done);
        for round in 1..=50 {
            // Some requests between any two of them.
            let before = asked.load(Ordering::Relaxed);
            until("requests", || (asked.load(Ordering::Relaxed) > before + CLIENTS).then_some(()));
            daemon.signal(Signal::HUP);
            until("the reload", || {
                let lines = daemon.errors.all();
                let said =
                    lines.iter().filter(|line| line.contains("The configuration is in place"));
                (said.count() == round).then_some(())
            });
        }
    });
    assert!(asked.into_inner() >= 50 * CLIENTS);
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}

/// Five requests on one connection.
fn kept(stage: &Stage, port: u16) {
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = stage.netns.run(|| TcpStream::connect(at).expect("it listens"));
    for _ in 0..5 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
        let mut text = Vec::new();
        let mut byte = [0; 1];
        while !text.ends_with(b"\r\n\r\nX-From: 127.0.0.1") {
            let count = stream.read(&mut byte).expect("a response");
            assert_eq!(count, 1, "{}", String::from_utf8_lossy(&text));
            text.push(byte[0]);
        }
    }
}
