//! What a local socket's word does to a flow.
//!
//! The socket is the better witness where the wire is silent or ambiguous: whether a RST was
//! accepted, that a timer gave up, and that a FIN or RST came by a way that is not observed.

use super::close;
use super::{
    ABORTED, CLOSED, DID_CLOSE, EndpointState, Flow, Outcome, RST_DOUBTED, SEEN, SHUT_READ,
    SHUT_WRITE, SOCKET_ENDED, STARTED, TIMED_OUT, TRACKED, history, is_likely_server_port, rst,
    states,
};
use crate::key::{FlowKey, Side};
use crate::socket::tcp_state::{
    CLOSE, CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LAST_ACK, SYN_RECV, SYN_SENT,
};
use crate::socket::{
    KNOWS_BYTES, KNOWS_CGROUP, KNOWS_ERROR, KNOWS_OWNER, KNOWS_PATH, KNOWS_RST_REASON,
    KNOWS_SHUTDOWN, KNOWS_STATE, KNOWS_UNACKED, KNOWS_UNREAD, RCV_SHUTDOWN, SEND_SHUTDOWN,
    SocketEvent,
};

/// errno values that a TCP socket ends with (include/uapi/asm-generic/errno*.h).
const EPIPE: u16 = 32;
const ENETUNREACH: u16 = 101;
const ECONNABORTED: u16 = 103;
const ECONNRESET: u16 = 104;
const ETIMEDOUT: u16 = 110;
const ECONNREFUSED: u16 = 111;
const EHOSTUNREACH: u16 = 113;

/// Moves `flow` by what a socket said.
#[inline(always)]
pub(super) fn step(flow: &mut Flow, key: &FlowKey, event: &SocketEvent, now_ns: u64) -> Outcome {
    if flow.has(CLOSED) {
        return Outcome(Outcome::LATE);
    }
    let side = Side(event.side.0 & 1);
    if flow.started_ns == 0 {
        begin(flow, key, event, now_ns);
    }
    take_facts(flow, side, event);
    if event.knows(KNOWS_STATE) {
        let end = flow.end_mut(side);
        end.bits |= TRACKED;
        end.socket_state = event.new_state;
        if !(flow.ends[0].has(DID_CLOSE) && flow.ends[1].has(DID_CLOSE)) {
            flow.last_ns = now_ns;
        }
        if event.new_state == CLOSE {
            end_of_socket(flow, side, event, now_ns);
        } else {
            // It lives: a RST that came before was not believed.
            rst::disprove(flow, side.other());
            if event.new_state == CLOSE_WAIT || event.new_state == CLOSING {
                witness_fin(flow, side.other(), now_ns);
            }
        }
    }
    close::conclude(flow, now_ns)
}

/// Takes what is told of a socket beside its states, also after the connection's end: the reason
/// of a RST, what it threw away, an owner. Nothing but these facts changes.
pub fn learn(flow: &mut Flow, event: &SocketEvent) {
    take_facts(flow, Side(event.side.0 & 1), event);
}

/// The roles, until a segment tells better.
#[inline(always)]
fn begin(flow: &mut Flow, key: &FlowKey, event: &SocketEvent, now_ns: u64) {
    let side = Side(event.side.0 & 1);
    flow.started_ns = now_ns;
    flow.last_ns = now_ns;
    let connects = event.old_state == SYN_SENT || event.new_state == SYN_SENT;
    let accepts = event.old_state == SYN_RECV && event.new_state == ESTABLISHED;
    let serves = accepts || (!connects && is_likely_server_port(key.end(side).port));
    flow.orig = if serves { side.other() } else { side };
}

#[inline(always)]
fn take_facts(flow: &mut Flow, side: Side, event: &SocketEvent) {
    let end = flow.end_mut(side);
    end.known |= event.known;
    if event.cookie != 0 {
        end.cookie = event.cookie;
    }
    if event.knows(KNOWS_BYTES) {
        end.bytes_sent = event.bytes_sent;
        end.bytes_received = event.bytes_received;
    }
    if event.knows(KNOWS_PATH) {
        end.srtt_us = event.srtt_us;
        end.socket_retransmissions = event.retransmissions;
    }
    if event.knows(KNOWS_UNREAD) {
        end.unread = event.unread;
    }
    if event.knows(KNOWS_UNACKED) {
        end.unacked = event.unacked;
    }
    if event.knows(KNOWS_OWNER) {
        end.pid = event.pid;
        end.comm = event.comm;
    }
    if event.knows(KNOWS_CGROUP) {
        end.cgroup = event.cgroup;
    }
    if event.knows(KNOWS_RST_REASON) {
        end.rst_reason = event.rst_reason;
    }
    if event.knows(KNOWS_ERROR) {
        end.err = event.err as u8;
    }
    if event.knows(KNOWS_SHUTDOWN) {
        if event.shutdown & RCV_SHUTDOWN != 0 {
            end.bits |= SHUT_READ;
        }
        if event.shutdown & SEND_SHUTDOWN != 0 {
            end.bits |= SHUT_WRITE;
        }
    }
}

