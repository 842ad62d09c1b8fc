//! The checked, typed model of a configuration. Times are milliseconds; `None` is "not set".

mod balance;
mod bind;
mod global;
mod proxy;
mod server;
mod settings;

pub use balance::{Balance, HashFunction, HashType, Reuse};
pub use bind::Bind;
pub use global::{AccessLevel, Global, StatsSocket};
pub use proxy::{Acl, Kind, Mode, Proxy, UseBackend};
pub use server::{Server, ServerSettings};
pub use settings::{ForwardFor, LogFormat, Settings, Stats, Timeouts};

/// A whole configuration.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// What the `global` sections say.
    pub global: Global,
    /// Every `frontend`, `backend` and `listen`, in the order of the files.
    pub proxies: Vec<Proxy>,
}
