//! The daemon end to end: closes from a replay in, tails and commands over a real socket out.

use super::stated::Connection;
use super::*;
use crate::admin::outlet;
use crate::admin::session::{self, Terms};
use crate::admin::socket::RuntimeSocket;
use crate::config::model::AccessLevel;
use crate::http::closes::{Class, Doing};
use crate::http::cookie::Letters;
use crate::report::columns::Paint;
use crate::report::sample::{self, Script};
use crate::report::tail::{Look, Tail};
use bytemuck::Zeroable as _;
use clock::SourceClock;
use proxy_common::abi::CloseRecord;
use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use proxy_common::segment::{SYN, Segment};
use std::path::PathBuf;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A source that gives what a channel gives it.
struct Replay {
    events: mpsc::Receiver<Vec<Event>>,
    open: Vec<(FlowKey, Flow)>,
    /// The table cannot be read.
    is_broken: bool,
}

impl Source for Replay {
    type Error = io::Error;

    fn clock(&self) -> SourceClock {
        SourceClock::Realtime
    }

    async fn next(&mut self, out: &mut Vec<Event>) -> Result<(), io::Error> {
        out.extend(self.events.recv().await.unwrap_or_default());
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        while let Ok(events) = self.events.try_recv() {
            out.extend(events);
        }
    }

    fn counters(&self) -> Result<Vec<Counter>, io::Error> {
        Ok(vec![
            Counter { name: "ring_full".to_owned(), value: 2, is_loss: true },
            Counter { name: "table_full".to_owned(), value: 0, is_loss: true },
            Counter { name: "flows_made".to_owned(), value: 9, is_loss: false },
        ])
    }

    fn flows(&self) -> Result<Vec<(FlowKey, Flow)>, io::Error> {
        if self.is_broken { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(self.open.clone()) }
    }

    fn attachments(&self) -> Vec<String> {
        vec!["replay".to_owned()]
    }

    fn rst_reason(&self, code: u32) -> Option<&str> {
        (code == 3).then_some("TCP_ABORT_ON_CLOSE")
    }
}

fn close(script: &Script) -> Event {
    Event::Close(CloseRecord { key: script.key, flow: script.flow, ..CloseRecord::zeroed() })
}

fn daemon(open: &[Script]) -> (Daemon<Replay>, mpsc::Sender<Vec<Event>>, mpsc::Sender<Request>) {
    let (events, received) = mpsc::channel(16);
    let (requests, asked) = mpsc::channel(16);
    let open = open.iter().map(|script| (script.key, script.flow)).collect();
    let mut labels = Labels::default();
    labels.add(sample::SERVER, "web", "w1");
    (
        Daemon::new(Replay { events: received, open, is_broken: false }, labels, asked),
        events,
        requests,
    )
}

/// A daemon that runs behind a socket of its own.
struct Running {
    events: mpsc::Sender<Vec<Event>>,
    stop: oneshot::Sender<()>,
    done: JoinHandle<Ended>,
    sessions: JoinHandle<()>,
    path: PathBuf,
    _socket: RuntimeSocket,
    _folder: tempfile::TempDir,
}

impl Running {
    fn start(open: &[Script]) -> Self {
        Self::start_with(open, |_| ())
    }

    fn start_with(open: &[Script], prepare: impl FnOnce(&mut Daemon<Replay>)) -> Self {
        let folder = tempfile::tempdir().expect("a folder of its own");
        let path = folder.path().join("socket");
        let socket = RuntimeSocket::bind(&path).expect("a free path");
        let (mut daemon, events, requests) = daemon(open);
        prepare(&mut daemon);
        let listener = socket.listener().expect("it is registered");
        let sessions =
            tokio::spawn(session::accept(listener, Terms::free(AccessLevel::Admin), requests));
        let (stop, stopped) = oneshot::channel::<()>();
        let done = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            daemon.run(stop, false).await.expect("the events can be read")
        });
        Self { events, stop, done, sessions, path, _socket: socket, _folder: folder }
    }

    async fn ask(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(&self.path).await.expect("it listens");
        stream.write_all(line.as_bytes()).await.expect("it reads");
        stream.shutdown().await.expect("it is open");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers and ends");
        answer
    }

    async fn tail(&self, words: &str) -> BufReader<UnixStream> {
        let mut stream = UnixStream::connect(&self.path).await.expect("it listens");
        stream.write_all(format!("tail {words}\n").as_bytes()).await.expect("it reads");
        BufReader::new(stream)
    }

    /// Waits until this many tails are attached.
    async fn tails(&self, wanted: usize) {
        while !self.ask("show info\n").await.contains(&format!("\nTails: {wanted}\n")) {
            tokio::task::yield_now().await;
        }
    }

    async fn send(&self, scripts: &[Script]) {
        self.events.send(scripts.iter().map(close).collect()).await.expect("it runs");
    }

    async fn finish(self) -> Ended {
        let _ = self.stop.send(());
        let ended = self.done.await.expect("no panic");
        self.sessions.await.expect("sessions end with the daemon");
        ended
    }
}

