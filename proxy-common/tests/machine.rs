//! What the truth table does not show: new connections on old tuples, waiting, counting, and the
//! facts that a verdict carries.

mod script;

use proxy_common::flow::{Flow, HISTORY_CUT, Mode, Outcome, begins_anew, expired, stale, step};
use proxy_common::key::{Endpoint, Side};
use proxy_common::socket::{
    KNOWS_BYTES, KNOWS_OWNER, KNOWS_PATH, KNOWS_UNACKED, KNOWS_UNREAD, SocketEvent, tcp_state,
};
use proxy_common::verdict::{Close, Role, Signal};
use script::{Event, Script, script, script_between};

const SECOND: u64 = 1_000 * script::STEP_NS;

/// Steps all but the last thing, and asks whether that begins another connection.
fn last_begins_anew(text: &str, mode: Mode) -> bool {
    let script = script(text);
    let (last, before) = script.events.split_last().expect("things happen");
    let before = Script { events: before.to_vec(), ..script.clone() }.play(mode);
    assert_eq!(before.flows.len(), 1, "{text}: another one began before");
    begins_anew(&before.flows[0], last.1.input())
}

#[test]
fn a_new_syn_begins_a_new_connection() {
    let over = ">S <SA >A >F <F >A";
    for (text, anew) in [
        (">S >S*".to_owned(), false),
        (">S >S".to_owned(), true),
        (">S <SA <SA*".to_owned(), false),
        (">S <SA >A >S".to_owned(), true),
        (format!("{over} >S"), true),
        (format!("{over} >Sc"), false),
        (format!("{over} <SA"), false),
        (format!("{over} >A"), false),
        (">S <S~".to_owned(), false),
        (">S <RA >S".to_owned(), true),
        (">S <RA >S*".to_owned(), false),
        ("(>S) (<SA) >D10 >S".to_owned(), true),
    ] {
        assert_eq!(last_begins_anew(&text, Mode::FULL), anew, "{text}");
    }
    // The first SYN of all, shown again after the end, is no news.
    let script = script(over);
    let flow = script.play(Mode::FULL).flows[0];
    assert!(!begins_anew(&flow, script.events[0].1.input()));
    assert!(!begins_anew(&Flow::new(), script.events[0].1.input()));
}

#[test]
fn a_syn_against_a_living_socket_is_challenged() {
    let text = ">S <SA >A <=ESTABLISHED >S";
    assert!(!last_begins_anew(text, Mode::SPARSE));
    let played = script(text).play(Mode::SPARSE);
    assert_eq!((played.flows.len(), played.closes[0].challenges), (1, 1));
    assert_eq!(played.closes[0].orig.control, [1, 0, 0], "the forged SYN changes nothing");
    // Once the socket is gone, its tuple is free.
    assert!(last_begins_anew(">S <SA >A <=ESTABLISHED <=CLOSE_WAIT <=CLOSE >S", Mode::SPARSE));
    assert!(last_begins_anew(">S <SA >A >F <F >=SYN_SENT", Mode::SPARSE));
    // A socket that connects again on the tuple of one whose packets were never seen.
    assert!(last_begins_anew(">=SYN_SENT >=CLOSE >=SYN_SENT", Mode::SPARSE));
    assert!(!last_begins_anew(">=SYN_SENT >S", Mode::SPARSE));
}

#[test]
fn syn_and_its_answer_in_the_wrong_order_flip_the_roles() {
    let (a, b) = (Endpoint::v4([10, 0, 0, 1], 40_000), Endpoint::v4([10, 0, 0, 2], 50_000));
    let close = script_between(a, b, "(>S) <SA >S* >A >D10 <A <F >F <A").play(Mode::OFFLINE);
    let close = close.closes[0];
    assert_eq!(close.history.as_str(), "Hs^ADafF");
    assert_eq!((close.conn_state.as_str(), close.orig.endpoint), ("SF", a));
    assert_eq!(close.first_closer, Some(Role::Resp));
}

#[test]
fn letters_come_at_powers_of_ten() {
    let text = format!(">S <SA >A >D10 {}<A >F <F >A", ">D10* ".repeat(100));
    let history = script(&text).play(Mode::OFFLINE).closes[0].history;
    assert_eq!(history.as_str(), "ShADTTTaFf");
    let text = format!(">S <SA >A <D10 {}>F <F >A", ">Aw ".repeat(10));
    assert_eq!(script(&text).play(Mode::OFFLINE).closes[0].history.as_str(), "ShAdWWFf");
    let text = format!(">S <SA >A <D10 {}>A >F <F >A", ">Dc ".repeat(10));
    assert_eq!(script(&text).play(Mode::OFFLINE).closes[0].history.as_str(), "ShAdCCFf");
    let text = format!(">S <SA >A {}<F >F <A", "(<D10) >A ".repeat(10));
    let close = script(&text).play(Mode::OFFLINE).closes[0];
    assert_eq!((close.history.as_str(), close.resp.bytes), ("ShAggfFa", Some(100)));
}

