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
        Some(Counted { all, phantoms, .. }) if end.bits & SYN_SEEN != 0 => {
            Some(together(all, phantoms, by_numbers))
        }
        Some(Counted { all, phantoms, connector_known: true }) => {
            Some(all.saturating_sub(phantoms))
        }
        // Without either SYN the first number of a control segment is no beginning.
        _ if flow.has(INFERRED) && (end.bits | peer.bits) & SYN_SEEN == 0 => None,
        _ => Some(by_numbers),
    }
}

/// What a local socket counted of the bytes that an end sent.
struct Counted {
    all: u64,
    /// How many of these are its SYN and its FIN.
    phantoms: u64,
    /// Whether the socket was there from its beginning: of an older one nobody knows who connected,
    /// where no SYN was seen either.
    connector_known: bool,
}

fn counted(end: &End, peer: &End, is_orig: bool) -> Option<Counted> {
    let fin = u64::from(end.fin_ns != 0);
    let (counted, socket, syn) = if end.known & KNOWS_BYTES != 0 {
        (end.bytes_sent, end, u64::from(is_orig))
    } else if peer.known & KNOWS_BYTES != 0 {
        (peer.bytes_received, peer, 0)
    } else {
        return None;
    };
    Some(Counted { all: counted, phantoms: syn + fin, connector_known: socket.cookie != 0 })
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

/// What `counted`, `phantoms` of it no data, and `exact` (of which only the low 32 bits hold) say
/// together.
///
/// Numbers that are ahead of the counter tell of bytes that it does not have yet; numbers that are
/// further behind stem from an end that sent no FIN or RST.
fn together(counted: u64, phantoms: u64, exact: u64) -> u64 {
    let off = (exact as u32).wrapping_sub(counted as u32) as i32;
    if off < -2 {
        counted.saturating_sub(phantoms)
    } else {
        counted.saturating_add_signed(i64::from(off))
    }
}

#[cfg(test)]
mod tests {
    use super::together;

    #[test]
    fn a_counter_and_a_number_agree() {
        assert_eq!(together(101, 1, 100), 100);
        assert_eq!(together((1 << 32) + 7, 2, 5), (1 << 32) + 5);
        assert_eq!(together((3 << 32) + 1, 1, u64::from(u32::MAX)), (3 << 32) - 1);
        assert_eq!(together(1, 1, 0), 0);
        assert_eq!(together(500, 1, 900), 900);
        assert_eq!(together(500, 0, 0), 500);
        // Acknowledged, on their way, and the SYN: a RST without ACK ended it.
        assert_eq!(together(67, 1, 33), 66);
    }
}
