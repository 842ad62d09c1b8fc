//! teardown and Debian's HAProxy on one configuration, each with a log and a runtime socket of its own.

use crate::stage::Stage;
use crate::support::http::head;
use crate::support::process::Process;
use crate::support::runtime::ask;
use crate::support::until::{until, until_empty};
use crate::support::watch::teardown;
use rustix::process::Signal;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
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

    /// Waits until both have counted alike, in these columns of the statistics: who has an answer may
    /// ask before it is counted.
    pub(crate) fn count_alike(&self, columns: &[&str]) {
        until_empty("rows that differ", || {
            let [ours, theirs] = self.ask("show stat").map(|text| counts(&text, columns));
            assert_eq!(ours.len(), theirs.len(), "rows");
            let both = ours.into_iter().zip(theirs).filter(|(ours, theirs)| ours != theirs);
            both.map(|(ours, theirs)| format!("{ours}, and HAProxy's {theirs}")).collect()
        });
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

/// These columns of the statistics, a line for each row.
fn counts(text: &str, columns: &[&str]) -> Vec<String> {
    let rows: Vec<Vec<&str>> =
        text.trim_start_matches("# ").lines().map(|row| row.split(',').collect()).collect();
    let place = |name: &&str| rows[0].iter().position(|column| column == name).expect("a column");
    let places: Vec<usize> = columns.iter().map(place).collect();
    let row = |row: &Vec<&str>| {
        let values = places.iter().map(|&at| row.get(at).copied().unwrap_or_default());
        values.collect::<Vec<_>>().join(" ")
    };
    rows.iter().skip(1).map(row).collect()
}

/// What else is heard of a connection until its end, and how that came.
pub(crate) fn to_the_end(stream: &mut TcpStream, heard: &mut Vec<u8>) -> &'static str {
    match stream.read_to_end(heard) {
        Ok(_) => "closed",
        Err(error) if error.kind() == ErrorKind::ConnectionReset => "reset",
        Err(error) => panic!("{error}"),
    }
}

/// The address of a server that takes each request and never answers.
pub(crate) fn busy(stage: &Stage) -> SocketAddr {
    let listener = stage.netns.run(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().flatten() {
            held.push((head(&mut stream), stream));
        }
    });
    address
}
