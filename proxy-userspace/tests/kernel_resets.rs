//! What ends a connection and what does not: every way of a RST, timers, closes that cross. The
//! peer is made by hand behind a tun device, which has no link header.

mod support;

use proxy_common::verdict::{Close, ConnState, Role, Signal};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use support::handmade::{Peer, Tun};
use support::netns::Netns;
use support::observed::Observed;
use support::packets::{ACK, FIN, Packet, RST, SYN};
use support::sockets::abort;
use support::ss;
use support::until::until;
use teardown::kernel::Options;

/// A host whose wire is a tun device, with a listening socket.
struct Host {
    netns: Netns,
    tun: Tun,
    listener: TcpListener,
    far: IpAddr,
}

impl Host {
    fn v4() -> Self {
        Self::new("10.78.0.1/24", "10.78.0.2")
    }

    fn v6() -> Self {
        Self::new("fd78::1/64", "fd78::2")
    }

    fn new(near: &str, far: &str) -> Self {
        let netns = Netns::new();
        let tun = Tun::new(&netns, near);
        let near: IpAddr = near.split('/').next().expect("one").parse().expect("an address");
        let listener = netns.run(|| TcpListener::bind((near, 0))).expect("a listener");
        Self { netns, tun, listener, far: far.parse().expect("an address") }
    }

    fn observe(&self) -> Observed {
        Observed::start(&self.netns, Options::default())
    }

    fn peer(&self, port: u16) -> Peer<'_> {
        let near = self.listener.local_addr().expect("its address");
        let mut peer = Peer::new(&self.tun, SocketAddr::new(self.far, port), near);
        peer.extensions = self.far.is_ipv6();
        peer
    }

    /// A connection from `port`, established on both sides.
    fn establish(&self, port: u16) -> (Peer<'_>, TcpStream) {
        let mut peer = self.peer(port);
        peer.connect();
        let (stream, _) = self.listener.accept().expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("an option");
        (peer, stream)
    }

    /// The states of the sockets that are connected to `port`, by `ss`.
    fn states(&self, port: u16) -> Vec<String> {
        let end = format!(":{port}");
        let sockets = ss::sockets(&self.netns);
        sockets.into_iter().filter(|one| one.peer.ends_with(&end)).map(|one| one.state).collect()
    }
}

/// Ends a connection as it should: the peer first.
fn finish(peer: &mut Peer<'_>, mut stream: TcpStream) {
    peer.say(FIN | ACK, b"");
    assert_eq!(stream.read(&mut [0; 64]).expect("the end"), 0);
    drop(stream);
    peer.hear_fin();
    peer.say(ACK, b"");
}

/// Waits for the answer of the kernel to what it does not believe: an ACK of what it expects.
fn hear_challenge(peer: &Peer<'_>) -> Packet {
    let answer = peer.hear();
    assert_eq!((answer.flags & (SYN | FIN | RST | ACK), answer.ack), (ACK, peer.seq));
    answer
}

/// Zeek's `conn_state` believes every RST, so that it is not looked at.
fn is_clean_but_challenged(close: &Close, challenges: u16) {
    assert_eq!((close.first_closer, close.first_signal), (Some(Role::Orig), Some(Signal::Fin)));
    assert_eq!((close.answer, close.challenges), (Some(Signal::Fin), challenges), "{close:?}");
}

#[test]
fn a_challenged_reset_closes_nothing() {
    for host in [Host::v4(), Host::v6()] {
        let observed = host.observe();
        let (mut peer, mut stream) = host.establish(2001);
        // In the window, and not what is expected (RFC 5961, 3.2).
        peer.say_at(peer.seq.wrapping_add(100), RST, b"");
        hear_challenge(&peer);
        peer.say(ACK, b"still here");
        stream.read_exact(&mut [0; 10]).expect("the words");
        assert_eq!(host.states(2001), ["ESTAB"]);
        // Another connection is told meanwhile: this one was not.
        let (mut other, aborted) = host.establish(2002);
        other.say(RST | ACK, b"");
        observed.wait_for(2002);
        drop(aborted);
        assert!(observed.closes(2001).is_empty());
        finish(&mut peer, stream);
        let close = observed.wait_for(2001);
        is_clean_but_challenged(&close, 1);
        assert_eq!(close.orig.bytes, Some(10));
    }
}

#[test]
fn a_reset_out_of_the_window_closes_nothing() {
    let host = Host::v4();
    let observed = host.observe();
    let (mut peer, mut stream) = host.establish(2003);
    peer.say_at(peer.seq.wrapping_sub(100_000), RST, b"");
    peer.say_at(peer.seq.wrapping_add(100_000_000), RST | ACK, b"");
    peer.say(ACK, b"still here");
    stream.read_exact(&mut [0; 10]).expect("the words");
    assert_eq!(host.states(2003), ["ESTAB"]);
    peer.say(FIN | ACK, b"");
    drop(stream);
    peer.hear_fin();
    peer.say(ACK, b"");
    let close = observed.wait_for(2003);
    assert_eq!((close.first_closer, close.first_signal), (Some(Role::Orig), Some(Signal::Fin)));
    assert_eq!((close.answer, close.orig.bytes), (Some(Signal::Fin), Some(10)), "{close:?}");
    // The kernel answers neither, so that the two look like one that came twice.
    assert_eq!(close.challenges, 1);
}

