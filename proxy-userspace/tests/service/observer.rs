//! The daemon as a service that only looks on, and changes closes by rule.

use crate::stage::{Service, aborted, connected, filters, is_gone, listener, said, served};
use crate::support::netns::Netns;
use crate::support::process::Process;
use crate::support::sockets::abort;
use crate::support::until::until;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

/// CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF (linux/capability.h: 12, 38, 39).
pub(crate) const KEPT: u64 = 1 << 12 | 1 << 38 | 1 << 39;

#[test]
#[ignore = "only in a machine of its own: cargo xtask kernels systemd"]
fn it_is_started_when_it_watches_and_stopped_it_leaves_nothing() {
    let service = Service::started_with("");
    assert_eq!(service.property("Type"), "notify");
    assert_eq!(service.property("SubState"), "running");
    let socket = std::fs::metadata("/run/teardown.sock").expect("the runtime socket");
    assert_eq!((socket.mode() & 0o777, socket.uid(), socket.gid()), (0o600, 0, 0));
    let journal = service.journal();
    assert!(journal.contains("watching lo"), "{journal}");
    // What the kernel of the machine lacks, and nothing else.
    let lacking = journal.lines().filter(|line| !line.contains("watching lo"));
    assert!(lacking.clone().all(|line| line.contains("tcp_send_reset")), "{journal}");

    let listener = listener();
    let closes = service.told(2, || {
        served(&listener);
        aborted(&listener);
    });
    let states: Vec<_> = closes.iter().map(|close| close["conn_state"].as_str()).collect();
    assert_eq!(states, [Some("SF"), Some("RSTO")], "{closes:?}");

    service.stop();
    assert_eq!(service.property("Result"), "success");
    is_gone();
}

#[test]
#[ignore = "only in a machine of its own: cargo xtask kernels systemd"]
fn it_has_what_it_needs_and_no_more() {
    let service = Service::started_with("");
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(u64::from_str_radix(&service.status(set), 16), Ok(KEPT), "{set}");
    }
    assert_eq!(service.status("NoNewPrivs"), "1");
    assert_eq!(service.status("Seccomp"), "2");
    let security = said("systemd-analyze", &["security", "--no-pager", "teardown"]);
    println!("{security}");
    // Of ten, which is a service without any of this.
    said("systemd-analyze", &["security", "--no-pager", "--threshold=40", "teardown"]);
}

/// Who owns a listening socket that is older than the daemon is found in /proc.
#[test]
#[ignore = "only in a machine of its own: cargo xtask kernels systemd"]
fn owners_of_other_users_are_named() {
    let (host, peer) = (Netns::current(), Netns::new());
    peer.ip(&format!(
        "link add eth0 type veth peer name peer netns {}\n\
         addr add 10.79.0.2/24 dev eth0\nlink set eth0 up\n",
        host.path()
    ));
    host.ip("addr add 10.79.0.1/24 dev peer\nlink set peer up\n");
    let mut command = Command::new("runuser");
    command.args(["-u", "www-data", "--", "socat", "TCP-LISTEN:7070,fork,reuseaddr", "PIPE"]);
    let _server = Process::start(&host, &mut command);
    let connect = || peer.run(|| TcpStream::connect("10.79.0.1:7070"));
    until("socat", || connect().ok());
    let service = Service::started_with("");
    let closes = service.told(1, || {
        let mut client = connect().expect("it listens");
        client.write_all(b"an echo").expect("open");
        client.read_exact(&mut [0; 7]).expect("the echo");
        abort(client);
    });
    assert_eq!(closes[0]["process"], "socat", "{closes:?}");
}

#[test]
#[ignore = "only in a machine of its own: cargo xtask kernels systemd"]
fn killed_it_disturbs_nobody_and_is_started_again() {
    let service = Service::started_with("");
    let listener = listener();
    let (mut client, mut server) = connected(&listener);
    let pid = service.pid();
    let hung = ["ingress", "egress"].map(filters);
    said("systemctl", &["kill", "--signal=KILL", "teardown"]);
    client.write_all(b"still here").expect("open");
    server.read_exact(&mut [0; 10]).expect("the words");
    until("another process", || {
        let another = service.property("SubState") == "running" && service.pid() != pid;
        another.then_some(())
    });
    assert_eq!(service.property("NRestarts"), "1");
    assert_eq!(["ingress", "egress"].map(filters), hung, "what the dead one left is gone");
    let closes = service.told(1, || drop((client, server)));
    assert_eq!(closes[0]["conn_state"], "SF", "{closes:?}");
    service.stop();
    is_gone();
}

#[test]
#[ignore = "only in a machine of its own: cargo xtask kernels systemd"]
fn its_rules_change_closes() {
    let service = Service::started_with("");
    let listener = listener();
    let peer = listener.local_addr().expect("bound");
    for (rule, half) in [("active rst", false), ("half-close 1s", true)] {
        let answer = service.ask(&format!("set policy {peer} {rule}"));
        assert!(answer.contains("in force"), "{answer}");
        let (client, mut server) = connected(&listener);
        server.set_read_timeout(Some(Duration::from_secs(20))).expect("an option");
        if half {
            client.shutdown(Shutdown::Write).expect("open");
            assert_eq!(server.read(&mut [0; 1]).expect("the end"), 0);
            until("the deadline", || server.take_error().expect("an option"));
        } else {
            drop(client);
            let error = server.read(&mut [0; 1]).expect_err("a RST");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{rule}");
        }
    }
    service.ask(&format!("del policy {peer}"));
    let (mut client, server) = connected(&listener);
    said("teardown", &["close", "--peer", &peer.to_string()]);
    client.read(&mut [0; 1]).expect_err("closed by command");
    drop(server);
}

#[test]
#[ignore = "only in a machine of its own: cargo xtask kernels systemd"]
fn it_records_into_its_folder_of_logs() {
    let file = "/var/log/teardown/closes.pcapng";
    let service = Service::started_with(&format!("--write {file} --rotate 1m"));
    let listener = listener();
    service.told(1, || served(&listener));
    service.stop();
    let closes = said("teardown", &["explain", "--json", file]);
    assert!(closes.contains("\"SF\""), "{closes}");
}

#[test]
#[ignore = "only in a machine of its own: cargo xtask kernels systemd"]
fn a_reload_without_a_configuration_says_so_and_ends_nothing() {
    let service = Service::started_with("");
    let pid = service.pid();
    assert!(!service.reloads());
    assert_eq!((service.property("SubState"), service.pid()), ("running".to_owned(), pid));
}
