//! Reads bytes as a capture all the way: segments, connections, closes, ladders and findings.

use proxy_common::flow::Flow;
use proxy_common::key::{Endpoint, FlowKey};
use proxy_common::verdict;
use std::io::Cursor;
use std::ops::ControlFlow;
use teardown::capture::detect::Kind;
use teardown::capture::heads;
use teardown::capture::input::Input;
use teardown::capture::table::{Connection, Observer, Patience, Table};
use teardown::capture::{self, Options, Seen, Sink};
use teardown::report::ladder::{Ladder, text};
use teardown::report::story::{CLIENT_AND_SERVER, Facts, tell};

#[derive(Default)]
struct All;

impl Observer for All {
    type Kept = Ladder;

    fn moved(&mut self, connection: &mut Connection<Ladder>, seen: &Seen<'_>) {
        let head = heads::read(&seen.segment, seen.payload).map(|head| head.words());
        let flow: &Flow = &connection.flow;
        connection.kept.note(&seen.segment, flow, seen.time_ns, head);
    }

    fn over(&mut self, connection: &Connection<Ladder>, _: u64) -> ControlFlow<()> {
        let close = verdict::close(&connection.key, &connection.flow);
        let mut out = tell(&close, &connection.flow, &Facts::default(), &CLIENT_AND_SERVER);
        let ends = ["client", "server"];
        text::put(&mut out, &connection.kept, &connection.flow, &CLIENT_AND_SERVER, ends, text::ASCII);
        ControlFlow::Continue(())
    }
}

struct Feed(Table<All>);

impl Sink for Feed {
    fn segment(&mut self, seen: &Seen<'_>) -> ControlFlow<()> {
        self.0.segment(seen)
    }

    fn name(&mut self, _: &Endpoint, name: &str) {
        assert!(!name.is_empty());
    }

    fn doubt(&mut self, key: &FlowKey) -> bool {
        self.0.find(key).is_some()
    }

    fn sparse(&mut self) {
        self.0.sparse();
    }
}

/// Reads `data` as `kind`, in each way that there is.
pub fn read(data: &[u8], kind: Kind) {
    for (patience, checksums) in [(Patience::Long, false), (Patience::Zeek, true)] {
        let stream = Cursor::new(data.to_vec());
        let Ok(input) = Input::new("fuzz".into(), stream, 0, Some(kind)) else { return };
        let mut feed = Feed(Table::new(All, patience));
        let options = Options { kind: Some(kind), checksums, gaps: checksums };
        if let Ok(account) = capture::read(input, &options, &mut feed) {
            assert!(account.segments <= account.packets);
            if let Some(damage) = account.damage {
                assert!(damage.offset <= data.len() as u64 * 2000);
            }
        }
        let _ = feed.0.finish();
    }
}
