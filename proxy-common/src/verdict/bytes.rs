//! How many bytes of data an end sent.

use crate::flow::{End, EndpointState, Flow, INFERRED, SYN_SEEN};
use crate::key::Side;
use crate::socket::KNOWS_BYTES;

/// Bytes that the end at `side` sent, by the best witness; `None` where there is none.
///
/// Sequence numbers are exact, but modulo 2^32; the socket's counters have 64 bits, and count
/// SYN and FIN. Together they are exact.
pub(super) fn sent(flow: &Flow, side: Side) -> Option<u64> {
    let (end, peer) = (flow.end(side), flow.end(side.other()));
    let by_numbers = by_numbers(end, peer);
    match counted(end, peer, side.0 == flow.orig.0 & 1) {
        Some((counted, _)) if end.bits & SYN_SEEN != 0 => Some(together(counted, by_numbers)),
        // Not seen on the wire, the SYN and the FIN are told from data by what the socket did.
        Some((counted, Some(phantoms))) => Some(counted.saturating_sub(phantoms)),
        // Without either SYN the first number of a control segment is no beginning.
        _ if flow.has(INFERRED) && (end.bits | peer.bits) & SYN_SEEN == 0 => None,
        _ => Some(by_numbers),
    }
}

/// What a local socket counted of the bytes that `end` sent, and how many of these are its SYN and
/// its FIN. Of a socket that is older than its observer nobody knows who connected it.
fn counted(end: &End, peer: &End, is_orig: bool) -> Option<(u64, Option<u64>)> {
    let fin = u64::from(end.fin_ns != 0);
    let (counted, socket, syn) = if end.known & KNOWS_BYTES != 0 {
        (end.bytes_sent, end, u64::from(is_orig))
    } else if peer.known & KNOWS_BYTES != 0 {
        (peer.bytes_received, peer, 0)
    } else {
        return None;
    };
    Some((counted, (socket.cookie != 0).then_some(syn + fin)))
}

/// Zeek's `Size()`: what was sent or acknowledged, without the SYN and the FIN.
fn by_numbers(end: &End, peer: &End) -> u64 {
    let nothing_acked = end.ack_wraps == 0 && end.acked.wrapping_sub(end.isn) <= 1;
    if end.prev_state == EndpointState::SYN_SENT
        && end.state == EndpointState::RESET
        && peer.state == EndpointState::INACTIVE
        && !nothing_acked
    {
        // A half-open connection, found and aborted: its numbers mean nothing.
        return 0;
    }
    let full = |number: u32, wraps: u16| (u64::from(wraps) << 32) + u64::from(number);
    let reach = full(end.next, end.wraps).max(full(end.acked, end.ack_wraps));
    let size = reach.saturating_sub(u64::from(end.isn)).saturating_sub(1);
    if end.fins != 0 { size.saturating_sub(1) } else { size }
}

/// What `counted` and `exact` (of which only the low 32 bits hold) say together.
///
/// The counter may count a SYN and a FIN. Numbers that are ahead of it tell of bytes that are not
/// acknowledged yet; numbers that are further behind stem from an end that sent no FIN or RST.
fn together(counted: u64, exact: u64) -> u64 {
    let off = (exact as u32).wrapping_sub(counted as u32) as i32;
    if off < -2 { counted } else { counted.saturating_add_signed(i64::from(off)) }
}

#[cfg(test)]
mod tests {
    use super::together;

    #[test]
    fn a_counter_and_a_number_agree() {
        assert_eq!(together(101, 100), 100);
        assert_eq!(together((1 << 32) + 7, 5), (1 << 32) + 5);
        assert_eq!(together((3 << 32) + 1, u64::from(u32::MAX)), (3 << 32) - 1);
        assert_eq!(together(1, 0), 0);
        assert_eq!(together(500, 900), 900);
        assert_eq!(together(500, 0), 500);
    }
}
