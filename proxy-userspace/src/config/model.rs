//! The checked, typed model of a configuration. Times are milliseconds; `None` is "not set".

mod bind;
mod errors;
mod global;
mod proxy;
mod server;
mod settings;

pub use bind::Bind;
pub use errors::{ErrorWord, HttpErrors};
pub use global::{AccessLevel, Global, StatsSocket};
pub use proxy::{Acl, Kind, OwnChecks, Proxy, TcpRequest, UseBackend, UseServer};
pub use server::{InitAddr, Server, ServerSettings};
pub use settings::{LogFormat, Probes, Settings, Stats, Timeouts};

/// A whole configuration.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// What the `global` sections say.
    pub global: Global,
    /// Every `frontend`, `backend` and `listen`, in the order of the files.
    pub proxies: Vec<Proxy>,
    /// Every `http-errors`.
    pub http_errors: Vec<HttpErrors>,
}
