//! What the daemon and the program that ends connections from outside tell each other.

use crate::abi::Rule;
use crate::key::{FlowKey, Side};
use crate::stand_in::{LINK_LEN, LONGEST_FRAME};
use bytemuck::{Pod, Zeroable};

/// `Strike::verb`: none; so ends a list that is not full.
pub const NOTHING: u8 = 0;
/// `Strike::verb`: only fill in what is known.
pub const LOOK: u8 = 1;
/// `Strike::verb`: send `frame` to the peer, and turned round to the local stack.
pub const RESET: u8 = 2;
/// `Strike::verb`: send `frame` to the peer again, as the first may be lost: unless there is a
/// socket, or the ports are in use anew.
pub const REPEAT: u8 = 3;
/// `Strike::verb`: note that the daemon is about to end it by the kernel's own means.
pub const MARK: u8 = 4;
/// `Strike::verb`: it was not ended after all; take the note back, and count a failure.
pub const UNMARK: u8 = 5;
/// `Strike::verb`: count what a dry run leaves undone.
pub const DRY: u8 = 6;
/// `Strike::verb`: count a refusal, by `refusal`.
pub const REFUSE: u8 = 7;
/// `Strike::verb`: send `frame` to the peer of the stand-in that sent `snd_nxt - 1` as its FIN, with
/// the numbers that it has by now, and take it away: there is no socket.
pub const RELIEVE: u8 = 8;

/// `Strike::answer`: there is no such socket.
pub const GONE: u32 = 0;
/// `Strike::answer`: done.
pub const DONE: u32 = 1;
/// `Strike::answer`: the socket is in another state, or, with [`RESET`], its numbers are others.
pub const CHANGED: u32 = 2;
/// `Strike::answer`: the frame could not be sent.
pub const FAILED: u32 = 3;
/// `Strike::answer`: the kernel lacks something that is needed.
pub const UNABLE: u32 = 4;

/// `Strike::signed`: the kernel signs the socket's segments (TCP-MD5, TCP-AO), and nobody else can.
pub const SIGNED: u32 = 1;
/// `Strike::signed`: the same of a minisock, in whose name the kernel sends no RST.
pub const SIGNED_ORPHAN: u32 = 2;

/// Room for the longest frame, and two bytes.
pub const FRAME: usize = LONGEST_FRAME + 2;
/// How many connections one run of the program is asked about at most.
pub const AT_ONCE: usize = 32;

/// A list of questions, one after the other.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Strikes {
    /// The questions; one with [`NOTHING`] ends them.
    pub entries: [Strike; AT_ONCE],
}

/// What is asked about one connection, and what is answered, 240 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Strike {
    /// The connection.
    pub key: FlowKey,
    /// Which end is this host's.
    pub local: Side,
    /// [`LOOK`], [`RESET`] and so on.
    pub verb: u8,
    /// With [`REFUSE`]: a `decide::Refusal`.
    pub refusal: u8,
    /// Answer: whether `interface` and `link` are known.
    pub has_link: u8,
    /// The states, as bits, in which the socket may be struck; of a minisock its substate.
    pub states: u32,
    /// Why: [`crate::acts::HALF_CLOSE_OVER`] and so on.
    pub cause: u32,
    /// Answer to [`LOOK`]: the rule that covers the peer. Else: the rule that acts; number 0 is none.
    pub rule: Rule,
    /// The next number that the local end sends. With [`RESET`] the frame's, which must hold still.
    pub snd_nxt: u32,
    /// The next number that the local end expects; as above.
    pub rcv_nxt: u32,
    /// Answer: the first byte not acknowledged; of a minisock `snd_nxt`.
    pub snd_una: u32,
    /// Answer: the end of what was written; of a minisock `snd_nxt`.
    pub write_seq: u32,
    /// Answer: what TSecr echoes.
    pub ts_recent: u32,
    /// Answer: what TSval adds to the clock.
    pub ts_offset: u32,
    /// Answer: bytes of the TCP header that the connection's segments have.
    pub header_len: u32,
    /// Answer: the state, as in [`crate::socket::tcp_state`]; 0 without a socket.
    pub state: u32,
    /// [`GONE`], [`DONE`], [`CHANGED`], [`FAILED`], [`UNABLE`].
    pub answer: u32,
    /// The interface towards the peer.
    pub interface: u32,
    /// Destination and source of the link header towards the peer.
    pub link: [u8; 12],
    /// Answer to [`LOOK`]: whether the connection's end was reported already.
    pub reported: u16,
    /// Answer to [`LOOK`]: whether its socket spoke since its start, and no segment of it was seen: on the
    /// wire it has other addresses, and a frame with these would reach nobody.
    pub unseen: u16,
    /// Answer: when the local end's FIN was seen; 0 if never.
    pub local_fin_ns: u64,
    /// Answer: when the peer's was.
    pub peer_fin_ns: u64,
    /// The interface that the socket is bound to, or 0: one that is bound is found from there alone.
    pub device: u32,
    /// Answer: 0, or [`SIGNED`], [`SIGNED_ORPHAN`].
    pub signed: u32,
    /// With [`RESET`], [`REPEAT`] and [`RELIEVE`]: what is sent, with an Ethernet header.
    pub frame: [u8; FRAME],
}

const _: () = assert!(size_of::<Strike>() == 240);

impl Strike {
    /// Bytes of `frame` that are used.
    #[inline(always)]
    #[must_use]
    pub fn frame_len(&self) -> usize {
        let ip_len = if self.key.is_ipv6() { 40 } else { 20 };
        (LINK_LEN + ip_len + self.header_len) as usize
    }
}
