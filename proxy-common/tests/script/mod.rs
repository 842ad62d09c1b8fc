//! A connection in a line: the notation of docs/verdicts.md, played through the machine.
//!
//! `>` is the originator, `<` the responder. `S` SYN, `SA` SYN+ACK, `A` ACK, `D100` data, `F`
//! FIN+ACK, `F100` with data, `R` RST, `RA` RST+ACK, `K` keep-alive probe. Suffixes: `*` sent
//! again, `~` without having seen the peer's last, `+n` and `-n` off its number, `w` window 0,
//! `c` bad checksum, `@2` seen at place 2. In parentheses: sent, and not seen. `5s`, `20ms`: time
//! passes. `<=CLOSE!104`: the responder's socket enters a state, with an error.

#![allow(dead_code, reason = "each test program uses a part of the notation")]

use proxy_common::flow::{Flow, Input, Mode, Outcome, begins_anew, expired, step};
use proxy_common::key::{Endpoint, FlowKey, Side};
use proxy_common::segment::{ACK, BAD_CHECKSUM, FIN, NO_WINDOW_SCALE, PSH, RST, SYN, Segment, URG};
use proxy_common::socket::{KNOWS_ERROR, KNOWS_STATE, SocketEvent, tcp_state};
use proxy_common::verdict::{self, Close};

/// A millisecond passes before each thing that happens.
pub(crate) const STEP_NS: u64 = 1_000_000;
/// When scripts begin.
pub(crate) const START_NS: u64 = 1_000_000_000;

/// One thing that the machine is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Event {
    Segment(Segment),
    Socket(SocketEvent),
}

impl Event {
    pub(crate) fn input(&self) -> Input<'_> {
        match self {
            Self::Segment(segment) => Input::Segment(segment),
            Self::Socket(event) => Input::Socket(event),
        }
    }
}

/// A script: who the ends are, and what was seen when.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) key: FlowKey,
    pub(crate) orig: Side,
    pub(crate) events: Vec<(u64, Event)>,
}

/// What TCP at one end knows while a script is written.
#[derive(Clone, Copy)]
struct Sender {
    next: u32,
    /// What it has received, and what it had before the last segment came.
    received: u32,
    received_before: u32,
    last: Option<Segment>,
}

/// The originator's and the responder's initial sequence numbers; the first wraps soon.
const ISNS: [u32; 2] = [u32::MAX - 150, 70_000];

pub(crate) fn client() -> Endpoint {
    Endpoint::v4([10, 0, 0, 1], 40_000)
}

pub(crate) fn server() -> Endpoint {
    Endpoint::v4([10, 0, 0, 2], 80)
}

/// Plays the notation between [`client`] and [`server`].
///
/// # Panics
/// Where the notation is wrong.
pub(crate) fn script(text: &str) -> Script {
    script_between(client(), server(), text)
}

pub(crate) fn script_between(orig: Endpoint, resp: Endpoint, text: &str) -> Script {
    let (key, orig) = FlowKey::new(orig, resp);
    let mut senders =
        ISNS.map(|isn| Sender { next: isn, received: 0, received_before: 0, last: None });
    let mut now = START_NS;
    let mut events = Vec::new();
    for token in text.split_whitespace() {
        if let Some(wait) = wait(token) {
            now += wait;
            continue;
        }
        now += STEP_NS;
        let inner = token.trim_start_matches('(').trim_end_matches(')');
        let (from, what) = inner.split_at(1);
        let from = usize::from(match from {
            ">" => false,
            "<" => true,
            _ => panic!("{token}: begins with neither > nor <"),
        });
        let side = if from == 0 { orig } else { orig.other() };
        if let Some(state) = what.strip_prefix('=') {
            let event = socket(&events, side, state);
            events.push((now, Event::Socket(event)));
            continue;
        }
        let segment = segment(&mut senders, from, side, what);
        if !token.starts_with('(') {
            events.push((now, Event::Segment(segment)));
        }
    }
    Script { key, orig, events }
}

fn wait(token: &str) -> Option<u64> {
    let (number, unit) = token
        .strip_suffix("ms")
        .map(|n| (n, STEP_NS))
        .or_else(|| token.strip_suffix('s').map(|n| (n, 1_000 * STEP_NS)))?;
    Some(number.parse::<u64>().ok()? * unit)
}

fn state_number(name: &str) -> u8 {
    match name {
        "ESTABLISHED" => tcp_state::ESTABLISHED,
        "SYN_SENT" => tcp_state::SYN_SENT,
        "SYN_RECV" => tcp_state::SYN_RECV,
        "FIN_WAIT1" => tcp_state::FIN_WAIT1,
        "FIN_WAIT2" => tcp_state::FIN_WAIT2,
        "CLOSE" => tcp_state::CLOSE,
        "CLOSE_WAIT" => tcp_state::CLOSE_WAIT,
        "LAST_ACK" => tcp_state::LAST_ACK,
        "CLOSING" => tcp_state::CLOSING,
        _ => panic!("{name}: no state"),
    }
}

