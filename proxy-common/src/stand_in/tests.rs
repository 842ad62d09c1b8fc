use super::*;
use crate::key::{Endpoint, FlowKey};
use crate::wire::{self, Link};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

fn stand_in() -> StandIn {
    StandIn {
        made_ns: SECOND,
        fin_ns: SECOND,
        next: 1001,
        expected: 5000,
        timestamp: 700,
        echo: 900,
        linger_ms: LINGER_MS,
        bits: TIMESTAMPS | ETHERNET | WAITS,
        rto_ms: 200,
        window: 502,
        fins: 1,
        local: Side::LOW,
        hop_limit: 64,
        link: [2; 12],
        ..StandIn::zeroed()
    }
}

fn segment(flags: u8, seq: u32, ack: u32, payload: u32) -> Segment {
    Segment { seq, ack, payload, flags, sender: Side::HIGH, ..Segment::zeroed() }
}

#[test]
fn an_orderly_end_settles() {
    let mut one = stand_in();
    assert_eq!(one.state(), FIN_WAIT1);
    assert_eq!(one.answer(&segment(ACK, 5000, 1001, 0), 2 * SECOND), Reply::NOTHING);
    assert_eq!((one.state(), one.settled_ns), (FIN_WAIT2, 0));
    assert_eq!(one.answer(&segment(FIN | ACK, 5000, 1001, 0), 3 * SECOND), Reply::ACK);
    assert_eq!((one.state(), one.expected, one.settled_ns), (TIME_WAIT, 5001, 3 * SECOND));
    // The acknowledgment of the FIN was lost.
    assert_eq!(one.answer(&segment(FIN | ACK, 5000, 1001, 0), 4 * SECOND), Reply::ACK);
    assert_eq!((one.expected, one.settled_ns), (5001, 4 * SECOND));
    assert_eq!(one.due(5 * SECOND, 2 * SECOND), Due::NOTHING);
    assert_eq!(one.due(6 * SECOND, 2 * SECOND), Due::FORGET);
}

#[test]
fn fins_that_cross_settle_with_the_acknowledgment() {
    let mut one = stand_in();
    assert_eq!(one.answer(&segment(FIN | ACK, 5000, 1000, 0), 2 * SECOND), Reply::ACK);
    assert_eq!((one.state(), one.settled_ns), (CLOSING, 0));
    assert_eq!(one.answer(&segment(ACK, 5001, 1001, 0), 3 * SECOND), Reply::NOTHING);
    assert_eq!(one.settled_ns, 3 * SECOND);
}

#[test]
fn data_is_acknowledged_and_thrown_away_up_to_the_cap() {
    let mut one = stand_in();
    assert_eq!(one.answer(&segment(ACK, 5000, 1001, 100), 0), Reply::ACK);
    assert_eq!((one.expected, one.taken), (5100, 100));
    // The same again, and what lies behind a gap.
    assert_eq!(one.answer(&segment(ACK, 5000, 1001, 100), 0), Reply::ACK);
    assert_eq!(one.answer(&segment(FIN | ACK, 5200, 1001, 100), 0), Reply::ACK);
    assert_eq!((one.expected, one.taken, one.has(PEER_FIN)), (5100, 100, false));
    // Half of it is new.
    assert_eq!(one.answer(&segment(FIN | ACK, 5050, 1001, 100), 0), Reply::ACK);
    assert_eq!((one.expected, one.taken, one.has(PEER_FIN)), (5151, 150, true));
    let mut one = stand_in();
    assert_eq!(one.answer(&segment(ACK, 5000, 1001, MOST_TAKEN), 0), Reply::ACK);
    assert_eq!(one.answer(&segment(ACK, one.expected, 1001, 1), 0), Reply::RESET);
}

#[test]
fn a_probe_is_answered_and_an_acknowledgment_is_not() {
    let mut one = stand_in();
    assert_eq!(one.answer(&segment(ACK, 4999, 1001, 0), 0), Reply::ACK);
    assert_eq!(one.answer(&segment(ACK, 5000, 1001, 0), 0), Reply::NOTHING);
    assert_eq!(one.answer(&segment(ACK, 5010, 1001, 0), 0), Reply::NOTHING);
}

