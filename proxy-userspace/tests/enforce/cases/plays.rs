//! What both applications do in each case.

use crate::stage::{DATA, FIN, Stage, Story, accept, bytes, connect, hear, listen, say_and_wait};
use crate::support::clock::unix_ns;
use crate::support::packets as wire;
use crate::support::process::undivided;
use crate::support::servers::Ended;
use crate::support::until::until;
use crate::support::weather::Hole;
use socket2::{SockRef, Socket};
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

pub(super) fn acknowledged(stage: &Stage<'_>) -> Story {
    let (ours, theirs) = stage.connected();
    let told = bytes(500);
    say_and_wait(&ours, &told);
    close(ours);
    Story::of(told, hear(&theirs))
}

pub(super) fn silent(stage: &Stage<'_>) -> Story {
    let (ours, theirs) = stage.connected();
    close(ours);
    Story::of([], hear(&theirs))
}

/// The first two times that the data goes out it is lost: the FIN must wait for a third.
pub(super) fn unacknowledged(stage: &Stage<'_>) -> Story {
    let (ours, theirs) = stage.connected();
    let _hole = stage.lose_to_peer(2, DATA);
    let told = bytes(500);
    say_and_close(ours, &told);
    let story = Story::of(told, hear(&theirs));
    assert!(stage.counts().of("waited") > 0, "{:?}", stage.counts());
    story
}

/// Held back until the close, the data leaves with the FIN.
pub(super) fn with_data(stage: &Stage<'_>) -> Story {
    let (ours, theirs) = stage.connected();
    let told = bytes(500);
    say_with_fin(ours, &told);
    Story::of(told, hear(&theirs))
}

fn say_with_fin(ours: TcpStream, told: &[u8]) {
    undivided(|| {
        let ours = Socket::from(ours);
        ours.send_with_flags(told, libc::MSG_MORE).expect("a write");
    });
}

fn close(ours: TcpStream) {
    undivided(|| drop(ours));
}

fn say_and_close(mut ours: TcpStream, told: &[u8]) {
    undivided(|| {
        ours.write_all(told).expect("a write");
        drop(ours);
    });
}

pub(super) fn with_lost_data(stage: &Stage<'_>) -> Story {
    let (ours, theirs) = stage.connected();
    let _hole = stage.lose_to_peer(1, DATA);
    let told = bytes(500);
    say_with_fin(ours, &told);
    Story::of(told, hear(&theirs))
}

/// What comes before the FIN's segment is missing: the peer's acknowledgments of less must not end
/// the connection.
pub(super) fn behind_lost_data(stage: &Stage<'_>) -> Story {
    let (mut ours, theirs) = stage.connected();
    let _hole = stage.lose_to_peer(1, DATA);
    let told = bytes(1000);
    let (before, with_fin) = told.split_at(400);
    ours.write_all(before).expect("a write");
    say_with_fin(ours, with_fin);
    Story::of(&told[..], hear(&theirs))
}

/// Lost behind teardown, which takes the acknowledgment for its own use: nothing is missed.
pub(super) fn with_lost_ack(stage: &Stage<'_>) -> Story {
    let (ours, theirs) = stage.connected();
    let _hole = stage.lose_from_peer(1, "tcp flags & (fin|rst) == 0");
    let told = bytes(500);
    say_with_fin(ours, &told);
    Story::of(told, hear(&theirs))
}

/// The peer closes as it reads the last data: its FIN acknowledges what ours' FIN waited for.
pub(super) fn answered_by_fin(stage: &Stage<'_>) -> Story {
    let (ours, theirs) = stage.connected();
    // The acknowledgment waits for the close.
    SockRef::from(&theirs).set_tcp_quickack(false).expect("an option");
    let told = bytes(500);
    say_with_fin(ours, &told);
    let mut heard = vec![0; told.len()];
    std::io::Read::read_exact(&mut &theirs, &mut heard).expect("all of it");
    // Reset already, where the acknowledgment did not wait.
    let _reset = theirs.shutdown(Shutdown::Write);
    let (more, ended) = hear(&theirs);
    heard.extend(more);
    Story::of(told, (heard, ended))
}

pub(super) fn large(stage: &Stage<'_>) -> Story {
    let (mut ours, theirs) = stage.connected();
    let told = bytes(1 << 20);
    std::thread::scope(|scope| {
        let closes = scope.spawn(|| {
            ours.write_all(&told).expect("the peer reads");
            close(ours);
            // All may be acknowledged before a busy host gets to the close.
            unix_ns()
        });
        let heard = hear(&theirs);
        let closed = closes.join().expect("it closes");
        Story { closed, ..Story::of(&told[..], heard) }
    })
}

