//! The daemon as its user meets it: started, asked, stopped, killed, and started wrongly.

mod host;
mod refusals;
mod stderr;
#[path = "../support/mod.rs"]
mod support;

use host::Host;
use rustix::process::Signal;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use support::process::{Lines, Process};
use support::until::{PATIENCE, until};
use support::watch::teardown;

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?} is no JSON: {error}"))
}

#[test]
fn tails_come_and_go_and_end_with_the_daemon() {
    let host = Host::new();
    let config = host.folder.path().join("haproxy.cfg");
    let listener = host.listener();
    let port = listener.local_addr().expect("bound").port();
    let text = format!("backend web\n  some words\n  server w1 127.0.0.1:{port} check\n");
    std::fs::write(&config, text).expect("a file");
    let mut daemon = host.run(&["--names", config.to_str().expect("UTF-8")]);

    let (mut columns, lines) = host.tail(&["--backend", "web/w1"], 1);
    let (mut other, none) = host.tail(&["--json", "--port", "1"], 2);
    let (mut counted, three) = host.tail(&["--json", "--count", "3"], 3);
    host.connect(&listener, 5);

    assert!(counted.wait().success());
    let three = three.to_the_end();
    assert_eq!(three.len(), 3);
    let close = json(&three[0]);
    assert_eq!(close["v"], 1);
    assert_eq!(close["resp"], format!("127.0.0.1:{port}"));
    assert_eq!((&close["conn_state"], &close["first_closer"]), (&"SF".into(), &"resp".into()));
    assert_eq!((&close["orig_bytes"], &close["resp_bytes"]), (&0.into(), &5.into()));
    assert_eq!((&close["backend"], &close["server"]), (&"web".into(), &"w1".into()));

    until("five closes", || (lines.count() >= 6).then_some(()));
    columns.signal(Signal::INT);
    assert!(columns.wait().success());
    let shown = lines.to_the_end();
    assert!(shown[0].starts_with("Time ") && shown[1].contains(" web/w1 "), "{shown:#?}");
    let last = shown.last().expect("a summary");
    assert!(last.starts_with("5 closes shown, 0 events lost: ring full 0, "), "{last}");

    let answers = host.ask("show backends; show closes --last 2 --json");
    assert!(answers.contains("  web/w1                                  5 "), "{answers}");
    assert_eq!(answers.matches("\"conn_state\":\"SF\"").count(), 2);

    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
    assert!(other.wait().success());
    assert_eq!(none.to_the_end(), Vec::<String>::new());
    let said = other.errors.to_the_end();
    assert_eq!(json(said.last().expect("a summary"))["summary"]["closes"], 0);
    assert!(!host.socket().exists(), "the socket goes with its daemon");
}

#[test]
fn killed_in_mid_traffic_it_disturbs_nobody_and_starts_anew_at_once() {
    let host = Host::new();
    let listener = host.listener();
    let at = listener.local_addr().expect("bound");
    let mut daemon = host.run(&[]);
    let mut client = host.netns.run(|| TcpStream::connect(at).expect("it listens"));
    let (mut server, _) = listener.accept().expect("a client");
    client.write_all(b"before").expect("open");
    daemon.signal(Signal::KILL);
    daemon.wait();

    client.write_all(b"after").expect("still open");
    client.shutdown(std::net::Shutdown::Write).expect("still open");
    let mut text = String::new();
    server.read_to_string(&mut text).expect("all of it");
    assert_eq!(text, "beforeafter");

    assert!(host.socket().exists(), "a killed daemon cannot remove its socket");
    let mut second = host.run(&[]);
    let (mut tail, lines) = host.tail(&["--json", "--count", "1"], 1);
    host.connect(&listener, 1);
    assert!(tail.wait().success());
    assert_eq!(json(&lines.to_the_end()[0])["conn_state"], "SF");
    second.signal(Signal::INT);
    assert!(second.wait().success());
}

