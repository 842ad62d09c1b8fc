//! Everything that calls bpf(): loading, attaching, reading what the programs tell.
//!
//! [`Observer`] is the way in. This room knows nothing of HTTP and of what is shown.

mod attach;
mod batch;
mod bench;
mod bpf;
mod btf;
pub mod cgroup;
mod clock;
mod close;
mod clsact;
mod covered;
mod deadlines;
mod diag;
mod earlier;
mod enforcer;
mod error;
mod event;
mod hold;
mod interfaces;
mod links;
mod load;
pub mod object;
mod observer;
mod offsets;
mod options;
mod owners;
mod pod;
mod reap;
mod reasons;
mod ring;
mod route;
mod rules;
mod stand_ins;
mod stated;
mod strike;
mod table;
mod tracepoints;

pub use attach::{Attachment, How};
pub use bench::{Bench, Hook};
pub use btf::{Btf, BtfError, VMLINUX};
pub use close::{Closed, Closing, Which};
pub use covered::Covered;
pub use diag::can_destroy;
pub use error::{Error, has_code};
pub use event::Event;
pub use observer::Observer;
pub use offsets::lacking as lacking_for_changes;
pub use options::{Ingress, MOST_PAYLOAD, Options, RING_BYTES, TABLE_ENTRIES, TcHook};
pub use reasons::RstReasons;
pub use rules::{Policies, Rules, RulesFull, Scope};
pub use stated::Statements;
pub use table::Count;

/// The fields that deadlines and `close` need and this kernel's BTF does not tell.
#[must_use]
pub fn missing_for_strikes(btf: &Btf) -> Vec<&'static str> {
    offsets::missing_for_strikes(&offsets::of(btf))
}

/// Whether the running kernel has tcx links (Linux 6.6).
#[must_use]
pub fn has_tcx() -> bool {
    aya::util::KernelVersion::current()
        .is_ok_and(|version| version >= aya::util::KernelVersion::new(6, 6, 0))
}
