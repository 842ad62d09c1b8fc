//! What holds for every connection, and for every input that is none.

mod script;

use proptest::prelude::*;
use proxy_common::flow::{
    CLOSED, Flow, HISTORY_LEN, Input, Mode, Outcome, begins_anew, expired, first_closer, stale,
    step,
};
use proxy_common::key::{Endpoint, FlowKey, Side};
use proxy_common::segment::{RST, SYN, Segment};
use proxy_common::socket::SocketEvent;
use proxy_common::verdict::{self, Close};
use script::{Event, STEP_NS, Script, script};

fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::SPARSE), Just(Mode::FULL), Just(Mode::OFFLINE)]
}

/// A number that is near another, near zero, or anywhere.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![0..300u32, 1_000..1_100u32, (u32::MAX - 300)..=u32::MAX, any::<u32>()]
}

prop_compose! {
    fn any_segment()(
        numbers in (number(), number(), prop_oneof![Just(0), 1..2_000u32, any::<u32>()]),
        flags in prop_oneof![Just(0x10u8), Just(0x18), Just(0x11), Just(0x02), Just(0x12),
            Just(0x04), Just(0x14), any::<u8>()],
        window in prop_oneof![Just(0u16), any::<u16>()],
        rest in (any::<u8>(), 0..2u8, 0..16u8, 0..3u32),
    ) -> Segment {
        let mut segment: Segment = bytemuck::Zeroable::zeroed();
        (segment.seq, segment.ack, segment.payload) = numbers;
        segment.flags = flags;
        segment.window = window;
        segment.window_scale = rest.0;
        segment.sender = Side(rest.1);
        segment.marks = if rest.2 < 12 { 0 } else { rest.2 };
        segment.vantage = rest.3;
        segment
    }
}

prop_compose! {
    fn any_socket_event()(
        states in (0..13u8, 0..13u8),
        err in prop_oneof![Just(0u16), Just(104), Just(110), Just(32), any::<u16>()],
        known in prop_oneof![Just(3u16), any::<u16>()],
        counts in any::<(u64, u64, u32)>(),
        side in 0..2u8,
    ) -> SocketEvent {
        let mut event: SocketEvent = bytemuck::Zeroable::zeroed();
        (event.old_state, event.new_state) = states;
        (event.err, event.known, event.side) = (err, known, Side(side));
        (event.bytes_sent, event.bytes_received, event.unread) = counts;
        event
    }
}

fn any_events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let event = prop_oneof![
        4 => any_segment().prop_map(Event::Segment),
        1 => any_socket_event().prop_map(Event::Socket),
    ];
    let time = prop_oneof![Just(0u64), 0..STEP_NS, 0..400_000 * STEP_NS];
    proptest::collection::vec((time, event), 0..60).prop_map(|events| {
        let mut now = 0;
        events
            .into_iter()
            .map(|(after, event)| {
                now += after;
                (now, event)
            })
            .collect()
    })
}

fn any_script() -> impl Strategy<Value = Script> {
    (any_events(), prop_oneof![Just(80u16), Just(40_000)], prop_oneof![Just(443u16), Just(50_000)])
        .prop_map(|(events, low, high)| {
            let low = Endpoint::v4([10, 0, 0, 1], low);
            let (key, orig) = FlowKey::new(low, Endpoint::v4([10, 0, 0, 2], high));
            Script { key, orig, events }
        })
}

/// A connection that keeps to the rules: handshake, data both ways, and one of many closes.
fn well_formed() -> impl Strategy<Value = String> {
    let exchange = prop_oneof![
        (1..3_000u32).prop_map(|n| format!(" >D{n} <A")),
        (1..3_000u32).prop_map(|n| format!(" <D{n} >A")),
        (1..3_000u32, 1..3_000u32).prop_map(|(a, b)| format!(" >D{a} <D{b} >A")),
    ];
    let close = prop_oneof![
        Just(" >F <A <F >A"),
        Just(" <F >A >F <A"),
        Just(" >F <F >A"),
        Just(" <F >F <A"),
        Just(" >F50 <A <F70 >A"),
        Just(" <F50 >RA"),
        Just(" >F <RA"),
        Just(" >F <A 20ms >RA"),
        Just(" >RA"),
        Just(" <RA"),
    ];
    (proptest::collection::vec(exchange, 0..6), close)
        .prop_map(|(exchanges, close)| format!(">S <SA >A{}{close}", exchanges.concat()))
}

