//! How a connection closed, as a sentence.

use proxy_common::flow::{
    End, Flow, HAS_SIGNAL_ACK, INFERRED, RST_WITH_ACK, SYN_SEEN, closes_crossed,
};
use proxy_common::key::Side;
use proxy_common::seq::after as after_number;
use proxy_common::verdict::{Close, ConnState, Role, Signal};
use std::net::{IpAddr, SocketAddr};

/// What the two ends are called.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The originator.
    pub orig: &'a str,
    /// The responder.
    pub resp: &'a str,
}

/// Where nothing more is known.
pub const CLIENT_AND_SERVER: Names<'static> = Names { orig: "the client", resp: "the server" };

impl Names<'_> {
    /// What the end at `side` of `flow` is called.
    #[must_use]
    pub fn of(&self, side: Side, flow: &Flow) -> &str {
        if side == flow.orig { self.orig } else { self.resp }
    }

    fn role(&self, role: Role) -> &str {
        match role {
            Role::Orig => self.orig,
            Role::Resp => self.resp,
        }
    }
}

/// What a close does not tell, and only a reader of every segment sees; by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// When each end last sent data; 0 for never.
    pub last_data_ns: [u64; 2],
    /// When each end's FIN was acknowledged; 0 for never.
    pub fin_acked_ns: [u64; 2],
}

/// Whether something of both ends was captured, or would have been: where only control segments are
/// looked at, an end may send none for long.
#[must_use]
pub fn are_captured(flow: &Flow) -> bool {
    flow.has(INFERRED) || flow.ends.iter().all(|end| end.segments > 0)
}

/// Whether the end at `side` is known to have been open: its own FIN may have come before the capture
/// began, unless its SYN or data of it was seen.
#[must_use]
pub fn was_open(flow: &Flow, facts: &Facts, side: Side) -> bool {
    flow.has(INFERRED) || flow.end(side).has(SYN_SEEN) || facts.last_data_ns[side.index()] != 0
}

/// Bytes of data that an end sent and that were never acknowledged.
#[must_use]
pub fn never_acknowledged(end: &End, peer: &End) -> u32 {
    if end.segments == 0 || peer.segments == 0 {
        return 0;
    }
    // A RST acknowledges too, although it moves no window.
    let by_signal = peer.has(HAS_SIGNAL_ACK) && after_number(peer.signal_ack, end.acked);
    let acked = if by_signal { peer.signal_ack } else { end.acked };
    // The SYN's own number is no data.
    let first = end.isn.wrapping_add(1);
    let acked = if after_number(first, acked) { first } else { acked };
    let sent = data_end(end);
    if after_number(sent, acked) { sent.wrapping_sub(acked) } else { 0 }
}

/// Bytes of a response that the server did not send: by its head it ends at `response_end`.
#[must_use]
pub fn missing(flow: &Flow, response_end: Option<u32>) -> u32 {
    let server = flow.end(flow.orig.other());
    let sent = data_end(server);
    // What the client acknowledged was sent, also where it was not captured.
    let sent = if after_number(server.acked, sent) { server.acked } else { sent };
    response_end.map_or(0, |end| if after_number(end, sent) { end.wrapping_sub(sent) } else { 0 })
}

/// The number behind the last byte of data that an end sent.
fn data_end(end: &End) -> u32 {
    let last_rst = end.isn.wrapping_add(end.rst_span[1]);
    if end.rsts != 0 && !end.has_reset() && end.next == last_rst {
        // A RST that was refused may have come from anywhere: its number proves nothing.
        return if end.fins == 0 { end.acked } else { end.fin_end().wrapping_sub(1) };
    }
    end.next.wrapping_sub(u32::from(end.fins != 0))
}

/// Whether the responder refused the connection: a RST in the place of its SYN. Zeek's `REJ` is
/// wider, and has in it what both ends reset before there was data.
#[must_use]
pub fn is_refusal(close: &Close) -> bool {
    close.conn_state == ConnState::Rej
        && close.first_closer == Some(Role::Resp)
        && close.resp.control[0] == 0
}

