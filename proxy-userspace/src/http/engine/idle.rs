//! The idle connections to servers that a worker keeps.

use std::collections::HashMap;

use crate::http::worker::Worker;

/// Idle connections to one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdleInfo {
    /// Those on which one request alone was answered.
    pub fresh: usize,
    /// Those that have proven to persist.
    pub proven: usize,
}

/// By the backend's and the server's place.
pub type IdleByServer = HashMap<(usize, usize), IdleInfo>;

/// Those of a worker.
pub(super) fn of(worker: &Worker) -> IdleByServer {
    let mut all = IdleByServer::new();
    worker.pool.for_each(|idle| {
        let info = all.entry((idle.backend.index, idle.server.index)).or_default();
        match idle.proven {
            true => info.proven += 1,
            false => info.fresh += 1,
        }
    });
    all
}
