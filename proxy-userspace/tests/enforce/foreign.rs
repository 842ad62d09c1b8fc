//! What looks like a connection of this host's, and is not quite: of a container, or under other
//! addresses on the wire.

use crate::stage::{accept, connect, hear, listen, say_and_wait};
use crate::support::enforcer::Enforcer;
use crate::support::netns::Netns;
use crate::support::servers::Ended;
use crate::support::sockets::abort;
use crate::support::ss;
use crate::support::topology::{Family, Topology};
use crate::support::until::until;
use crate::support::weather::known_as;
use std::net::{SocketAddr, TcpStream};

/// A rule, how a container's application closes, and what its peer sees, as without any rule.
type Way = (&'static str, fn(TcpStream), Ended);

const WAYS: [Way; 2] = [
    ("active rst half-close 300ms", drop, Ended::Eof),
    ("abort fin", |ours| abort(ours), Ended::Reset),
];

/// Its segments leave by this host's device, with its socket in hand. It is no socket of this host's,
/// and no rule here is for it.
#[test]
fn a_containers_macvlan_is_left_alone() {
    let topology = Topology::veth(Family::V4);
    let container = Netns::new();
    topology.proxy.ip(&format!(
        "link add link back name mv0 type macvlan mode bridge\nlink set mv0 netns {}\n",
        container.path()
    ));
    container.ip("addr add 10.77.2.3/24 dev mv0\nlink set mv0 up\n");
    let ours = SocketAddr::new("10.77.2.3".parse().expect("an address"), 0);
    for (port, (rule, close, ended)) in (9100..).zip(WAYS) {
        let enforcer = Enforcer::start(&topology.proxy, &[]);
        let peer = SocketAddr::new(topology.backend_addr, port);
        enforcer.set(peer, rule);
        let listener = listen(&topology.backend, peer);
        let ours = connect(&container, ours, peer);
        let theirs = accept(&listener);
        say_and_wait(&ours, b"hello");
        close(ours);
        assert_eq!(hear(&theirs).1, ended, "{rule}: {:?}", enforcer.counts(peer));
        drop(theirs);
        let closes = enforcer.wait_for_closes(port, 1);
        assert!(closes[0]["actor"].is_null(), "{rule}: {}", closes[0]);
        let counts = enforcer.counts(peer);
        for word in ["fin to rst", "rst to fin", "half close over"] {
            assert_eq!(counts.of(word), 0, "{rule}, {word}: {counts:?}");
        }
    }
}

/// The socket knows its peer by an address that is translated on its way: a RST with the socket's own
/// addresses would reach the socket, and not the peer.
#[test]
fn a_reset_is_not_sent_to_an_address_that_is_translated() {
    let topology = Topology::veth(Family::V4);
    let service = SocketAddr::new(known_as(&topology.proxy, topology.backend_addr), 9100);
    let enforcer = Enforcer::start(&topology.proxy, &[]);
    let listener = listen(&topology.backend, SocketAddr::new(topology.backend_addr, 9100));
    let ours = connect(&topology.proxy, SocketAddr::new(topology.back_addr, 0), service);
    let theirs = accept(&listener);
    say_and_wait(&ours, b"hello");
    drop(ours);
    assert_eq!(hear(&theirs).1, Ended::Eof);
    let state = || ss::alive(&topology.proxy).into_iter().map(|socket| socket.state);
    until("our FIN to be acknowledged", || state().any(|it| it == "FIN-WAIT-2").then_some(()));
    // From now on the rule is for sockets that are half closed already too.
    enforcer.set(service, "half-close 100ms");
    until("the deadline", || (enforcer.counts(service).of("refused (no link)") == 1).then_some(()));
    assert_eq!(state().collect::<Vec<_>>(), ["FIN-WAIT-2"]);
}
