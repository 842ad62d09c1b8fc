//! Which connections are meant, and which are refused.

use crate::scene::{Daemon, Pair, left, listen, wait_until_freed};
use crate::support::topology::Family;
use crate::support::until::until;
use crate::support::wires::{Laid, Wire};
use std::io::{ErrorKind, Read as _, Write as _};

#[test]
fn a_fin_that_would_hide_a_loss_is_refused() {
    let laid = Laid::new(Wire::Veth, Family::V4);
    let topology = &laid.topology;
    let listener = listen(topology);
    let daemon = Daemon::start(&laid);
    let mut pair = Pair::open(topology, &listener);
    pair.theirs.write_all(b"unread").expect("sent");
    until("the bytes to come", || pair.ours.peek(&mut [0; 6]).ok().filter(|count| *count == 6));
    let [ours, theirs] = pair.ends();
    let (said, code) = daemon.close(&[&ours, &theirs, "--how", "fin"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("not closed: data was never read"), "{said}");
    pair.ours.read_exact(&mut [0; 6]).expect("it lives");
}

#[test]
fn every_connection_to_a_peer_is_closed_and_no_other() {
    let laid = Laid::new(Wire::Veth, Family::V4);
    let topology = &laid.topology;
    let (listener, other) = (listen(topology), listen(topology));
    // Older than the daemon: an orphan whose peer does not close.
    let orphan = Pair::open(topology, &listener);
    let orphans_port = orphan.port();
    let Pair { ours, theirs: _peer_of_orphan } = orphan;
    drop(ours);
    until("the orphan", || {
        let found = left(topology, orphans_port);
        found.iter().any(|socket| socket.state == "FIN-WAIT-2").then_some(())
    });
    let daemon = Daemon::start(&laid);
    let mut pairs: Vec<Pair> = (0..50).map(|_| Pair::open(topology, &listener)).collect();
    let mut stays = Pair::open(topology, &other);
    let peer = format!("--peer={}", listener.local_addr().expect("its address"));
    let (said, code) = daemon.close(&[&peer, "--dry-run"]);
    assert_eq!((code, said.contains("51 would be closed, 0 not")), (0, true), "{said}");
    let (said, code) = daemon.close(&[&peer]);
    assert_eq!((code, said.contains("51 closed, 0 not")), (0, true), "{said}");
    assert!(said.contains(&format!(":{orphans_port} ")), "{said}");
    for pair in &mut pairs {
        let error = pair.theirs.read(&mut [0; 1]).expect_err("the RST came");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    pairs.iter().for_each(|pair| wait_until_freed(topology, pair.port()));
    until("the orphan to be gone", || left(topology, orphans_port).is_empty().then_some(()));
    stays.ours.write_all(b"alive").expect("another peer's is left alone");
    stays.theirs.read_exact(&mut [0; 5]).expect("it came");
    let (said, code) = daemon.close(&[&peer]);
    assert_eq!((code, said.contains("0 closed, 0 not")), (1, true), "nothing is left: {said}");
}

#[test]
fn wrong_words_are_named_and_nothing_is_closed() {
    let daemon = Daemon::start(&Laid::new(Wire::Loopback, Family::V4));
    for words in [&[][..], &["10.0.0.1:1"], &["--peer", "nobody"], &["--how", "shut"]] {
        let (said, code) = daemon.close(words);
        assert_eq!(code, 2, "{words:?}: {said}");
    }
    let (said, code) = daemon.close(&["--server", "w9"]);
    assert_eq!((code, said.contains("no server 'w9'")), (1, true), "{said}");
    let answer = daemon.ask("close --peer 10.9.9.9");
    assert!(answer.contains("0 closed, 0 not"), "{answer}");
}
