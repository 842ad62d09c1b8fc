//! A peer that goes on sending, as fast as it can, to who has closed already.

use crate::scene::{HALF_CLOSE, SLACK, Scene, WAIT, told};
use crate::support::packets::{ACK, FIN, Packet, RST};
use crate::support::scheduled::Scheduled;
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::Family;
use crate::support::wires::{Laid, Wire};
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

/// All else would be more than the witness can take.
const ENDS: &str = "tcp[tcpflags] & (tcp-fin | tcp-rst) != 0 or udp";

#[test]
fn a_stream_is_ended_in_time_and_exactly() {
    for wire in [Wire::Veth, Wire::Loopback] {
        let mut scene = Scene::open(Laid::new(wire, Family::V4), HALF_CLOSE);
        let topology = scene.topology();
        let (netns, at) = (topology.backend.clone(), topology.peer_interface);
        scene.capture = Tcpdump::filtered(&netns, at, topology.back_addr, ENDS);
        let before = Scheduled::of(&scene.watch.process);
        scene.half_close(true);
        let mut theirs = scene.theirs.try_clone().expect("a copy");
        let sending = std::thread::spawn(move || {
            let data = vec![0; 1 << 16];
            loop {
                if let Err(error) = theirs.write_all(&data) {
                    return error.kind();
                }
            }
        });
        let began = Instant::now();
        let mut data = vec![0; 1 << 20];
        let (mut came, mut last) = (0, began);
        let error = loop {
            match scene.ours().read(&mut data) {
                Ok(0) => panic!("the peer has not closed"),
                Ok(count) => (came, last) = (came + count, Instant::now()),
                Err(error) => break error.kind(),
            }
        };
        let kept = Scheduled::kept_since(&scene.watch.process, &before);
        assert!(
            matches!(error, ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted),
            "{error}"
        );
        let theirs = sending.join().expect("no panic");
        assert!(matches!(theirs, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{theirs}");
        assert!(came > 1 << 20 && last - began > WAIT / 2, "{came} bytes until {:?}", last - began);
        scene.wait_until_freed();
        scene.watch.wait_for_closes(1);
        let packets = scene.capture.packets();
        let ours: Vec<&Packet> =
            packets.iter().filter(|packet| packet.source.port() == scene.port).collect();
        let fin = ours.iter().find(|packet| packet.has(FIN)).expect("our FIN");
        let resets: Vec<_> = ours.iter().filter(|packet| packet.has(RST)).collect();
        // What was on its way meets no socket any more, and has a RST without ACK from the kernel itself.
        let is_exact = resets.iter().all(|packet| packet.seq == fin.end());
        assert!(is_exact && resets.first().is_some_and(|first| first.has(ACK)), "{resets:#?}");
        let waited = Duration::from_nanos(resets[0].time - fin.time);
        assert!((WAIT..=WAIT + SLACK + kept).contains(&waited), "{waited:?}, {kept:?}");
        let (_, stopped) = scene.end();
        told(&stopped, "half-close");
    }
}
