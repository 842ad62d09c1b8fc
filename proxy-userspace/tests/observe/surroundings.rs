//! What stands around the watched traffic: the proxy's own configuration, other namespaces, and
//! interfaces that appear later.

use crate::compare::{History, differences, wait_until_told, word};
use crate::support::clients::{Way, ask};
use crate::support::netns::Netns;
use crate::support::proxies::{Mode, haproxy};
use crate::support::reading::{End, Sign, connections};
use crate::support::servers::{Manner, Servers};
use crate::support::sockets::abort;
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::{Family, Topology};
use crate::support::until::until;
use crate::support::watch::{Stopped, Watch};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

#[test]
fn closes_carry_the_names_of_haproxys_own_configuration() {
    let topology = Topology::veth(Family::V4);
    let servers = Servers::start(&topology);
    let proxy = haproxy(&topology, false);
    let file = proxy.folder().join("haproxy.cfg");
    let watch = Watch::start(&topology, &["-f", file.to_str().expect("UTF-8")]);
    let manners = [Manner::FinWithData, Manner::Dodgy];
    for manner in manners {
        let peer = SocketAddr::new(topology.front_addr, Mode::ServerClose.port(manner));
        ask(&topology, peer, Way::Http10);
    }
    watch.wait_for_closes(4);
    let Stopped { closes, .. } = watch.stop();
    for manner in manners {
        let listen = format!("ServerClose-{manner:?}");
        let of = |port: u16| {
            let end = format!(":{port}");
            closes.iter().find(|close| word(close, "resp").ends_with(&end)).expect("its close")
        };
        let front = of(Mode::ServerClose.port(manner));
        assert_eq!(front["proxy"].as_str(), Some(listen.as_str()), "{front}");
        let back = of(manner.port());
        // Sections that share a server's address cannot be told apart by it: any of them.
        let backend = back["backend"].as_str().unwrap_or_default();
        assert!(backend.ends_with(&format!("-{manner:?}")), "{back}");
        assert_eq!(back["server"].as_str(), Some(format!("s-{manner:?}").as_str()), "{back}");
    }
    drop((proxy, servers));
}

/// A connection between `client` and its own listener on loopback, at these very ports.
fn fixed(netns: &Netns, listener: &TcpListener, port: u16) -> (TcpStream, TcpStream) {
    let client = netns.run(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
        socket.connect(&listener.local_addr()?.into())?;
        Ok::<TcpStream, std::io::Error>(socket.into())
    });
    (client.expect("a connection"), listener.accept().expect("a connection").0)
}

#[test]
fn sockets_of_another_namespace_with_the_same_addresses_are_not_mixed_up() {
    let watched = Topology::loopback(Family::V4);
    let other = Netns::new();
    let watch = Watch::start(&watched, &[]);
    let capture = Tcpdump::start(&watched.proxy, "lo", watched.front_addr);
    let listen = |netns: &Netns| netns.run(|| TcpListener::bind("127.0.0.1:9000"));
    let ours = listen(&watched.proxy).expect("a listener");
    let theirs = listen(&other).expect("a listener");
    // The same five numbers in both namespaces at once; theirs ends by RST, ours by FIN.
    for port in 40_001..40_011 {
        let (client, server) = fixed(&watched.proxy, &ours, port);
        let (their_client, their_server) = fixed(&other, &theirs, port);
        abort(their_client);
        drop(their_server);
        // Dropping alone would wait for a process that another test's thread forks just now and
        // that holds the sockets too until it runs its own program.
        for end in [client, server] {
            end.shutdown(Shutdown::Write).expect("a FIN");
        }
    }
    let known = connections(&capture.stop());
    assert_eq!(known.len(), 10);
    for connection in &known {
        assert_eq!(connection.first_close(), Some((End::Orig, Sign::Fin)), "{connection}");
    }
    wait_until_told(&watch, &known);
    let closes = watch.stop().closes;
    assert_eq!(differences(&known, &closes, History::Sparse), Vec::<String>::new());
}

#[test]
fn interfaces_that_appear_later_are_watched_too() {
    let topology = Topology::veth(Family::V4);
    let watch = Watch::start(&topology, &[]);
    let late = Netns::new();
    late.ip(&format!(
        "link add eth0 type veth peer name late netns {}\naddr add 10.77.3.1/24 dev eth0\n\
         link set eth0 up\n",
        topology.proxy.path()
    ));
    topology.proxy.ip("addr add 10.77.3.2/24 dev late\nlink set late up\n");
    let listener = topology.proxy.run(|| TcpListener::bind("10.77.3.2:9000")).expect("a listener");
    // Until the programs hang on it nothing is told of it: the first close shows that they do.
    let told = |watch: &Watch| {
        let closes = watch.closes();
        closes.iter().filter(|close| word(close, "history").starts_with("Sh")).count()
    };
    until("a close on the new interface", || {
        let client = late.run(|| TcpStream::connect("10.77.3.2:9000")).expect("a connection");
        drop(listener.accept().expect("a connection"));
        drop(client);
        std::thread::sleep(Duration::from_millis(10));
        (told(&watch) > 0).then_some(())
    });
    topology.proxy.ip("link del late\n");
    // What goes away disturbs nothing.
    let servers = Servers::start(&topology);
    let peer = SocketAddr::new(topology.backend_addr, Manner::FinAfter.port());
    let before = told(&watch);
    let stream = topology.proxy.run(|| TcpStream::connect(peer)).expect("a connection");
    drop(stream);
    until("a close after an interface is gone", || (told(&watch) > before).then_some(()));
    drop(servers);
    assert!(watch.stop().status.success());
}
