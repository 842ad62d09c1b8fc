//! Where the programs hang, and that nothing of them stays: tcx, clsact and XDP; interfaces that
//! come later; others' programs and qdiscs; the end by SIGKILL.

mod support;

use aya::programs::TcAttachType;
use proxy_common::verdict::{Close, ConnState, Role, Signal};
use rustix::process::Signal as Kill;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use support::foreign::{Counter, Hook};
use support::handmade::{Peer, Tun};
use support::linux::has_tcx;
use support::netns::Netns;
use support::observed::Observed;
use support::packets::ACK;
use support::process::Process;
use support::sockets::abort;
use support::topology::{Family, Topology};
use support::until::{until, until_empty};
use teardown::kernel::{How, Ingress, Options, TcHook};

/// A FIN close with data both ways, an abort, and a close with unread data, one after the other.
fn three_closes(client: &Netns, server: &Netns, listener: &TcpListener) -> [u16; 3] {
    let remote = listener.local_addr().expect("its address");
    [0, 1, 2].map(|kind| {
        let mut ours = client.run(|| TcpStream::connect(remote)).expect("a connection");
        let port = ours.local_addr().expect("its address").port();
        let (mut theirs, _) = server.run(|| listener.accept()).expect("its other end");
        ours.write_all(b"a question").expect("sent");
        if kind == 2 {
            until("the question", || theirs.peek(&mut [0; 16]).ok());
            drop(theirs);
            until("the RST", || ours.read(&mut [0; 1]).err());
            return port;
        }
        theirs.read_exact(&mut [0; 10]).expect("the question");
        theirs.write_all(b"an answer").expect("sent");
        ours.read_exact(&mut [0; 9]).expect("the answer");
        if kind == 1 {
            abort(ours);
            until("the RST", || theirs.read(&mut [0; 1]).err());
        } else {
            drop(theirs);
            assert_eq!(ours.read(&mut [0; 1]).expect("the end"), 0);
        }
        port
    })
}

/// What must be told of [`three_closes`], however it was seen.
fn are_told(observed: &Observed, ports: [u16; 3]) {
    let closes: Vec<Close> = ports.iter().map(|port| observed.wait_for(*port)).collect();
    let expected = [
        (ConnState::SF, Some(Role::Resp), Some(Signal::Fin), Some(Signal::Fin)),
        (ConnState::Rsto, Some(Role::Orig), Some(Signal::RstAck), None),
        (ConnState::Rstr, Some(Role::Resp), Some(Signal::RstAck), None),
    ];
    for (close, expected) in closes.iter().zip(expected) {
        let told = (close.conn_state, close.first_closer, close.first_signal, close.answer);
        assert_eq!(told, expected, "{close:?}");
    }
    let bytes: Vec<_> = closes.iter().map(|close| (close.orig.bytes, close.resp.bytes)).collect();
    assert_eq!(bytes, [(Some(10), Some(9)), (Some(10), Some(9)), (Some(10), Some(0))]);
    for port in ports {
        assert_eq!(observed.closes(port).len(), 1, "one connection, one close");
    }
}

fn how(observed: &Observed, interface: &str) -> (How, How) {
    let attachments = observed.attachments();
    let found = attachments.iter().find(|attachment| attachment.interface == interface);
    let found = found.unwrap_or_else(|| panic!("{interface} is not among {attachments:?}"));
    (found.ingress, found.egress)
}

/// Every way to hang the programs, with what is said of it on loopback and on veth.
fn ways() -> [(Options, How, How, How); 4] {
    let options = |ingress, tc_hook| Options { ingress, tc_hook, ..Options::default() };
    let best = if has_tcx() { How::Tcx } else { How::Clsact };
    [
        (options(Ingress::Tc, TcHook::Best), best, best, best),
        (options(Ingress::Tc, TcHook::Clsact), How::Clsact, How::Clsact, How::Clsact),
        // Loopback has no XDP of its own; veth's driver has.
        (options(Ingress::Xdp, TcHook::Best), How::XdpGeneric, How::XdpNative, best),
        (options(Ingress::Xdp, TcHook::Clsact), How::XdpGeneric, How::XdpNative, How::Clsact),
    ]
}

#[test]
fn every_way_tells_the_same_closes_on_loopback() {
    for (options, on_loopback, _, egress) in ways() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let netns = Netns::new();
            let listener = netns.run(|| TcpListener::bind(address)).expect("a listener");
            let observed = Observed::start(&netns, options.clone());
            assert_eq!(how(&observed, "lo"), (on_loopback, egress));
            are_told(&observed, three_closes(&netns, &netns, &listener));
            drop(observed);
            is_clean(&netns, "lo");
        }
    }
}

