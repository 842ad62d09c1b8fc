//! What was refused last, for `show errors`.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::SystemTime,
};

use crate::http::refusal::Refusal;

/// A message that was refused, for `show errors`.
#[derive(Clone, Debug)]
pub struct Invalid {
    /// When.
    pub when: SystemTime,
    /// The client.
    pub client: Option<SocketAddr>,
    /// The backend and server, where a response was refused or the request was placed already.
    pub peer: Option<(String, String)>,
    /// Why.
    pub reason: Refusal,
    /// The first bytes of the head.
    pub head: Vec<u8>,
}

/// So many of its first bytes are kept.
const HEAD: usize = 16 * 1024;

impl Invalid {
    /// What was refused just now.
    #[must_use]
    pub fn new(
        client: Option<SocketAddr>,
        peer: Option<(String, String)>,
        reason: Refusal,
        bytes: &[u8],
    ) -> Self {
        let head = bytes[..bytes.len().min(HEAD)].to_vec();
        Self { when: SystemTime::now(), client, peer, reason, head }
    }
}

/// How many were kept since the start, of all proxies.
static KEPT: AtomicU32 = AtomicU32::new(0);

/// How many messages were refused and kept since the start.
pub fn refused() -> u32 {
    KEPT.load(Relaxed)
}

/// The last refused request and response of a proxy, each with its number among all of the process.
#[derive(Debug, Default)]
pub struct LastErrors(Mutex<[Option<(u32, Invalid)>; 2]>);

impl LastErrors {
    /// Keeps a refused request.
    pub fn request(&self, invalid: Invalid) {
        self.keep(0, invalid);
    }

    /// Keeps a refused response.
    pub fn response(&self, invalid: Invalid) {
        self.keep(1, invalid);
    }

    fn keep(&self, place: usize, invalid: Invalid) {
        let number = KEPT.fetch_add(1, Relaxed);
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some((number, invalid));
    }

    /// The last refused request and the last refused response, with their numbers.
    pub fn get(&self) -> [Option<(u32, Invalid)>; 2] {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
