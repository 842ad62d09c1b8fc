//! The statistics page, with HAProxy's beside it.

use crate::stage::Stage;
use crate::support::process::Process;
use crate::support::until::until;
use crate::support::watch::teardown;
use rustix::process::Signal;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

#[test]
fn it_takes_the_words_that_haproxys_takes() {
    let stage = Stage::new();
    let file = |port: u16| {
        let path = stage.path(&format!("{port}.cfg"));
        let text = format!(
            "defaults\n  mode http\n  timeout connect 2s\n  timeout client 10s\n\
             \x20 timeout server 10s\nlisten s\n  bind 127.0.0.1:{port}\n  stats uri /st\n\
             \x20 stats refresh 7s\n  server up {0}\n  server off {0} disabled\n",
            stage.server
        );
        std::fs::write(&path, text).expect("a file");
        path
    };
    let mut command = teardown();
    command.arg("run").arg("--socket").arg(stage.path("own")).arg("-f").arg(file(8080));
    let mut daemon = Process::start(&stage.netns, &mut command);
    daemon.wait_for_words("watching");
    let mut haproxy = Command::new("haproxy");
    let mut haproxy = Process::start(&stage.netns, haproxy.arg("-db").arg("-f").arg(file(8081)));
    let theirs = SocketAddr::from(([127, 0, 0, 1], 8081));
    until("HAProxy to listen", || stage.netns.run(|| TcpStream::connect(theirs)).ok());
    for words in [
        "",
        "?x",
        ";csv",
        ";json",
        ";norefresh",
        ";csv;norefresh",
        ";up",
        ";csv;up",
        ";no-maint;csv",
        "/more",
    ] {
        let [ours, theirs] = [8080, 8081].map(|port| {
            let text = stage.get(port, &format!("/st{words}"));
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            let head = head.to_ascii_lowercase();
            let field = |name: &str| head.lines().find(|line| line.starts_with(name));
            let kinds = [field("http/1.1 "), field("content-type"), field("refresh")];
            let kinds = kinds.map(|line| line.unwrap_or_default().to_owned());
            // In JSON and in the page names are quoted or in tags.
            let names = ["up", "off"].map(|name| {
                [format!("s,{name},"), format!("\"{name}\""), format!(">{name}<")]
                    .iter()
                    .any(|shown| body.contains(shown.as_str()))
            });
            let form = ["# pxname", "\"objType\"", "<"].map(|form| body.contains(form));
            (kinds, names, form)
        });
        assert_eq!(ours, theirs, "/st{words}");
    }
    for process in [&mut haproxy, &mut daemon] {
        process.signal(Signal::TERM);
        process.wait();
    }
}