#[test]
fn every_way_tells_the_same_closes_on_veth() {
    for (options, _, on_veth, egress) in ways() {
        for family in [Family::V4, Family::V6] {
            let topology = Topology::veth(family);
            let address = SocketAddr::new(topology.front_addr, 0);
            let listener = topology.proxy.run(|| TcpListener::bind(address)).expect("a listener");
            let observed = Observed::start(&topology.proxy, options.clone());
            assert_eq!(how(&observed, "front"), (on_veth, egress));
            are_told(&observed, three_closes(&topology.client, &topology.proxy, &listener));
            drop(observed);
            is_clean(&topology.proxy, "front");
        }
    }
}

/// What hangs on an interface: qdiscs, filters of both hooks, XDP.
fn hangs(netns: &Netns, interface: &str) -> String {
    let tc = |words: &[&str]| netns.output(Command::new("tc").args(words));
    let link = netns.output(Command::new("ip").args(["-d", "link", "show", "dev", interface]));
    let xdp: String = link.split_whitespace().filter(|word| word.contains("xdp")).collect();
    let mut found = tc(&["qdisc", "show", "dev", interface]);
    for hook in ["ingress", "egress"] {
        // Without the qdisc, tc says that there is no such parent.
        if found.contains("clsact") {
            found += &tc(&["filter", "show", "dev", interface, hook]);
        }
    }
    found + &xdp
}

fn is_clean(netns: &Netns, interface: &str) {
    let found = hangs(netns, interface);
    for word in ["clsact", "td_", "xdp"] {
        assert!(!found.contains(word), "left behind: {found}");
    }
}

fn clsact() -> Options {
    Options { tc_hook: TcHook::Clsact, ..Options::default() }
}

#[test]
fn a_qdisc_and_a_filter_of_somebody_elses_stay() {
    let netns = Netns::new();
    netns.output(Command::new("tc").args(["qdisc", "add", "dev", "lo", "clsact"]));
    drop(Observed::start(&netns, clsact()));
    assert!(hangs(&netns, "lo").contains("clsact"), "somebody else's qdisc is gone");
    assert!(!hangs(&netns, "lo").contains("td_"));

    let counter = Counter::attach(&netns, "lo", TcAttachType::Egress, Hook::Clsact);
    let observed = Observed::start(&netns, clsact());
    assert!(hangs(&netns, "lo").contains("td_egress"));
    drop(observed);
    let found = hangs(&netns, "lo");
    assert!(found.contains("bpf") && !found.contains("td_"), "{found}");
    drop(counter);
}

#[test]
fn of_two_observers_neither_takes_the_others_filters() {
    let netns = Netns::new();
    let listener = netns.run(|| TcpListener::bind("127.0.0.1:0")).expect("a listener");
    let first = Observed::start(&netns, clsact());
    let second = Observed::start(&netns, clsact());
    let ports = three_closes(&netns, &netns, &listener);
    are_told(&first, ports);
    are_told(&second, ports);
    // Whoever ends first leaves the other what it needs.
    drop(first);
    are_told(&second, three_closes(&netns, &netns, &listener));
    let third = Observed::start(&netns, clsact());
    drop(second);
    are_told(&third, three_closes(&netns, &netns, &listener));
    drop(third);
    is_clean(&netns, "lo");
}

#[test]
fn a_filter_that_came_while_we_were_there_keeps_our_qdisc() {
    let netns = Netns::new();
    let observed = Observed::start(&netns, clsact());
    let counter = Counter::attach(&netns, "lo", TcAttachType::Ingress, Hook::Clsact);
    drop(observed);
    let found = hangs(&netns, "lo");
    assert!(found.contains("clsact") && found.contains("bpf"), "{found}");
    assert!(!found.contains("td_"), "{found}");
    drop(counter);
}

#[test]
fn filters_that_somebody_removed_are_hung_again() {
    let netns = Netns::new();
    let listener = netns.run(|| TcpListener::bind("127.0.0.1:0")).expect("a listener");
    let observed = Observed::start(&netns, clsact());
    for _ in 0..3 {
        netns.output(Command::new("tc").args(["qdisc", "del", "dev", "lo", "clsact"]));
        until("the filters", || {
            let found = hangs(&netns, "lo");
            (found.contains("td_ingress") && found.contains("td_egress")).then_some(())
        });
    }
    are_told(&observed, three_closes(&netns, &netns, &listener));
    drop(observed);
    is_clean(&netns, "lo");
}

