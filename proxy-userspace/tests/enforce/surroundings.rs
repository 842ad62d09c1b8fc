//! Every case over veth and loopback, IPv4 and IPv6, with and without timestamps and offloads, by
//! tc and by XDP.

use crate::cases::{CASES, Case};
use crate::stage::{Stage, Story};
use crate::support::enforcer::Enforcer;
use crate::support::packets::{ACK, FIN, Packet, RST, SYN};
use crate::support::reading::{Connection, End, Sign, connections};
use crate::support::ss;
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::Family;
use crate::support::until::until_empty;
use crate::support::weather::{offloads, timestamps};
use crate::support::wires::{Laid, Wire};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// TCP_RTO_MIN, in nanoseconds: what waits for a timer of TCP's waits longer.
const LEAST_TIMER: u64 = 200_000_000;

/// Where the cases are played.
#[derive(Clone, Copy, Debug)]
struct Surroundings {
    family: Family,
    wire: Wire,
    timestamps: bool,
    offloads: bool,
    ingress: &'static str,
    hook: &'static str,
}

const USUAL: Surroundings = Surroundings {
    family: Family::V4,
    wire: Wire::Veth,
    timestamps: true,
    offloads: true,
    ingress: "tc",
    hook: "best",
};

#[test]
fn over_veth() {
    play(USUAL);
    play(Surroundings { family: Family::V6, ..USUAL });
}

#[test]
fn over_veth_without_offloads() {
    play(Surroundings { offloads: false, ..USUAL });
    play(Surroundings { offloads: false, family: Family::V6, ..USUAL });
}

#[test]
fn over_veth_without_timestamps() {
    play(Surroundings { timestamps: false, ..USUAL });
    play(Surroundings { timestamps: false, family: Family::V6, ..USUAL });
}

#[test]
fn over_veth_without_offloads_and_timestamps() {
    play(Surroundings { timestamps: false, offloads: false, ..USUAL });
    play(Surroundings { timestamps: false, offloads: false, family: Family::V6, ..USUAL });
}

#[test]
fn over_loopback() {
    play(Surroundings { wire: Wire::Loopback, ..USUAL });
    play(Surroundings { wire: Wire::Loopback, family: Family::V6, ..USUAL });
}

#[test]
fn over_loopback_without_timestamps() {
    play(Surroundings { wire: Wire::Loopback, timestamps: false, ..USUAL });
    play(Surroundings { wire: Wire::Loopback, timestamps: false, family: Family::V6, ..USUAL });
}

#[test]
fn beside_xdp() {
    play(Surroundings { ingress: "xdp", ..USUAL });
    play(Surroundings { ingress: "xdp", family: Family::V6, ..USUAL });
    play(Surroundings { ingress: "xdp", offloads: false, timestamps: false, ..USUAL });
    play(Surroundings { ingress: "xdp", wire: Wire::Loopback, ..USUAL });
    play(Surroundings { ingress: "xdp", wire: Wire::Loopback, family: Family::V6, ..USUAL });
}

/// As before Linux 6.6.
#[test]
fn hung_on_clsact() {
    play(Surroundings { hook: "clsact", ..USUAL });
    play(Surroundings { hook: "clsact", wire: Wire::Loopback, family: Family::V6, ..USUAL });
}

#[test]
fn over_a_tagged_network() {
    play(Surroundings { wire: Wire::Tagged, ..USUAL });
    play(Surroundings { wire: Wire::Tagged, family: Family::V6, ..USUAL });
}

/// Rules see each segment twice: on the VLAN's device, and below it with the tag.
#[test]
fn over_a_vlan() {
    play(Surroundings { wire: Wire::Vlan, ..USUAL });
    play(Surroundings { wire: Wire::Vlan, family: Family::V6, ..USUAL });
}

#[test]
fn over_tun() {
    play(Surroundings { wire: Wire::Tun, ..USUAL });
    play(Surroundings { wire: Wire::Tun, family: Family::V6, ..USUAL });
}

/// Much data, again and again: whatever is on its way as ours closes, its acknowledgment is
/// answered at once.
#[test]
fn much_data_over_veth_without_offloads() {
    let much = CASES.iter().find(|case| case.name.starts_with("1 MiB")).expect("the case");
    for family in [Family::V4, Family::V6] {
        play_these(Surroundings { offloads: false, family, ..USUAL }, &[much; 25]);
    }
}

/// Plays every case at once.
fn play(at: Surroundings) {
    play_these(at, &CASES.iter().collect::<Vec<_>>());
}

