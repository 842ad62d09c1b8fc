//! What teardown itself did to a connection: it stands beside the flow, and in the close's record.

use bytemuck::{Pod, Zeroable};

/// `Acts::bits`: a rule of the operator's covers the connection.
pub const MATCHED: u32 = 0x001;
/// `Acts::bits`: a FIN became a RST.
pub const FIN_TO_RST: u32 = 0x002;
/// `Acts::bits`: a RST became a FIN.
pub const RST_TO_FIN: u32 = 0x004;
/// `Acts::bits`: reset as the peer left it half closed for too long.
pub const HALF_CLOSE_OVER: u32 = 0x008;
/// `Acts::bits`: reset as the local application did not close in time.
pub const CLOSE_WAIT_OVER: u32 = 0x010;
/// `Acts::bits`: closed by the operator's command.
pub const CLOSED_NOW: u32 = 0x020;
/// `Acts::bits`: a change was due and was refused; `refusal` says why.
pub const REFUSED: u32 = 0x040;
/// `Acts::bits`: the rule is a dry run: nothing was changed.
pub const DRY: u32 = 0x080;
/// `Acts::bits`: a FIN waits at `held_fin` until the data before it is acknowledged.
pub const HOLDS_FIN: u32 = 0x100;
/// `Acts::bits`: the local stack was given a RST with the number `local_rst`.
pub const TOLD_LOCAL: u32 = 0x200;
/// `Acts::bits`: `link`, `interface` and `local` are filled in.
pub const HAS_LINK: u32 = 0x400;
/// `Acts::bits`: a stand-in took the place of the local socket.
pub const STOOD_IN: u32 = 0x800;
/// `Acts::bits`: the daemon was told that our FIN awaits the peer's.
pub const TOLD_HALF_CLOSE: u32 = 0x1000;
/// `Acts::bits`: the daemon was told that the peer's FIN awaits ours.
pub const TOLD_CLOSE_WAIT: u32 = 0x2000;
/// `Acts::bits`: with [`CLOSED_NOW`]: by a FIN, where no data is lost by it.
pub const CLOSE_BY_FIN: u32 = 0x4000;
/// `Acts::bits`: the peer has acknowledged all data, by a segment that the local socket got as a RST
/// and so did not count.
pub const ALL_ACKED: u32 = 0x8000;

/// Ended from outside: neither the application nor the peer asked for it.
pub const STRUCK: u32 = HALF_CLOSE_OVER | CLOSE_WAIT_OVER | CLOSED_NOW;
/// Any change that was made.
pub const CHANGED: u32 = FIN_TO_RST | RST_TO_FIN | STRUCK;

/// What was done to a connection, 40 bytes. All zeros is nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Acts {
    /// The rule that covers it, by number; 0 is none.
    pub rule: u32,
    /// [`MATCHED`], [`FIN_TO_RST`] and so on.
    pub bits: u32,
    /// The sequence number of a FIN that was held back.
    pub held_fin: u32,
    /// The sequence number of the RST that the local stack was given.
    pub local_rst: u32,
    /// The interface over which the peer is reached.
    pub interface: u32,
    /// Destination and source of the link header towards the peer.
    pub link: [u8; 12],
    /// Which side is local.
    pub local: u8,
    /// Why a change was refused.
    pub refusal: u8,
    /// Not used.
    pub reserved: u8,
    /// What the application made: a flags byte.
    pub asked: u8,
    /// What went over the wire in its place: a flags byte.
    pub sent: u8,
    /// What this host's own proxy uses the connection for (`CLASS_*` of [`crate::abi`]); 0 where it
    /// is no proxy's.
    pub class: u8,
    /// The number of the server that it goes to, as the proxy stated it; 0 where it did not.
    pub server: u16,
}

const _: () = assert!(size_of::<Acts>() == 40);

impl Acts {
    /// Whether any of `bits` is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, bits: u32) -> bool {
        self.bits & bits != 0
    }
}

/// Why a connection's close was changed, or made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A rule changed the application's own close.
    Rule,
    /// The peer left it half closed for longer than a rule allows.
    HalfClose,
    /// The application left the peer's FIN unanswered for longer than a rule allows.
    CloseWait,
    /// The operator asked for it, by the command `close`.
    Command,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 4] = [Self::Rule, Self::HalfClose, Self::CloseWait, Self::Command];

    /// Why what stands in `acts` was done.
    #[must_use]
    pub const fn of(acts: &Acts) -> Self {
        if acts.has(HALF_CLOSE_OVER) {
            Self::HalfClose
        } else if acts.has(CLOSE_WAIT_OVER) {
            Self::CloseWait
        } else if acts.has(CLOSED_NOW) {
            Self::Command
        } else {
            Self::Rule
        }
    }

    /// `rule`, `half-close`, `close-wait` or `command`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::HalfClose => "half-close",
            Self::CloseWait => "close-wait",
            Self::Command => "command",
        }
    }
}
