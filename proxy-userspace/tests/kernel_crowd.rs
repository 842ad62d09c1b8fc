//! Thousands of connections become half closed at about the same time, and none of them stays so
//! for longer than one alone would. By itself, as it needs nearly all descriptors that a process
//! may have.

mod support;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use support::descriptors::descriptors_for;
use support::enforcer::Enforcer;
use support::packets::{FIN, Packet, RST};
use support::process::undivided;
use support::scheduled::Scheduled;
use support::ss;
use support::tcpdump::Tcpdump;
use support::topology::{Family, Topology};
use support::until::{PATIENCE, until, until_empty};

const PORT: u16 = 9100;
/// Both ends are here, and a process may have 20,000 descriptors.
const ALL: usize = 9_750;
/// What the rule says.
const DEADLINE: Duration = Duration::from_secs(2);

#[test]
fn a_crowd_is_ended_in_time() {
    crowd(&Topology::veth(Family::V6), &HALF_CLOSE);
    // The kernel does not believe a RST for an orphan there: each is forgotten by netlink.
    crowd(&Topology::loopback(Family::V4), &HALF_CLOSE);
    crowd(&Topology::veth(Family::V4), &CLOSE_WAIT);
    crowd(&Topology::loopback(Family::V6), &CLOSE_WAIT);
}

/// Which end closes, and what becomes of the other.
struct Way {
    rule: &'static str,
    counted: &'static str,
    peer_closes: bool,
    /// What the peer's socket says of the RST.
    error: i32,
    /// What may be added to the rule's two seconds.
    slack: Duration,
}

const HALF_CLOSE: Way = Way {
    rule: "half-close 2s",
    counted: "half close over",
    peer_closes: false,
    error: libc::EPIPE,
    slack: Duration::from_millis(400),
};

/// The kernel is asked to abort one after the other: 60 to 90 us of the daemon's own time for each.
const CLOSE_WAIT: Way = Way {
    rule: "close-wait 2s",
    counted: "close wait over",
    peer_closes: true,
    error: libc::ECONNRESET,
    slack: Duration::from_millis(1_500),
};

fn crowd(topology: &Topology, way: &Way) {
    descriptors_for(20_000);
    let enforcer = Enforcer::start(&topology.proxy, &[]);
    let peer = SocketAddr::new(topology.backend_addr, PORT);
    enforcer.set(peer, way.rule);
    // The control segments alone: the witness keeps up.
    let control = "tcp[13] & 7 != 0 or (ip6 proto 6 and ip6[53] & 7 != 0) or udp port 9";
    let (interface, toward) = (topology.peer_interface, topology.back_addr);
    let capture = Tcpdump::filtered(&topology.backend, interface, toward, control);
    let listener = topology.backend.run(|| TcpListener::bind(peer)).expect("a port");
    let connected = || {
        let ours = TcpStream::connect(peer).expect("it listens");
        (ours, listener.accept().expect("a connection").0)
    };
    let (ours, theirs): (Vec<TcpStream>, Vec<TcpStream>) =
        topology.proxy.run(|| (0..ALL).map(|_| connected()).unzip());
    let began = Instant::now();
    let ours = undivided(|| {
        if way.peer_closes {
            theirs.iter().for_each(|one| one.shutdown(Shutdown::Write).expect("it is open"));
            return ours;
        }
        drop(ours);
        Vec::new()
    });
    std::thread::sleep((DEADLINE - DEADLINE / 100).saturating_sub(began.elapsed()));
    let before = Scheduled::of(&enforcer.process);
    // Without ss, whose lists of so many would keep the daemon from its work.
    theirs.iter().for_each(wait_for_reset);
    let after = Scheduled::of(&enforcer.process);
    drop(ours);
    for netns in [&topology.proxy, &topology.backend] {
        until_empty("sockets", || {
            let all = ss::sockets(netns).into_iter().filter(|socket| socket.state != "LISTEN");
            all.map(|socket| format!("{socket:?}")).collect()
        });
    }
    capture.flush();
    let packets = capture.packets();
    let waited = waited(&packets, peer);
    assert_eq!(waited.len(), ALL);
    let closes = |p: &&Packet| p.has(FIN) && (p.source == peer) == way.peer_closes;
    let fins: Vec<&Packet> = packets.iter().filter(closes).collect();
    let crowded = Duration::from_nanos(fins[fins.len() - 1].time - fins[0].time);
    let kept = after.kept.saturating_sub(before.kept);
    println!(
        "{} FINs within {crowded:?}; RSTs after {:?} (first), {:?} (half), {:?} (99 %), {:?} \
         (last); the daemon ran {:?} and was kept from it {kept:?}",
        fins.len(),
        waited[0],
        waited[ALL / 2],
        waited[ALL / 100 * 99],
        waited[ALL - 1],
        after.ran - before.ran,
    );
    assert!(crowded < DEADLINE, "no crowd: {crowded:?}");
    assert!(waited[0] >= DEADLINE - DEADLINE / 10, "{:?}", waited[0]);
    assert!(waited[ALL - 1] <= DEADLINE + way.slack + kept, "{:?}, {kept:?}", waited[ALL - 1]);
    for theirs in theirs {
        let error = theirs.take_error().expect("an option").expect("the RST came");
        assert_eq!(error.raw_os_error(), Some(way.error));
    }
    let counts = enforcer.counts(peer);
    for (word, wanted) in [("matched", ALL), (way.counted, ALL), ("failed", 0)] {
        assert_eq!(counts.of(word), wanted as u64, "{word}: {counts:?}");
    }
    until("a record of each", || (enforcer.closes().len() >= ALL).then_some(()));
    assert_eq!(enforcer.closes().len(), ALL);
}

/// Waits until the connection is no more: that it is half closed already is no event.
fn wait_for_reset(theirs: &TcpStream) {
    let patience = Timespec::try_from(PATIENCE).expect("a time");
    let mut asked = [PollFd::new(theirs, PollFlags::empty())];
    let ended = poll(&mut asked, Some(&patience)).expect("poll");
    assert_eq!(ended, 1, "waited {PATIENCE:?} in vain for a RST");
}

/// From the FIN of each connection to the RST, the shortest first.
fn waited(packets: &[Packet], peer: SocketAddr) -> Vec<Duration> {
    let mut fins = HashMap::new();
    let mut waited = HashMap::new();
    for packet in packets {
        let ours = if packet.source == peer { packet.target } else { packet.source };
        if packet.has(RST) && packet.target == peer {
            let fin = fins.get(&ours).expect("a RST behind a FIN");
            waited.entry(ours).or_insert(Duration::from_nanos(packet.time - fin));
        } else if packet.has(FIN) {
            fins.entry(ours).or_insert(packet.time);
        }
    }
    let mut waited: Vec<Duration> = waited.into_values().collect();
    waited.sort_unstable();
    waited
}
