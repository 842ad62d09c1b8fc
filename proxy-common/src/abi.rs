//! What crosses the line between the kernel programs and the daemon.
//!
//! Integers and transparent newtypes only, without padding ([`bytemuck::Pod`] proves it). Both
//! sides compile it; [`ABI_VERSION`] stands in the object's read-only data as well, and the
//! daemon compares it before it attaches anything.

mod counters;
mod offsets;
mod rules;

pub use counters::{COUNTERS, Counter};
pub use offsets::{NO_OFFSET, Offsets};
pub use rules::{
    CLASS_CHECK, CLASS_TRAFFIC, CLASS_TUNNEL, PEER_PORT_BITS, Peer, REFUSALS, RULES, Rule,
    RuleCounts, STATEMENTS, Statement,
};

use crate::acts::Acts;
use crate::flow::Flow;
use crate::key::{Endpoint, FlowKey, Side};
use crate::segment::Segment;
use crate::socket::SocketEvent;
use crate::stand_in::StandIn;
use bytemuck::{Pod, Zeroable};

/// Changes with every change of a type in here, of [`Flow`] or of [`Segment`].
pub const ABI_VERSION: u32 = 10;

/// `Record::kind`: nothing, as another CPU told it first, or as it is there to wake the daemon only.
pub const RECORD_NOTHING: u32 = 0;
/// `Record::kind`: a connection is over; the record is a [`CloseRecord`].
pub const RECORD_CLOSE: u32 = 1;
/// `Record::kind`: a control segment was seen; the record is a [`SegmentRecord`].
pub const RECORD_SEGMENT: u32 = 2;
/// `Record::kind`: a socket began to listen; the record is a [`ListenRecord`].
pub const RECORD_LISTEN: u32 = 3;
/// `Record::kind`: a tracepoint told something; the record is a [`FactsRecord`].
pub const RECORD_FACTS: u32 = 4;
/// `Record::kind`: a connection under a deadline is half closed; the record is a
/// [`DeadlineRecord`].
pub const RECORD_DEADLINE: u32 = 5;

/// The end of a connection: all that is known of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct CloseRecord {
    /// [`RECORD_CLOSE`].
    pub kind: u32,
    /// The connection.
    pub key: FlowKey,
    /// What the machine knows of it.
    pub flow: Flow,
    /// What teardown did to it.
    pub acts: Acts,
}

/// One control segment, on request only. Behind it in the ring stand the first bytes of its data,
/// where those were asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct SegmentRecord {
    /// [`RECORD_SEGMENT`].
    pub kind: u32,
    /// The connection.
    pub key: FlowKey,
    /// When it was seen, CLOCK_MONOTONIC in nanoseconds.
    pub at_ns: u64,
    /// The segment.
    pub segment: Segment,
}

/// Bytes of data that are told with a segment at most; a power of two.
pub const MOST_PAYLOAD: u32 = 1024;

/// A listening socket and who opened it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct ListenRecord {
    /// [`RECORD_LISTEN`].
    pub kind: u32,
    /// Always 0.
    pub reserved: [u8; 2],
    /// Where it listens; the unspecified address means all.
    pub endpoint: Endpoint,
    /// Who called listen(2): the `pid`, `comm` and `cgroup` of an event.
    pub event: SocketEvent,
}

/// What a tracepoint told of a connection's socket, beside the flow: tracing programs cannot take
/// the lock of a flow, so the daemon joins it to the close.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct FactsRecord {
    /// [`RECORD_FACTS`].
    pub kind: u32,
    /// The connection.
    pub key: FlowKey,
    /// What is known, of which side.
    pub event: SocketEvent,
}

/// One end of a connection under a deadline has finished: the other is awaited from now on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct DeadlineRecord {
    /// [`RECORD_DEADLINE`].
    pub kind: u32,
    /// The connection.
    pub key: FlowKey,
    /// When the FIN was seen, CLOCK_MONOTONIC in nanoseconds.
    pub begun_ns: u64,
    /// How long the rule waits for the other end, in milliseconds.
    pub wait_ms: u32,
    /// Which end is this host's.
    pub local: Side,
    /// Always 0.
    pub reserved: [u8; 3],
}

/// How many entries the daemon hands to the reaper at once.
pub const REAP_BATCH: usize = 128;

/// `ReapEntry::verb`: nothing to do.
pub const REAP_NOTHING: u32 = 0;
/// `ReapEntry::verb`: free the entry of a connection that was reported.
pub const REAP_RECLAIM: u32 = 1;
/// `ReapEntry::verb`: report a connection that showed no life for long, and free its entry.
pub const REAP_EXPIRE: u32 = 2;
/// `ReapEntry::verb`: report a connection as far as it is known, to make room.
pub const REAP_EVICT: u32 = 3;

/// One connection for the reaper.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct ReapEntry {
    /// The connection.
    pub key: FlowKey,
    /// `REAP_*`.
    pub verb: u32,
    /// Only if the flow began then: else the tuple is used by another connection by now.
    pub started_ns: u64,
}

/// What the daemon asks of the reaper.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Reap {
    /// The connections; those behind the last have [`REAP_NOTHING`].
    pub entries: [ReapEntry; REAP_BATCH],
}

/// `Switches`: every segment is stepped, not control segments alone (`--history full`).
pub const SWITCH_FULL_HISTORY: u32 = 1;
/// `Switches`: control segments are reported one by one (`--segments`).
pub const SWITCH_SEGMENTS: u32 = 2;
/// `Switches`: closes may be changed. Without it no program contains the code.
pub const SWITCH_ENFORCE: u32 = 4;
/// The programs outlive the daemon, as filters of a qdisc do.
pub const SWITCH_OUTLIVES: u32 = 8;

/// The index of `lo` in every network namespace.
pub const LOOPBACK: u32 = 1;

/// `Slot::reported`: the daemon was told of the connection's end.
pub const REPORTED: u32 = 1;
/// `Slot::reported`: the same, and the entry is about to be freed: no connection may begin in it.
pub const LEAVING: u32 = 2;

/// An entry of the flow table, as the daemon reads it. The kernel side has a type of its own, whose
/// lock the kernel knows by the name of its type; size and order are the same.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Slot {
    /// The kernel shows it as 0.
    pub lock: u32,
    /// 0 while the connection lasts, then [`REPORTED`], then [`LEAVING`].
    pub reported: u32,
    /// The connection.
    pub flow: Flow,
    /// What teardown did to it.
    pub acts: Acts,
}

/// An entry of the table of stand-ins, as the daemon reads it. The kernel side has a type of its
/// own, as for [`Slot`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct StandInSlot {
    /// The kernel shows it as 0.
    pub lock: u32,
    /// Always 0.
    pub reserved: u32,
    /// What stands in.
    pub stand_in: StandIn,
}

/// How many sockets can be stood in for at once, unless the daemon says otherwise as it loads.
pub const STAND_INS: usize = 65_536;

const _: () = assert!(size_of::<CloseRecord>() == 40 + size_of::<Flow>() + size_of::<Acts>());
