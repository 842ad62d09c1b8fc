//! What crosses the line between the kernel programs and the daemon.
//!
//! Integers and transparent newtypes only, without padding ([`bytemuck::Pod`] proves it). Both
//! sides compile this file; [`ABI_VERSION`] stands in the object's read-only data as well, and the
//! daemon compares it before it attaches anything.

use crate::acts::Acts;
use crate::decide::Refusal;
use crate::flow::Flow;
use crate::key::{Endpoint, FlowKey, Side};
use crate::policy::Policy;
use crate::segment::Segment;
use crate::socket::SocketEvent;
use crate::stand_in::StandIn;
use bytemuck::{Pod, Zeroable};

/// Changes with every change of a type in this file, of [`Flow`] or of [`Segment`].
pub const ABI_VERSION: u32 = 6;

/// `Record::kind`: another CPU told it first.
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

/// An entry of [`Offsets`] that the running kernel does not have.
pub const NO_OFFSET: u32 = u32::MAX;

/// Where the running kernel keeps what the programs read, from its BTF, in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Offsets {
    /// `tcp_sock.copied_seq`: the application has read up to here.
    pub copied_seq: u32,
    /// `tcp_sock.write_seq`: the application has written up to here.
    pub write_seq: u32,
    /// `tcp_sock.rcv_nxt`: the next byte expected.
    pub rcv_nxt: u32,
    /// `tcp_sock.snd_una`: the first byte not acknowledged.
    pub snd_una: u32,
    /// `sock.sk_shutdown`.
    pub sk_shutdown: u32,
    /// `sock.sk_err`.
    pub sk_err: u32,
    /// `sock_common.skc_flags`.
    pub sk_flags: u32,
    /// `sock.sk_cgrp_data.cgroup`.
    pub sk_cgroup: u32,
    /// `cgroup.kn`.
    pub cgroup_kn: u32,
    /// `kernfs_node.id`.
    pub kn_id: u32,
    /// `task_struct.tgid`.
    pub task_tgid: u32,
    /// `task_struct.group_leader`.
    pub task_leader: u32,
    /// `task_struct.comm`.
    pub task_comm: u32,
    /// `sock_common.skc_state`.
    pub skc_state: u32,
    /// `sock_common.skc_family`.
    pub skc_family: u32,
    /// `inet_sock.inet_sport`: the local port, network order; `skc_num` is 0 after an abort.
    pub inet_sport: u32,
    /// `sock_common.skc_dport`: the remote port, network order.
    pub skc_dport: u32,
    /// `sock_common.skc_rcv_saddr`.
    pub skc_rcv_saddr: u32,
    /// `sock_common.skc_daddr`.
    pub skc_daddr: u32,
    /// `sock_common.skc_v6_rcv_saddr`.
    pub skc_v6_rcv_saddr: u32,
    /// `sock_common.skc_v6_daddr`.
    pub skc_v6_daddr: u32,
    /// `sock_common.skc_net.net`.
    pub skc_net: u32,
    /// `net.net_cookie`.
    pub net_cookie: u32,
    /// `sk_buff.head`.
    pub skb_head: u32,
    /// `sk_buff.network_header`.
    pub skb_network_header: u32,
    /// `sk_buff.dev`.
    pub skb_dev: u32,
    /// `net_device.nd_net.net`.
    pub dev_net: u32,
    /// `tcp_sock.tcp_header_len`: 20, or 32 with timestamps; more with a signature.
    pub tcp_header_len: u32,
    /// `tcp_sock.rx_opt.ts_recent`: what TSecr echoes.
    pub ts_recent: u32,
    /// `tcp_sock.tsoffset`: what TSval adds to the clock.
    pub ts_offset: u32,
    /// `inet_timewait_sock.tw_substate`: FIN_WAIT2, or TIME_WAIT in earnest.
    pub tw_substate: u32,
    /// `sock_common.skc_tw_rcv_nxt`, of a minisock.
    pub tw_rcv_nxt: u32,
    /// `sock_common.skc_tw_snd_nxt`, of a minisock.
    pub tw_snd_nxt: u32,
    /// `tcp_timewait_sock.tw_ts_recent`: 0 without timestamps.
    pub tw_ts_recent: u32,
    /// `tcp_timewait_sock.tw_ts_offset`.
    pub tw_ts_offset: u32,
}

