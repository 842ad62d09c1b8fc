//! teardown and Debian's HAProxy on one configuration, each with a log and a runtime socket of its own.

use crate::stage::Stage;
use crate::support::process::Process;
use crate::support::runtime::ask;
use crate::support::until::until;
use crate::support::watch::teardown;
use rustix::process::Signal;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub(crate) struct Twins {
    pub(crate) stage: Stage,
    /// teardown's first.
    sockets: [PathBuf; 2],
    logs: [UdpSocket; 2],
    processes: [Process; 2],
}

impl Twins {
    /// Starts both with what `configuration` makes of the number that is added to ports.
    pub(crate) fn start(configuration: impl Fn(&Stage, u16) -> String) -> Self {
        let stage = Stage::new();
        let logs = [(); 2].map(|()| {
            let log = stage.netns.run(|| UdpSocket::bind("127.0.0.1:0").expect("a free port"));
            log.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
            log
        });
        let sockets = ["ours", "theirs"].map(|name| stage.path(name));
        let configurations = [0, 1].map(|which: usize| {
            let path = stage.path(&format!("{which}.cfg"));
            let text = format!(
                "global\n  stats socket {} level admin\n  maxconn 100\n\
                 defaults\n  mode http\n  log {} len 2000 local0\n\
                 \x20 timeout connect 2s\n  timeout client 10s\n  timeout server 10s\n{}",
                sockets[which].display(),
                logs[which].local_addr().expect("bound"),
                configuration(&stage, u16::try_from(which).expect("0 or 1")),
            );
            std::fs::write(&path, text).expect("a file");
            path
        });
        let mut command = teardown();
        let own = stage.path("own");
        command.arg("run").arg("--socket").arg(own).arg("-f").arg(&configurations[0]);
        let mut ours = Process::start(&stage.netns, &mut command);
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&configurations[1]);
        let theirs = Process::start(&stage.netns, &mut command);
        ours.wait_for_words("watching");
        until("HAProxy's socket", || sockets[1].exists().then_some(()));
        Self { stage, sockets, logs, processes: [ours, theirs] }
    }

    /// What each answers.
    pub(crate) fn ask(&self, command: &str) -> [String; 2] {
        [0, 1].map(|which| ask(&self.sockets[which], command))
    }

    /// Asserts that both answer alike, and gives the answer.
    pub(crate) fn same(&self, command: &str) -> String {
        let [ours, theirs] = self.ask(command);
        assert_eq!(ours, theirs, "{command}");
        ours
    }

    /// The next line of each log that says something of `what`, with its level, without its header.
    pub(crate) fn lines(&self, what: &str) -> [String; 2] {
        [0, 1].map(|which| {
            let mut buffer = [0; 2_100];
            loop {
                let length = self.logs[which].recv(&mut buffer).expect("a line within ten seconds");
                let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let (header, text) = line.split_once("]: ").expect("a header");
                if text.contains(what) {
                    let level = header.split('>').next().expect("a priority");
                    return format!("{level}> {}", text.trim_end_matches(['\n', '\0']));
                }
            }
        })
    }

    pub(crate) fn end(mut self) {
        for process in &mut self.processes {
            process.signal(Signal::TERM);
            process.wait();
        }
    }
}
