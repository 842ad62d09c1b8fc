//! When a flow that nothing more comes for is given up.

use super::{CLOSED, DID_CLOSE, End, EndpointState, Flow, TRACKED, wire_is_over};
use crate::socket::tcp_state::CLOSE;

const SECOND: u64 = 1_000_000_000;

/// Zeek's `tcp_close_delay`: from both closes, or a RST, to forgetting.
const CLOSE_DELAY: u64 = 5 * SECOND;
/// Zeek's `tcp_attempt_delay`: how long a SYN may go unanswered.
const ATTEMPT_DELAY: u64 = 5 * SECOND;
/// Zeek's `tcp_connection_linger`: silence after one end closed and the other never spoke.
const LINGER: u64 = 5 * SECOND;
/// Zeek's `tcp_partial_close_delay`: after one end, never seen before, closed.
const PARTIAL_CLOSE_DELAY: u64 = 3 * SECOND;
/// Zeek's `udp_inactivity_timeout`, which it also gives a TCP handshake.
const HANDSHAKE_TIMEOUT: u64 = 60 * SECOND;
/// Zeek's `tcp_inactivity_timeout`.
const INACTIVITY_TIMEOUT: u64 = 300 * SECOND;
/// The kernel's `TCP_TIMEWAIT_LEN`, also the default of `tcp_fin_timeout`.
const TIME_WAIT: u64 = 60 * SECOND;

/// Whether Zeek, with its default timers, has forgotten the connection by `now_ns`: what comes
/// then on its tuple is another one. For reading captures as Zeek does.
#[must_use]
pub fn expired(flow: &Flow, now_ns: u64) -> bool {
    let (orig, resp) = (flow.end(flow.orig), flow.end(flow.orig.other()));
    let silence = now_ns.saturating_sub(flow.last_ns);
    if flow.settled_ns != 0 {
        return now_ns.saturating_sub(flow.settled_ns) > CLOSE_DELAY;
    }
    let attempt =
        orig.state == EndpointState::SYN_SENT || orig.state == EndpointState::SYN_ACK_SENT;
    if attempt && resp.state == EndpointState::INACTIVE {
        return now_ns.saturating_sub(flow.started_ns) > ATTEMPT_DELAY;
    }
    let one_closed = orig.has(DID_CLOSE) || resp.has(DID_CLOSE);
    let is_over =
        |end: &End| end.state == EndpointState::RESET || end.state == EndpointState::INACTIVE;
    if one_closed && (is_over(orig) || is_over(resp)) {
        return silence > LINGER;
    }
    let closed_unheard =
        |end: &End| end.has(DID_CLOSE) && end.prev_state == EndpointState::INACTIVE;
    if closed_unheard(orig) || closed_unheard(resp) {
        return silence > PARTIAL_CLOSE_DELAY;
    }
    let in_handshake = |end: &End| end.state.0 <= EndpointState::SYN_ACK_SENT.0;
    let limit = if in_handshake(orig) && in_handshake(resp) {
        HANDSHAKE_TIMEOUT
    } else {
        INACTIVITY_TIMEOUT
    };
    silence > limit
}

/// Whether a live flow waits for something that will not come: every socket is gone, or the wire
/// is over, and nothing happened for as long as the kernel keeps a TIME_WAIT.
#[must_use]
pub fn stale(flow: &Flow, now_ns: u64) -> bool {
    let gone = |end: &End| !end.has(TRACKED) || end.socket_state == CLOSE;
    let tracked = flow.ends[0].has(TRACKED) || flow.ends[1].has(TRACKED);
    let sockets_gone = tracked && gone(&flow.ends[0]) && gone(&flow.ends[1]);
    !flow.has(CLOSED)
        && (sockets_gone || wire_is_over(flow))
        && now_ns.saturating_sub(flow.last_ns) > TIME_WAIT
}
