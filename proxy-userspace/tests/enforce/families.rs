//! A rule for IPv6's addresses is none for IPv4's, which the kernel's table holds among them.

use crate::stage::{accept, hear};
use crate::support::enforcer::Enforcer;
use crate::support::netns::Netns;
use crate::support::servers::Ended;
use std::net::{Shutdown, TcpListener, TcpStream};

/// What the peer at `address` sees when ours closes first.
fn seen(netns: &Netns, address: &str) -> Ended {
    let listener = netns.run(|| TcpListener::bind(address).expect("a port"));
    let at = listener.local_addr().expect("bound");
    let ours = netns.run(|| TcpStream::connect(at).expect("it listens"));
    let theirs = accept(&listener);
    drop(ours);
    hear(&theirs).1
}

#[test]
fn of_every_ipv6_address_means_no_ipv4_address() {
    let netns = Netns::new();
    let enforcer = Enforcer::start(&netns, &[]);
    let see = || ["127.0.0.1:9100", "[::1]:9100"].map(|address| seen(&netns, address));
    let (kept, reset) = (Ended::Eof, Ended::Reset);
    for all in ["::/0", "[::]/0:9100", "::/64"] {
        enforcer.set(all, "active rst");
        assert_eq!(see(), [kept, reset], "{all}");
        // IPv4's own rule goes before it, comes and goes.
        for v4 in ["0.0.0.0/0", "0.0.0.0/0:9100"] {
            enforcer.set(v4, "active rst");
            assert_eq!(see(), [reset, reset], "{all}, {v4}");
            enforcer.forget(v4);
            assert_eq!(see(), [kept, reset], "{all}, without {v4}");
        }
        enforcer.set("127.0.0.0/8", "active rst");
        assert_eq!(see(), [reset, reset], "{all}");
        enforcer.forget("127.0.0.0/8");
        enforcer.forget(all);
        assert_eq!(see(), [kept, kept], "without {all}");
    }
    // It leaves nothing behind that would stand in the way of another.
    enforcer.set("0.0.0.0/0", "active rst");
    assert_eq!(see(), [reset, kept]);
    enforcer.set("::/0", "active rst");
    enforcer.forget("::/0");
    assert_eq!(see(), [reset, kept]);
    enforcer.forget("0.0.0.0/0");
}

#[test]
fn what_is_no_rule_for_one_end_takes_nothing_from_the_others() {
    let netns = Netns::new();
    let enforcer = Enforcer::start(&netns, &[]);
    enforcer.set("::/0", "active rst");
    enforcer.set("127.0.0.1", "passive rst");
    let listener = netns.run(|| TcpListener::bind("127.0.0.2:9101").expect("a port"));
    let at = listener.local_addr().expect("bound");
    let ours = netns.run(|| TcpStream::connect(at).expect("it listens"));
    let theirs = accept(&listener);
    ours.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(hear(&theirs).1, Ended::Eof);
    drop(theirs);
    assert_eq!(hear(&ours).1, Ended::Reset);
    assert_eq!(enforcer.counts("127.0.0.1").of("matched"), 1);
}
