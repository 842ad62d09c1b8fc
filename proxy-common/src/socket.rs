//! What a local socket tells of a connection: the second witness beside the wire.
//!
//! A socket knows what no packet shows: whether a RST was accepted (RFC 5961), that a timer gave
//! up, how much data a close threw away, and which process owned it.

use crate::key::Side;
use bytemuck::{Pod, Zeroable};

/// The kernel's numbers for TCP states (include/net/tcp_states.h).
pub mod tcp_state {
    /// Data flows both ways.
    pub const ESTABLISHED: u8 = 1;
    /// A SYN was sent.
    pub const SYN_SENT: u8 = 2;
    /// A SYN was answered.
    pub const SYN_RECV: u8 = 3;
    /// A FIN was sent first; it is not acknowledged yet.
    pub const FIN_WAIT1: u8 = 4;
    /// A FIN was sent first and acknowledged; the peer's FIN is awaited.
    pub const FIN_WAIT2: u8 = 5;
    /// Both FINs passed; late segments are awaited.
    pub const TIME_WAIT: u8 = 6;
    /// The socket holds no connection.
    pub const CLOSE: u8 = 7;
    /// The peer's FIN came first; the application has not closed yet.
    pub const CLOSE_WAIT: u8 = 8;
    /// Our FIN answered the peer's; its acknowledgment is awaited.
    pub const LAST_ACK: u8 = 9;
    /// Waiting for connections.
    pub const LISTEN: u8 = 10;
    /// Both FINs crossed; the acknowledgment of ours is awaited.
    pub const CLOSING: u8 = 11;
}

/// `SocketEvent::known`: `old_state` and `new_state`.
pub const KNOWS_STATE: u16 = 0x001;
/// `SocketEvent::known`: `err`.
pub const KNOWS_ERROR: u16 = 0x002;
/// `SocketEvent::known`: `bytes_sent` and `bytes_received`.
pub const KNOWS_BYTES: u16 = 0x004;
/// `SocketEvent::known`: `srtt_us` and `retransmissions`.
pub const KNOWS_PATH: u16 = 0x008;
/// `SocketEvent::known`: `unread`.
pub const KNOWS_UNREAD: u16 = 0x010;
/// `SocketEvent::known`: `unacked`.
pub const KNOWS_UNACKED: u16 = 0x020;
/// `SocketEvent::known`: `pid` and `comm`.
pub const KNOWS_OWNER: u16 = 0x040;
/// `SocketEvent::known`: `cgroup`.
pub const KNOWS_CGROUP: u16 = 0x080;
/// `SocketEvent::known`: `rst_reason`.
pub const KNOWS_RST_REASON: u16 = 0x100;
/// `SocketEvent::known`: `shutdown`.
pub const KNOWS_SHUTDOWN: u16 = 0x200;

/// `SocketEvent::shutdown`: no more is read (`RCV_SHUTDOWN`).
pub const RCV_SHUTDOWN: u8 = 1;
/// `SocketEvent::shutdown`: no more is written (`SEND_SHUTDOWN`).
pub const SEND_SHUTDOWN: u8 = 2;

/// Sequence numbers among `write_seq - snd_una` that are no data: the SYN or FIN that a socket in
/// this state has in its queue.
#[inline(always)]
#[must_use]
pub const fn phantom_bytes(state: u8) -> u32 {
    use tcp_state::{CLOSING, FIN_WAIT1, LAST_ACK, SYN_RECV, SYN_SENT};
    let states = 1 << SYN_SENT | 1 << SYN_RECV | 1 << FIN_WAIT1 | 1 << CLOSING | 1 << LAST_ACK;
    (states as u32) >> (state & 31) & 1
}

/// One report of a local socket, 80 bytes: a change of state, or facts without one.
///
/// A field counts only where `known` says so.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct SocketEvent {
    /// Bytes sent: those that the peer acknowledged (`tcp_sock::bytes_acked`) and those on their way
    /// (`snd_nxt - snd_una`). Of a socket that connected with its SYN, and with its FIN if it sent one.
    pub bytes_sent: u64,
    /// Bytes received in order (`tcp_sock::bytes_received`), with the peer's FIN.
    pub bytes_received: u64,
    /// The owner's cgroup id.
    pub cgroup: u64,
    /// The socket's cookie (`SO_COOKIE`), told when it appears; 0 where it is not told.
    pub cookie: u64,
    /// The owner's process id (thread group), as the initial namespace counts.
    pub pid: u32,
    /// Smoothed round-trip time in microseconds (`srtt_us >> 3`).
    pub srtt_us: u32,
    /// Segments retransmitted in the connection's life (`total_retrans`).
    pub retransmissions: u32,
    /// Bytes received that the application has not read.
    pub unread: u32,
    /// Bytes handed to the socket that the peer has not acknowledged.
    pub unacked: u32,
    /// The kernel's reason for a RST, in the running kernel's own numbers.
    pub rst_reason: u32,
    /// The owner's name, as in /proc/PID/comm, padded with zeros.
    pub comm: [u8; 16],
    /// `sk_err`: an errno, or 0.
    pub err: u16,
    /// The `KNOWS_*` bits of the fields that count.
    pub known: u16,
    /// Which end of the key the socket is.
    pub side: Side,
    /// The state left, as in [`tcp_state`].
    pub old_state: u8,
    /// The state entered, as in [`tcp_state`].
    pub new_state: u8,
    /// `sk_shutdown`: [`RCV_SHUTDOWN`], [`SEND_SHUTDOWN`].
    pub shutdown: u8,
}

const _: () = assert!(size_of::<SocketEvent>() == 80);

impl SocketEvent {
    /// Whether all of the `KNOWS_*` bits in `fields` are set.
    #[inline(always)]
    #[must_use]
    pub const fn knows(&self, fields: u16) -> bool {
        self.known & fields == fields
    }
}