#[test]
fn a_syn_into_a_living_connection_begins_and_closes_nothing() {
    let host = Host::v4();
    let observed = host.observe();
    let (mut peer, stream) = host.establish(2004);
    peer.say_at(peer.seq.wrapping_add(5), SYN, b"");
    hear_challenge(&peer);
    assert_eq!(host.states(2004), ["ESTAB"]);
    finish(&mut peer, stream);
    let closes = observed.wait_for_more(2004, 1);
    assert_eq!(closes.len(), 1);
    is_clean_but_challenged(&closes[0], 1);
}

#[test]
fn an_exact_reset_tells_what_it_threw_away() {
    for (host, flags, signal) in
        [(Host::v4(), RST | ACK, Signal::RstAck), (Host::v6(), RST, Signal::Rst)]
    {
        let observed = host.observe();
        let (mut peer, mut stream) = host.establish(2005);
        peer.say(ACK, b"read this not that");
        stream.read_exact(&mut [0; 10]).expect("the first half");
        stream.write_all(b"nobody acknowledges").expect("sent");
        let heard = until("the data", || Some(peer.hear()).filter(|packet| packet.payload > 0));
        assert_eq!(heard.payload, 19);
        peer.say(flags, b"");
        // What was received may still be read; after that comes the error.
        assert_eq!(stream.read(&mut [0; 64]).expect("the second half"), 8);
        let error = stream.read(&mut [0; 64]).expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let close = observed.wait_for(2005);
        assert_eq!(close.conn_state, ConnState::Rsto, "{close:?}");
        assert_eq!((close.first_closer, close.first_signal), (Some(Role::Orig), Some(signal)));
        assert_eq!((close.resp.unread, close.resp.unacked), (Some(0), Some(19)), "{close:?}");
        assert_eq!(close.resp.err, Some(104));
        assert_eq!((close.orig.bytes, close.answer), (Some(18), None));
        assert_eq!(host.states(2005), [] as [&str; 0]);
    }
}

#[test]
fn a_closed_port_rejects_and_says_why() {
    for host in [Host::v4(), Host::v6()] {
        let observed = host.observe();
        let mut peer = host.peer(2006);
        peer.remote.set_port(9);
        peer.say(SYN, b"");
        assert!(peer.hear().has(RST));
        let close = observed.wait_for(2006);
        assert_eq!((close.conn_state, close.history.as_str()), (ConnState::Rej, "Sr"));
        assert_eq!(close.first_closer, Some(Role::Resp));
        assert_eq!(close.first_signal, Some(Signal::RstAck));
        observed.expect_reason(close.resp.rst_reason, "NO_SOCKET");
    }
}

#[test]
fn a_port_that_refuses_us_is_rejected_too() {
    let host = Host::v4();
    let observed = host.observe();
    let far = SocketAddr::new(host.far, 2007);
    let connecting = {
        let netns = host.netns.clone();
        std::thread::spawn(move || netns.run(|| TcpStream::connect(far)))
    };
    let syn = host.tun.receive(2007);
    let mut peer = Peer::new(&host.tun, far, syn.source);
    peer.seq = 0;
    peer.ack = syn.end();
    peer.say(RST | ACK, b"");
    let refused = connecting.join().expect("a thread").expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let close = observed.wait_for(2007);
    assert_eq!((close.conn_state, close.orig.err), (ConnState::Rej, Some(111)), "{close:?}");
    assert_eq!(close.first_signal, Some(Signal::RstAck));
    let owner = close.orig.owner.expect("our own socket");
    assert_eq!(owner.pid, std::process::id());
}

#[test]
fn closes_that_cross_are_one_clean_close() {
    let host = Host::v4();
    let observed = host.observe();
    let (mut peer, stream) = host.establish(2008);
    let ack = peer.ack;
    drop(stream);
    peer.hear_fin();
    let end = std::mem::replace(&mut peer.ack, ack);
    peer.say(FIN | ACK, b"");
    until("CLOSING", || (host.states(2008) == ["CLOSING"]).then_some(()));
    assert!(observed.closes(2008).is_empty(), "our FIN is not acknowledged");
    peer.ack = end;
    peer.say(ACK, b"");
    let close = observed.wait_for(2008);
    assert_eq!(close.conn_state, ConnState::SF, "{close:?}");
    assert_eq!((close.first_closer, close.first_signal), (Some(Role::Resp), Some(Signal::Fin)));
    assert_eq!((close.answer, close.resp.unacked), (Some(Signal::Fin), Some(0)));
}