#[test]
fn a_history_ends_where_its_room_does() {
    let resets: String = (0..60).map(|at| format!(">R+{at} ")).collect();
    let played = script(&format!(">S <SA >A {resets}")).play(Mode::OFFLINE);
    assert_eq!(played.closes[0].history.as_str().len(), 40);
    assert!(played.flows[0].has(HISTORY_CUT) && played.closes[0].is_history_cut());
}

#[test]
fn what_is_far_ahead_and_filled_later_is_no_gap() {
    // Two ranges ahead of order at once, filled from behind.
    let text = ">S <SA >A (<D10) <D10 (<D10) <D10 >A-0 <D10-30 <D10-20 <F >F <A";
    let script = script(text);
    let ahead = script.play(Mode::FULL);
    assert_eq!(ahead.closes[0].resp.bytes, Some(40));
    // An acknowledgment of bytes never seen makes one gap for each hole.
    let text = ">S <SA >A (<D10) <D10 (<D10) <D10 >A <F >F <A";
    let flow = script::script(text).play(Mode::FULL).flows[0];
    assert_eq!(flow.end(script.orig.other()).gaps, 2);
}

#[test]
fn zeeks_timers_end_the_wait() {
    for (text, waits, gone) in [
        (">S <SA >A >F <F >A", 4, 6),
        (">S <SA >A <R", 4, 6),
        (">S", 4, 6),
        (">S <SA >A", 290, 310),
        (">S <SA >A >F <A", 290, 310),
        ("(>S) (<SA) >D10 <A", 290, 310),
        (">S <A", 4, 65),
    ] {
        let script = script(text);
        let flow = script.play(Mode::OFFLINE).flows[0];
        let last = script.events.last().expect("something").0;
        assert!(!expired(&flow, last + waits * SECOND), "{text}: too early");
        assert!(expired(&flow, last + gone * SECOND), "{text}: too late");
    }
}

#[test]
fn a_live_flow_goes_stale_when_nothing_can_come() {
    for (text, goes) in [
        // The orphan's TIME_WAIT minisock is gone after a minute, and with it the half close.
        (">=SYN_SENT >S <SA >=ESTABLISHED >=FIN_WAIT1 >F >=FIN_WAIT2 >=CLOSE", true),
        // An abort whose RST was not seen.
        (">=SYN_SENT >S <SA >=ESTABLISHED >=CLOSE", true),
        // A socket that holds on.
        (">=SYN_SENT >S <SA >=ESTABLISHED >=FIN_WAIT1 >F >=FIN_WAIT2", false),
        (">S <SA >F", false),
        // Over on the wire, and no word from the socket any more.
        (">=SYN_SENT >S <SA >=ESTABLISHED >F <F", true),
        // Over: nobody waits.
        (">S <SA >F <F", false),
    ] {
        let script = script(text);
        let flow = script.play(Mode::SPARSE).flows[0];
        let last = script.events.last().expect("something").0;
        assert!(!stale(&flow, last + 59 * SECOND), "{text}");
        assert_eq!(stale(&flow, last + 61 * SECOND), goes, "{text}");
    }
}

#[test]
fn after_the_end_only_latecomers_are_counted() {
    let played = script(">S <SA >A >F <F >A <F* >R <F*").play(Mode::SPARSE);
    let close = played.closes[0];
    assert_eq!((close.late, close.history.as_str()), (3, "ShAFf"));
    assert!(played.outcomes.last().expect("steps").has(Outcome::LATE));
    assert_eq!(played.times_closed(), 1);
}

#[test]
fn the_first_close_and_its_answer_are_said_when_they_come() {
    let script = script(">S <SA >A >F <A 1s <F >A");
    let mut flow = Flow::new();
    let said: Vec<u8> = script
        .events
        .iter()
        .map(|(now, event)| step(&mut flow, &script.key, event.input(), Mode::FULL, *now).0)
        .collect();
    let end = Outcome::ANSWERED | Outcome::CLOSED;
    assert_eq!(said, [0, 0, 0, Outcome::FIRST_CLOSE, 0, end, Outcome::LATE]);
}

#[test]
fn a_refused_rst_is_counted_and_forgotten() {
    // Out of window: ignored. In the window: challenged, and then taken up where it was due.
    let close = script(">S <SA >A >D10 <A >R+70000 >R-9 <D10 >A").play(Mode::FULL).closes[0];
    assert_eq!((close.challenges, close.first_closer), (2, None));
    let close = script(">S <SA >A >D10 <A (>D5) >R <A~ >D5-5").play(Mode::OFFLINE).closes[0];
    assert_eq!((close.challenges, close.first_closer), (0, Some(Role::Orig)));
    assert_eq!(close.first_signal, Some(Signal::Rst));
}