#[test]
fn of_two_that_start_at_once_one_has_the_socket_and_the_other_names_it() {
    let host = Host::new();
    let mut killed = host.run(&[]);
    killed.signal(Signal::KILL);
    killed.wait();
    let start = || {
        let mut command = teardown();
        command.arg("run").arg("--socket").arg(host.socket());
        Process::start(&host.netns, &mut command)
    };
    let mut both = [start(), start()];
    let lost = until("the end of one", || both.iter_mut().position(|one| one.ended().is_some()));
    let living = both[1 - lost].pid();
    let said = both[lost].errors.to_the_end().join("\n");
    assert_eq!(both[lost].wait().code(), Some(1), "{said}");
    assert!(said.contains(&format!("is in use by process {living};")), "{said}");
    both[1 - lost].wait_for_words("watching");
    assert!(host.ask("show info").contains(&format!("\nPid: {living}\n")));
}

#[test]
fn a_tail_says_when_its_daemon_was_killed() {
    let host = Host::new();
    let mut daemon = host.run(&[]);
    let (mut tail, _) = host.tail(&[], 1);
    daemon.signal(Signal::KILL);
    daemon.wait();
    assert_eq!(tail.wait().code(), Some(1));
    let said = tail.errors.to_the_end().join("\n");
    assert!(said.contains("is gone without a word"), "{said}");
}

#[test]
fn a_hangup_ends_a_watch_well_and_a_daemon_not_at_all() {
    let host = Host::new();
    let listener = host.listener();
    let mut daemon = host.run(&[]);
    daemon.signal(Signal::HUP);
    daemon.wait_for_words("there is nothing to read anew");
    assert!(host.ask("reload").contains("no proxy"));
    // Whether this test itself ignores it depends on who runs it.
    let watch = |answer: libc::sighandler_t| {
        let mut command = teardown();
        command.args(["watch", "--json"]).stdout(Stdio::piped());
        let inherit = move || {
            // SAFETY: sets how this process takes a signal, and no handler.
            unsafe { libc::signal(libc::SIGHUP, answer) };
            Ok(())
        };
        // SAFETY: signal(2) may be called between fork and exec.
        unsafe { command.pre_exec(inherit) };
        let mut watch = Process::start(&host.netns, &mut command);
        let lines = Lines::read(watch.stdout());
        watch.wait_for_words("watching");
        watch.signal(Signal::HUP);
        (watch, lines)
    };
    let (mut watch_of_terminal, _) = watch(libc::SIG_DFL);
    assert!(watch_of_terminal.wait().success());
    let said = watch_of_terminal.errors.to_the_end();
    assert_eq!(json(said.last().expect("a summary"))["summary"]["closes"], 0);
    // As nohup starts it.
    let (mut kept, lines) = watch(libc::SIG_IGN);
    host.connect(&listener, 1);
    until("the close", || (lines.count() == 1).then_some(()));
    kept.signal(Signal::TERM);
    assert!(kept.wait().success());
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}

#[test]
fn a_recording_that_cannot_be_written_is_a_failure_and_said_at_once() {
    let host = Host::new();
    let listener = host.listener();
    let mut command = teardown();
    command.args(["watch", "--json", "--write", "/dev/full"]).stdout(Stdio::null());
    let mut watch = Process::start(&host.netns, &mut command);
    watch.wait_for_words("watching");
    host.connect(&listener, 1);
    watch.wait_for_words("full: nothing more is recorded: No space left on device");
    watch.signal(Signal::INT);
    assert_eq!(watch.wait().code(), Some(1));
    let said = watch.errors.to_the_end().join("\n");
    assert!(said.contains("the recording is incomplete"), "{said}");
}

/// CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF (linux/capability.h: 12, 38, 39).
const KEPT: u64 = 1 << 12 | 1 << 38 | 1 << 39;

#[test]
fn it_keeps_three_capabilities_and_tells_its_service_manager() {
    keeps_three_and_tells(&Host::new(), &[]);
}

