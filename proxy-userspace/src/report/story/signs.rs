//! What the numbers of a connection's two ends show.

use super::Facts;
use proxy_common::flow::{
    End, Flow, HAS_SIGNAL_ACK, INFERRED, RST_WITH_ACK, SYN_SEEN, closes_crossed,
};
use proxy_common::key::Side;
use proxy_common::seq::after as after_number;
use proxy_common::verdict::{Close, ConnState, Role, Signal};

/// The side of `flow` that the end in this role has.
#[must_use]
pub fn side_of(flow: &Flow, role: Role) -> Side {
    if role == Role::Orig { flow.orig } else { flow.orig.other() }
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

/// Whether an end acknowledges what the capture does not show.
#[must_use]
pub fn is_one_sided(flow: &Flow) -> bool {
    !are_captured(flow) && flow.ends.iter().any(|end| end.segments == 0 && end.acked != 0)
}

/// With whom TIME_WAIT stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeWait {
    /// With who closed first.
    At(Role),
    /// With both: neither had the other's FIN when it closed.
    AtBoth,
}

/// With whom TIME_WAIT stays; `None` where both ends did not close by FIN.
#[must_use]
pub fn time_wait(close: &Close, flow: &Flow) -> Option<TimeWait> {
    let are_fins = close.first_signal == Some(Signal::Fin) && close.answer == Some(Signal::Fin);
    let first = close.first_closer.filter(|_| are_fins)?;
    Some(if closes_crossed(flow) { TimeWait::AtBoth } else { TimeWait::At(first) })
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
    let is_told = are_captured(flow) && !facts.is_filtered;
    is_told && flow.end(side).fins > 1 && facts.fin_acked_ns[side.index()] == 0
}
