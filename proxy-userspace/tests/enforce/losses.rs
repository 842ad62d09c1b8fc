//! Packets lost at random, at both ends: no byte is missed, and no socket stays.

use crate::stage::{accept, bytes, connect, listen};
use crate::support::enforcer::Enforcer;
use crate::support::process::undivided;
use crate::support::ss;
use crate::support::topology::{Family, Topology};
use crate::support::until::{until, until_empty};
use crate::support::weather::Hole;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

const PORT: u16 = 9100;
/// Connections in each kind of weather; they are closed in turns by either end first.
const CONNECTIONS: usize = 60;
/// How long a peer that has heard all waits for the end before it speaks again.
const SILENCE: Duration = Duration::from_millis(300);

#[test]
fn lost_data() {
    lossy(Family::V4, "meta length > 112 numgen random mod 4 == 0");
}

#[test]
fn lost_acknowledgments() {
    lossy(Family::V6, "tcp flags & (syn|fin|rst) == 0 meta length <= 112 numgen random mod 4 == 0");
}

#[test]
fn lost_fins() {
    lossy(Family::V4, "tcp flags & fin == fin numgen random mod 4 == 0");
}

/// Of those that are made for the local stack some are lost too.
#[test]
fn lost_rsts() {
    lossy(Family::V6, "tcp flags & rst == rst numgen random mod 4 == 0");
}

#[test]
fn five_of_a_hundred_of_everything() {
    lossy(Family::V4, "meta l4proto tcp numgen random mod 20 == 0");
}

fn lossy(family: Family, matching: &str) {
    let topology = Topology::veth(family);
    let peer = topology.backend_addr;
    let enforcer = Enforcer::start(&topology.proxy, &[]);
    enforcer.set(peer, "active rst passive rst");
    for netns in [&topology.proxy, &topology.backend] {
        // Whose peer's RST is lost waits in FIN-WAIT-2: not for a minute here.
        netns.set("ipv4/tcp_fin_timeout", "2");
    }
    let holes = [&topology.proxy, &topology.backend].map(|netns| Hole::for_all(netns, matching));
    let numbers = Mutex::new(0..CONNECTIONS);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                loop {
                    let next = numbers.lock().expect("the numbers").next();
                    let Some(number) = next else { break };
                    close_one(&topology, number);
                }
            });
        }
    });
    for netns in [&topology.proxy, &topology.backend] {
        until_empty("sockets", || {
            let all = ss::sockets(netns).into_iter();
            all.filter(|s| s.state != "LISTEN").map(|s| format!("{s:?}")).collect()
        });
    }
    drop(holes);
    let counts = enforcer.counts(peer);
    assert_eq!(counts.of("matched"), CONNECTIONS as u64, "{counts:?}");
    until("a record of each", || (enforcer.closes().len() >= CONNECTIONS).then_some(()));
    assert_eq!(enforcer.closes().len(), CONNECTIONS);
    assert_eq!(counts.of("failed"), 0, "{counts:?}");
    // A peer that spoke to a closed socket whose FIN still waited got the stack's own RST.
    assert!(counts.of("fin to rst") > CONNECTIONS as u64 * 9 / 10, "{counts:?}");
}

/// One connection, to a port of its own.
fn close_one(topology: &Topology, number: usize) {
    let peer = SocketAddr::new(topology.backend_addr, PORT + number as u16);
    let listener = listen(&topology.backend, peer);
    let mut ours = connect(&topology.proxy, SocketAddr::new(topology.back_addr, 0), peer);
    // Repeated until it comes, it opens the connection where the handshake's last ACK is lost.
    ours.write_all(b"!").expect("a write");
    let mut theirs = accept(&listener);
    theirs.read_exact(&mut [0]).expect("the first byte");
    let told = bytes(3_000 + number);
    let theirs_first = number % 2 == 1;
    if theirs_first {
        theirs.shutdown(Shutdown::Write).expect("their FIN");
        assert_eq!(ours.read(&mut [0]).expect("its end"), 0);
    }
    undivided(|| {
        ours.write_all(&told).expect("a write");
        drop(ours);
    });
    assert!(hear(theirs, told.len()) == told, "{number}: what came is not what was written");
}

/// Reads to the end. A peer that has heard all and then nothing speaks, as applications do by and
/// by: if ours is gone and its RST was lost, the host says so.
fn hear(mut theirs: TcpStream, all: usize) -> Vec<u8> {
    theirs.set_read_timeout(Some(SILENCE)).expect("a timeout");
    let (mut heard, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match theirs.read(&mut chunk) {
            Ok(0) => return heard,
            Ok(length) => heard.extend_from_slice(&chunk[..length]),
            Err(error) if crate::support::servers::is_timeout(&error) => {
                if heard.len() >= all && theirs.write_all(b"?").is_err() {
                    return heard;
                }
            }
            Err(_) => return heard,
        }
    }
}
