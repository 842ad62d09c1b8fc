//! One end of a connection: what it sent, and what its socket said.

use bytemuck::{Pod, Zeroable};

/// `End::bits`: Zeek's `did_close`: this end's FIN or RST was taken for a close.
pub const DID_CLOSE: u16 = 0x001;
/// `End::bits`: a segment of this end was seen.
pub const SEEN: u16 = 0x002;
/// `End::bits`: this end's SYN was seen, so that `isn` is not a guess.
pub const SYN_SEEN: u16 = 0x004;
/// `End::bits`: a local socket answers for this end.
pub const TRACKED: u16 = 0x008;
/// `End::bits`: the local socket's end is an end of the connection, whatever the wire shows.
pub const SOCKET_ENDED: u16 = 0x010;
/// `End::bits`: the local socket gave up waiting (ETIMEDOUT, or no route to the peer).
pub const TIMED_OUT: u16 = 0x020;
/// `End::bits`: whether this end's last RST was accepted is not certain yet.
pub const RST_DOUBTED: u16 = 0x040;
/// `End::bits`: the peer lived on after this end's last RST (RFC 5961): it closed nothing.
pub const RST_REFUSED: u16 = 0x080;
/// `End::bits`: the RST that counts carried an ACK.
pub const RST_WITH_ACK: u16 = 0x100;
/// `End::bits`: `signal_ack` holds a number.
pub const HAS_SIGNAL_ACK: u16 = 0x200;
/// `End::bits`: `window` is usable: its scale is known.
pub const HAS_WINDOW: u16 = 0x400;
/// `End::bits`: gaps are no longer looked for, as this end's data was never acknowledged.
pub(crate) const GAPS_OFF: u16 = 0x800;
/// `End::bits`: the socket will read no more (`RCV_SHUTDOWN`).
pub const SHUT_READ: u16 = 0x1000;
/// `End::bits`: the socket will write no more (`SEND_SHUTDOWN`).
pub const SHUT_WRITE: u16 = 0x2000;
/// `End::bits`: the RST that counts stood beyond all that was seen of this end before.
pub(crate) const RST_BEYOND: u16 = 0x4000;
/// `End::bits`: the local socket went from open to CLOSE at its application's word, and sent no FIN of
/// its own: what it had not read is lost, whatever leaves in the place of its RST.
pub const ABORTED: u16 = 0x8000;