async fn line(reader: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).await.expect("it is open");
    line
}

async fn rest(mut reader: BufReader<UnixStream>) -> String {
    let mut rest = String::new();
    reader.read_to_string(&mut rest).await.expect("it ends");
    rest
}

#[tokio::test]
async fn several_tails_see_what_they_asked_for() {
    let running = Running::start(&[]);
    let mut all = running.tail("").await;
    let mut json = running.tail("--json --state RSTO").await;
    running.tails(2).await;
    running.send(&[sample::clean(), sample::reset()]).await;

    assert!(line(&mut all).await.starts_with("Time "));
    let first = line(&mut all).await;
    assert!(first.contains(" web/w1 ") && first.contains(" resp fin "), "{first}");
    assert!(line(&mut all).await.contains(" TCP_ABORT_ON_CLOSE "));
    let object: serde_json::Value = serde_json::from_str(&line(&mut json).await).expect("JSON");
    assert_eq!(object["conn_state"], "RSTO");

    all.get_mut().write_all(b"\n").await.expect("it reads");
    let summary = rest(all).await;
    assert!(
        summary.contains("2 closes shown, 2 events lost: ring full 2, table full 0"),
        "{summary}"
    );
    assert_eq!(running.finish().await, Ended::Stopped);
    let summary = rest(json).await;
    let summary: serde_json::Value = serde_json::from_str(&summary).expect("a last object");
    assert_eq!(summary["summary"]["closes"], 1);
    assert_eq!(summary["summary"]["ring_full"], 2);
}

