//! The daemon as a service that is the proxy: it binds, goes into its chroot and gives up root.

use crate::observer::KEPT;
use crate::stage::{Service, is_gone, said};
use crate::support::http::head;
use crate::support::until::until;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// As Debian's haproxy is configured: its user, its chroot, its folder of sockets.
const CONFIGURATION: &str = "\
global
  log /dev/log local0
  chroot /var/lib/haproxy
  stats socket /run/teardown/admin.sock mode 660 level admin user haproxy group haproxy
  user haproxy
  group haproxy
  daemon
  maxconn 100
defaults
  mode http
  log global
  option httplog
  timeout connect 2s
  timeout client 10s
  timeout server 10s
frontend in
  bind 127.0.0.1:80
  default_backend web
backend web
  server w1 127.0.0.1:9000 check inter 200ms
";
const FILE: &str = "/etc/teardown/haproxy.cfg";

/// Puts it there, for root alone to read.
fn write(text: &str) {
    let folder = Path::new(FILE).parent().expect("a folder");
    std::fs::create_dir_all(folder).expect("root");
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).expect("its owner");
    std::fs::write(FILE, text).expect("root");
}

/// A server that answers every request with a word, until the end of the tests.
fn server() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let listener = TcpListener::bind("127.0.0.1:9000").expect("a free port");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    while head(&mut stream).is_some() {
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
                        stream.write_all(answer).expect("a client");
                    }
                });
            }
        });
    });
}

/// The whole response, or nothing where nobody listens.
fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

fn is_served(port: u16) {
    until("the server to be up", || {
        let answer = get(port)?;
        (answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello")).then_some(())
    });
}

#[test]
#[ignore = "only in a machine of its own: cargo xtask kernels systemd"]
fn it_binds_goes_into_its_chroot_and_gives_up_root() {
    server();
    write(CONFIGURATION);
    let service = Service::started_with(&format!("-f {FILE}"));
    is_served(80);
    let user = said("id", &["-u", "haproxy"]).trim().to_owned();
    assert_eq!(service.status("Uid"), vec![user; 4].join("\t"));
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(u64::from_str_radix(&service.status(set), 16), Ok(KEPT), "{set}");
    }
    let root = std::fs::read_link(format!("/proc/{}/root", service.pid())).expect("root looks");
    assert_eq!(root, Path::new("/var/lib/haproxy"));
    let closes = service.told(2, || is_served(80));
    let named = |close: &serde_json::Value| close["backend"].is_string();
    assert!(closes.iter().any(named), "{closes:?}");
    until("the request in the journal", || {
        let log = said("journalctl", &["--output=cat", "_TRANSPORT=syslog"]);
        log.contains(" in web/w1 ").then_some(())
    });
    service.stop();
    assert!(!Path::new("/run/teardown").exists());
    is_gone();
}

/// The configuration is root's, outside of the chroot, and wants another of root's ports.
#[test]
#[ignore = "only in a machine of its own: cargo xtask kernels systemd"]
fn it_reloads_what_lies_outside_of_its_chroot() {
    server();
    write(CONFIGURATION);
    let service = Service::started_with(&format!("-f {FILE}"));
    is_served(80);
    let pid = service.pid();
    write(&CONFIGURATION.replace("127.0.0.1:80", "127.0.0.1:81"));
    assert!(service.reloads());
    is_served(81);
    assert!(get(80).is_none(), "nobody listens there any more");
    write("global\n  no-such-word\n");
    assert!(!service.reloads());
    is_served(81);
    let journal = service.journal();
    assert!(journal.contains("no-such-word"), "{journal}");
    assert_eq!(service.pid(), pid);
    service.stop();
    is_gone();
}
