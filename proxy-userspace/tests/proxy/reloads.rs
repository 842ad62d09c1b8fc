//! Reloads of the engine: what stays, what changes, and that nothing is lost.

use crate::service::{CLOSE, GET, OK, get};
use crate::support::{Origin, Proxy, eventually, settings, until::Over};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use teardown::http::{
    counters::Count,
    settings::{Bind, BindAddress, Frontend},
};

#[test]
fn a_reload_keeps_sockets_and_connections() {
    const NEW: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew";
    let (old, new) = (Origin::answering(OK), Origin::answering(NEW));
    let (before, after) = (settings(&[old.address]), settings(&[new.address]));
    let proxy = Proxy::start(before.clone());
    let mut kept = proxy.connect();
    get(&mut kept);
    let mut wrong = after.clone();
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 80));
    wrong.frontends[0].binds = vec![Bind::new(BindAddress::Inet(elsewhere))];
    let error = proxy.engine.reload(wrong).expect_err("the address is not ours");
    assert!(error.to_string().contains("192.0.2.1:80"), "{error}");
    get(&mut kept);
    proxy.engine.reload(after).expect("reloads");
    for mut client in [proxy.connect(), kept] {
        // A worker may still be about to hear of it.
        eventually(|| {
            client.send(GET);
            (client.response() == NEW).then_some(())
        });
    }
    // The request under way at a reload ends by the settings it began with; none is lost.
    let mut client = proxy.connect();
    for _ in 0..50 {
        client.send(GET);
        proxy.engine.reload(before.clone()).expect("reloads");
        client.response();
    }
    assert_eq!(proxy.engine.addresses()[0].1, proxy.address);
}

#[test]
fn a_parked_connection_goes_where_its_frontend_goes_after_a_reload() {
    const OTHER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother";
    let (own, other) = (Origin::answering(OK), Origin::answering(OTHER));
    let mut before = settings(&[own.address]);
    before.global.park_after = Duration::from_millis(10);
    let proxy = Proxy::start(before.clone());
    let mut client = proxy.connect();
    // Its backend is another one's place then, and then there is none at its place.
    let mut earlier = before.clone();
    earlier.backends.insert(0, settings(&[other.address]).backends.remove(0));
    earlier.frontends[0].default_backend = Some(1);
    let mut gone = before.clone();
    gone.frontends[0].default_backend = None;
    gone.backends.clear();
    for (settings, answer) in
        [(&earlier, "200"), (&before, "200"), (&earlier, "200"), (&gone, "503")]
    {
        get(&mut client);
        eventually(|| (proxy.parked().len() == 1).then_some(()));
        proxy.engine.reload(settings.clone()).expect("reloads");
        assert_eq!(proxy.parked().len(), 1, "all workers have heard of it");
        client.send(GET);
        let response = client.response();
        assert_eq!(&response[9..12], answer, "{response}");
        assert!(!response.ends_with("other"), "{response}");
    }
}

#[test]
fn a_reload_may_add_a_second_bind_of_an_address() {
    let origin = Origin::answering(OK);
    let before = settings(&[origin.address]);
    let proxy = Proxy::start(before.clone());
    let mut after = before;
    let second = Frontend { name: "second".into(), ..after.frontends[0].clone() };
    after.frontends.push(second);
    proxy.engine.reload(after).expect("reloads");
    let addresses = proxy.engine.addresses();
    assert_eq!((addresses[0].1, addresses[1].0.as_str()), (proxy.address, "second"));
    // Port 0 shows that it has sockets of its own.
    assert_ne!(addresses[1].1, proxy.address);
    let stream = std::net::TcpStream::connect(addresses[1].1).expect("connects");
    drop(stream);
    let proxies = proxy.engine.proxies();
    eventually(|| (proxies.frontends[1].counters.total(Count::Sessions) == 1).then_some(()));
}

#[test]
fn fifty_reloads_under_load_lose_no_request() {
    let origin = Origin::answering(OK);
    let mut settings = settings(&[origin.address]);
    settings.global.threads = 2;
    let proxy = Proxy::start(settings.clone());
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for keeps in [false, false, true, true] {
            let (proxy, over, served) = (&proxy, &over, &served);
            scope.spawn(move || {
                let mut kept = keeps.then(|| proxy.connect());
                while !over.load(Relaxed) {
                    match &mut kept {
                        Some(client) => get(client),
                        None => assert!(proxy.exchange(CLOSE).ends_with("\r\n\r\nok")),
                    }
                    served.fetch_add(1, Relaxed);
                }
            });
        }
        let _over = Over(&over);
        for _ in 0..50 {
            let before = served.load(Relaxed);
            proxy.engine.reload(settings.clone()).expect("reloads");
            eventually(|| (served.load(Relaxed) >= before + 20).then_some(()));
        }
    });
    let served = served.load(Relaxed);
    assert!(served >= 1000, "{served}");
    let lines = proxy.log(served);
    assert_eq!(lines.len(), served);
    let odd: Vec<_> = lines.iter().filter(|l| l.status != 200 || l.state != "----").collect();
    assert!(odd.is_empty(), "{odd:?}");
}
