//! Every map, and the size of each. The daemon overrides sizes at load time.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, bpf_spin_lock};
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;
use proxy_common::abi::{
    COUNTERS, MOST_PAYLOAD, Peer, RULES as RULE_COUNT, Reap, Rule, RuleCounts,
    STAND_INS as STAND_IN_COUNT, STATEMENTS, SegmentRecord, StandInSlot, Statement,
};
use proxy_common::acts::Acts;
use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use proxy_common::stand_in::StandIn;
use proxy_common::strike::Strikes;
use proxy_common::wire::Packet;

/// A flow and the lock under which it is stepped: two CPUs may hold packets of one connection.
#[repr(C)]
pub struct Slot {
    /// Known to the kernel by the name of its type.
    pub lock: bpf_spin_lock,
    /// As in [`proxy_common::abi::Slot`].
    pub reported: u32,
    /// The connection.
    pub flow: Flow,
    /// What teardown did to it.
    pub acts: Acts,
}

const _: () = assert!(size_of::<Slot>() == size_of::<proxy_common::abi::Slot>());

/// Every connection that is followed, and those lately reported.
#[btf_map]
pub static FLOWS: HashMap<FlowKey, Slot, 131_072> = HashMap::new();

/// What the daemon is told. The type is never used: records differ in size.
#[btf_map]
pub static EVENTS: RingBuf<u64, 33_554_432> = RingBuf::new();

/// What was done and what could not be done, by `proxy_common::abi::Counter`.
#[btf_map]
pub static COUNTS: PerCpuArray<u64, COUNTERS> = PerCpuArray::new();

/// 1 while the daemon sleeps until it is woken; else it looks by itself.
#[btf_map]
pub static ASLEEP: Array<u32, 1> = Array::new();

/// An empty slot to insert: it is too large for the stack. Nobody writes to it. Without a lock, as
/// helpers may not read one.
#[btf_map]
pub static EMPTY: Array<proxy_common::abi::Slot, 1> = Array::new();

/// What the reaper is asked for.
#[btf_map]
pub static REAP: Array<Reap, 1> = Array::new();

/// The packet at hand, one for each CPU: it would take too much of the stack while the machine
/// steps. Packet programs run with soft interrupts off, so that one of them has the entry for
/// itself; those that the daemon runs do so since Linux 6.3.
#[btf_map]
pub static PACKET: PerCpuArray<Packet, 1> = PerCpuArray::new();

/// A segment's record, and room for its data.
#[repr(C)]
pub struct Told {
    /// The record.
    pub record: SegmentRecord,
    /// As much of the data as was asked for.
    pub data: [u8; MOST_PAYLOAD as usize],
}

/// Where a segment is told from that takes its data along, one for each CPU as above.
#[btf_map]
pub static TOLD: PerCpuArray<Told, 1> = PerCpuArray::new();

/// Rules by peer.
#[btf_map]
pub static RULES: LpmTrie<Peer, Rule, { RULE_COUNT * 4 }> = LpmTrie::new();

/// Rules by what this host's own proxy stated: `Statement::key`.
#[btf_map]
pub static RULES_STATED: HashMap<u32, Rule, { RULE_COUNT * 4 }> = HashMap::new();

/// What the proxy states of connections that it is about to make, in memory that it shares.
#[btf_map]
pub static STATED: Array<Statement, STATEMENTS, { BPF_F_MMAPABLE as usize }> = Array::new();

/// How many entries `RULES` and `RULES_STATED` have, and how many rules wait for our own
/// application's FIN: while there is none, nothing is looked up.
#[btf_map]
pub static RULES_SET: Array<u32, 2> = Array::new();

/// What `td_strike` is asked for, and what it answers.
#[btf_map]
pub static STRIKES: Array<Strikes, 1> = Array::new();

/// What each rule did.
#[btf_map]
pub static RULE_COUNTS: PerCpuArray<RuleCounts, RULE_COUNT> = PerCpuArray::new();

/// How many connections wait for something that only an incoming segment without a control flag
/// tells: while there is none, data is not looked at.
#[btf_map]
pub static PENDING: Array<u64, 1> = Array::new();

/// A stand-in and its lock: the peer's segments and the daemon's deadlines meet here.
#[repr(C)]
pub struct Substitute {
    /// As in [`Slot`].
    pub lock: bpf_spin_lock,
    /// Always 0.
    pub reserved: u32,
    /// What stands in.
    pub stand_in: StandIn,
}

const _: () = assert!(size_of::<Substitute>() == size_of::<StandInSlot>());

/// Those that stand in for sockets that aborted.
#[btf_map]
pub static STAND_INS: HashMap<FlowKey, Substitute, STAND_IN_COUNT, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// How many stand-ins there are, and for how many of them segments without a control flag matter:
/// while there is none, nothing is looked up.
#[btf_map]
pub static STANDING: Array<[u64; 2], 1> = Array::new();

/// When the daemon last looked after them, CLOCK_MONOTONIC in nanoseconds.
#[btf_map]
pub static TENDED: Array<u64, 1> = Array::new();

/// The stand-in at hand, one for each CPU, as [`PACKET`] is: to insert it, and to write what it
/// sends. Without a lock, as helpers may not read one.
#[btf_map]
pub static DRAFT: PerCpuArray<StandInSlot, 1> = PerCpuArray::new();