#[test]
fn programs_of_others_see_every_packet() {
    for (options, ..) in ways() {
        let netns = Netns::new();
        let listener = netns.run(|| TcpListener::bind("127.0.0.1:0")).expect("a listener");
        let mut foreign = Vec::new();
        let mut attach = || {
            for hook in Hook::all() {
                for way in [TcAttachType::Ingress, TcAttachType::Egress] {
                    foreign.push(Counter::attach(&netns, "lo", way, *hook));
                }
            }
        };
        attach();
        let observed = Observed::start(&netns, options.clone());
        attach();
        are_told(&observed, three_closes(&netns, &netns, &listener));
        // The last acknowledgment may still be on its way.
        until_empty(&format!("programs that have not seen all, {options:?}"), || {
            let seen: Vec<u64> = foreign.iter().map(Counter::seen).collect();
            let all = seen[0] > 20 && seen.iter().all(|one| *one == seen[0]);
            if all { Vec::new() } else { seen }
        });
    }
}

#[test]
fn killed_in_mid_traffic_nothing_is_disturbed_and_the_next_start_works() {
    for (number, (options, .., egress)) in ways().into_iter().enumerate() {
        let netns = Netns::new();
        let listener = netns.run(|| TcpListener::bind("127.0.0.1:0")).expect("a listener");
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "the_one_that_is_killed", "--ignored", "--nocapture"]);
        command.env(WAY, number.to_string()).stdout(std::process::Stdio::null());
        let mut watch = Process::start(&netns, &mut command);
        watch.wait_for_words("watching");
        let remote = listener.local_addr().expect("its address");
        let mut open = netns.run(|| TcpStream::connect(remote)).expect("a connection");
        let (mut other, _) = listener.accept().expect("its other end");
        open.write_all(b"before").expect("sent");
        watch.signal(Kill::KILL);
        watch.wait();
        // The connection goes on.
        open.write_all(b" and after").expect("sent");
        other.read_exact(&mut [0; 16]).expect("both words");
        let left = hangs(&netns, "lo");
        let stays = egress == How::Clsact;
        assert_eq!(left.contains("td_"), stays, "{options:?}: {left}");
        assert!(!left.contains("xdp"), "{left}");

        let observed = Observed::start(&netns, options);
        are_told(&observed, three_closes(&netns, &netns, &listener));
        let port = open.local_addr().expect("its address").port();
        drop(open);
        assert_eq!(other.read(&mut [0; 1]).expect("the end"), 0);
        drop(other);
        let close = observed.wait_for(port);
        assert_eq!((close.first_signal, close.answer), (Some(Signal::Fin), Some(Signal::Fin)));
        drop(observed);
        is_clean(&netns, "lo");
    }
}

/// The number of the way in [`ways`].
const WAY: &str = "TEARDOWN_TEST_WAY";

#[test]
#[ignore = "started by the test that kills it"]
fn the_one_that_is_killed() {
    let Some(number) = std::env::var_os(WAY) else { return };
    let number: usize = number.to_str().and_then(|number| number.parse().ok()).expect("a number");
    let [.., (options, ..)] = &ways()[..=number] else { unreachable!("at least one") };
    let _observed = Observed::start(&Netns::current(), options.clone());
    eprintln!("watching");
    loop {
        std::thread::park();
    }
}

#[test]
fn interfaces_that_come_later_are_attached_and_forgotten() {
    let netns = Netns::new();
    let observed = Observed::start(&netns, Options::default());
    let there = |name: &str| observed.attachments().iter().any(|one| one.interface == name);
    assert!(there("lo") && !there("tun0"));
    {
        let tun = Tun::new(&netns, "10.78.0.1/24");
        until("tun0 to be attached", || there("tun0").then_some(()));
        let near: IpAddr = "10.78.0.1".parse().expect("an address");
        let listener = netns.run(|| TcpListener::bind((near, 0))).expect("a listener");
        let far = "10.78.0.2:3000".parse().expect("an address");
        let mut peer = Peer::new(&tun, far, listener.local_addr().expect("its address"));
        peer.connect();
        let (stream, _) = listener.accept().expect("a connection");
        peer.say(ACK, b"words");
        until("the words", || stream.peek(&mut [0; 8]).ok());
        drop(stream);
        let close = observed.wait_for(3000);
        assert_eq!((close.conn_state, close.resp.unread), (ConnState::Rstr, Some(5)));
    }
    until("tun0 to be forgotten", || (!there("tun0")).then_some(()));
    netns.ip("link add later type veth peer name other\n");
    until("both ends to be attached", || (there("later") && there("other")).then_some(()));
    netns.ip("link set later name renamed\n");
    until("its new name", || (there("renamed") && !there("later")).then_some(()));
    netns.ip("link del renamed\n");
    until("both to be forgotten", || (!there("renamed") && !there("other")).then_some(()));
}

#[test]
fn the_interfaces_that_were_named_are_those_that_are_seen() {
    let topology = Topology::veth(Family::V4);
    let options = Options { interfaces: vec!["back".to_owned()], ..Options::default() };
    let observed = Observed::start(&topology.proxy, options);
    let names: Vec<String> =
        observed.attachments().into_iter().map(|attachment| attachment.interface).collect();
    assert_eq!(names, ["back"]);
}
