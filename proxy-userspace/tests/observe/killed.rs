//! teardown killed in mid-traffic disturbs nobody, and starts again at once.

use crate::compare::{History, differences};
use crate::support::clients::{Way, ask};
use crate::support::proxies::{Mode, haproxy_that_waits};
use crate::support::reading::connections;
use crate::support::servers::{BODY, Ended, Manner, Servers};
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::{Family, Topology};
use crate::support::until::{Over, until};
use crate::support::watch::Watch;
use rustix::process::Signal;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn a_kill_in_mid_traffic_disturbs_no_connection() {
    let topology = Topology::veth(Family::V4);
    let servers = Servers::start(&topology);
    let proxy = haproxy_that_waits(&topology, false, "30s");
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let peer = SocketAddr::new(topology.front_addr, Mode::ServerClose.port(Manner::FinWithData));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Acquire) {
                    let asked = ask(&topology, peer, Way::Http10);
                    assert_eq!(asked.ended, Ended::Eof, "{asked:?}");
                    assert!(asked.bytes > BODY, "{asked:?}");
                    done.fetch_add(1, Ordering::AcqRel);
                    // teardown needs some of the processors too, to start.
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let more = |count| {
            let target = done.load(Ordering::Acquire) + count;
            until("further requests", || (done.load(Ordering::Acquire) >= target).then_some(()));
        };
        let _over = Over(&stop);
        for _ in 0..3 {
            let mut watch = Watch::start(&topology, &[]);
            more(50);
            watch.wait_for_closes(20);
            watch.process.signal(Signal::KILL);
            watch.process.wait();
            more(50);
        }
    });
    // A new one sees everything again, each connection once.
    let watch = Watch::start(&topology, &[]);
    let capture = Tcpdump::start(&topology.client, "eth0", topology.front_addr);
    for _ in 0..20 {
        ask(&topology, peer, Way::Http10);
    }
    let known = connections(&capture.stop());
    assert_eq!(known.len(), 20);
    watch.wait_for_closes(40);
    let mut closes = watch.stop().closes;
    closes.retain(|close| close["resp"].as_str() == Some(&peer.to_string()));
    assert_eq!(differences(&known, &closes, History::Sparse), Vec::<String>::new());
    drop(proxy);
    drop(servers);
}