/// Whether both ends are the same: a client was given the port that it asks for as its own, nobody
/// listened there, and its SYN met its own socket (RFC 9293, 3.5: a simultaneous open).
#[must_use]
pub fn is_with_itself(close: &Close) -> bool {
    close.orig.endpoint == close.resp.endpoint
}

/// Whether nothing was captured but RSTs: what they ended, or answered, came before.
#[must_use]
pub fn is_only_resets(flow: &Flow) -> bool {
    !flow.has(INFERRED) && flow.ends.iter().all(|end| end.segments == u32::from(end.rsts))
}

/// Whether the originator's SYNs are all that was sent: who goes on was answered, captured or not.
#[must_use]
pub fn is_unanswered(close: &Close, flow: &Flow) -> bool {
    let orig = flow.end(flow.orig);
    close.conn_state == ConnState::S0 && orig.segments == u32::from(orig.syns)
}

/// Whether a SYN+ACK was answered by a RST without ACK: that is a host that knows of no connection,
/// and no application that closes one.
#[must_use]
pub fn is_unasked(flow: &Flow) -> bool {
    let (orig, resp) = (flow.end(flow.orig), flow.end(flow.orig.other()));
    let is_bare = orig.has_reset() && !orig.has(RST_WITH_ACK);
    let sent = u32::from(orig.syns) + u32::from(orig.rsts);
    !flow.has(INFERRED) && is_bare && resp.syns > 0 && orig.segments == sent
}

/// Whether the originator has not acknowledged the responder's SYN+ACK.
#[must_use]
pub fn is_half_open(flow: &Flow) -> bool {
    let (orig, resp) = (flow.end(flow.orig), flow.end(flow.orig.other()));
    !flow.has(INFERRED) && resp.syns > 0 && orig.segments == u32::from(orig.syns)
}

/// Whether the end at `side` repeated its FIN, and nothing acknowledged it.
#[must_use]
pub fn is_unheard(flow: &Flow, facts: &Facts, side: Side) -> bool {
    are_captured(flow) && flow.end(side).fins > 1 && facts.fin_acked_ns[side.index()] == 0
}

/// The sentence.
#[must_use]
pub fn tell(close: &Close, flow: &Flow, facts: &Facts, names: &Names<'_>) -> String {
    if is_with_itself(close) {
        let signal = close.first_signal.map(|signal| format!(", and closed with {}", sign(signal)));
        return format!("the socket is connected to itself{}", signal.unwrap_or_default());
    }
    let Some((first, signal)) = close.first_closer.zip(close.first_signal) else {
        return unclosed(close, flow, names);
    };
    if is_unasked(flow) {
        return format!(
            "{} answered the SYN+ACK with RST: its host knew nothing of the connection{}",
            names.orig,
            loss(close, flow, names)
        );
    }
    if is_only_resets(flow) {
        return format!("nothing but {} of {}'s was captured", sign(signal), names.role(first));
    }
    let side = if first == Role::Orig { flow.orig } else { flow.orig.other() };
    let mut story = opening(close, flow, facts, names, first, signal, side);
    story.push_str(&answer(close, flow, facts, names, first, side));
    story.push_str(&loss(close, flow, names));
    story
}

/// Who closed first, with what, and how long after the data.
fn opening(
    close: &Close,
    flow: &Flow,
    facts: &Facts,
    names: &Names<'_>,
    first: Role,
    signal: Signal,
    side: Side,
) -> String {
    let who = names.role(first);
    if is_refusal(close) {
        return format!("{who} refused the connection, with {}", sign(signal));
    }
    if signal == Signal::Timeout {
        return format!("{who} gave up waiting: nothing was sent");
    }
    let closed_ns = flow.end(side).closed_at();
    let last = facts.last_data_ns[side.index()];
    let peer_last = facts.last_data_ns[side.other().index()];
    let mut text = format!("{who} closed first, with {}", sign(signal));
    if last == closed_ns && last != 0 && signal == Signal::Fin {
        text.push_str(" on its last data");
    } else if last != 0 && last >= peer_last {
        text.push_str(&format!(", {} after its last data", after(closed_ns, last)));
    } else if peer_last != 0 && peer_last <= closed_ns {
        let peer = names.role(first.other());
        text.push_str(&format!(", {} after {peer}'s last data", after(closed_ns, peer_last)));
    } else if last != 0 {
        text.push_str(&format!(", {} after its last data", after(closed_ns, last)));
    }
    text
}