/// Ours closes while the peer's window is shut: FIN and data leave when it opens.
pub(super) fn zero_window(stage: &Stage<'_>) -> Story {
    let (mut ours, theirs) = stage.connected();
    SockRef::from(&ours).set_send_buffer_size(1 << 18).expect("an option");
    SockRef::from(&theirs).set_recv_buffer_size(1 << 16).expect("an option");
    ours.set_nonblocking(true).expect("a mode");
    let all = bytes(4 << 20);
    let mut told = 0;
    // Full for longer than a window takes to open: the peer takes no more.
    let mut full_for = 0;
    while full_for < 20 {
        match ours.write(&all[told..]) {
            Ok(length) => (told, full_for) = (told + length, 0),
            Err(_) => {
                std::thread::sleep(Duration::from_millis(5));
                full_for += 1;
            }
        }
    }
    let peer = stage.peer();
    stage.wait_for_packet("the shut window", |packet| packet.source == peer && packet.window == 0);
    close(ours);
    Story::of(&all[..told], hear(&theirs))
}

/// The FIN went out before there was a rule, and was lost.
pub(super) fn retransmitted(stage: &Stage<'_>) -> Story {
    let (ours, theirs) = stage.connected();
    let _hole = stage.lose_to_peer(1, FIN);
    let told = bytes(500);
    say_and_wait(&ours, &told);
    close(ours);
    let peer = stage.peer();
    stage.wait_for_packet("the FIN", |packet| packet.target == peer && packet.has(wire::FIN));
    stage.enforcer.set(peer, "active rst");
    Story::of(told, hear(&theirs))
}

/// A half-close is no close: the answer still comes.
pub(super) fn half_close(stage: &Stage<'_>) -> Story {
    let (ours, mut theirs) = stage.connected();
    let told = bytes(500);
    say_and_wait(&ours, &told);
    ours.shutdown(Shutdown::Write).expect("a half-close");
    let heard = hear(&theirs);
    let answer = bytes(3000);
    theirs.write_all(&answer).expect("ours still reads");
    close(theirs);
    assert_eq!(hear(&ours), (answer, Ended::Eof));
    Story::of(told, heard)
}

pub(super) fn any_fin(stage: &Stage<'_>) -> Story {
    let (ours, theirs) = stage.connected();
    let told = bytes(500);
    say_and_wait(&ours, &told);
    ours.shutdown(Shutdown::Write).expect("a half-close");
    let heard = hear(&theirs);
    assert_eq!(hear(&ours).1, Ended::Reset, "the local stack was told too");
    Story::of(told, heard)
}

/// The half-close's FIN is lost; when TCP repeats it, ours has closed for good.
pub(super) fn half_close_then_close(stage: &Stage<'_>) -> Story {
    let (ours, theirs) = stage.connected();
    let _hole = stage.lose_to_peer(1, FIN);
    let told = bytes(500);
    say_and_wait(&ours, &told);
    // Both before the lost FIN is sent again, and nobody is waited for in between.
    undivided(|| {
        ours.shutdown(Shutdown::Write).expect("a half-close");
        drop(ours);
    });
    Story::of(told, hear(&theirs))
}

/// The peer's FIN is on its way when ours closes.
pub(super) fn crossing(stage: &Stage<'_>) -> Story {
    let (ours, theirs) = stage.connected();
    // More than one, as ours may take its time to close: 1.4 seconds.
    let _hole = stage.lose_from_peer(3, FIN);
    let told = bytes(500);
    say_and_wait(&ours, &told);
    theirs.shutdown(Shutdown::Write).expect("their FIN");
    let peer = stage.peer();
    stage.wait_for_packet("their FIN", |packet| packet.source == peer && packet.has(wire::FIN));
    close(ours);
    Story::of(told, hear(&theirs))
}

/// Ours' FIN waits for its data when the peer's FIN comes: still an active close.
pub(super) fn closing(stage: &Stage<'_>) -> Story {
    let (ours, theirs) = stage.connected();
    let _hole = stage.lose_to_peer(2, DATA);
    let told = bytes(500);
    say_and_close(ours, &told);
    until("the FIN to wait", || (stage.counts().of("waited") > 0).then_some(()));
    theirs.shutdown(Shutdown::Write).expect("their FIN");
    Story::of(told, hear(&theirs))
}

/// The peer's FIN first; returns once ours has seen it.
fn after_theirs(ours: &TcpStream, theirs: &TcpStream) {
    theirs.shutdown(Shutdown::Write).expect("their FIN");
    assert_eq!(hear(ours), (Vec::new(), Ended::Eof));
}

pub(super) fn last_ack(stage: &Stage<'_>) -> Story {
    let (ours, theirs) = stage.connected();
    let told = bytes(500);
    after_theirs(&ours, &theirs);
    say_and_wait(&ours, &told);
    close(ours);
    Story::of(told, hear(&theirs))
}