/// Plays these cases at once, each on a port of its own, and asks the witnesses afterwards.
fn play_these(at: Surroundings, cases: &[&'static Case]) {
    let laid = Laid::new(at.wire, at.family);
    let topology = &laid.topology;
    for netns in [&topology.proxy, &topology.backend] {
        timestamps(netns, at.timestamps);
    }
    if at.wire == Wire::Veth {
        offloads(&topology.backend, "eth0", at.offloads);
        offloads(&topology.proxy, "back", at.offloads);
    }
    let enforcer = Enforcer::start(&topology.proxy, &["--ingress", at.ingress, "--hook", at.hook]);
    let _tags = laid.tags();
    let capture = Tcpdump::start(&topology.backend, topology.peer_interface, topology.back_addr);
    let stages: Vec<(&Case, Stage<'_>)> = (9100..)
        .zip(cases)
        .map(|(port, &case)| {
            (case, Stage { topology, enforcer: &enforcer, capture: &capture, port })
        })
        .collect();
    for (case, stage) in stages.iter().filter(|(case, _)| !case.rule.is_empty()) {
        enforcer.set(stage.peer(), case.rule);
    }
    let stories: Vec<Story> = std::thread::scope(|scope| {
        let playing: Vec<_> = stages
            .iter()
            .map(|(case, stage)| {
                let thread = std::thread::Builder::new().name(case.name.to_owned());
                thread.spawn_scoped(scope, || (case.play)(stage)).expect("a thread")
            })
            .collect();
        let ended = playing.into_iter().zip(&stages).map(|(thread, (case, _))| {
            thread.join().unwrap_or_else(|_| panic!("{}, {at:?}: see above", case.name))
        });
        ended.collect()
    });
    let left: Vec<bool> = stages
        .iter()
        .map(|(case, stage)| catch_unwind(AssertUnwindSafe(|| ask_sockets(case, stage))).is_err())
        .collect();
    capture.flush();
    let known = connections(&capture.packets());
    let all_asked = stages.iter().zip(&stories).zip(left).map(|(((case, stage), story), left)| {
        let of_case = |known: &&Connection| [known.orig, known.resp].contains(&stage.peer());
        let mut known: Vec<Connection> = known.iter().filter(of_case).cloned().collect();
        if at.wire == Wire::Loopback {
            known.iter_mut().for_each(|known| leave_out_local_resets(known, stage.peer()));
        }
        let name = format!("{}, {at:?}", case.name);
        // One failed case hides none of the others.
        let asked = catch_unwind(AssertUnwindSafe(|| {
            ask_applications(case, stage, story, &name);
            assert_eq!(known.len(), story.connections, "{name}");
            assert!(!left, "{name}: sockets were left\n{}", known[0]);
            for known in &known {
                ask_wire(case, stage, story, known, at, &name);
            }
            ask_records(case, stage, &known, &name);
        }));
        asked.err().map(|_| name)
    });
    let failed: Vec<String> = all_asked.flatten().collect();
    assert!(failed.is_empty(), "see above: {failed:#?}, {}", capture.keep("enforce"));
}

fn ask_applications(case: &Case, stage: &Stage<'_>, story: &Story, name: &str) {
    assert_eq!(story.ended, case.ended, "{name}: {:?}", stage.counts());
    let lengths = (story.heard.len(), story.told.len());
    assert!(case.may_lose || story.heard == story.told, "{name}: {lengths:?}");
}

/// After a RST no end has a socket any more, not even one in TIME_WAIT.
fn ask_sockets(case: &Case, stage: &Stage<'_>) {
    let end = format!(":{}", stage.port);
    let reset = case.leaves.contains(&Sign::RstAck);
    for netns in [&stage.topology.proxy, &stage.topology.backend] {
        until_empty(&format!("{}: sockets", case.name), || {
            let all = if reset { ss::sockets(netns) } else { ss::alive(netns) };
            let ours = all.into_iter().filter(|socket| socket.state != "LISTEN");
            ours.map(|socket| format!("{socket:?}")).filter(|text| text.contains(&end)).collect()
        });
    }
}

fn ask_wire(
    case: &Case,
    stage: &Stage<'_>,
    story: &Story,
    known: &Connection,
    at: Surroundings,
    name: &str,
) {
    let ours = if known.orig == stage.peer() { End::Resp } else { End::Orig };
    let signs = known.signs();
    let answers = case.leaves.contains(&Sign::Rst);
    let of_ours = signs
        .iter()
        .filter(|(by, _, packet)| *by == ours && (answers || !is_overtaken(known, packet)));
    let mut leave: Vec<Sign> = of_ours.map(|(_, sign, _)| *sign).collect();
    if answers {
        // The stack answers every segment that finds no socket, be it one or two.
        leave.dedup_by(|a, b| *a == Sign::Rst && a == b);
    }
    assert_eq!(leave, case.leaves, "{name}\n{known}");
    let of = |end: End| known.packets.iter().filter(move |(by, _)| *by == end).map(|(_, p)| p);
    let ordered = |a: &u32, b: &u32| (a.wrapping_sub(*b) as i32).cmp(&0);
    // The end of our data; a FIN that went before stands at the same number.
    let data = of(ours).filter(|packet| packet.payload > 0 || packet.has(SYN));
    let end = data.map(|p| p.end().wrapping_sub(u32::from(p.has(FIN)))).max_by(ordered);
    let acks = of(ours).filter(|packet| packet.has(ACK) && !packet.has(RST));
    let last_ack = acks.map(|packet| packet.ack).max_by(ordered).expect("an ACK");
    let highest = of(ours.other()).map(Packet::end).max_by(ordered).expect("a packet");
    let acked = of(ours.other()).filter(|packet| packet.has(ACK)).map(|packet| packet.ack);
    let all_acked = ordered(&acked.max_by(ordered).expect("an ACK"), &end.expect("a SYN")).is_ge();
    assert!(case.may_lose || all_acked, "{name}\n{known}");
    if case.at_once {
        let last = known.packets.iter().rfind(|(by, p)| *by != ours && !p.has(RST));
        let reset = of(ours).find(|packet| packet.has(RST)).expect("a RST");
        let since = last.expect("an ACK").1.time.max(story.closed);
        let waited = reset.time.saturating_sub(since);
        assert!(waited < LEAST_TIMER, "{name}: {waited} ns\n{known}");
    }
    for reset in of(ours).filter(|packet| packet.has(RST) && packet.has(ACK)) {
        assert_eq!(Some(reset.seq), end, "{name}\n{known}");
        assert!(ordered(&reset.ack, &last_ack).is_ge(), "{name}\n{known}");
        assert!(ordered(&reset.ack, &highest).is_le(), "{name}\n{known}");
        assert_eq!((reset.payload, reset.sack), (0, false), "{name}\n{known}");
        // The kernel's own RST has timestamps or not, as it likes.
        assert!(reset.timestamps == at.timestamps || case.counts[1].1 == 0, "{name}\n{known}");
        if reset.timestamps {
            // TSval is one that ours sent, or a later one; TSecr is one that the peer sent (RFC
            // 7323, 3.2).
            let mut old = of(ours).filter(|packet| !packet.has(RST)).map(|packet| packet.stamps[0]);
            let value = reset.stamps[0];
            let follows = old.any(|old| value.wrapping_sub(old) < 60_000);
            assert!(follows, "{name}: {:?}\n{known}", reset.stamps);
            let sent = of(ours.other()).any(|packet| packet.stamps[0] == reset.stamps[1]);
            assert!(sent, "{name}: {:?}\n{known}", reset.stamps);
        }
    }
}

/// Whether this is the host's answer to an acknowledgment that was sent before the connection ended,
/// and was overtaken on its way to the socket by the one that ended it: each processor has a queue.
fn is_overtaken(known: &Connection, answer: &Packet) -> bool {
    let ended = known.packets.iter().position(|(_, packet)| packet.has(RST) && packet.has(ACK));
    let before = &known.packets[..ended.unwrap_or(0)];
    let answers = |packet: &Packet| packet.source == answer.target && packet.ack == answer.seq;
    !answer.has(ACK) && before.iter().any(|(_, packet)| answers(packet))
}

/// On loopback the witness sees the copy that was made for the local stack too: it is no segment
/// of the peer's.
fn leave_out_local_resets(known: &mut Connection, peer: SocketAddr) {
    let ours: Vec<(u32, u32)> = known
        .packets
        .iter()
        .filter(|(_, packet)| packet.has(RST) && packet.source != peer)
        .map(|(_, packet)| (packet.seq, packet.ack))
        .collect();
    known.packets.retain(|(_, packet)| {
        !(packet.has(RST) && packet.source == peer && ours.contains(&(packet.ack, packet.seq)))
    });
}

/// The rule's counters add up, and each connection has one record, which says what was changed and
/// is otherwise what the wire shows.
fn ask_records(case: &Case, stage: &Stage<'_>, known: &[Connection], name: &str) {
    let counts = stage.counts();
    for (word, each) in case.counts {
        assert_eq!(counts.of(word), each * known.len() as u64, "{word}, {name}: {counts:?}");
    }
    let closes = stage.enforcer.wait_for_closes(stage.port, known.len());
    assert_eq!(closes.len(), known.len(), "{name}: {closes:#?}");
    let changed = counts.of("fin to rst") > 0;
    for (close, known) in closes.iter().zip(known) {
        let said = (&close["actor"], &close["asked"], &close["sent"]);
        if changed {
            assert_eq!(said, (&"rule".into(), &"fin".into(), &"rst_ack".into()), "{name}: {close}");
            assert_eq!(close["rule"].as_str(), Some(&*stage.peer().to_string()), "{name}");
            // What the peer has acknowledged is not told as lost; on loopback it loses its own too.
            let lost = close["unacked_bytes"].as_u64().unwrap_or(0);
            let may_lose = case.may_lose || stage.topology.is_loopback();
            assert!(may_lose || lost == 0, "{name}: {close}");
        } else {
            assert!(close["actor"].is_null(), "{name}: {close}");
        }
        let state = close["conn_state"].as_str().expect("a state");
        let others = || known.other_readings().iter().any(|known| known.conn_state() == state);
        assert!(known.conn_state() == state || others(), "{name}: {close}\n{known}");
    }
}