#[tokio::test]
async fn a_close_that_waits_for_its_note_meets_it_while_others_keep_coming() {
    let ear = Arc::new(Stated::default());
    let running = Running::start_with(&[], |daemon| {
        daemon.joins.hear(Arc::clone(&ear));
        daemon.joins.add_doors([Endpoint::v6([0; 16], 8_080)]);
    });
    let mut tail = running.tail("--state RSTO").await;
    running.tails(1).await;
    let mut waits = sample::reset();
    waits.flow.ends.iter_mut().for_each(|end| end.cookie = 7);
    running.send(&[waits]).await;
    let connection = Connection { cookie: 7, port: 8_080 };
    let cookies = Letters(*b"NI");
    let doing = Doing { status: 503, http: true, cookies, ..Doing::default() };
    ear.note(Note { connection, class: Class::Active, doing });

    let crowd = async {
        // Never a gap as long as the daemon's look at what waits.
        for _ in 0..2_000 {
            running.send(&[sample::clean()]).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let told = async {
        assert!(line(&mut tail).await.starts_with("Time "));
        line(&mut tail).await
    };
    tokio::select! {
        told = told => assert!(told.contains("--NI 503"), "{told}"),
        () = crowd => panic!("two thousand went ahead of it"),
    }
    assert_eq!(running.finish().await, Ended::Stopped);
}

#[tokio::test]
async fn a_filters_name_that_belongs_to_nothing_is_said() {
    let running = Running::start(&[]);
    let words = "--backend wbe --backend web/w1";
    let mut tail = running.tail(words).await;
    let mut json = running.tail(&format!("--json {words}")).await;
    running.tails(2).await;
    running.send(&[sample::clean()]).await;
    assert!(line(&mut tail).await.starts_with("Time "));
    assert!(line(&mut tail).await.starts_with("[WARNING] --backend 'wbe': "));
    assert!(line(&mut tail).await.contains(" web/w1 "));
    let warning: serde_json::Value = serde_json::from_str(&line(&mut json).await).expect("JSON");
    let text = warning["warning"].as_str().expect("a warning");
    assert!(text.starts_with("--backend 'wbe': "), "{text}");
    assert!(line(&mut json).await.contains("\"conn_state\":\"SF\""));
    let closes = running.ask(&format!("show closes {words}\n")).await;
    assert!(closes.starts_with("[WARNING] --backend 'wbe': "), "{closes}");
    assert_eq!(closes.matches("[WARNING]").count(), 1, "{closes}");
    let half_open = running.ask("show half-open --backend wbe\n").await;
    assert!(half_open.starts_with("[WARNING] --backend 'wbe': "), "{half_open}");
    let json = running.ask("show half-open --json --backend wbe\n").await;
    assert_eq!(json, "\n");
    running.finish().await;
}

#[tokio::test]
async fn a_backends_tail_has_no_other_backends_segments() {
    let running = Running::start(&[]);
    let mut tail = running.tail("--backend web/w1").await;
    running.tails(1).await;
    let segment = |key: FlowKey| {
        let segment = Segment { flags: SYN, ..Segment::zeroed() };
        Event::Segment { key, segment, data: Box::default(), at_ns: 0 }
    };
    let other = Endpoint { port: 81, ..sample::SERVER };
    let [theirs, ours] = [other, sample::SERVER].map(|end| FlowKey::new(sample::CLIENT, end).0);
    running.events.send(vec![segment(theirs), segment(ours)]).await.expect("it runs");
    assert!(line(&mut tail).await.starts_with("Time "));
    let shown = line(&mut tail).await;
    assert!(shown.contains("10.0.0.5:80") && shown.contains("Flags [S]"), "{shown}");
    running.finish().await;
}

#[tokio::test]
async fn commands_answer_as_haproxys_do() {
    let running = Running::start(&[sample::half_open()]);
    running.send(&[sample::clean(), sample::clean(), sample::reset()]).await;
    while !running.ask("show info\n").await.contains("\nCloses: 3\n") {
        tokio::task::yield_now().await;
    }
    let info = running.ask("show info").await;
    assert!(
        info.contains("\nKernel_ring_full: 2\n") && info.ends_with("Attached: replay\n\n"),
        "{info}"
    );

    let answers = running.ask("show closes --last 1 --json; show backends\n").await;
    let (closes, backends) = answers.split_once("\n\n").expect("two answers");
    let last: serde_json::Value = serde_json::from_str(closes).expect("one object");
    assert_eq!(last["resp"], "[::1]:8080");
    assert_eq!(running.ask("show closes --last 0 --json\n").await, "\n");
    assert!(backends.contains("  web/w1                                  2"), "{backends}");

    let half_open = running.ask("show half-open\n").await;
    assert!(half_open.contains(" orig fin     none yet "), "{half_open}");
    let metrics = running.ask("show metrics\n").await;
    assert!(
        metrics.contains("\nteardown_kernel_losses_total{kind=\"ring_full\"} 2\n"),
        "{metrics}"
    );
    assert!(running.ask("help\n").await.starts_with("The following commands are valid:\n"));
    let of_tail = running.ask("help tail\n").await;
    assert!(of_tail.starts_with("  tail [--json]") && of_tail.lines().count() == 3, "{of_tail}");
    let unknown = running.ask("show nothing\n").await;
    assert!(unknown.starts_with("There is no command 'show nothing'\nOf those that"), "{unknown}");
    assert!(unknown.contains("\n  show policy ") && !unknown.contains("set policy"), "{unknown}");
    let unknown = running.ask("foo bar\n").await;
    assert!(unknown.starts_with("There is no command 'foo bar'\nThe following"), "{unknown}");
    assert!(unknown.contains("set policy"), "{unknown}");
    let unknown = running.ask("show closed\n").await;
    assert!(unknown.contains("'closes'") && unknown.contains("show backends"), "{unknown}");
    let wrong = running.ask("show closes --port 99999\n").await;
    assert!(wrong.contains("99999 is not in 1..=65535"), "{wrong}");
    let refused = running.ask("user; tail --record\n").await;
    assert_eq!(refused, "\nPermission denied\n\n");
    let refused = running.ask("operator; tail --record\n").await;
    assert!(refused.starts_with("\nthis daemon does not follow segments"), "{refused}");
    assert_eq!(running.finish().await, Ended::Stopped);
}

#[tokio::test]
async fn a_tail_that_does_not_read_is_told_and_holds_up_nobody() {
    let running = Running::start(&[]);
    let slow = running.tail("--json").await;
    let mut quick = running.tail("--json --count 60000").await;
    running.tails(2).await;
    for _ in 0..60 {
        let batch: Vec<_> = (0..1_000).map(|_| sample::reset()).collect();
        running.send(&batch).await;
        for _ in 0..1_000 {
            assert!(line(&mut quick).await.starts_with("{\"v\":1,\"ts\":"));
        }
    }
    assert!(line(&mut quick).await.starts_with("{\"v\":1,\"summary\":{\"closes\":60000,"));
    let ended = tokio::spawn(running.finish());
    let read = rest(slow).await;
    let (mut closes, mut missed) = (0, 0);
    for object in read.lines().map(serde_json::from_str::<serde_json::Value>) {
        let object = object.expect("every line is whole");
        closes += u64::from(object["ts"].is_string());
        missed += object["missed"].as_u64().unwrap_or(0);
    }
    assert!(missed > 0, "4 MiB hold fewer than 60000 lines");
    assert_eq!(closes + missed, 60_000);
    assert_eq!(ended.await.expect("no panic"), Ended::Stopped);
}

#[tokio::test]
async fn half_open_connections_are_spoken_of_once() {
    let running = Running::start(&[sample::half_open()]);
    let mut tail = running.tail("--json --half-open-after 1ms --half-open").await;
    let object: serde_json::Value = serde_json::from_str(&line(&mut tail).await).expect("JSON");
    assert_eq!((&object["half_open"], &object["answer"]), (&true.into(), &serde_json::Value::Null));
    // Two more looks at the table say nothing new; the end lists it again.
    tokio::time::sleep(2 * TICK).await;
    assert_eq!(running.finish().await, Ended::Stopped);
    let rest = rest(tail).await;
    assert_eq!(rest.lines().count(), 2, "the list at the end, and the summary: {rest}");
    assert!(rest.contains("\"half_open\":true"));
}

#[tokio::test]
async fn a_watch_ends_with_its_count_and_with_its_source() {
    for (count, ended) in [(Some(2), Ended::ReaderDone), (None, Ended::SourceDone)] {
        let (mut daemon, events, _) = daemon(&[]);
        let (outlet, mut inlet) = outlet::pair(1 << 20);
        let look = Look { count, ..Look::default() };
        daemon.add_reader(Reader::new(Tail::new(look, Paint::default()), outlet, false));
        let batch = [sample::clean(), sample::reset(), sample::clean()];
        events.send(batch.iter().map(close).collect()).await.expect("there is room");
        drop(events);
        assert_eq!(daemon.run(std::future::pending(), true).await.expect("a replay"), ended);
        drop(daemon);
        let mut text = Vec::new();
        while let Some(batch) = inlet.next().await {
            text.extend(batch);
        }
        let text = String::from_utf8(text).expect("UTF-8");
        let shown = text.lines().filter(|line| line.contains(".")).count();
        assert_eq!(shown as u64, count.unwrap_or(3), "{text}");
    }
}

#[tokio::test]
async fn a_table_that_cannot_be_read_ends_nothing() {
    let broken = |daemon: &mut Daemon<Replay>| daemon.source.is_broken = true;
    let running = Running::start_with(&[sample::half_open()], broken);
    let tail = running.tail("--half-open-after 1ms --half-open").await;
    running.tails(1).await;
    tokio::time::sleep(2 * TICK).await;
    let said = running.ask("show half-open\n").await;
    assert!(said.contains("out of memory"), "{said}");
    running.send(&[sample::clean()]).await;
    assert_eq!(running.finish().await, Ended::Stopped);
    let rest = rest(tail).await;
    assert!(rest.contains(" resp fin ") && rest.contains("1 closes shown"), "{rest}");
}