/// Data that never arrived was sent all the same: its sender's RST behind it was challenged, as the
/// receiver still waits for the data (seen under losses, behind HAProxy that answered 408).
#[test]
fn a_refused_rst_takes_back_nothing_that_was_seen() {
    let script = script(">S <SA >A <=ESTABLISHED >D33 <D10~ >RA <=FIN_WAIT1 <F~ >R-33 <=CLOSE!104");
    let close = script.play(Mode::FULL).closes[0];
    assert_eq!((close.first_closer, close.first_signal), (Some(Role::Resp), Some(Signal::Fin)));
    assert_eq!((close.answer, close.challenges), (Some(Signal::Rst), 1));
    assert_eq!(close.orig.bytes, Some(33));
    // Without the data, the RST's own number proves nothing.
    assert_eq!(script.play(Mode::SPARSE).closes[0].orig.bytes, Some(0));
}

/// Everything a socket may tell.
fn facts(side: Side) -> SocketEvent {
    let mut event: SocketEvent = bytemuck::Zeroable::zeroed();
    event.side = side;
    event.known = KNOWS_BYTES | KNOWS_PATH | KNOWS_UNREAD | KNOWS_UNACKED | KNOWS_OWNER;
    event.bytes_sent = (5 << 32) + 101;
    event.bytes_received = 201;
    event.srtt_us = 1_234;
    event.retransmissions = 3;
    (event.unread, event.unacked) = (77, 88);
    event.pid = 4_321;
    event.comm[..7].copy_from_slice(b"haproxy");
    event.new_state = tcp_state::CLOSE;
    event
}

fn with_facts(text: &str, at: usize) -> Close {
    let mut script = script(text);
    let now = script.events[at].0;
    script.events.insert(at, (now, Event::Socket(facts(script.orig))));
    script.play(Mode::SPARSE).closes[0]
}

#[test]
fn a_sockets_facts_are_carried() {
    let close = with_facts(">S <SA >A >D100 <A <D200 >A >F <F >A", 7);
    // The counter has the upper bits, and counts the SYN; the numbers have the lower ones.
    assert_eq!(close.orig.bytes, Some((5 << 32) + 100));
    assert_eq!(close.resp.bytes, Some(200));
    // What it held unread was read later, as it sent no RST.
    assert_eq!((close.orig.unread, close.orig.unacked), (Some(0), Some(88)));
    assert_eq!((close.orig.srtt_us, close.orig.retransmissions), (Some(1_234), Some(3)));
    let owner = close.orig.owner.expect("an owner");
    assert_eq!((owner.name(), owner.pid), (&b"haproxy"[..], 4_321));
    assert!(!close.orig.is_local, "facts without a state track nothing");
    assert_eq!((close.resp.owner, close.resp.unread, close.resp.segments), (None, None, None));
    assert_eq!(close.resp.retransmissions, None);
}

#[test]
fn only_who_resets_throws_unread_bytes_away() {
    let close = with_facts(">S <SA >A >D100 <A <D200 >RA", 6);
    assert_eq!((close.orig.unread, close.first_closer), (Some(77), Some(Role::Orig)));
}

#[test]
fn unread_bytes_are_lost_by_an_abort_alone() {
    let close = with_facts(">S <SA >A <D200 >A >RA", 5);
    assert_eq!(close.orig.unread, Some(77));
    let close = with_facts(">S <SA >A <D200 >A <RA", 5);
    assert_eq!(close.orig.unread, Some(0));
}

#[test]
fn numbers_and_times_of_both_closes_are_kept() {
    let script = script(">S <SA >A >D100 <A >F <A 20ms <F >A");
    let close = script.play(Mode::FULL).closes[0];
    let fin_of = |role: Role| {
        script.events.iter().find_map(|(now, event)| match event {
            Event::Segment(segment)
                if segment.flags & 1 != 0
                    && (segment.sender == script.orig) == (role == Role::Orig) =>
            {
                Some((*now, segment.seq))
            }
            _ => None,
        })
    };
    for role in [Role::Orig, Role::Resp] {
        let end = close.end(role);
        assert_eq!(end.fin_ns.zip(end.fin_seq), fin_of(role));
        assert_eq!((end.rst_ns, end.rst_seq), (None, None));
    }
    assert_eq!(close.half_closed_ns, Some(22 * script::STEP_NS));
    assert_eq!(close.ended_ns - close.started_ns, close.duration_ns);
    assert_eq!(close.duration_ns, 27 * script::STEP_NS);
}

#[test]
fn what_is_no_socket_of_ours_stays_a_guess() {
    // Midstream and sparse: nobody can know the bytes.
    let close = script("(>S) (<SA) (>D10) >F <F").play(Mode::SPARSE).closes[0];
    assert_eq!((close.orig.bytes, close.resp.bytes), (None, None));
    assert!(close.is_midstream() && close.is_inferred() && close.is_over());
}