impl Offsets {
    /// No offset known: every feature that needs one is off.
    pub const NONE: Self = Self {
        copied_seq: NO_OFFSET,
        write_seq: NO_OFFSET,
        rcv_nxt: NO_OFFSET,
        snd_una: NO_OFFSET,
        sk_shutdown: NO_OFFSET,
        sk_err: NO_OFFSET,
        sk_flags: NO_OFFSET,
        sk_cgroup: NO_OFFSET,
        cgroup_kn: NO_OFFSET,
        kn_id: NO_OFFSET,
        task_tgid: NO_OFFSET,
        task_leader: NO_OFFSET,
        task_comm: NO_OFFSET,
        skc_state: NO_OFFSET,
        skc_family: NO_OFFSET,
        inet_sport: NO_OFFSET,
        skc_dport: NO_OFFSET,
        skc_rcv_saddr: NO_OFFSET,
        skc_daddr: NO_OFFSET,
        skc_v6_rcv_saddr: NO_OFFSET,
        skc_v6_daddr: NO_OFFSET,
        skc_net: NO_OFFSET,
        net_cookie: NO_OFFSET,
        skb_head: NO_OFFSET,
        skb_network_header: NO_OFFSET,
        skb_dev: NO_OFFSET,
        dev_net: NO_OFFSET,
        tcp_header_len: NO_OFFSET,
        ts_recent: NO_OFFSET,
        ts_offset: NO_OFFSET,
        tw_substate: NO_OFFSET,
        tw_rcv_nxt: NO_OFFSET,
        tw_snd_nxt: NO_OFFSET,
        tw_ts_recent: NO_OFFSET,
        tw_ts_offset: NO_OFFSET,
    };
}

/// An entry of the flow table, as the daemon reads it. The kernel side has a type of its own, whose
/// lock the kernel knows by the name of its type; size and order are the same.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Slot {
    /// The kernel shows it as 0.
    pub lock: u32,
    /// 1 once the daemon was told of the connection's end.
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

/// How many sockets can be stood in for at once.
pub const STAND_INS: usize = 65_536;

/// A rule of the operator's: which policy holds for which peers. The value of the tries.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Rule {
    /// What is wanted.
    pub policy: Policy,
    /// Its number, below [`RULES`]; its counters stand there. 0 is no rule.
    pub id: u32,
    /// Bits of the address that it names, of 128: the longest wins.
    pub prefix: u32,
}

/// What this host's own proxy says of a connection before it connects: whom it is for and what for.
///
/// It stands in memory that the proxy and the programs share, at [`Statement::slot`] of its
/// socket's cookie, from before connect(2) until the programs see that call begin.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Statement {
    /// The socket's cookie (`SO_COOKIE`); 0 says nothing.
    pub cookie: u64,
    /// The server's number; 0 is none.
    pub server: u32,
    /// What the connection is for: [`CLASS_TRAFFIC`], [`CLASS_CHECK`], [`CLASS_TUNNEL`].
    pub class: u32,
}

impl Statement {
    /// Where the statement about a socket stands.
    #[inline(always)]
    #[must_use]
    pub const fn slot(cookie: u64) -> u32 {
        cookie as u32 % STATEMENTS as u32
    }

    /// What `RULES_STATED` is asked for a server's connections of one class.
    #[inline(always)]
    #[must_use]
    pub const fn key(server: u16, class: u8) -> u32 {
        (server as u32) << 8 | class as u32
    }
}

/// How many statements there is room for: two connects that begin at the same moment, so many
/// sockets apart, would share one, and the first of them would be taken for a foreign one.
pub const STATEMENTS: usize = 4096;

