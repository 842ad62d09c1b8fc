//! The answer: what a finished [`Flow`] says of how its connection closed.
//!
//! Derived in user space, live and offline alike; nothing here moves a flow.

mod bytes;
mod conn_state;
mod history;
pub mod vocabulary;

pub use conn_state::ConnState;
pub use history::History;

use crate::flow::{
    ABORTED, CLOSED, EVICTED, EXPIRED, End, Flow, HISTORY_CUT, INFERRED, MIDSTREAM, RST_WITH_ACK,
    TIMED_OUT, TRACKED, UNFINISHED, first_closer,
};
use crate::key::{Endpoint, FlowKey, Side};
use crate::socket::tcp_state::CLOSE;
use crate::socket::{
    KNOWS_CGROUP, KNOWS_ERROR, KNOWS_OWNER, KNOWS_PATH, KNOWS_RST_REASON, KNOWS_UNACKED,
    KNOWS_UNREAD,
};

/// An end of a connection by its part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The originator: who sent the SYN.
    Orig,
    /// The responder.
    Resp,
}

impl Role {
    /// `orig` or `resp`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Orig => "orig",
            Self::Resp => "resp",
        }
    }

    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Orig => Self::Resp,
            Self::Resp => Self::Orig,
        }
    }
}

/// What an end closed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// A FIN, with data or without.
    Fin,
    /// A RST without an acknowledgment.
    Rst,
    /// A RST+ACK.
    RstAck,
    /// Nothing was sent: a timer of the local socket gave up.
    Timeout,
}

impl Signal {
    /// `fin`, `rst`, `rst_ack` or `timeout`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
            Self::RstAck => "rst_ack",
            Self::Timeout => "timeout",
        }
    }
}

/// Who held a local socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Process id (thread group), as the initial namespace counts.
    pub pid: u32,
    /// The name, as in /proc/PID/comm, padded with zeros.
    pub comm: [u8; 16],
}

impl Owner {
    /// The name without its padding: bytes that its process chose.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.comm.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

/// What is known of one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndReport {
    /// Address and port.
    pub endpoint: Endpoint,
    /// Whether a socket on this host answers for this end.
    pub is_local: bool,
    /// Bytes of data that it sent, by sequence numbers and the socket's counters; `None` where
    /// neither tells.
    pub bytes: Option<u64>,
    /// Segments that it sent; `None` where only those with SYN, FIN or RST were looked at.
    pub segments: Option<u64>,
    /// SYNs, FINs and RSTs that it sent, repeats included.
    pub control: [u16; 3],
    /// Segments that it sent again: the socket's count, else what was seen; `None` where neither
    /// tells.
    pub retransmissions: Option<u32>,
    /// When its first FIN was seen.
    pub fin_ns: Option<u64>,
    /// The sequence number of its FIN.
    pub fin_seq: Option<u32>,
    /// When the RST that counts was seen.
    pub rst_ns: Option<u64>,
    /// Whether that RST carried an acknowledgment.
    pub rst_with_ack: bool,
    /// The sequence number of its last RST.
    pub rst_seq: Option<u32>,
    /// Bytes that it had received and thrown away unread.
    pub unread: Option<u32>,
    /// Bytes that it had sent, or meant to, and that were never acknowledged.
    pub unacked: Option<u32>,
    /// Smoothed round-trip time in microseconds.
    pub srtt_us: Option<u32>,
    /// The kernel's reason for a RST, in the running kernel's numbers.
    pub rst_reason: Option<u32>,
    /// The socket's last error, an errno other than 0.
    pub err: Option<u8>,
    /// The process that held the socket.
    pub owner: Option<Owner>,
    /// The cgroup id of that process.
    pub cgroup: Option<u64>,
    /// The local socket's cookie (`SO_COOKIE`).
    pub cookie: Option<u64>,
    /// Whether its socket gave up waiting.
    pub timed_out: bool,
}

/// How a connection closed. Times are nanoseconds of the clock that the flow was stepped with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// Zeek's name for it.
    pub conn_state: ConnState,
    /// Zeek's history.
    pub history: History,
    /// Who closed first, if anybody did.
    pub first_closer: Option<Role>,
    /// With what.
    pub first_signal: Option<Signal>,
    /// What the other end closed with.
    pub answer: Option<Signal>,
    /// How long the connection was half closed: from a first FIN to the answer, or else to the
    /// RST that the first closer sent itself, or to the end of what was seen.
    pub half_closed_ns: Option<u64>,
    /// When it was first seen.
    pub started_ns: u64,
    /// When it was over, or last seen where it never was.
    pub ended_ns: u64,
    /// From the first segment to the last that mattered (Zeek's `duration`).
    pub duration_ns: u64,
    /// The originator.
    pub orig: EndReport,
    /// The responder.
    pub resp: EndReport,
    /// RSTs and SYNs that closed and began nothing: out of window or challenged (RFC 5961).
    pub challenges: u16,
    /// Segments after the end.
    pub late: u16,
    /// The marks of the flow: `CLOSED`, `MIDSTREAM` and so on of [`crate::flow`].
    pub marks: u32,
}

impl Close {
    /// The report of one end.
    #[must_use]
    pub const fn end(&self, role: Role) -> &EndReport {
        match role {
            Role::Orig => &self.orig,
            Role::Resp => &self.resp,
        }
    }

