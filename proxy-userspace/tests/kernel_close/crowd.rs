//! A command that closes very many connections, and what else is asked meanwhile.

use crate::scene::{Daemon, listen};
use crate::support::descriptors::descriptors_for;
use crate::support::topology::Family;
use crate::support::wires::{Laid, Wire};
use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

const ALL: u32 = 3_000;

#[test]
fn others_are_answered_while_a_crowd_is_closed() {
    descriptors_for(2 * ALL + 500);
    let laid = Laid::new(Wire::Loopback, Family::V4);
    let listener = listen(&laid.topology);
    let at = listener.local_addr().expect("its address");
    let daemon = Daemon::start(&laid);
    let mut ends: Vec<(TcpStream, TcpStream)> = Vec::new();
    for _ in 0..ALL {
        let ours = laid.topology.proxy.run(|| TcpStream::connect(at)).expect("a connection");
        ends.push((ours, listener.accept().expect("its other end").0));
    }
    let is_done = AtomicBool::new(false);
    let (said, answers) = std::thread::scope(|scope| {
        let closing = scope.spawn(|| {
            let said = daemon.ask(&format!("close --peer {at}"));
            is_done.store(true, Ordering::Release);
            said
        });
        let mut answers = 0;
        while !is_done.load(Ordering::Acquire) {
            assert!(daemon.ask("show info").contains("\nPid: "));
            answers += 1;
        }
        (closing.join().expect("no panic"), answers)
    });
    assert!(said.ends_with(&format!("{ALL} closed, 0 not\n\n")), "{}", &said[said.len() - 200..]);
    // One may be answered before, and one behind it.
    assert!(answers > 10, "{answers}");
    for (_, theirs) in &mut ends {
        let error = theirs.read(&mut [0]).expect_err("the RST came");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}