/// What the other end did about it.
fn answer(
    close: &Close,
    flow: &Flow,
    facts: &Facts,
    names: &Names<'_>,
    first: Role,
    side: Side,
) -> String {
    let (end, peer) = (flow.end(side), flow.end(side.other()));
    let other = names.role(first.other());
    let closed_ns = end.closed_at();
    let mut text = String::new();
    match close.answer {
        Some(Signal::Timeout) => text.push_str(&format!("; {other} gave up waiting")),
        Some(signal) => {
            let later = after(peer.closed_at(), closed_ns);
            let (by_fin, with) = (end.closed_by_fin(), sign(signal));
            let both_fins = by_fin && signal == Signal::Fin;
            let simultaneous = both_fins && closes_crossed(flow);
            text.push_str(&match signal {
                _ if simultaneous => format!(
                    "; {other} closed too, with {with} {later} later, before that FIN had reached \
                     it (a simultaneous close)"
                ),
                _ if by_fin && closes_crossed(flow) => {
                    format!(
                        "; {other} reset, with {with} {later} later, before that FIN had reached it"
                    )
                }
                _ if by_fin => format!("; {other} answered with {with} {later} later"),
                // A RST is answered by nothing; RSTs of both may be somebody's between them.
                Signal::Fin => {
                    format!("; {other} had sent its FIN before it came, seen {later} later")
                }
                _ => format!("; {other} reset as well, with {with} {later} later"),
            });
            let acked = facts.fin_acked_ns[side.other().index()];
            if signal == Signal::Fin && acked >= peer.fin_ns && acked != 0 {
                let more = after(acked, peer.fin_ns);
                text.push_str(&format!(", acknowledged after {more} more"));
            }
            if simultaneous && !end.has_reset() && !peer.has_reset() {
                text.push_str("; TIME_WAIT stays with both");
            }
        }
        None if is_refusal(close) => {}
        None if !are_captured(flow) => {
            text.push_str(&format!("; nothing of {other}'s was captured"));
        }
        None if end.closed_by_fin() && !was_open(flow, facts, side.other()) => {
            text.push_str(&format!("; {other} may have closed before the capture began"));
        }
        None if end.closed_by_fin() && end.has_reset() => {
            let later = after(end.rst_ns, end.fin_ns);
            text.push_str(&format!(
                "; {other} did not close, and {} reset the connection {later} later",
                names.role(first)
            ));
        }
        None if end.closed_by_fin() && is_unheard(flow, facts, side) => {
            text.push_str(&format!(
                "; {other} never acknowledged the FIN, which was sent {} times",
                end.fins
            ));
        }
        None if end.closed_by_fin() => {
            let open = time(close.half_closed_ns.unwrap_or(0));
            text.push_str(&format!(
                "; {other} never closed: half closed for {open}, as far as the capture goes"
            ));
        }
        None => {}
    }
    text
}

/// Whether it was clean, and what was lost.
fn loss(close: &Close, flow: &Flow, names: &Names<'_>) -> String {
    let clean = close.first_signal == Some(Signal::Fin) && close.answer == Some(Signal::Fin);
    let mut text = String::new();
    if clean && close.orig.rst_ns.is_none() && close.resp.rst_ns.is_none() {
        text.push_str("; clean");
    }
    let mut lost = false;
    for role in [Role::Orig, Role::Resp] {
        let side = if role == Role::Orig { flow.orig } else { flow.orig.other() };
        let missing = never_acknowledged(flow.end(side), flow.end(side.other()));
        if missing > 0 {
            lost = true;
            let whose = names.role(role);
            let (bytes, were) =
                (counted(missing.into(), "byte"), if missing == 1 { "was" } else { "were" });
            text.push_str(&format!("; {bytes} of {whose}'s {were} never acknowledged"));
        }
    }
    if !lost && are_captured(flow) {
        text.push_str("; nothing lost");
    }
    text
}