/// What is known of one end of a connection, 192 bytes: what it sent, and what its socket said.
///
/// All zeros is an end of which nothing is known. What every control segment touches stands first
/// and together: the kernel finds it in two cache lines.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct End {
    /// When its first FIN was seen; 0 if never.
    pub fin_ns: u64,
    /// When the RST that counts was seen; 0 if never. See [`End::has_reset`].
    pub rst_ns: u64,
    /// Initial sequence number, the SYN's; without a SYN the first byte's minus one.
    pub isn: u32,
    /// The highest sequence number sent, plus one (Zeek's `last_seq`).
    pub next: u32,
    /// The highest acknowledgment that the peer sent for this end's bytes (Zeek's `ack_seq`).
    pub acked: u32,
    /// Where its last SYN stood, as a distance from `isn`.
    pub last_syn: u32,
    /// Where its last FIN stood (after the segment's data), as a distance from `isn`.
    pub last_fin: u32,
    /// Where its last RST stood, as a distance from `isn`.
    pub last_rst: u32,
    /// The lowest and the highest place of all its RSTs, as distances from `isn`.
    pub rst_span: [u32; 2],
    /// The lowest acknowledgment that a FIN or RST of this end carried: what it had seen of the
    /// peer when it closed.
    pub signal_ack: u32,
    /// The receive window that it last offered, in bytes.
    pub window: u32,
    /// Segments stepped.
    pub segments: u32,
    /// Where its segments were first seen: [`crate::segment::Segment::vantage`].
    pub vantage: u32,
    /// [`DID_CLOSE`], [`SEEN`], [`TRACKED`] and so on.
    pub bits: u16,
    /// The `KNOWS_*` bits of [`crate::socket`]: which of the socket's facts are known.
    pub known: u16,
    /// SYNs stepped.
    pub syns: u16,
    /// FINs stepped.
    pub fins: u16,
    /// RSTs stepped.
    pub rsts: u16,
    /// How often `next` passed 2^32.
    pub wraps: u16,
    /// How often `acked` passed 2^32.
    pub ack_wraps: u16,
    /// Zeek's state of this endpoint: see [`EndpointState`].
    pub state: EndpointState,
    /// The state before that one.
    pub prev_state: EndpointState,
    /// The window scale that applies to `window`.
    pub window_scale: u8,
    /// The socket's state, as in [`crate::socket::tcp_state`]; 0 without a socket.
    pub socket_state: u8,
    /// The socket's last error, an errno.
    pub err: u8,
    /// Always 0.
    pub reserved: u8,
    /// Bytes seen in order (full mode).
    pub in_order: u32,
    /// Up to two ranges of bytes seen ahead of order, as distances from the first byte.
    pub ahead: [[u32; 2]; 2],
    /// The socket's count of bytes that it sent.
    pub bytes_sent: u64,
    /// The socket's count of bytes received.
    pub bytes_received: u64,
    /// The owner's cgroup id.
    pub cgroup: u64,
    /// The local socket's cookie (`SO_COOKIE`); 0 where it is not known.
    pub cookie: u64,
    /// Segments with data that repeated sequence numbers.
    pub retransmissions: u32,
    /// Segments that offered a window of zero.
    pub zero_windows: u32,
    /// Segments whose checksum was wrong.
    pub bad_checksums: u32,
    /// Stretches of its bytes that the peer acknowledged and that were never seen.
    pub gaps: u32,
    /// Bytes that the socket held unread when it last spoke.
    pub unread: u32,
    /// Bytes that the socket held unacknowledged when it last spoke.
    pub unacked: u32,
    /// The socket's smoothed round-trip time, in microseconds.
    pub srtt_us: u32,
    /// The socket's count of retransmitted segments.
    pub socket_retransmissions: u32,
    /// The owner's process id.
    pub pid: u32,
    /// The kernel's reason for the RST that this end sent or received, in its own numbers.
    pub rst_reason: u32,
    /// The owner's name, padded with zeros.
    pub comm: [u8; 16],
}

const _: () = assert!(size_of::<End>() == 192);

impl End {
    /// Whether any of `bits` is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, bits: u16) -> bool {
        self.bits & bits != 0
    }

    /// Whether it reset the connection, as far as can be told: a RST that was refused is none.
    #[inline(always)]
    #[must_use]
    pub const fn has_reset(&self) -> bool {
        self.rst_ns != 0 && !self.has(RST_REFUSED)
    }

    /// Whether it closed at all, by FIN or RST.
    #[inline(always)]
    #[must_use]
    pub const fn has_closed(&self) -> bool {
        self.fin_ns != 0 || self.has_reset()
    }

    /// Whether the first of its closes was a FIN.
    #[inline(always)]
    #[must_use]
    pub const fn closed_by_fin(&self) -> bool {
        self.fin_ns != 0 && (!self.has_reset() || self.fin_ns <= self.rst_ns)
    }

    /// When it first closed; 0 if it did not.
    #[inline(always)]
    #[must_use]
    pub const fn closed_at(&self) -> u64 {
        if self.closed_by_fin() {
            self.fin_ns
        } else if self.has_reset() {
            self.rst_ns
        } else {
            0
        }
    }

    /// The sequence number after its FIN. Meaningless before one was seen.
    #[inline(always)]
    #[must_use]
    pub const fn fin_end(&self) -> u32 {
        self.isn.wrapping_add(self.last_fin).wrapping_add(1)
    }
}

/// Zeek's state of an endpoint, by Zeek's numbers (`scripts/base/init-bare.zeek`).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct EndpointState(pub u8);

impl EndpointState {
    /// Nothing seen.
    pub const INACTIVE: Self = Self(0);
    /// A SYN.
    pub const SYN_SENT: Self = Self(1);
    /// A SYN+ACK out of nothing.
    pub const SYN_ACK_SENT: Self = Self(2);
    /// Segments without a SYN.
    pub const PARTIAL: Self = Self(3);
    /// Its SYN was answered, or answers one.
    pub const ESTABLISHED: Self = Self(4);
    /// A FIN.
    pub const CLOSED: Self = Self(5);
    /// A RST.
    pub const RESET: Self = Self(6);
}