/// Two processors had them, the FIN and the acknowledgment sent before it.
#[test]
fn an_acknowledgment_that_the_fin_has_overtaken_is_not_answered() {
    let mut one = stand_in();
    assert_eq!(one.answer(&segment(FIN | ACK, 5000, 1000, 0), 0), Reply::ACK);
    assert_eq!(one.answer(&segment(ACK, 5000, 1001, 0), 0), Reply::NOTHING);
    assert!(one.has(FIN_ACKED), "it says what it says");
    // The FIN itself is, whenever it comes.
    assert_eq!(one.answer(&segment(FIN | ACK, 5000, 1001, 0), 0), Reply::ACK);
}

/// The answer to the peer's FIN: LAST_ACK, which waits for nothing but an acknowledgment.
#[test]
fn behind_the_peers_fin_it_goes_with_the_acknowledgment() {
    let mut one = StandIn { bits: stand_in().bits | PEER_FIN | ANSWERS, ..stand_in() };
    assert_eq!(one.state(), LAST_ACK);
    assert_eq!(one.due(2 * SECOND, TIME_WAIT_NS), Due::FIN);
    assert_eq!(one.answer(&segment(ACK, 5000, 1001, 0), 3 * SECOND), Reply::NOTHING);
    assert_eq!(one.due(3 * SECOND, TIME_WAIT_NS), Due::FORGET);
}

#[test]
fn only_a_rst_where_one_is_due_ends_it() {
    let mut one = stand_in();
    for (seq, reply) in
        [(5000, Reply::ASIDE), (5001, Reply::CHALLENGE), (4999, Reply::IGNORE), (0, Reply::IGNORE)]
    {
        assert_eq!(one.answer(&segment(RST, seq, 0, 0), 0), reply, "{seq}");
    }
}

#[test]
fn it_steps_aside_for_a_syn_and_believes_no_acknowledgment_of_what_was_never_sent() {
    let mut one = stand_in();
    assert_eq!(one.answer(&segment(SYN, 77, 0, 0), 0), Reply::ASIDE);
    assert_eq!(one.answer(&segment(SYN | ACK, 77, 1001, 0), 0), Reply::IGNORE);
    assert_eq!(one.answer(&segment(ACK, 5000, 1002, 0), 0), Reply::CHALLENGE);
    assert_eq!(one.answer(&segment(0, 5000, 0, 10), 0), Reply::IGNORE);
    assert_eq!((one.bits, one.expected), (stand_in().bits, 5000));
}

#[test]
fn the_fin_is_sent_again_ever_later_and_then_given_up() {
    let mut one = stand_in();
    let mut at = one.made_ns;
    for times in 1..MOST_FINS {
        let wait = 200_000_000 << (times - 1);
        assert_eq!(one.due(at + wait - 1, TIME_WAIT_NS), Due::NOTHING, "{times}");
        assert_eq!(one.due(at + wait, TIME_WAIT_NS), Due::FIN, "{times}");
        at += wait;
        one.sent_fin(at);
    }
    assert_eq!(one.due(at + (200_000_000 << 7), TIME_WAIT_NS), Due::RESET);
    assert!(at - one.made_ns < u64::from(LINGER_MS) * 1_000_000);
}

#[test]
fn a_peer_that_never_closes_is_reset() {
    let mut one = stand_in();
    assert_eq!(one.answer(&segment(ACK, 5000, 1001, 0), 2 * SECOND), Reply::NOTHING);
    assert_eq!(one.due(60 * SECOND, TIME_WAIT_NS), Due::NOTHING);
    assert_eq!(one.due(61 * SECOND, TIME_WAIT_NS), Due::RESET);
}

#[test]
fn the_newest_timestamp_in_order_is_echoed() {
    let mut one = stand_in();
    for (seq, timestamp, echo) in [(5000, 901, 901), (5000, 890, 901), (5001, 950, 901)] {
        let segment = Segment { timestamp, marks: HAS_TIMESTAMP, ..segment(ACK, seq, 1000, 0) };
        let _ = one.answer(&segment, 0);
        assert_eq!(one.echo, echo);
    }
    assert_eq!(one.timestamp_at(SECOND + 5_999_999), 705);
}

/// The one's complement sum of bytes in network order, as RFC 1071 has it.
fn plain_sum(bytes: &[u8]) -> u32 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