fn socket(events: &[(u64, Event)], side: Side, what: &str) -> SocketEvent {
    let (state, err) = what.split_once('!').unwrap_or((what, "0"));
    let before = events.iter().rev().find_map(|(_, event)| match event {
        Event::Socket(event) if event.side == side => Some(event.new_state),
        _ => None,
    });
    let mut event: SocketEvent = bytemuck::Zeroable::zeroed();
    event.side = side;
    event.new_state = state_number(state);
    event.old_state = before.unwrap_or(tcp_state::CLOSE);
    event.err = err.parse().expect("an errno");
    event.known = KNOWS_STATE | KNOWS_ERROR;
    event
}

fn segment(senders: &mut [Sender; 2], from: usize, side: Side, what: &str) -> Segment {
    let (what, vantage) = what.split_once('@').unwrap_or((what, "0"));
    let has = |mark: char| what.contains(mark);
    let body = what.trim_end_matches(['*', '~', 'w', 'c']);
    let split = body.find(|c: char| c.is_ascii_digit() || c == '+' || c == '-');
    let (kind, number) = body.split_at(split.unwrap_or(body.len()));
    let (length, offset) = match number.find(['+', '-']) {
        Some(at) => number.split_at(at),
        None => (number, ""),
    };
    let payload: u32 = if length.is_empty() { 0 } else { length.parse().expect("a length") };
    let offset: i32 = if offset.is_empty() { 0 } else { offset.parse().expect("an offset") };
    let flags = match kind {
        "S" => SYN,
        "SA" => SYN | ACK,
        "A" | "K" => ACK,
        "D" => ACK | PSH,
        "F" => FIN | ACK,
        "R" => RST,
        "RA" => RST | ACK,
        "SF" => SYN | FIN,
        "FR" => FIN | RST,
        "U" => ACK | URG,
        _ => panic!("{what}: no kind of segment"),
    };
    let me = senders[from];
    let mut segment: Segment = bytemuck::Zeroable::zeroed();
    segment.seq = me.next.wrapping_add_signed(offset);
    if kind == "K" {
        segment.seq = me.next.wrapping_sub(1);
    }
    segment.ack = match (flags & ACK != 0, has('~')) {
        (false, _) => 0,
        (true, true) => me.received_before,
        (true, false) => me.received,
    };
    segment.payload = payload;
    segment.flags = flags;
    segment.window = if has('w') { 0 } else { 65_000 };
    segment.window_scale = NO_WINDOW_SCALE;
    if has('*') {
        segment.seq = me.last.expect("something was sent before").seq;
    }
    segment.sender = side;
    segment.vantage = vantage.parse().expect("a place");
    if has('c') {
        segment.marks |= BAD_CHECKSUM;
        return segment;
    }
    let moves = offset == 0 && kind != "K" && flags & RST == 0;
    if moves {
        let end = segment.end();
        let before = senders[from].next;
        if end.wrapping_sub(before) as i32 > 0 {
            senders[from].next = end;
        }
        if segment.end() != segment.seq {
            senders[from].last = Some(segment);
        }
        let peer = &mut senders[1 - from];
        if peer.received == 0 || end.wrapping_sub(peer.received) as i32 > 0 {
            peer.received_before = if peer.received == 0 { end } else { peer.received };
            peer.received = end;
        }
    }
    segment
}

/// A played script: its connections, and what each step did.
#[derive(Clone, Debug)]
pub(crate) struct Played {
    pub(crate) flows: Vec<Flow>,
    pub(crate) closes: Vec<Close>,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Played {
    /// How often the end was said.
    pub(crate) fn times_closed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.has(Outcome::CLOSED)).count()
    }
}

impl Script {
    /// Plays the script in `mode`. A sparse program sees control segments only.
    pub(crate) fn play(&self, mode: Mode) -> Played {
        let mut flows = vec![Flow::new()];
        let mut outcomes = Vec::new();
        for (now, event) in &self.events {
            if let Event::Segment(segment) = event
                && !mode.is_full()
                && !segment.has(SYN | FIN | RST)
            {
                continue;
            }
            let last = flows.last_mut().expect("a flow");
            let gone = mode.lingers() && last.started_ns != 0 && expired(last, *now);
            if gone || begins_anew(last, event.input()) {
                flows.push(Flow::new());
            }
            let flow = flows.last_mut().expect("a flow");
            outcomes.push(step(flow, &self.key, event.input(), mode, *now));
        }
        let closes = flows.iter().map(|flow| verdict::close(&self.key, flow)).collect();
        Played { flows, closes, outcomes }
    }

    /// The same connection between swapped addresses: every side becomes the other.
    pub(crate) fn mirrored(&self) -> Self {
        let [low, high] = self.key.ends;
        let (key, _) = FlowKey::new(
            Endpoint { addr: low.addr, port: high.port },
            Endpoint { addr: high.addr, port: low.port },
        );
        let events = self
            .events
            .iter()
            .map(|(now, event)| {
                let event = match *event {
                    Event::Segment(mut segment) => {
                        segment.sender = segment.sender.other();
                        Event::Segment(segment)
                    }
                    Event::Socket(mut event) => {
                        event.side = event.side.other();
                        Event::Socket(event)
                    }
                };
                (*now, event)
            })
            .collect();
        Self { key, orig: self.orig.other(), events }
    }
}
