//! One close as teardown told it against the same connection in the witness's capture.

use crate::support::packets::{ACK, FIN, Packet, RST, SYN};
use crate::support::reading::{Connection, End, Sign, connections};
use crate::support::until::until_empty;
use crate::support::watch::Watch;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// How much the time between two packets may differ between the witness's interface and
/// teardown's hooks: the other end of a veth pair, on two loaded cores.
pub(crate) const TOLERANCE: Duration = Duration::from_millis(3);

/// What the history is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum History {
    /// The letters of SYN, FIN and RST in their order, those of data in any place. Whether an
    /// acknowledgment came alone, a segment twice or a window was zero, no later number tells.
    Sparse,
    /// The same, where no socket says what it sent either: bytes and data are known as far as the
    /// numbers of SYN, FIN and RST tell them.
    ControlAlone,
    /// Every letter.
    Full,
}

impl History {
    /// Bytes that `end` sent and that need not be known.
    fn may_miss(self, connection: &Connection, end: End) -> u64 {
        // What a RST threw away before it was acknowledged, no control segment tells.
        let thrown_away = connection.unacknowledged(end);
        match self {
            Self::Full => 0,
            Self::Sparse => thrown_away,
            Self::ControlAlone => thrown_away.max(connection.untold_by_control_segments(end)),
        }
    }
}

/// Compares every connection with exactly one close; gives what differs, in words.
pub(crate) fn differences(
    connections: &[Connection],
    closes: &[Value],
    history: History,
) -> Vec<String> {
    let mut told: HashMap<(String, String), Vec<&Value>> = HashMap::new();
    for close in closes {
        let ends = (word(close, "orig").to_owned(), word(close, "resp").to_owned());
        told.entry(ends).or_default().push(close);
    }
    let mut found = Vec::new();
    // What still came of a connection long after its end may be told or not, either way round.
    let (whole, remains): (Vec<_>, Vec<_>) = connections.iter().partition(|c| c.has_begun());
    let mut seen = HashSet::new();
    for connection in whole {
        let ends = (connection.orig.to_string(), connection.resp.to_string());
        match told.get_mut(&ends).filter(|known| !known.is_empty()) {
            None => found.push(format!("never told:\n{connection}")),
            Some(known) => {
                let close = known.remove(0);
                let wrong = fewest(connection, close, history);
                if !wrong.is_empty() {
                    found.push(format!("{}\n{close}\n{connection}", wrong.join("; ")));
                }
            }
        }
        seen.insert(ends);
    }
    for connection in remains {
        let ends = (connection.orig.to_string(), connection.resp.to_string());
        let turned = (ends.1.clone(), ends.0.clone());
        if !seen.contains(&ends) && !seen.contains(&turned) {
            found.push(format!("it has no beginning:\n{connection}"));
        }
        for ends in [ends, turned] {
            if let Some(known) = told.get_mut(&ends).filter(|known| !known.is_empty()) {
                known.remove(0);
            }
        }
    }
    for close in told.values().flatten() {
        found.push(format!("told, but not on the wire: {close}"));
    }
    found
}

/// Waits until each connection that began on the wire was told.
pub(crate) fn wait_until_told(watch: &Watch, connections: &[Connection]) {
    until_empty("connections that were not told", || {
        let closes = watch.closes();
        let mut told: HashMap<String, usize> = HashMap::new();
        for close in &closes {
            let ends = format!("{} > {}", word(close, "orig"), word(close, "resp"));
            *told.entry(ends).or_default() += 1;
        }
        let mut missing = Vec::new();
        for connection in connections.iter().filter(|connection| connection.has_begun()) {
            match told.get_mut(&format!("{} > {}", connection.orig, connection.resp)) {
                Some(left) if *left > 0 => *left -= 1,
                _ => missing.push(connection.clone()),
            }
        }
        missing
    });
}

/// Closes that say that a local socket lost more than was ever unacknowledged on the wire. Where
/// packets are lost behind the capture, the wire does not tell.
pub(crate) fn exaggerations(connections: &[Connection], closes: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    for connection in connections {
        let ends = [connection.orig, connection.resp].map(|end| end.to_string());
        let told = closes.iter().filter(|close| [word(close, "orig"), word(close, "resp")] == ends);
        let most = [End::Orig, End::Resp].map(|end| connection.unacknowledged_at_most(end));
        for close in told {
            if close["unacked_bytes"].as_u64().is_some_and(|lost| lost > most.iter().sum()) {
                found.push(format!("not more than {most:?} unacknowledged\n{close}\n{connection}"));
            }
        }
    }
    found
}

/// What differs in one connection: nothing if any vantage on its packets reads as it was told.
/// Zeek's words may be of another vantage than the rest: of two CPUs one may look at the clock
/// first and the other write its letter first. And they hold every RST, also one that the other
/// end refused or never got, which closed nothing.
fn fewest(connection: &Connection, close: &Value, history: History) -> Vec<String> {
    let wrong = one(connection, close, history);
    if wrong.is_empty() {
        return wrong;
    }
    let others = connection.other_readings();
    let agrees = others.iter().any(|other| facts(other, close, history).is_empty())
        && others.iter().any(|other| zeeks_words(other, close, history).is_empty());
    if agrees { Vec::new() } else { wrong }
}

