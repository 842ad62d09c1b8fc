//! What all workers share, held by one of them.
//!
//! An `Arc`'s count is written by whoever clones it: with a few clones a request, the workers
//! would take that cache line from each other all the time.

use std::{cell::Cell, ops::Deref, rc::Rc, sync::Arc};

use super::{
    live::{Backend, Proxies, Server},
    splice::{FIRST_READ, LARGE},
};

/// A worker's own hold on a server: clones are counted here alone.
#[derive(Clone, Debug)]
pub struct HeldServer(Rc<Known>);

#[derive(Debug)]
struct Known {
    server: Arc<Server>,
    /// Whether its last response was [`LARGE`] behind its first read.
    large: Cell<bool>,
}

impl HeldServer {
    fn new(server: &Arc<Server>) -> Self {
        Self(Rc::new(Known { server: Arc::clone(server), large: Cell::new(false) }))
    }

    /// Whether both hold the same server.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0.server, &other.0.server)
    }

    /// Whether it holds that server.
    pub fn is_of(&self, server: &Arc<Server>) -> bool {
        Arc::ptr_eq(&self.0.server, server)
    }

    /// Whether its next response is likely to be one whose body goes through a pipe.
    pub fn sends_large(&self) -> bool {
        self.0.large.get()
    }

    /// A response with a body of that length came.
    pub fn note_length(&self, length: u64) {
        self.0.large.set(length > LARGE + FIRST_READ as u64);
    }
}

impl Deref for HeldServer {
    type Target = Server;
    fn deref(&self) -> &Server {
        &self.0.server
    }
}

/// A worker's own hold on a backend: clones are counted here alone.
#[derive(Clone, Debug)]
pub struct HeldBackend(Rc<Whole>);

#[derive(Debug)]
struct Whole {
    backend: Arc<Backend>,
    servers: Vec<HeldServer>,
}

impl HeldBackend {
    /// Holds a backend and its servers.
    pub fn new(backend: &Arc<Backend>) -> Self {
        let servers = backend.servers.iter().map(HeldServer::new).collect();
        Self(Rc::new(Whole { backend: Arc::clone(backend), servers }))
    }

    /// The server with that index.
    pub fn server(&self, index: usize) -> &HeldServer {
        &self.0.servers[index]
    }
}

impl Deref for HeldBackend {
    type Target = Backend;
    fn deref(&self) -> &Backend {
        &self.0.backend
    }
}

/// The proxies as a worker holds them.
#[derive(Debug)]
pub(crate) struct HeldProxies {
    proxies: Arc<Proxies>,
    backends: Vec<HeldBackend>,
}

impl HeldProxies {
    pub(crate) fn new(proxies: Arc<Proxies>) -> Rc<Self> {
        let backends = proxies.backends.iter().map(HeldBackend::new).collect();
        Rc::new(Self { proxies, backends })
    }

    /// The backend with that index.
    pub(crate) fn hold(&self, index: usize) -> Option<HeldBackend> {
        self.backends.get(index).cloned()
    }
}

impl Deref for HeldProxies {
    type Target = Proxies;
    fn deref(&self) -> &Proxies {
        &self.proxies
    }
}