proptest! {
    #[test]
    fn what_is_written_reads_back_with_right_checksums(
        ends in any::<([u8; 16], [u8; 16], u16, u16, bool)>(),
        numbers in any::<(u32, u32, u32, u32, u16)>(),
        flags in prop::sample::select(vec![ACK, FIN | ACK, RST | ACK]),
        timestamps: bool,
    ) {
        let (a, b, port_a, port_b, is_ipv6) = ends;
        prop_assume!(!Endpoint::v6(a, 0).is_ipv4() && !Endpoint::v6(b, 0).is_ipv4());
        let (ours, theirs) = if is_ipv6 {
            (Endpoint::v6(a, port_a), Endpoint::v6(b, port_b))
        } else {
            (Endpoint::v4([a[0], a[1], a[2], a[3]], port_a), Endpoint::v4([b[0], b[1], b[2], b[3]], port_b))
        };
        let (key, local) = FlowKey::new(ours, theirs);
        let (next, expected, timestamp, echo, window) = numbers;
        let one = StandIn {
            next, expected, timestamp, echo, window, local,
            bits: if timestamps { TIMESTAMPS } else { 0 },
            ..stand_in()
        };
        let header = Header { stand_in: &one, key: &key };
        let (frame, len) = header.frame(flags, one.made_ns + 3_000_000);
        let bytes = &frame[..len];
        let mut read = wire::parse_slice(bytes, Link::Ethernet, bytes.len() as u32, 0).unwrap();
        let view = wire::Frame { bytes, frame_len: bytes.len() as u32 };
        prop_assert_eq!(wire::timestamps(&view, &mut read).is_some(), timestamps);
        let segment = read.segment;
        prop_assert_eq!(read.key, key);
        prop_assert_eq!((segment.sender, segment.flags, segment.payload), (local, flags, 0));
        prop_assert_eq!((segment.seq, segment.ack), (one.seq_of(flags), expected));
        prop_assert_eq!(segment.window, window);
        if timestamps {
            prop_assert_eq!((segment.timestamp, segment.timestamp_echo), (timestamp.wrapping_add(3), echo));
        }
        let tcp = &bytes[usize::from(read.tcp_offset)..];
        let mut pseudo: Vec<u8> = if is_ipv6 {
            bytes[22..54].to_vec()
        } else {
            prop_assert_eq!(plain_sum(&bytes[14..34]), 0xffff);
            bytes[26..34].to_vec()
        };
        pseudo.extend([0, 6]);
        pseudo.extend((tcp.len() as u16).to_be_bytes());
        pseudo.extend(tcp);
        prop_assert_eq!(plain_sum(&pseudo), 0xffff);
    }

    /// Whatever a peer sends, the stand-in takes no step back, and never acknowledges more than
    /// the cap.
    #[test]
    fn no_peer_moves_it_back(segments in prop::collection::vec(any::<(u8, u16, u8, u16, bool)>(), 1..60)) {
        let mut one = StandIn { expected: u32::MAX - 20_000, next: 5, ..stand_in() };
        let first = one.expected;
        for (flags, seq, ack, payload, near) in segments {
            let base = if near { one.expected } else { first };
            let before = one;
            let segment = segment(flags, base.wrapping_add(u32::from(seq) % 3000).wrapping_sub(1000),
                4u32.wrapping_add(u32::from(ack % 3)), u32::from(payload));
            let reply = one.answer(&segment, 9);
            prop_assert!(!crate::seq::before(one.expected, before.expected));
            prop_assert!(one.bits & before.bits & (FIN_ACKED | PEER_FIN | TIMESTAMPS) == before.bits & (FIN_ACKED | PEER_FIN | TIMESTAMPS));
            prop_assert_eq!((one.next, one.fins, one.local), (before.next, before.fins, before.local));
            prop_assert!(one.expected.wrapping_sub(first) <= MOST_TAKEN + 1 || reply == Reply::RESET);
            if matches!(reply, Reply::IGNORE | Reply::ASIDE | Reply::CHALLENGE) {
                prop_assert_eq!(one, before);
            }
            if before.has(PEER_FIN) {
                prop_assert_eq!(one.expected, before.expected);
            }
            if matches!(reply, Reply::ASIDE | Reply::RESET) {
                break;
            }
        }
    }
}
