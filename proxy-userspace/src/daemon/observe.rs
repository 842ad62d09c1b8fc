//! What is observed: the options that `watch` and `run` share, and the kernel side started by them.

use crate::kernel::{self, Ingress, Observer, RING_BYTES, TABLE_ENTRIES, TcHook};
use crate::units;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is observed, and how closely.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Observing")]
pub(super) struct Observe {
    /// Only this interface; without it all are, those that appear later included
    #[arg(long = "interface", value_name = "I")]
    interfaces: Vec<String>,
    /// Look at control segments alone, or at every packet for Zeek's exact history
    #[arg(long, value_name = "HOW", default_value = "control", value_parser = ["control", "full"])]
    history: String,
    /// Where incoming packets are seen; xdp is for hosts that take floods of FIN and RST
    #[arg(long, value_name = "WHERE", default_value = "tc", value_parser = ["tc", "xdp"])]
    ingress: String,
    /// How the programs hang on tc: best is tcx where the kernel has it, from 6.6 on
    #[arg(long, value_name = "HOW", default_value = "best", value_parser = ["best", "clsact"])]
    hook: String,
    /// Connections that the kernel's table holds at most
    #[arg(long, value_name = "N", default_value_t = TABLE_ENTRIES,
        value_parser = clap::value_parser!(u32).range(64..=16_777_216))]
    table: u32,
    /// Size of the buffer between kernel and daemon: 32m, 1048576; a power of two
    #[arg(long, value_name = "BYTES", default_value_t = RING_BYTES, value_parser = ring_bytes)]
    ring: u32,
}

/// A size that the kernel takes for a ring buffer: a power of two, and whole pages.
fn ring_bytes(text: &str) -> Result<u32, String> {
    let bytes = units::size(text).map_err(|error| error.to_string())?;
    u32::try_from(bytes)
        .ok()
        .filter(|bytes| bytes.is_power_of_two() && (4_096..=1 << 30).contains(bytes))
        .ok_or_else(|| "must be a power of two from 4k to 1g".to_owned())
}

/// Takes as many descriptors as there may be, for the programs' links, where no proxy's configuration
/// says how many. The usual limit is low for the sake of select(2), which is not used.
pub(super) fn take_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // On failure it is what it was, and said where it is too low.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

impl Observe {
    /// Loads and attaches the kernel side; `payload` bytes of data are told with each segment.
    ///
    /// # Errors
    /// Where it cannot be.
    pub(super) fn start(
        &self,
        segments: bool,
        payload: u32,
        enforce: bool,
    ) -> Result<Observer, kernel::Error> {
        Observer::start(&kernel::Options {
            interfaces: self.interfaces.clone(),
            ingress: if self.ingress == "xdp" { Ingress::Xdp } else { Ingress::Tc },
            tc_hook: if self.hook == "clsact" { TcHook::Clsact } else { TcHook::Best },
            full_history: self.history == "full",
            segments,
            payload,
            table_entries: self.table,
            ring_bytes: self.ring,
            enforce,
        })
        .map_err(kernel::Error::explained)
    }
}

#[cfg(test)]
mod tests {
    use super::ring_bytes;

    #[test]
    fn ring_sizes() {
        assert_eq!(ring_bytes("32m"), Ok(32 << 20));
        assert_eq!(ring_bytes("4096"), Ok(4_096));
        for wrong in ["0", "5000", "2048", "4g", "many"] {
            assert!(ring_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
