//! What a benchmark can be told, as far as several have it.

use std::time::Duration;

/// How often and how long everyone has a turn.
#[derive(Debug, clap::Args)]
pub(crate) struct Turns {
    /// Rounds, in each of which everyone has a turn
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Seconds of a turn
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// What `cargo bench` adds by itself
    #[arg(long, hide = true)]
    bench: bool,
}

impl Turns {
    /// The length of a turn.
    pub(crate) const fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// What the benchmarks of the kernel side measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Parts {
    /// Leave out the costs by bpf_stats
    #[arg(long)]
    pub(crate) no_cost: bool,
    /// Leave out HAProxy, once with each variant beside it
    #[arg(long)]
    pub(crate) no_beside: bool,
    /// Connections a second where the load is bounded
    #[arg(long, default_value_t = 5000)]
    pub(crate) rate: u32,
    #[command(flatten)]
    pub(crate) turns: Turns,
}