    /// Whether it is over, and not only given up or still open.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.marks & CLOSED != 0
    }

    /// Whether its beginning was not seen.
    #[must_use]
    pub const fn is_midstream(&self) -> bool {
        self.marks & MIDSTREAM != 0
    }

    /// Whether letters and counts of data are inferred from sequence numbers.
    #[must_use]
    pub const fn is_inferred(&self) -> bool {
        self.marks & INFERRED != 0
    }

    /// Whether letters of the history are lost.
    #[must_use]
    pub const fn is_history_cut(&self) -> bool {
        self.marks & HISTORY_CUT != 0
    }

    /// Whether it was removed from a full table before its end.
    #[must_use]
    pub const fn is_evicted(&self) -> bool {
        self.marks & EVICTED != 0
    }

    /// Whether it was given up after silence.
    #[must_use]
    pub const fn is_expired(&self) -> bool {
        self.marks & EXPIRED != 0
    }

    /// Whether it was open when the observer stopped.
    #[must_use]
    pub const fn is_unfinished(&self) -> bool {
        self.marks & UNFINISHED != 0
    }
}

/// Reads the answer off a flow. It may be asked at any time, also of a connection that is open.
#[must_use]
pub fn close(key: &FlowKey, flow: &Flow) -> Close {
    let orig = Side(flow.orig.0 & 1);
    let role = |side: Side| if side == orig { Role::Orig } else { Role::Resp };
    let first = first_closer(flow);
    let last_ns = flow.last_ns.max(flow.started_ns);
    let ended_ns = if flow.has(CLOSED) { flow.closed_ns } else { last_ns };
    Close {
        conn_state: ConnState::of(flow),
        history: History::of(flow),
        first_closer: first.map(role),
        first_signal: first.and_then(|side| signal(flow.end(side))),
        answer: first.and_then(|side| signal(flow.end(side.other()))),
        half_closed_ns: first.and_then(|side| half_closed(flow, side, ended_ns)),
        started_ns: flow.started_ns,
        ended_ns,
        duration_ns: last_ns.saturating_sub(flow.started_ns),
        orig: report(key, flow, orig),
        resp: report(key, flow, orig.other()),
        challenges: flow.challenges,
        late: flow.late,
        marks: flow.marks,
    }
}

/// What `end` closed with first.
fn signal(end: &End) -> Option<Signal> {
    if end.closed_by_fin() {
        Some(Signal::Fin)
    } else if end.has_reset() {
        Some(if end.has(RST_WITH_ACK) { Signal::RstAck } else { Signal::Rst })
    } else if end.has(TIMED_OUT) {
        Some(Signal::Timeout)
    } else {
        None
    }
}

fn half_closed(flow: &Flow, first: Side, ended_ns: u64) -> Option<u64> {
    let (end, peer) = (flow.end(first), flow.end(first.other()));
    if !end.closed_by_fin() {
        return None;
    }
    let until = match (peer.closed_at(), end.has_reset()) {
        (0, true) => end.rst_ns,
        (0, false) => ended_ns,
        (answered, true) => answered.min(end.rst_ns),
        (answered, false) => answered,
    };
    Some(until.saturating_sub(end.fin_ns))
}

/// Whether the application gave the connection up. Only then is what it had not read lost: after
/// a FIN, or the peer's RST, a socket can still be read.
fn aborted(end: &End) -> bool {
    let closed_silently = end.socket_state == CLOSE && end.fin_ns == 0 && end.err == 0;
    end.has_reset() || end.has(ABORTED) || closed_silently
}

fn report(key: &FlowKey, flow: &Flow, side: Side) -> EndReport {
    let end = flow.end(side);
    let knows = |field: u16| end.known & field != 0;
    let inferred = flow.has(INFERRED);
    EndReport {
        endpoint: *key.end(side),
        is_local: end.has(TRACKED),
        bytes: bytes::sent(flow, side),
        segments: (!inferred).then_some(u64::from(end.segments)),
        control: [end.syns, end.fins, end.rsts],
        retransmissions: if knows(KNOWS_PATH) {
            Some(end.socket_retransmissions)
        } else {
            (!inferred).then_some(end.retransmissions)
        },
        fin_ns: (end.fin_ns != 0).then_some(end.fin_ns),
        fin_seq: (end.fins != 0).then(|| end.fin_end().wrapping_sub(1)),
        rst_ns: end.has_reset().then_some(end.rst_ns),
        rst_with_ack: end.has(RST_WITH_ACK),
        rst_seq: (end.rsts != 0).then(|| end.isn.wrapping_add(end.last_rst)),
        unread: knows(KNOWS_UNREAD).then_some(if aborted(end) { end.unread } else { 0 }),
        unacked: knows(KNOWS_UNACKED).then_some(end.unacked),
        srtt_us: knows(KNOWS_PATH).then_some(end.srtt_us),
        rst_reason: knows(KNOWS_RST_REASON).then_some(end.rst_reason),
        err: (knows(KNOWS_ERROR) && end.err != 0).then_some(end.err),
        owner: knows(KNOWS_OWNER).then_some(Owner { pid: end.pid, comm: end.comm }),
        cgroup: knows(KNOWS_CGROUP).then_some(end.cgroup),
        cookie: (end.cookie != 0).then_some(end.cookie),
        timed_out: end.has(TIMED_OUT),
    }
}