/// What differs from one reading.
fn one(connection: &Connection, close: &Value, history: History) -> Vec<String> {
    let mut wrong = facts(connection, close, history);
    wrong.extend(zeeks_words(connection, close, history));
    wrong
}

/// What differs from one reading, but for Zeek's words.
fn facts(connection: &Connection, close: &Value, history: History) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut equal = |field: &str, expected: Value| {
        if close[field] != expected {
            wrong.push(format!("{field} is {} not {expected}", close[field]));
        }
    };
    equal("v", 1.into());
    let (end, signal) = connection.first_close().unzip();
    equal("first_closer", end.map(End::word).into());
    let either = |end: Option<End>, sign: Option<Sign>, told: &Value| match (end, sign) {
        (Some(end), Some(Sign::Rst | Sign::RstAck)) if connection.reset_both_ways(end) => {
            told.clone()
        }
        (_, sign) => sign.map(Sign::word).into(),
    };
    equal("first_signal", either(end, signal, &close["first_signal"]));
    equal("answer", either(end.map(End::other), connection.answer(), &close["answer"]));
    wrong.extend(
        [End::Orig, End::Resp].iter().filter_map(|end| bytes(connection, close, history, *end)),
    );
    wrong.extend(half_closed(connection, close));
    wrong
}

/// Bytes are exact, but for what a RST left untold.
fn bytes(connection: &Connection, close: &Value, history: History, end: End) -> Option<String> {
    let field = format!("{}_bytes", end.word());
    let sent = connection.bytes(end);
    let reset = connection.signs().iter().any(|(_, sign, _)| *sign != Sign::Fin);
    let unseen = if reset { history.may_miss(connection, end) } else { 0 };
    let agrees = close[&field]
        .as_u64()
        .is_some_and(|told| (sent.saturating_sub(unseen)..=sent).contains(&told));
    (!agrees).then(|| format!("{field} is {} not {sent} (less {unseen} at most)", close[&field]))
}

fn half_closed(connection: &Connection, close: &Value) -> Option<String> {
    let told = close["half_closed_us"].as_u64().map(Duration::from_micros);
    let (_, sign) = connection.first_close()?;
    let agrees = match (connection.half_closed(), told) {
        // A RST leaves nothing half closed: none and zero say the same.
        (_, None | Some(Duration::ZERO)) if sign != Sign::Fin => true,
        (Some(seen), Some(told)) => seen.abs_diff(told) <= TOLERANCE,
        (seen, told) => seen.is_none() && told.is_none(),
    };
    (!agrees).then(|| format!("half closed {told:?}, not {:?}", connection.half_closed()))
}

/// What differs in `conn_state` and `history`.
fn zeeks_words(connection: &Connection, close: &Value, history: History) -> Vec<String> {
    let (told, expected) = (word(close, "conn_state"), connection.conn_state());
    let state = (told != expected).then(|| format!("conn_state is {told:?} not {expected:?}"));
    state.into_iter().chain(letters(connection, close, history)).collect()
}

fn letters(connection: &Connection, close: &Value, history: History) -> Option<String> {
    let (told, expected) = (word(close, "history"), connection.history());
    let control = |text: &str| -> String {
        text.chars().filter(|letter| "SHFRshfr^".contains(*letter)).collect()
    };
    let unknown: String = [(End::Orig, 'D'), (End::Resp, 'd')]
        .iter()
        .filter(|(end, _)| history.may_miss(connection, *end) > 0)
        .map(|(_, letter)| letter)
        .chain(&['A', 'a', 'T', 't', 'W', 'w'])
        .collect();
    let known = |text: &str| -> String {
        let mut letters: Vec<char> =
            text.chars().filter(|letter| !unknown.contains(*letter)).collect();
        letters.sort_unstable();
        letters.into_iter().collect()
    };
    let agrees = match history {
        History::Full => told == expected,
        History::Sparse | History::ControlAlone => {
            control(told) == control(&expected) && known(told) == known(&expected)
        }
    };
    (!agrees).then(|| format!("history {told:?}, not {expected:?}"))
}

/// A field that is text.
pub(crate) fn word<'a>(close: &'a Value, field: &str) -> &'a str {
    close[field].as_str().unwrap_or_else(|| panic!("{field} of {close} is no text"))
}

/// A connection of packets that a run under losses left: microseconds, whether orig sent it, flags,
/// numbers, and bytes of data.
fn left_by_a_run(packets: &[(u64, bool, u8, u32, u32, u32)]) -> Connection {
    let [orig, resp] = [40_000, 9006].map(|port| ([10, 0, 0, 1], port).into());
    let packet = |&(time, from_orig, flags, seq, ack, payload): &_| Packet {
        time: time * 1000,
        source: if from_orig { orig } else { resp },
        target: if from_orig { resp } else { orig },
        seq,
        ack,
        flags,
        window: 64,
        window_scale: None,
        timestamps: false,
        stamps: [0, 0],
        sack: false,
        payload,
    };
    let packets: Vec<Packet> = packets.iter().map(packet).collect();
    connections(&packets).remove(0)
}