/// `Statement::class`: requests.
pub const CLASS_TRAFFIC: u8 = 1;
/// `Statement::class`: a health check.
pub const CLASS_CHECK: u8 = 2;
/// `Statement::class`: bytes that are not looked at: `mode tcp`, CONNECT, Upgrade.
pub const CLASS_TUNNEL: u8 = 3;

/// How many rules there can be, number 0 not used.
pub const RULES: usize = 1024;

/// What a trie is asked: a peer. Its prefix counts from the first byte, so that the port is always
/// compared whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Peer {
    /// The port in network order; 0 stands for every port.
    pub port: [u8; 2],
    /// Always 0.
    pub reserved: [u8; 2],
    /// The address, IPv4 mapped into IPv6.
    pub addr: [u8; 16],
}

/// Bits of a [`Peer`] before its address.
pub const PEER_PORT_BITS: u32 = 32;

/// Room for counts by [`Refusal`]: a power of two, so that the verifier follows an index.
pub const REFUSALS: usize = 16;

const _: () = assert!(Refusal::ALL.len() <= REFUSALS);

/// What a rule did, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct RuleCounts {
    /// Connections that it covers and that came to a close.
    pub matched: u64,
    /// FINs that became RSTs.
    pub fin_to_rst: u64,
    /// RSTs that became FINs.
    pub rst_to_fin: u64,
    /// FINs dropped until the data before them was acknowledged.
    pub waited: u64,
    /// FINs taken off their data.
    pub stripped: u64,
    /// Resets as the peer left the connection half closed.
    pub half_close: u64,
    /// Resets as the application did not close.
    pub close_wait: u64,
    /// Connections closed by command.
    pub closed_now: u64,
    /// Changes that a dry run left undone.
    pub dry_run: u64,
    /// Changes that failed: a helper refused.
    pub failed: u64,
    /// Refusals by [`Refusal`].
    pub refused: [u64; REFUSALS],
}

/// An index into the kernel's counters.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter(pub u32);

/// Declares the counters once: their indices, their names, their meaning.
macro_rules! counters {
    ($($index:literal $name:ident $text:literal;)*) => {
        impl Counter {
            $(#[doc = $text] pub const $name: Self = Self($index);)*
            /// Every counter with its name and its meaning, in the order of the indices.
            pub const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$name, stringify!($name), $text)),*];
        }
    };
}

counters! {
    0 CLOSES "connections reported as closed";
    1 FLOWS_MADE "connections taken into the table";
    2 LOST_RING_FULL "closes lost because the ring buffer was full";
    3 LOST_TABLE_FULL "segments or sockets that found no room in the flow table";
    4 LOST_SEGMENT_RECORDS "control segments lost because the ring buffer was full";
    5 REFUSED_TRUNCATED "packets whose bytes ended before their TCP header did";
    6 REFUSED_MALFORMED "packets with impossible header lengths or too many extension headers";
    7 REFUSED_FRAGMENT "fragments without a TCP header";
    8 EVICTED "connections evicted from the flow table to make room";
    9 EXPIRED "connections given up after a time without any sign of life";
    10 LATE "segments that came after their connection was reported";
    11 LOST_LISTEN_RECORDS "listening sockets not reported because the ring buffer was full";
    12 LOST_FACTS "reasons of RSTs lost because the ring buffer was full";
    13 RECLAIMED "reported connections whose table entry was freed";
    14 STAND_INS_MADE "sockets that a stand-in took the place of";
    15 STAND_IN_ANSWERS "segments that stand-ins sent";
    16 STAND_IN_RESETS "connections that a stand-in reset, as the peer did not close or sent too much";
    17 STAND_INS_GIVEN_UP "stand-ins removed as a segment was not understood or could not be answered";
    18 LOST_DEADLINES "deadlines not told because the ring buffer was full: a look at all sockets finds them";
}

/// How many counters there are.
pub const COUNTERS: usize = Counter::ALL.len();

const _: () = {
    let mut at = 0;
    while at < COUNTERS {
        assert!(Counter::ALL[at].0.0 as usize == at);
        at += 1;
    }
    assert!(size_of::<CloseRecord>() == 40 + size_of::<Flow>() + size_of::<Acts>());
};
