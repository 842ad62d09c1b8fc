//! What was refused last, for `show errors`.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
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

/// The last refused request and response of a proxy.
#[derive(Debug, Default)]
pub struct LastErrors(Mutex<[Option<Invalid>; 2]>);

impl LastErrors {
    /// Keeps a refused request.
    pub fn request(&self, invalid: Invalid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[0] = Some(invalid);
    }

    /// Keeps a refused response.
    pub fn response(&self, invalid: Invalid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[1] = Some(invalid);
    }

    /// The last refused request and the last refused response.
    pub fn get(&self) -> [Option<Invalid>; 2] {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