#[test]
fn aborts_of_the_host_say_why() {
    let host = Host::v4();
    let observed = host.observe();

    let (peer, stream) = host.establish(2010);
    abort(stream);
    assert!(peer.hear().has(RST));
    // Data that comes after close(2).
    let (mut peer, stream) = host.establish(2011);
    drop(stream);
    let fin = peer.hear_fin();
    assert!(fin.has(FIN));
    peer.say(ACK, b"too late");
    until("the RST", || Some(peer.hear()).filter(|packet| packet.has(RST)));
    // Data that nobody read.
    let (mut peer, stream) = host.establish(2012);
    peer.say(ACK, b"unread");
    until("the data", || stream.peek(&mut [0; 8]).ok());
    drop(stream);
    until("the RST", || Some(peer.hear()).filter(|packet| packet.has(RST)));

    for (port, signal, reason, unread) in [
        (2010, Signal::RstAck, "TCP_STATE", 0),
        (2011, Signal::Fin, "TCP_ABORT_ON_DATA", 0),
        (2012, Signal::RstAck, "TCP_ABORT_ON_CLOSE", 6),
    ] {
        let close = observed.wait_for(port);
        assert_eq!(close.first_closer, Some(Role::Resp), "{close:?}");
        let told = (close.conn_state, close.first_signal, close.resp.unread);
        assert_eq!(told, (ConnState::Rstr, Some(signal), Some(unread)), "{close:?}");
        observed.expect_reason(close.resp.rst_reason, reason);
    }
}

#[test]
fn a_peer_that_is_silent_times_out() {
    let host = Host::v4();
    let observed = host.observe();
    let (_peer, mut stream) = host.establish(2013);
    socket2::SockRef::from(&stream)
        .set_tcp_user_timeout(Some(Duration::from_millis(400)))
        .expect("an option");
    stream.write_all(b"is anybody there?").expect("sent");
    let error = stream.read(&mut [0; 8]).expect_err("nobody is");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let close = observed.wait_for(2013);
    assert_eq!((close.conn_state, close.first_closer), (ConnState::S1, Some(Role::Resp)));
    assert_eq!((close.first_signal, close.answer), (Some(Signal::Timeout), None), "{close:?}");
    assert_eq!((close.resp.err, close.resp.unacked), (Some(110), Some(17)));
    assert!(close.resp.timed_out && close.resp.retransmissions.is_some_and(|count| count > 0));
}

#[test]
fn a_connect_without_an_answer_times_out() {
    let host = Host::v4();
    let observed = host.observe();
    let far = SocketAddr::new(host.far, 2014);
    let error = host.netns.run(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("a socket");
        socket.set_tcp_user_timeout(Some(Duration::from_millis(300))).expect("an option");
        socket.connect(&far.into()).expect_err("nobody answers")
    });
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let close = observed.wait_for(2014);
    assert_eq!((close.conn_state, close.first_closer), (ConnState::S0, Some(Role::Orig)));
    assert_eq!((close.first_signal, close.orig.err), (Some(Signal::Timeout), Some(110)));
}

#[test]
fn connections_older_than_the_programs_are_followed_from_where_they_are() {
    let host = Host::v4();
    let (mut reset, reset_stream) = host.establish(2020);
    let (mut finishing, finishing_stream) = host.establish(2021);
    let (aborted, aborted_stream) = host.establish(2022);
    let (mut challenged, challenged_stream) = host.establish(2023);
    (&reset_stream).write_all(b"words").expect("sent");
    let observed = host.observe();
    reset.say(RST | ACK, b"");
    finish(&mut finishing, finishing_stream);
    abort(aborted_stream);
    assert!(aborted.hear().has(RST));

    let close = observed.wait_for(2020);
    assert_eq!((close.first_closer, close.first_signal), (Some(Role::Orig), Some(Signal::RstAck)));
    assert_eq!((close.resp.unacked, close.is_midstream()), (Some(5), true), "{close:?}");
    let close = observed.wait_for(2021);
    assert_eq!((close.first_closer, close.first_signal), (Some(Role::Orig), Some(Signal::Fin)));
    assert_eq!((close.answer, close.is_midstream()), (Some(Signal::Fin), true), "{close:?}");
    // Only our RST was seen of it: who speaks first is taken for the originator.
    let close = observed.wait_for(2022);
    assert_eq!((close.first_closer, close.first_signal), (Some(Role::Orig), Some(Signal::RstAck)));
    assert_eq!(close.resp.endpoint.port, 2022, "{close:?}");
    observed.expect_reason(close.orig.rst_reason, "TCP_STATE");
    for (port, role) in [(2020, Role::Resp), (2021, Role::Resp), (2022, Role::Orig)] {
        let owner = observed.wait_for(port).end(role).owner.expect("found in /proc");
        assert_eq!(owner.pid, std::process::id());
    }

    // A RST that is not believed: no socket was told of, so that only the tracepoint knows.
    challenged.say_at(challenged.seq.wrapping_add(100), RST, b"");
    hear_challenge(&challenged);
    assert_eq!(host.states(2023), ["ESTAB"]);
    finish(&mut challenged, challenged_stream);
    until("the end", || host.states(2023).is_empty().then_some(()));
    let closes = observed.wait_for_more(2023, 1);
    assert_eq!(closes.len(), 1, "{closes:?}");
}