/// The server's RST was lost behind the capture, and the proxy ended the connection on its own, by
/// its FIN and then its RST.
#[test]
fn a_reset_that_was_lost_behind_the_capture_closed_nothing() {
    let server = |close: &mut Value| {
        close["first_closer"] = "resp".into();
        close["first_signal"] = "rst_ack".into();
        close["answer"] = "fin".into();
    };
    let connection = left_by_a_run(&[
        (0, true, SYN, 0, 0, 0),
        (31, false, SYN | ACK, 0, 1, 0),
        (43, true, ACK, 1, 1, 0),
        (1221, true, ACK, 1, 1, 33),
        (1243, false, ACK, 1, 34, 0),
        (1754, false, RST | ACK, 1, 34, 0),
        (401_831, true, FIN | ACK, 34, 1, 0),
        (401_899, true, RST | ACK, 35, 1, 0),
    ]);
    let proxy = json!({
        "v": 1, "conn_state": "RSTR", "history": "ShADarFR", "first_closer": "orig",
        "first_signal": "fin", "answer": null, "half_closed_us": 68, "orig_bytes": 33,
        "resp_bytes": 0,
    });
    let wrong = |change: &dyn Fn(&mut Value)| {
        let mut close = proxy.clone();
        change(&mut close);
        fewest(&connection, &close, History::Full)
    };
    assert_eq!(wrong(&|_| ()), [""; 0], "the proxy closed first");
    assert_eq!(wrong(&server), [""; 0], "who holds the RST for accepted is no less right");
    assert_ne!(wrong(&|close| close["conn_state"] = "RSTO".into()), [""; 0]);
    assert_ne!(wrong(&|close| close["history"] = "ShADaFR".into()), [""; 0]);
    assert_ne!(wrong(&|close| close["first_closer"] = "resp".into()), [""; 0]);
}

/// The server's FIN was lost before the capture, and what came of its close is a RST without ACK:
/// no SYN, FIN or RST says what the client sent.
#[test]
fn a_reset_without_ack_leaves_untold_what_was_acknowledged() {
    let connection = left_by_a_run(&[
        (0, true, SYN, 0, 0, 0),
        (8, false, SYN | ACK, 0, 1, 0),
        (13, true, ACK, 1, 1, 0),
        (88, true, ACK, 1, 1, 33),
        (89, false, ACK, 1, 34, 0),
        (2011, false, ACK, 1, 34, 571),
        (2415, true, ACK, 34, 572, 0),
        (3012, true, ACK, 34, 572, 33),
        (3023, false, RST, 572, 0, 0),
    ]);
    let close = |history: &str, bytes: u64| {
        json!({
            "v": 1, "conn_state": "RSTR", "history": history, "first_closer": "resp",
            "first_signal": "rst", "answer": null, "half_closed_us": null, "orig_bytes": bytes,
            "resp_bytes": 571,
        })
    };
    let wrong = |close: &Value, history| fewest(&connection, close, history);
    let (alone, socket, full) = (close("ShAdr", 0), close("ShADadr", 33), close("ShADadr", 66));
    assert_eq!(wrong(&alone, History::ControlAlone), [""; 0]);
    assert_ne!(wrong(&alone, History::Sparse), [""; 0], "a socket knows what was acknowledged");
    assert_eq!(wrong(&socket, History::Sparse), [""; 0]);
    assert_ne!(wrong(&alone, History::Full), [""; 0]);
    assert_eq!(wrong(&full, History::Full), [""; 0]);
    assert_ne!(wrong(&close("ShAdr", 67), History::ControlAlone), [""; 0], "never sent");
}

/// The server's acknowledgment was kept between the capture's place and teardown's until its data
/// and its FIN had passed on another CPU.
#[test]
fn an_acknowledgment_alone_may_be_overtaken_by_its_own_end() {
    let connection = left_by_a_run(&[
        (0, true, SYN, 0, 0, 0),
        (11, false, SYN | ACK, 0, 1, 0),
        (17, true, ACK, 1, 1, 0),
        (359, true, ACK, 1, 1, 52),
        (364, false, ACK, 1, 53, 0),
        (386, false, ACK, 1, 53, 550),
        (393, false, FIN | ACK, 551, 53, 0),
        (401, true, ACK, 53, 552, 0),
        (445, true, FIN | ACK, 53, 552, 0),
        (448, false, ACK, 552, 54, 0),
    ]);
    let wrong = |history: &str| {
        let close = json!({
            "v": 1, "conn_state": "SF", "history": history, "first_closer": "resp",
            "first_signal": "fin", "answer": "fin", "half_closed_us": 52, "orig_bytes": 52,
            "resp_bytes": 550,
        });
        fewest(&connection, &close, History::Full)
    };
    assert_eq!(wrong("ShADadfF"), [""; 0]);
    assert_eq!(wrong("ShADdfaF"), [""; 0]);
    assert_ne!(wrong("ShADafdF"), [""; 0], "data behind its FIN");
    assert_ne!(wrong("ShADaDfF"), [""; 0], "another end's data");
}
