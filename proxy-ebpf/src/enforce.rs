//! Changes closes on the wire. Every doubt ends in the packet going out as the application made
//! it, and in a count.

mod deadline;
mod egress;
pub mod frame;
mod ingress;
pub mod pending;
pub mod rules;
mod socket;
mod stand_in;
mod tended;

pub use deadline::{awaits_our_fin, td_peer_finished};
pub use egress::td_leaving;
pub use ingress::{is_ours, td_arriving, td_reset_both};
pub use stand_in::{
    any as any_stand_in, any_waits, relieve as relieve_stand_in, td_answer, td_step_aside,
    td_stood_in, tend,
};

/// What becomes of a packet. A number, as it is what a global function returns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fate(pub u32);

impl Fate {
    /// It goes on, and the machine steps it as it is now.
    pub const STEP: Self = Self(0);
    /// The same, after a copy was sent: the program that the copy ran through has used the memory
    /// in which the headers stood.
    pub const READ_AND_STEP: Self = Self(1);
    /// It goes on, and is none of the machine's business: it was made for the local stack.
    pub const PASS: Self = Self(2);
    /// It is dropped.
    pub const DROP: Self = Self(3);
    /// The machine steps it, and it is dropped: it is for a stand-in.
    pub const STEP_AND_DROP: Self = Self(4);
    /// The same, and it is answered.
    pub const STEP_AND_ANSWER: Self = Self(5);
    /// It is answered and dropped.
    pub const ANSWER: Self = Self(6);
    /// The machine steps it, and it becomes a RST to both ends.
    pub const RESET: Self = Self(7);
}