/// A SYN, and what may go before it where the peer still has an earlier connection.
fn opening() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        3 => Just(">S"),
        1 => Just(">S <A >R+7000 1s >S*"),
        1 => Just(">S <A >R-7000 1s >S*"),
    ]
}

/// The last connection's close.
fn close_of(script: &Script, mode: Mode) -> Close {
    *script.play(mode).closes.last().expect("a connection")
}

/// Which end closed first, whatever its role.
fn first_side(script: &Script, mode: Mode) -> Option<Side> {
    first_closer(script.play(mode).flows.last().expect("a flow"))
}

/// The same things, seen in another order: each up to `window` places late. The handshake stays.
fn reordered(script: &Script, delays: &[usize]) -> Script {
    let mut order: Vec<(usize, usize)> = script
        .events
        .iter()
        .enumerate()
        .map(|(at, _)| {
            let delay = if at < 3 { 0 } else { delays.get(at).copied().unwrap_or(0) };
            (at + delay, at)
        })
        .collect();
    order.sort();
    let times = script.events.iter().map(|(now, _)| *now);
    let events = times.zip(order).map(|(now, (_, at))| (now, script.events[at].1)).collect();
    Script { events, ..script.clone() }
}

/// Some segments seen again, up to `delay` places later.
fn duplicated(script: &Script, copies: &[(usize, usize)]) -> Script {
    let mut events: Vec<(usize, u8, (u64, Event))> =
        script.events.iter().enumerate().map(|(at, event)| (at, 0, *event)).collect();
    for (at, delay) in copies {
        let at = at % script.events.len();
        let place = (at + delay).min(script.events.len() - 1);
        events.push((place, 1, (script.events[place].0, script.events[at].1)));
    }
    events.sort_by_key(|(place, copy, _)| (*place, *copy));
    let events = events.into_iter().map(|(_, _, event)| event).collect();
    Script { events, ..script.clone() }
}

