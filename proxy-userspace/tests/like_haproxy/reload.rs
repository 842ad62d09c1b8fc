//! Reloads of the thread's configuration: it lies outside of the chroot, is root's, and the daemon
//! that is to read it anew is somebody else in the chroot.

use crate::clients::Client;
use crate::support::process::Process;
use crate::support::until::{PATIENCE, until};
use crate::thread::{Host, say, status};
use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

/// The process that reads for it as root.
fn steward(daemon: &Process) -> u32 {
    let pid = daemon.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("its children");
    let stewards: Vec<u32> = children
        .split_whitespace()
        .map(|child| child.parse().expect("a number"))
        .filter(|child| {
            let words = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            words.split(|byte| *byte == 0).nth(1) == Some(b"steward")
        })
        .collect();
    let [steward] = stewards[..] else { panic!("{stewards:?} of {children}") };
    steward
}

fn is_gone(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .map_or(true, |text| text.contains("State:\tZ"))
}

fn for_root_alone(path: &Path) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("its owner is root");
}

fn ask(host: &Host, port: u16) -> String {
    let at = SocketAddr::new(host.stage.topology.front_addr, port);
    Client::Http10.ask(&host.stage.topology, at, "/after")
}

#[test]
fn everything_is_read_and_opened_outside_of_the_chroot() {
    let host = Host::new();
    let config = host.config("");
    let file = host.stage.write("haproxy.cfg", &config);
    for_root_alone(&file);
    let mut proxy = host.stage.teardown_of(&file);
    host.judge(&host.ask(), "sF pF");
    let socket = host.stage.path("socket");

    // A policy, a port of root's, a page of root's, a server by its name, another place for logs.
    let page = host.stage.write("sorry.http", "HTTP/1.0 503 Sorry\r\n\r\nsorry");
    for_root_alone(&page);
    let more = format!(
        "\nlisten more\n  bind {}:81\n  errorfile 503 {}\n  server gone localhost:1\n",
        host.stage.topology.front_addr,
        page.display(),
    );
    let log = UnixDatagram::bind(host.stage.path("other")).expect("a socket");
    log.set_read_timeout(Some(PATIENCE)).expect("a time");
    let here = |name: &str| host.stage.path(name).display().to_string();
    let renewed = host.config(" close like haproxy-1.4").replace(&here("log"), &here("other"));
    host.stage.write("haproxy.cfg", &(renewed + &more));
    let answer = say(&socket, "reload");
    assert!(answer.contains("The configuration is in place"), "{answer}");
    let listed = say(&socket, "show policy");
    assert!(listed.contains("webservice/w1 passive rst"), "{listed}");
    let text = ask(&host, 80);
    assert!(text.ends_with("ok"), "{text}");
    let mut line = [0; 4096];
    let length = log.recv(&mut line).expect("a line at the new place");
    let line = String::from_utf8_lossy(&line[..length]).into_owned();
    assert!(line.contains("GET /after"), "{line}");
    let text = ask(&host, 81);
    assert!(text.starts_with("HTTP/1.1 503 Sorry") && text.ends_with("sorry"), "{text}");

    // The daemon itself has not become root again for that.
    assert!(!status(proxy.pid(), "Uid").split_whitespace().any(|id| id == "0"));
    let capabilities = status(proxy.pid(), "CapEff");
    assert_eq!(u64::from_str_radix(&capabilities, 16).expect("hexadecimal") >> 10 & 1, 0);
    host.stop(&mut proxy);
}

#[test]
fn what_is_wrong_changes_nothing_and_is_said_once() {
    let host = Host::new();
    let config = host.config("");
    let file = host.stage.write("haproxy.cfg", &config);
    let mut proxy = host.stage.teardown_of(&file);
    let socket = host.stage.path("socket");
    let taken = format!("{config}\nlisten more\n  bind 203.0.113.1:82\n  server one 127.0.0.1:1\n");
    let wrongs = [
        (config.replace("user    nobody", "user    no-such-user"), "no-such-user"),
        (config.replace("server  w1 ", "server  w1 no-such-host.invalid:80 #"), "no-such-host"),
        (taken, "203.0.113.1:82"),
    ];
    let mut answers = Vec::new();
    for (wrong, _) in &wrongs {
        host.stage.write("haproxy.cfg", wrong);
        let answer = say(&socket, "reload");
        assert!(answer.contains("The old configuration runs on"), "{answer}");
        answers.push(answer);
        let text = ask(&host, 80);
        assert!(text.ends_with("ok"), "{text}");
    }
    std::fs::remove_file(&file).expect("the configuration");
    let answer = say(&socket, "reload");
    assert!(answer.contains("haproxy.cfg") && answer.contains("runs on"), "{answer}");
    host.stage.write("haproxy.cfg", &config);
    let answer = say(&socket, "reload");
    assert!(answer.contains("The configuration is in place"), "{answer}");
    host.stop(&mut proxy);
    // The steward has found the same, and left it to the daemon to say it.
    answers.extend(proxy.errors.to_the_end());
    for (_, why) in wrongs {
        assert_eq!(answers.iter().filter(|line| line.contains(why)).count(), 1, "{answers:#?}");
    }
}