pub(super) fn last_ack_unacked(stage: &Stage<'_>) -> Story {
    let (ours, theirs) = stage.connected();
    after_theirs(&ours, &theirs);
    let _hole = stage.lose_to_peer(2, DATA);
    let told = bytes(500);
    say_and_close(ours, &told);
    let story = Story::of(told, hear(&theirs));
    assert!(stage.counts().of("waited") > 0, "{:?}", stage.counts());
    story
}

pub(super) fn last_ack_with_data(stage: &Stage<'_>) -> Story {
    let (ours, theirs) = stage.connected();
    after_theirs(&ours, &theirs);
    let told = bytes(500);
    say_with_fin(ours, &told);
    Story::of(told, hear(&theirs))
}

/// With the peer's FIN seen, shutdown(SHUT_WR) closes what was left: HAProxy in `mode tcp`.
pub(super) fn last_ack_shutdown(stage: &Stage<'_>) -> Story {
    let (ours, theirs) = stage.connected();
    after_theirs(&ours, &theirs);
    let told = bytes(500);
    say_and_wait(&ours, &told);
    ours.shutdown(Shutdown::Write).expect("our FIN");
    Story::of(told, hear(&theirs))
}

pub(super) fn active(stage: &Stage<'_>) -> Story {
    acknowledged(stage)
}

pub(super) fn passive(stage: &Stage<'_>) -> Story {
    last_ack(stage)
}

pub(super) fn unread(stage: &Stage<'_>) -> Story {
    let (ours, mut theirs) = stage.connected();
    theirs.write_all(&bytes(100)).expect("a write");
    ours.peek(&mut [0]).expect("it has come");
    close(ours);
    Story::of([], hear(&theirs))
}

/// The same two ports again and again: the old connection is gone at both ends each time.
pub(super) fn port_reuse(stage: &Stage<'_>) -> Story {
    const TIMES: usize = 20;
    let listener = listen(&stage.topology.backend, stage.peer());
    let told = bytes(200);
    let mut story = Story::of([], (Vec::new(), Ended::Reset));
    for _ in 0..TIMES {
        let ours = stage.connect_from(stage.port + 10_000);
        let theirs = accept(&listener);
        say_and_wait(&ours, &told);
        close(ours);
        let (heard, ended) = hear(&theirs);
        assert_eq!(ended, Ended::Reset);
        story.told.extend(&told);
        story.heard.extend(heard);
    }
    story.connections = TIMES;
    story
}

/// Some of the peer's data is missing when ours closes: its FIN says so by SACK.
pub(super) fn sack(stage: &Stage<'_>) -> Story {
    let (ours, mut theirs) = stage.connected();
    let told = bytes(500);
    say_and_wait(&ours, &told);
    // 300 bytes of data behind headers of all sizes; the next 40 come.
    let words = format!("tcp sport {} meta length {{ 340, 352, 360, 372 }}", stage.port);
    let _hole = Hole::for_all(&stage.topology.proxy, &words);
    theirs.write_all(&bytes(300)).expect("a write");
    theirs.write_all(&bytes(40)).expect("a write");
    let peer = stage.peer();
    stage.wait_for_packet("SACK", |packet| packet.target == peer && packet.sack);
    close(ours);
    Story::of(told, hear(&theirs))
}

pub(super) fn forced(stage: &Stage<'_>) -> Story {
    let (ours, mut theirs) = stage.connected();
    let _hole = stage.lose_to_peer(1, DATA);
    let told = bytes(500);
    say_and_close(ours, &told);
    let peer = stage.peer();
    stage.wait_for_packet("the RST", |packet| packet.target == peer && packet.has(wire::RST));
    // It stands behind what was lost, and the peer may only doubt it (RFC 5961, 3.2): whoever
    // speaks gets a certain one.
    let spoke = theirs.write_all(b"?");
    let (heard, ended) = hear(&theirs);
    // Who speaks late learns it by that.
    let ended = if spoke.is_err() { Ended::Reset } else { ended };
    assert!(heard.is_empty(), "the only segment was lost, and nobody was left to repeat it");
    Story::of(told, (heard, ended))
}

pub(super) fn accepting(stage: &Stage<'_>) -> Story {
    let at = SocketAddr::new(stage.topology.back_addr, stage.port + 1000);
    let listener = listen(&stage.topology.proxy, at);
    let theirs = connect(&stage.topology.backend, stage.peer(), at);
    let ours = accept(&listener);
    let told = bytes(500);
    say_and_wait(&ours, &told);
    close(ours);
    Story::of(told, hear(&theirs))
}
