//! What is asked of the kernel side.

pub use proxy_common::abi::MOST_PAYLOAD;

/// Which hook sees what comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ingress {
    /// tc ingress.
    #[default]
    Tc,
    /// XDP, native where the driver has it.
    Xdp,
}

/// How programs are hung on tc.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TcHook {
    /// TCX where the kernel has it (6.6), else clsact.
    #[default]
    Best,
    /// A filter of a clsact qdisc, whatever the kernel.
    Clsact,
}

/// Default entries of the flow table.
pub const TABLE_ENTRIES: u32 = 131_072;
/// Default size of the ring buffer in bytes.
pub const RING_BYTES: u32 = 32 << 20;

/// What the observer is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Interfaces by name; empty means all, those that appear later included.
    pub interfaces: Vec<String>,
    /// Which hook sees what comes in.
    pub ingress: Ingress,
    /// How programs are hung on tc.
    pub tc_hook: TcHook,
    /// Every segment is stepped, not control segments alone.
    pub full_history: bool,
    /// Control segments are reported one by one.
    pub segments: bool,
    /// Bytes of data that are reported with each control segment, [`MOST_PAYLOAD`] at most.
    pub payload: u32,
    /// Closes may be changed by rules. Without it no program contains the code.
    pub enforce: bool,
    /// Connections that the table holds.
    pub table_entries: u32,
    /// Size of the ring buffer in bytes: a power of two, and of pages.
    pub ring_bytes: u32,
}

impl Options {
    /// Whether programs hang on tc by links: what else they hang by outlives the daemon.
    #[must_use]
    pub(super) fn uses_tcx(&self) -> bool {
        self.tc_hook == TcHook::Best && super::has_tcx()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            ingress: Ingress::Tc,
            tc_hook: TcHook::Best,
            full_history: false,
            segments: false,
            payload: 0,
            enforce: false,
            table_entries: TABLE_ENTRIES,
            ring_bytes: RING_BYTES,
        }
    }
}