/// What `line` is answered, once it is.
fn ask_for(socket: &Path, line: &'static str) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    let socket = socket.to_owned();
    std::thread::spawn(move || tell.send(say(&socket, line)));
    told
}

#[test]
fn the_daemon_goes_on_while_its_steward_takes_its_time() {
    let host = Host::new();
    let file = host.stage.write("haproxy.cfg", &host.config(""));
    let mut proxy = host.stage.teardown_of(&file);
    let socket = host.stage.path("socket");
    let signal = |signal| {
        let steward = i32::try_from(steward(&proxy)).expect("a pid");
        kill_process(Pid::from_raw(steward).expect("a pid"), signal).expect("it is there");
    };
    signal(Signal::STOP);
    let first = ask_for(&socket, "reload");
    let second = ask_for(&socket, "reload");
    let info = ask_for(&socket, "show info").recv_timeout(PATIENCE).expect("an answer");
    assert!(info.contains("Closes: "), "{info}");
    assert!(ask(&host, 80).ends_with("ok"));
    assert!(first.recv_timeout(Duration::from_millis(100)).is_err(), "nobody has read anything");

    // Who asked after the first had begun gets what is in the file by then.
    host.stage.write("haproxy.cfg", &host.config(" close like haproxy-1.4"));
    signal(Signal::CONT);
    for answer in [first, second] {
        let answer = answer.recv_timeout(PATIENCE).expect("an answer");
        assert!(answer.contains("The configuration is in place"), "{answer}");
    }
    let listed = say(&socket, "show policy");
    assert!(listed.contains("webservice/w1 passive rst"), "{listed}");
    host.stop(&mut proxy);
}

#[test]
fn a_rule_that_cannot_be_set_is_named_and_the_others_are_in_force() {
    let host = Host::new();
    let config = host.config("");
    let file = host.stage.write("haproxy.cfg", &config);
    let mut proxy = host.stage.teardown_of(&file);
    let socket = host.stage.path("socket");
    // More rules than there is room for.
    let mut many = format!("{config}\nlisten many\n  bind {}:83\n", host.stage.topology.front_addr);
    for number in 0..1_100 {
        many += &format!("  server s{number} 127.0.0.1:1 close passive rst\n");
    }
    host.stage.write("haproxy.cfg", &many);
    let answer = say(&socket, "reload");
    let told =
        "The new configuration runs, but not every rule is in force: 'close' of server many/s";
    assert!(answer.starts_with(told), "{answer}");
    assert!(ask(&host, 83).starts_with("HTTP/1.1 503"), "it does run");
    assert!(say(&socket, "show policy").contains("many/s0 passive rst"));

    // The next one takes away what the last one set.
    host.stage.write("haproxy.cfg", &config);
    let answer = say(&socket, "reload");
    assert!(answer.contains("The configuration is in place"), "{answer}");
    let listed = say(&socket, "show policy");
    assert!(listed.contains("There is no rule"), "{listed}");
    host.stop(&mut proxy);
}

#[test]
fn its_steward_ends_with_it_and_is_missed_only_by_reloads() {
    let host = Host::new();
    let file = host.stage.write("haproxy.cfg", &host.config(""));
    let mut proxy = host.stage.teardown_of(&file);
    let first = steward(&proxy);
    let [permitted, user] = ["CapPrm", "Uid"].map(|name| status(first, name));
    assert!(user.split_whitespace().all(|id| id == "0"), "{user}");
    // CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, NET_BIND_SERVICE, NET_ADMIN, NET_RAW.
    assert_eq!(permitted, "000000000000340f");
    let end = |pid: u32| {
        let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
        kill_process(pid, Signal::KILL).expect("it is there");
    };
    end(first);
    until("the steward to be gone", || is_gone(first).then_some(()));
    let answer = say(&host.stage.path("socket"), "reload");
    assert!(answer.contains("'teardown steward'") && answer.contains("runs on"), "{answer}");
    assert!(ask(&host, 80).ends_with("ok"));
    host.stop(&mut proxy);

    for signal in [Signal::KILL, Signal::TERM] {
        let mut proxy = host.stage.teardown_of(&file);
        let second = steward(&proxy);
        proxy.signal(signal);
        proxy.wait();
        if signal == Signal::KILL {
            until("the steward to end too", || is_gone(second).then_some(()));
        }
        // A daemon that has the time leaves nothing behind, for nobody to reap.
        assert!(signal == Signal::KILL || !Path::new(&format!("/proc/{second}")).exists());
    }
}