/// Every segment seen at a second place, `lag` segments later; the responder's there first.
fn seen_twice(script: &Script, lag: usize) -> Script {
    let mut events = Vec::new();
    let at_place = |event: &Event, first: bool| {
        let mut event = *event;
        if let Event::Segment(segment) = &mut event {
            let from_orig = segment.sender == script.orig;
            segment.vantage = if from_orig == first { 1 } else { 2 };
        }
        event
    };
    for at in 0..script.events.len() + lag {
        if let Some((now, event)) = script.events.get(at) {
            events.push((*now, at_place(event, true)));
        }
        if let Some((_, event)) = at.checked_sub(lag).and_then(|at| script.events.get(at)) {
            let now = events.last().expect("an event").0;
            events.push((now, at_place(event, false)));
        }
    }
    Script { events, ..script.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_the_end_is_said_once(script in any_script(), mode in any_mode()) {
        let mut flow = Flow::new();
        let mut ended: Option<Flow> = None;
        for (now, event) in &script.events {
            if begins_anew(&flow, event.input()) {
                flow = Flow::new();
                ended = None;
            }
            let outcome = step(&mut flow, &script.key, event.input(), mode, *now);
            prop_assert!(usize::from(flow.history_len) <= HISTORY_LEN);
            prop_assert_eq!(outcome.has(Outcome::CLOSED), ended.is_none() && flow.has(CLOSED));
            if let Some(ended) = ended.filter(|_| !mode.lingers()) {
                // The record stays as it was.
                prop_assert_eq!(Flow { late: ended.late, ..flow }, ended);
            }
            if outcome.has(Outcome::CLOSED) {
                ended = Some(flow);
            }
            let _ = (expired(&flow, *now), stale(&flow, *now));
            let close = verdict::close(&script.key, &flow);
            prop_assert_eq!(close.first_closer.is_some(), close.first_signal.is_some());
            prop_assert!(close.first_closer.is_some() || close.answer.is_none());
        }
    }

    #[test]
    fn any_bytes_have_a_verdict(bytes in proptest::collection::vec(any::<u8>(), size_of::<Flow>())) {
        let words = bytes_aligned(&bytes);
        let mut flow: Flow = *bytemuck::from_bytes(bytemuck::cast_slice(&words));
        let key = script(">S").key;
        let _ = verdict::close(&key, &flow);
        let mut segment: Segment = bytemuck::Zeroable::zeroed();
        segment.flags = SYN | RST;
        let _ = begins_anew(&flow, Input::Segment(&segment));
        let _ = step(&mut flow, &key, Input::Segment(&segment), Mode::OFFLINE, u64::MAX);
    }

    #[test]
    fn swapped_directions_give_the_mirrored_answer(script in any_script(), mode in any_mode()) {
        let (here, there) = (script.play(mode), script.mirrored().play(mode));
        prop_assert_eq!(here.outcomes, there.outcomes);
        for (here, mut there) in here.closes.into_iter().zip(there.closes) {
            if here.started_ns == 0 {
                // Nothing was seen, so nobody is anybody.
                continue;
            }
            prop_assert_eq!(here.orig.endpoint.port, there.orig.endpoint.port);
            there.orig.endpoint = here.orig.endpoint;
            there.resp.endpoint = here.resp.endpoint;
            prop_assert_eq!(here, there);
        }
    }

    #[test]
    fn sparse_and_full_agree(text in well_formed(), opening in opening()) {
        let text = text.replacen(">S", opening, 1);
        let script = script(&text);
        let (full, sparse) = (close_of(&script, Mode::FULL), close_of(&script, Mode::SPARSE));
        prop_assert_eq!(full.conn_state, sparse.conn_state, "{}", text);
        prop_assert_eq!(full.first_closer, sparse.first_closer, "{}", text);
        prop_assert_eq!(full.first_signal, sparse.first_signal, "{}", text);
        prop_assert_eq!(full.answer, sparse.answer, "{}", text);
        prop_assert_eq!(full.orig.bytes, sparse.orig.bytes, "{}", text);
        prop_assert_eq!(full.resp.bytes, sparse.resp.bytes, "{}", text);
        prop_assert_eq!(full.half_closed_ns, sparse.half_closed_ns, "{}", text);
    }

    #[test]
    fn order_of_sight_does_not_change_who_closed_first(
        text in well_formed(),
        delays in proptest::collection::vec(0..4usize, 60),
        copies in proptest::collection::vec((0..60usize, 0..6usize), 0..6),
    ) {
        let script = script(&text);
        let first = first_side(&script, Mode::OFFLINE);
        prop_assert!(first.is_some());
        let twisted = duplicated(&reordered(&script, &delays), &copies);
        prop_assert_eq!(first_side(&twisted, Mode::OFFLINE), first, "{}", text);
        let repeated = duplicated(&script, &copies);
        for mode in [Mode::FULL, Mode::SPARSE] {
            prop_assert_eq!(first_side(&repeated, mode), first, "{}", text);
        }
    }

    #[test]
    fn two_places_count_once(text in well_formed(), lag in 0..4usize, mode in any_mode()) {
        let script = script(&text);
        let twice = seen_twice(&script, lag).play(mode);
        let once = script.play(mode);
        prop_assert_eq!(&twice.closes, &once.closes, "{}", text);
        prop_assert_eq!(twice.times_closed(), once.times_closed());
    }

    #[test]
    fn a_connection_closes_once(text in well_formed(), mode in any_mode()) {
        let played = script(&text).play(mode);
        prop_assert_eq!(played.flows.len(), 1);
        prop_assert_eq!(played.times_closed(), 1, "{}", text);
    }

    #[test]
    fn the_tuple_again_is_another_connection(first in well_formed(), second in well_formed()) {
        for mode in [Mode::FULL, Mode::SPARSE] {
            let played = script(&format!("{first} 1s {second}")).play(mode);
            prop_assert_eq!(played.flows.len(), 2);
            prop_assert_eq!(played.times_closed(), 2, "{} {}", first, second);
            let alone = close_of(&script(&second), mode);
            prop_assert_eq!(played.closes[1].conn_state, alone.conn_state);
            prop_assert_eq!(played.closes[1].first_closer, alone.first_closer);
        }
    }
}

/// `bytes` in memory that a `Flow` may stand in.
fn bytes_aligned(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().expect("8"))).collect()
}