#[test]
fn so_does_a_proxy_that_is_another_user_in_a_chroot() {
    let host = Host::new();
    let (file, empty) = (host.folder.path().join("haproxy.cfg"), host.folder.path().join("empty"));
    std::fs::create_dir(&empty).expect("a folder");
    let global = format!("global\n  daemon\n  user nobody\n  chroot {}\n", empty.display());
    let proxy = "listen one\n  bind 127.0.0.1:80\n  server one 127.0.0.1:81\n";
    std::fs::write(&file, global + proxy).expect("a file");
    keeps_three_and_tells(&host, &["-f", file.to_str().expect("ASCII")]);
}

/// A thread that is root, or a folder from before the chroot, would make both worth nothing.
#[test]
fn a_recording_keeps_neither_root_nor_a_folder() {
    use std::os::unix::fs::MetadataExt as _;
    let host = Host::new();
    let at = |name: &str| host.folder.path().join(name);
    std::fs::create_dir(at("empty")).expect("a folder");
    let global = format!("global\n  user nobody\n  chroot {}\n", at("empty").display());
    let proxy = "listen one\n  bind 127.0.0.1:80\n  server one 127.0.0.1:81\n";
    std::fs::write(at("haproxy.cfg"), global + proxy).expect("a file");
    let mut command = teardown();
    command.arg("run").arg("--socket").arg(host.socket()).arg("-f").arg(at("haproxy.cfg"));
    command.arg("--write").arg(at("closes.pcapng"));
    let mut daemon = Process::start(&host.netns, &mut command);
    daemon.wait_for_words("watching");
    until("the proxy", || {
        host.netns.run(|| TcpStream::connect("127.0.0.1:80").is_ok()).then_some(())
    });
    let of = format!("/proc/{}", daemon.pid());
    let threads = std::fs::read_dir(format!("{of}/task")).expect("alive").flatten();
    for thread in threads {
        // One that has ended meanwhile is nobody.
        let Ok(status) = std::fs::read_to_string(thread.path().join("status")) else { continue };
        let uid = status.lines().find(|line| line.starts_with("Uid:")).expect("in every kernel");
        assert!(uid.split_whitespace().skip(1).all(|id| id != "0"), "{status}");
    }
    for open in std::fs::read_dir(format!("{of}/fd")).expect("alive").flatten() {
        let Ok(file) = std::fs::metadata(open.path()) else { continue };
        let path = std::fs::read_link(open.path()).unwrap_or_default();
        assert!(!file.is_dir() || file.nlink() == 0, "{}", path.display());
    }
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
    assert!(std::fs::metadata(at("closes.pcapng")).expect("it is written").len() > 0);
}

fn keeps_three_and_tells(host: &Host, more: &[&str]) {
    let manager = host.folder.path().join("notify");
    let notified = UnixDatagram::bind(&manager).expect("a socket");
    notified.set_read_timeout(Some(PATIENCE)).expect("a time");
    let mut command = teardown();
    command.arg("run").arg("--socket").arg(host.socket()).args(more);
    command.env("NOTIFY_SOCKET", &manager);
    let mut daemon = Process::start(&host.netns, &mut command);
    let next = || {
        let mut text = [0; 256];
        let length = notified.recv(&mut text).expect("a message");
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    assert_eq!(next().trim(), "READY=1");
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("alive");
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        let line = status.lines().find(|line| line.starts_with(set)).expect("in every kernel");
        let mask = line.split_whitespace().nth(1).expect("a mask");
        assert_eq!(u64::from_str_radix(mask, 16), Ok(KEPT), "{line}");
    }
    assert!(status.contains("\nNoNewPrivs:\t1\n"));
    daemon.signal(Signal::TERM);
    assert_eq!(next().trim(), "STOPPING=1");
    assert!(daemon.wait().success());
}

#[test]
fn interfaces_that_appear_later_are_observed_without_the_given_up_capabilities() {
    let host = Host::new();
    let mut daemon = host.run(&[]);
    host.netns.ip("link add td-late type veth peer name td-late2\nlink set td-late up");
    until("the new interface", || {
        host.ask("show info").contains("Attached: td-late (").then_some(())
    });
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}

