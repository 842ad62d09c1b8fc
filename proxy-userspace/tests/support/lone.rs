//! A proxy of one server, within the test's own process.

use std::net::SocketAddr;
use std::sync::Arc;
use teardown::http::closes::Closes;
use teardown::http::engine::Engine;
use teardown::http::event::{Log, Session};
use teardown::http::hooks::{Balance, Edit, Request};
use teardown::http::live;
use teardown::http::settings::{
    Backend, Bind, BindAddress, Frontend, Mode, Server, ServerAddress, Settings,
};

/// Who hears the log, and of closes where the test does not.
pub(crate) struct Nobody;

impl Log for Nobody {
    fn session(&self, _: &Session<'_>) {}
}

impl Closes for Nobody {}

/// The only server there is.
#[derive(Debug)]
struct First;

impl Balance for First {
    fn key(&self, _: Option<&Request<'_>>, _: &[Edit], _: Option<SocketAddr>) -> u64 {
        0
    }
    fn pick(&self, _: &live::Backend, _: u64, _: Option<usize>) -> Option<usize> {
        Some(0)
    }
}

/// Starts one before `server`, on a port of its own, with what `adapt` changes.
pub(crate) fn launch(
    server: impl Into<ServerAddress>,
    closes: Arc<dyn Closes>,
    adapt: impl FnOnce(&mut Settings),
) -> Engine {
    let mut frontend = Frontend { name: "f".into(), mode: Mode::Http, ..Frontend::default() };
    frontend.binds.push(Bind::new(BindAddress::Inet(([127, 0, 0, 1], 0).into())));
    frontend.default_backend = Some(0);
    let mut backend = Backend::new("b", Arc::new(First));
    backend.mode = Mode::Http;
    backend.servers.push(Server::new("s", server.into()));
    let mut settings = Settings::default();
    settings.frontends.push(frontend);
    settings.backends.push(backend);
    adapt(&mut settings);
    Engine::launch(settings, Arc::new(Nobody), closes).expect("starts")
}
