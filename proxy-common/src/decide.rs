//! What becomes of one close under a policy: a pure rule, with its truth table in
//! docs/policies.md.

use crate::policy::{ANY_FIN, FORCE, Policy, Wish};

/// `Facts`: the application resets; else it finishes.
pub const IS_RST: u32 = 0x001;
/// `Facts`: the peer's FIN came first, so that this is the passive close (RFC 9293, 3.6).
pub const PASSIVE: u32 = 0x002;
/// `Facts`: both directions are shut: close(2), and not shutdown(SHUT_WR).
pub const FULL_CLOSE: u32 = 0x004;
/// `Facts`: the segment carries data.
pub const CARRIES_DATA: u32 = 0x008;
/// `Facts`: data before this segment is not acknowledged yet.
pub const UNACKED: u32 = 0x010;
/// `Facts`: data was written that was never sent.
pub const UNSENT: u32 = 0x020;
/// `Facts`: data was received that the application never read.
pub const UNREAD: u32 = 0x040;
/// `Facts`: a local stream socket sent it, and its numbers are known.
pub const HAS_SOCKET: u32 = 0x080;
/// `Facts`: a RST with the ACK flag: it answers no stray segment.
pub const WITH_ACK: u32 = 0x100;

/// What to do with the segment.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Action(pub u8);

impl Action {
    /// Nothing: it goes out as the application made it.
    pub const KEEP: Self = Self(0);
    /// The FIN becomes a RST, to both ends.
    pub const RESET: Self = Self(1);
    /// The FIN is dropped: TCP repeats it once the data before it is acknowledged.
    pub const WAIT: Self = Self(2);
    /// The data goes out without its FIN; the RST follows the data's acknowledgment.
    pub const STRIP: Self = Self(3);
    /// The RST becomes a FIN, and a stand-in takes the vanished socket's place.
    pub const FINISH: Self = Self(4);
    /// The policy asks for a change that is refused; it goes out as the application made it.
    pub const REFUSE: Self = Self(5);
}

/// Why a change was refused.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Refusal(pub u8);

/// Declares the refusals once: numbers, names, meanings.
macro_rules! refusals {
    ($($index:literal $name:ident $text:literal;)*) => {
        impl Refusal {
            $(#[doc = $text] pub const $name: Self = Self($index);)*
            /// Every refusal with its name and meaning, in the order of the numbers.
            pub const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$name, stringify!($name), $text)),*];
        }
    };
}

refusals! {
    0 NONE "not refused";
    1 NO_SOCKET "no local socket was found for the segment";
    2 HALF_CLOSE "shutdown(SHUT_WR) is no full close, and the rule does not say any-fin";
    3 UNACKED "data is not acknowledged: a FIN in the RST's place would promise it";
    4 UNSENT "data was never sent: a FIN in the RST's place would hide its loss";
    5 UNREAD "data was never read: a FIN in the RST's place would hide its loss";
    6 NO_ACK "the RST answers a stray segment";
    7 NO_STAND_IN "there are as many stand-ins for sockets as there is room for";
    8 UNKNOWN_HEADER "the packet has a header or an option that is not understood";
    9 NO_LINK "the interface and the link header towards the peer are not known";
    10 UNTENDED "the daemon, which keeps the time for stand-ins, stands still";
}

/// What is decided: the action, and why a change was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub action: Action,
    /// [`Refusal::NONE`] unless the action is [`Action::REFUSE`].
    pub refusal: Refusal,
}

impl Decision {
    #[inline(always)]
    const fn act(action: Action) -> Self {
        Self { action, refusal: Refusal::NONE }
    }

    #[inline(always)]
    const fn refuse(refusal: Refusal) -> Self {
        Self { action: Action::REFUSE, refusal }
    }
}

/// Decides what becomes of a FIN or RST that the host sends.
#[inline(always)]
#[must_use]
pub fn decide(policy: &Policy, facts: u32) -> Decision {
    if facts & IS_RST != 0 {
        return decide_rst(policy, facts);
    }
    let wish = if facts & PASSIVE != 0 { policy.passive } else { policy.active };
    if wish.0 != Wish::RST.0 {
        return Decision::act(Action::KEEP);
    }
    if facts & HAS_SOCKET == 0 {
        return Decision::refuse(Refusal::NO_SOCKET);
    }
    if facts & FULL_CLOSE == 0 && !policy.has(ANY_FIN) {
        return Decision::refuse(Refusal::HALF_CLOSE);
    }
    // Even with force, what stands in the segment itself goes out.
    if facts & CARRIES_DATA != 0 {
        return Decision::act(Action::STRIP);
    }
    if facts & UNACKED != 0 && !policy.has(FORCE) {
        return Decision::act(Action::WAIT);
    }
    Decision::act(Action::RESET)
}

#[inline(always)]
fn decide_rst(policy: &Policy, facts: u32) -> Decision {
    let wish = if facts & PASSIVE != 0 { policy.passive } else { policy.active };
    if policy.abort.0 != Wish::FIN.0 && wish.0 != Wish::FIN.0 {
        return Decision::act(Action::KEEP);
    }
    if facts & HAS_SOCKET == 0 {
        return Decision::refuse(Refusal::NO_SOCKET);
    }
    if facts & WITH_ACK == 0 {
        return Decision::refuse(Refusal::NO_ACK);
    }
    // What the peer has not acknowledged nobody can repeat: the socket is gone.
    if facts & UNACKED != 0 {
        return Decision::refuse(Refusal::UNACKED);
    }
    if facts & UNSENT != 0 && !policy.has(FORCE) {
        return Decision::refuse(Refusal::UNSENT);
    }
    if facts & UNREAD != 0 && !policy.has(FORCE) {
        return Decision::refuse(Refusal::UNREAD);
    }
    Decision::act(Action::FINISH)
}