/// A connection that nobody closed.
fn unclosed(close: &Close, flow: &Flow, names: &Names<'_>) -> String {
    let times = |attempts: u16| match attempts {
        0 | 1 => String::new(),
        attempts => format!(", sent {attempts} times,"),
    };
    match close.conn_state {
        ConnState::S0 if !is_unanswered(close, flow) => {
            format!("nobody has closed; nothing of {}'s was captured", names.resp)
        }
        ConnState::S0 => {
            format!("{}'s SYN{} was not answered", names.orig, times(close.orig.control[0]))
        }
        ConnState::S1 if is_half_open(flow) => format!(
            "{} never completed the handshake: {}'s SYN+ACK{} was not acknowledged",
            names.orig,
            names.resp,
            times(close.resp.control[0])
        ),
        ConnState::S1 if close.is_unfinished() => {
            let mut text = String::from("nobody has closed: open when the capture ends");
            for role in [Role::Orig, Role::Resp] {
                let side = if role == Role::Orig { flow.orig } else { flow.orig.other() };
                let bytes = never_acknowledged(flow.end(side), flow.end(side.other()));
                if bytes > 0 {
                    let (bytes, whose) = (counted(bytes.into(), "byte"), names.role(role));
                    text.push_str(&format!("; {bytes} of {whose}'s not acknowledged yet"));
                }
            }
            text
        }
        ConnState::S1 if !close.is_expired() && !close.is_evicted() => {
            "nobody has closed, and another connection began on the same ports".into()
        }
        _ if close.is_midstream() => "neither its beginning nor its end was captured".into(),
        _ => "nobody has closed, as far as the capture goes".into(),
    }
}

/// The words that make a rule, as they are typed. Not everything that connections are grouped by is an
/// address that a rule could be for.
#[must_use]
pub fn command(whom: &str, rule: &str) -> String {
    let is_address = whom.parse::<SocketAddr>().is_ok() || whom.parse::<IpAddr>().is_ok();
    let whom = if is_address { whom } else { "ADDR[:PORT]" };
    format!("teardown watch --policy '{whom} {rule}'")
}

/// `FIN`, `RST` or `RST+ACK`.
#[must_use]
pub fn sign(signal: Signal) -> &'static str {
    match signal {
        Signal::Fin => "FIN",
        Signal::Rst => "RST",
        Signal::RstAck => "RST+ACK",
        Signal::Timeout => "a timeout",
    }
}

/// `1 byte`, `2 bytes`.
#[must_use]
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn after(later: u64, earlier: u64) -> String {
    time(later.saturating_sub(earlier))
}

/// A duration as the field writes it: milliseconds to the microsecond, then seconds, then minutes.
#[must_use]
pub fn time(ns: u64) -> String {
    let us = ns / 1_000;
    match us {
        0..10_000 => format!("{}.{:03} ms", us / 1_000, us % 1_000),
        10_000..1_000_000 => format!("{}.{} ms", us / 1_000, us / 100 % 10),
        1_000_000..600_000_000 => format!("{}.{:03} s", us / 1_000_000, us / 1_000 % 1_000),
        _ => format!("{} min {} s", us / 60_000_000, us / 1_000_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use proxy_common::flow::{Input, Mode, step};
    use proxy_common::key::{Endpoint, FlowKey};
    use proxy_common::segment::{ACK, FIN, Segment};

    #[test]
    fn an_end_that_is_not_looked_at_is_not_missing() {
        let [client, server] = [(1, 40000), (2, 80)].map(|(n, port)| Endpoint::v4([n; 4], port));
        let (key, sender) = FlowKey::new(client, server);
        let fin = Segment { sender, flags: FIN | ACK, seq: 7, ack: 9, ..Segment::zeroed() };
        for (mode, are) in [(Mode::SPARSE, true), (Mode::OFFLINE, false)] {
            let mut flow = Flow::new();
            step(&mut flow, &key, Input::Segment(&fin), mode, 1);
            assert_eq!(are_captured(&flow), are);
        }
    }

    #[test]
    fn times_are_short() {
        for (ns, text) in [
            (0, "0.000 ms"),
            (105_000, "0.105 ms"),
            (1_355_000, "1.355 ms"),
            (104_567_000, "104.5 ms"),
            (69_999_000_000, "69.999 s"),
            (3_725_000_000_000, "62 min 5 s"),
        ] {
            assert_eq!(time(ns), text);
        }
    }
}
