//! `disable frontend` and `enable frontend`.

use std::io::ErrorKind;
use std::net::TcpStream;

use crate::service::{OK, get};
use crate::support::{Origin, Proxy, settings};

#[test]
fn a_paused_frontend_refuses_connections_and_serves_those_it_has() {
    let origin = Origin::answering(OK);
    let mut settings = settings(&[origin.address]);
    settings.global.threads = 2;
    let proxy = Proxy::start(settings.clone());
    let mut kept = proxy.connect();
    get(&mut kept);
    let refused = || {
        let error = TcpStream::connect(proxy.address).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    };
    // More often than once: the workers find their sockets listening no more, and again.
    for _ in 0..20 {
        let proxies = proxy.engine.proxies();
        let frontend = &proxies.frontends[0];
        proxy.engine.pause(frontend);
        refused();
        get(&mut kept);
        proxy.engine.resume(frontend).expect("the port is its own");
        // Both workers accept.
        (0..8).for_each(|_| get(&mut proxy.connect()));
    }
    // As after HAProxy's reload, which begins anew.
    proxy.engine.pause(&proxy.engine.proxies().frontends[0]);
    refused();
    proxy.engine.reload(settings).expect("reloads");
    (0..8).for_each(|_| get(&mut proxy.connect()));
    get(&mut kept);
}