#[test]
fn closes_are_told_while_a_crowd_of_interfaces_waits_for_its_programs() {
    let host = Host::new();
    let pair = |at: usize| format!("link add td-v{at} type veth peer name td-w{at}\n");
    host.netns.ip(&(0..80).map(pair).collect::<String>());
    let listener = host.listener();
    let mut daemon = host.run(&[]);
    let attached = || host.ask("show info").matches("\nAttached: ").count();
    host.connect(&listener, 1);
    let words = format!("{} ", listener.local_addr().expect("bound"));
    until("the close", || host.ask("show closes").contains(&words).then_some(()));
    let (at_the_close, all) = (attached(), 161);
    assert!((32..all).contains(&at_the_close), "{at_the_close}");
    daemon.wait_for_words("watching all 161 interfaces");
    assert_eq!(attached(), all);
    daemon.signal(Signal::TERM);
    daemon.wait_for_words("off 161 interfaces");
    assert!(daemon.wait().success());
}

#[test]
fn metrics_are_served_over_http() {
    let host = Host::new();
    let port = host.listener().local_addr().expect("bound").port();
    let at = format!("127.0.0.1:{port}");
    let mut daemon = host.run(&["--metrics", &at]);
    let get = |path: &str| {
        let mut stream = host.netns.run(|| TcpStream::connect(&at).expect("it listens"));
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .expect("open");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let listener = host.listener();
    host.connect(&listener, 2);
    let backend = listener.local_addr().expect("bound");
    let line = format!(
        "teardown_closes_total{{backend=\"{backend}\",first=\"resp\",signal=\"fin\",answer=\"fin\"}} 2\n"
    );
    until("the closes in the metrics", || get("/metrics").contains(&line).then_some(()));
    let metrics = get("/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    assert!(metrics.contains("application/openmetrics-text") && metrics.ends_with("# EOF\n"));
    assert!(get("/").starts_with("HTTP/1.1 404 "));
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}

#[test]
fn traffic_of_its_own_shows_every_kind_of_close() {
    let host = Host::new();
    let mut command = teardown();
    command.args(["watch", "--demo"]).stdout(Stdio::piped());
    let mut demo = Process::start(&host.netns, &mut command);
    let lines = Lines::read(demo.stdout());
    for scene in [
        "server-closes    SF     resp fin     fin ",
        "client-closes    SF     orig fin     fin ",
        "active-reset     RSTO   orig rst_ack - ",
        "passive-reset    RSTO   resp fin     rst_ack ",
        "half-closed      SF     orig fin     fin ",
        "refused          REJ    resp rst_ack ",
        "unread-request   RSTR   resp rst_ack ",
        "reset-early      RSTO   orig rst_ack ",
        "closed-too-early RSTO   orig fin ",
        "cut-response     RSTR   resp rst_ack ",
        "never-closes     RSTO   orig fin ",
    ] {
        until(scene, || lines.all().iter().any(|line| line.contains(scene)).then_some(()));
    }
    demo.signal(Signal::INT);
    assert!(demo.wait().success());
    let lines = lines.to_the_end();
    let last = lines.last().expect("a summary");
    assert!(last.contains(" closes shown, 0 events lost: "), "{last}");
    let left = host.netns.output(Command::new("ss").args(["-Hltn"]));
    assert_eq!(left.trim(), "", "nobody listens any more");
}

#[test]
fn a_watch_ends_with_its_reader() {
    let host = Host::new();
    let listener = host.listener();
    let mut command = teardown();
    command.args(["watch", "--json"]).stdout(Stdio::piped());
    let mut watch = Process::start(&host.netns, &mut command);
    watch.wait_for_words("watching");
    drop(watch.stdout());
    until("the end of the watch", || {
        host.connect(&listener, 1);
        watch.ended()
    });
    assert!(watch.wait().success(), "a reader that leaves is no failure");
}
