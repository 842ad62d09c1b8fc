//! Reads bytes as a capture all the way: segments, connections, closes, and all forms they are shown in.

use std::io::Cursor;
use std::ops::ControlFlow;
use std::rc::Rc;
use teardown::capture::detect::Kind;
use teardown::capture::input::Input;
use teardown::capture::table::{Patience, Table};
use teardown::capture::{self, Options};
use teardown::explain::How;
use teardown::explain::collect::{Collector, Ended, Feed, Output};
use teardown::explain::names::Placeholders;
use teardown::explain::pace::Pace;
use teardown::report::clock::Stamp;
use teardown::report::columns::{self, Paint};
use teardown::report::diff::{self, Diff, Tallies, Typical};
use teardown::report::export::{eve, ipfix, zeek};
use teardown::report::json;
use teardown::report::ladder::{svg, text};
use teardown::report::story::{self, CLIENT_AND_SERVER};
use teardown::report::summary::Summary;
use teardown::report::verdicts::{Case, Verdicts};

/// Shows each connection in every form.
struct All {
    names: Rc<Placeholders>,
    stamp: Stamp,
    summary: Summary,
    verdicts: Verdicts,
    tallies: Tallies,
}

impl Output for All {
    fn ladders(&self) -> u64 {
        u64::MAX
    }

    fn close(&mut self, ended: &Ended<'_>) -> ControlFlow<()> {
        let (record, traffic, close) = (ended.record(), ended.traffic(), ended.close);
        self.summary.add(&record);
        let ends = [&close.orig.endpoint, &close.resp.endpoint];
        let mut lines = [const { Vec::new() }; 5];
        let [json_line, columns_line, zeek_line, eve_line, ipfix_line] = &mut lines;
        json::close(json_line, &record, &mut self.stamp);
        json_line.push(b'\n');
        columns::close(columns_line, &record, &mut self.stamp, Paint { colour: false });
        zeek::close(zeek_line, &traffic, close);
        eve::close(eve_line, &traffic, close);
        ipfix::close(ipfix_line, &traffic, close);
        for line in &mut lines {
            self.names.restore_plain(line, ends, false);
            let text = std::str::from_utf8(line).expect("what is shown is text");
            // A connection is one line, and no name in it does anything to a terminal.
            let shown = text.strip_suffix('\n').expect("a line");
            let is_foreign = |letter: char| letter.is_control() && letter != '\t';
            assert!(!shown.contains(is_foreign), "{text:?}");
        }
        self.tell(ended);
        ControlFlow::Continue(())
    }
}

impl All {
    /// What is said of a connection in sentences, and what is counted of it.
    fn tell(&mut self, ended: &Ended<'_>) {
        let (close, flow, facts) = (ended.close, ended.flow, &ended.facts);
        let heads = ended.kept.heads.as_deref();
        self.verdicts.add(&Case {
            number: ended.number,
            close,
            flow,
            facts,
            promised_close: heads.is_some_and(|heads| heads.promise_close()),
            keeps_alive: heads.is_some_and(|heads| heads.promise_to_stay()),
            response_end: heads.and_then(|heads| heads.response_end()),
            until_ns: ended.until_ns,
        });
        let called =
            [&close.orig.endpoint, &close.resp.endpoint].map(|end| self.names.endpoint(end));
        let mut said = story::tell(close, flow, facts, &CLIENT_AND_SERVER);
        if let Some(ladder) = &ended.kept.ladder {
            let ends = [called[0].as_str(), called[1].as_str()];
            let caption = svg::Caption { title: "", story: &said, ends };
            let picture = svg::picture(ladder, flow, &CLIENT_AND_SERVER, &caption);
            assert!(picture.ends_with("</svg>\n"));
            text::put(&mut said, ladder, flow, &CLIENT_AND_SERVER, ends, text::ASCII);
        }
        let lost = ended.record().lost_anything();
        let tally = self.tallies.entry(called[1].clone()).or_default();
        tally.add(close, flow, lost, || {
            Some(Typical {
                number: ended.number,
                close: *close,
                flow: *flow,
                facts: *facts,
                ladder: ended.kept.ladder.as_deref().cloned()?,
                ends: called.clone(),
            })
        });
    }

    /// What is said at the end; of a comparison too, with nothing and with itself.
    fn sum_up(self) {
        for (_, findings) in self.verdicts.rows() {
            assert!(!findings.is_empty());
        }
        for old in [Tallies::new(), self.tallies.clone()] {
            let is_same = !old.is_empty() || self.tallies.is_empty();
            let diff = Diff::new(old, self.tallies.clone(), 0.05);
            assert_eq!(diff.any_changed(), !is_same);
            diff::text::put(&mut String::new(), &diff, ["old", "new"], text::ASCII);
            let _ = diff::json::object(&diff, ["old", "new"]);
        }
    }
}

/// Reads `data` as `kind`, in each way that there is.
pub fn read(data: &[u8], kind: Kind) {
    for (patience, checksums) in [(Patience::Long, false), (Patience::Zeek, true)] {
        let stream = Cursor::new(data.to_vec());
        let Ok(input) = Input::new("fuzz".into(), stream, 0, Some(kind)) else { return };
        let names = Rc::new(Placeholders::default());
        let all = All {
            names: Rc::clone(&names),
            stamp: Stamp::local(),
            summary: Summary::default(),
            verdicts: Verdicts::default(),
            tallies: Tallies::new(),
        };
        let options = Options { kind: Some(kind), checksums, gaps: checksums };
        let how = How { options, patience, ..How::default() };
        let mut table = Table::new(Collector::new(all, &how), patience);
        let mut feed = Feed {
            table: &mut table,
            names: &names,
            progress: &mut || {},
            span_ns: &mut None,
            file: 0,
            place: None,
            segments: 0,
            latest_ns: 0,
            set_back: None,
            pace: Pace::default(),
        };
        if let Ok(account) = capture::read(input, &options, &mut feed) {
            assert!(account.segments <= account.packets);
            if let Some(damage) = account.damage {
                assert!(damage.offset <= data.len() as u64 * 2000);
            }
        }
        let _ = table.finish();
        table.observer.output.sum_up();
    }
}