/// The socket is gone. Whether the connection is, depends on why.
#[inline(always)]
fn end_of_socket(flow: &mut Flow, side: Side, event: &SocketEvent, now_ns: u64) {
    let peer = side.other();
    let err = if event.knows(KNOWS_ERROR) { event.err } else { 0 };
    // Gone is gone: a RST that was waiting for the socket's word was believed.
    flow.end_mut(peer).bits &= !RST_DOUBTED;
    if event.old_state == SYN_SENT {
        // What it reset before was not this connection.
        rst::disprove(flow, side);
    }
    if err == ECONNRESET && is_abort_on_data(flow, peer, event.old_state) {
        // As below: the RST that answers the data comes next.
    } else if err == ECONNRESET || err == EPIPE || err == ECONNREFUSED {
        witness_rst(flow, peer, now_ns);
        flow.end_mut(side).bits |= SOCKET_ENDED;
    } else if err == ETIMEDOUT || err == EHOSTUNREACH || err == ENETUNREACH {
        flow.end_mut(side).bits |= SOCKET_ENDED | TIMED_OUT;
        close::mark_first(flow, side);
    } else if err == ECONNABORTED {
        // Destroyed from outside (SOCK_DESTROY); its RST, where one was due, went out before.
        flow.end_mut(side).bits |= SOCKET_ENDED;
    } else if event.old_state == LAST_ACK || event.old_state == CLOSING {
        witness_fin(flow, peer, now_ns);
        witness_fin(flow, side, now_ns);
        flow.end_mut(side).bits |= SOCKET_ENDED;
    } else if event.old_state == SYN_SENT {
        flow.end_mut(side).bits |= SOCKET_ENDED;
    } else if err == 0 && (event.old_state == ESTABLISHED || event.old_state == CLOSE_WAIT) {
        flow.end_mut(side).bits |= ABORTED;
    }
    // Else: FIN_WAIT2 has become a TIME_WAIT minisock and the peer may still send, or it is an
    // abort, and the kernel sends the RST only after it has left the state.
}

/// Whether a socket that has closed for reading got data and aborts. Linux gives it the error of
/// a received RST (`tcp_rcv_state_process` calls `tcp_reset`), though it is about to send one.
#[inline(always)]
fn is_abort_on_data(flow: &Flow, peer: Side, old_state: u8) -> bool {
    let end = flow.end(peer);
    (old_state == FIN_WAIT1 || old_state == FIN_WAIT2) && end.has(SEEN) && end.rst_ns == 0
}

/// The socket proves a FIN that was not seen.
#[inline(always)]
pub(super) fn witness_fin(flow: &mut Flow, of: Side, now_ns: u64) {
    if flow.end(of).fin_ns != 0 {
        return;
    }
    close::note_fin(flow.end_mut(of), now_ns);
    close::mark_first(flow, of);
    history::add_once(flow, of, history::FIN_LETTER, b'F');
    states::set_state(flow.end_mut(of), EndpointState::CLOSED);
    states::settle(flow, of, now_ns);
}

/// The socket proves a RST that was not seen, or that was not thought to count.
#[inline(always)]
fn witness_rst(flow: &mut Flow, of: Side, now_ns: u64) {
    rst::accept(flow, of);
    let end = flow.end_mut(of);
    if end.rst_ns != 0 {
        return;
    }
    end.rst_ns = if now_ns == 0 { 1 } else { now_ns };
    close::mark_first(flow, of);
    history::add_once(flow, of, history::RST_LETTER, b'R');
    states::set_state(flow.end_mut(of), EndpointState::RESET);
    states::settle(flow, of, now_ns);
}

/// Whether a SYN from the other end meets a living socket at `side`: that is challenged
/// (RFC 5961, 4), and begins nothing.
#[inline(always)]
pub(super) fn is_alive(flow: &Flow, side: Side) -> bool {
    let end = flow.end(side);
    flow.has(STARTED)
        && end.has(TRACKED)
        && end.socket_state != 0
        && end.socket_state != CLOSE
        && end.socket_state != SYN_SENT
        && end.socket_state != SYN_RECV
}
