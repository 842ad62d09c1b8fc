//! Idle connections that have no task of their own any more.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    service::{OK, get},
    support::{Origin, Proxy, eventually, settings},
};

#[test]
fn idle_connections_are_parked_and_come_back() {
    let origin = Origin::answering(OK);
    let mut settings = settings(&[origin.address]);
    settings.global.park_after = Duration::from_millis(10);
    settings.frontends[0].timeouts.http_keep_alive = Some(Duration::from_secs(4));
    let proxy = Proxy::start(settings);
    let mut client = proxy.connect();
    let mut serials = Vec::new();
    for _ in 0..3 {
        get(&mut client);
        serials.push(eventually(|| proxy.parked().first().copied()));
    }
    assert!(serials.iter().all(|serial| *serial == serials[0]), "{serials:?}");
    assert_eq!(client.rest(), "", "it is closed after timeout http-keep-alive");
    let frontend = Arc::clone(&proxy.engine.proxies().frontends[0]);
    eventually(|| (frontend.sessions.now() == 0).then_some(()));
    assert_eq!(proxy.log(3).len(), 3, "idle connections are not logged");
}

#[test]
fn a_parked_connection_is_as_old_as_it_is_and_known_to_end() {
    let origin = Origin::answering(OK);
    let mut settings = settings(&[origin.address]);
    settings.global.park_after = Duration::from_millis(10);
    let idle = Duration::from_secs(50);
    settings.frontends[0].timeouts.http_keep_alive = Some(idle);
    let proxy = Proxy::start(settings);
    let begun = Instant::now();
    let mut client = proxy.connect();
    // Each request wakes it, and none makes it younger.
    eventually(|| {
        get(&mut client);
        let parked = eventually(|| proxy.sessions().into_iter().find(|session| session.parked));
        assert!(parked.expires.is_some_and(|left| left <= idle), "{parked:?}");
        assert!(parked.age <= begun.elapsed());
        (parked.age > Duration::from_millis(500)).then_some(())
    });
}

#[test]
fn a_parked_connection_can_be_shut_down() {
    let origin = Origin::answering(OK);
    let mut settings = settings(&[origin.address]);
    settings.global.park_after = Duration::from_millis(10);
    let proxy = Proxy::start(settings);
    let (mut one, mut other) = (proxy.connect(), proxy.connect());
    let parked = |count: usize| {
        eventually(|| Some(proxy.parked()).filter(|parked| parked.len() == count))[0]
    };
    get(&mut one);
    let serial = parked(1);
    get(&mut other);
    parked(2);
    proxy.engine.kill(serial);
    assert_eq!(one.rest(), "");
    assert_ne!(parked(1), serial);
    get(&mut other);
}
