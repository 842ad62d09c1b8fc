//! Closes and their control segments on the way into a file.
//!
//! A close is told a moment after its last segment. Segments are held for that moment, so that
//! the close can stand with the packet that ended the connection.

use super::blocks::{self, COMMENT, CUSTOM, OPERATING_SYSTEM, Opt, USER_APPLICATION};
use super::packet;
use super::stored::Stored;
use crate::capture::pcapng::{CONTROL_ONLY, WRITTEN_BY};
use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use proxy_common::segment::Segment;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// How long a segment is held, in nanoseconds.
const HOLD: u64 = 1_000_000_000;
/// Segments held at most; a flood goes out sooner.
const MOST_HELD: usize = 1 << 16;
/// The name of the one interface.
const INTERFACE: &str = "teardown";

/// Turns segments and closes into blocks.
#[derive(Debug, Default)]
pub struct Recorder {
    held: VecDeque<Held>,
    /// The number of the first one held.
    first: u64,
    /// The last segment of each connection that is held.
    last: FxHashMap<FlowKey, u64>,
    out: Vec<u8>,
    packet: Vec<u8>,
}

#[derive(Debug)]
struct Held {
    unix_ns: u64,
    key: FlowKey,
    segment: Segment,
    payload: Box<[u8]>,
    close: Option<(String, Vec<u8>)>,
}

/// What every file begins with.
#[must_use]
pub fn head() -> Vec<u8> {
    let program = format!("{WRITTEN_BY}{}", env!("CARGO_PKG_VERSION"));
    let mut out = Vec::new();
    let options: [Opt<'_>; 3] = [
        (COMMENT, CONTROL_ONLY.as_bytes()),
        (OPERATING_SYSTEM, std::env::consts::OS.as_bytes()),
        (USER_APPLICATION, program.as_bytes()),
    ];
    blocks::section(&mut out, &options);
    blocks::interface(&mut out, INTERFACE);
    out
}

impl Recorder {
    /// Takes a control segment, with the first bytes of its data where they are at hand.
    ///
    /// Where it passes two places, as on loopback, it is told twice and taken once.
    pub fn segment(&mut self, key: &FlowKey, segment: &Segment, payload: &[u8], unix_ns: u64) {
        if self.is_told(key, segment) {
            return;
        }
        self.last.insert(*key, self.first + self.held.len() as u64);
        let (key, segment, payload) = (*key, *segment, payload.into());
        self.held.push_back(Held { unix_ns, key, segment, payload, close: None });
        if self.held.len() > MOST_HELD {
            self.write_first();
        }
        self.release(unix_ns);
    }

    /// Whether the connection's last segment was this one, seen elsewhere.
    fn is_told(&self, key: &FlowKey, segment: &Segment) -> bool {
        let place = self.last.get(key).and_then(|at| at.checked_sub(self.first));
        let last = place.and_then(|at| self.held.get(at as usize));
        last.is_some_and(|held| {
            held.segment.vantage != segment.vantage
                && Segment { vantage: 0, ..held.segment } == Segment { vantage: 0, ..*segment }
        })
    }

    /// Takes a close. `comment` is what Wireshark shows; `stored` is read back by us.
    pub fn close(&mut self, stored: &Stored, comment: String, unix_ns: u64) {
        let value = stored.to_bytes();
        let place = self.last.remove(&stored.key).and_then(|at| at.checked_sub(self.first));
        if let Some(held) = place.and_then(|at| self.held.get_mut(at as usize)) {
            held.close = Some((comment, value));
            return;
        }
        // It ended without a segment, or long after its last: the comment stands alone.
        let options: [Opt<'_>; 2] = [(COMMENT, comment.as_bytes()), (CUSTOM, &value)];
        blocks::statistics(&mut self.out, unix_ns, &options);
    }

    /// Lets those go that were held long enough by `unix_ns`; if the clock was set back, all from before.
    pub fn release(&mut self, unix_ns: u64) {
        while self.held.front().is_some_and(|held| held.unix_ns.abs_diff(unix_ns) > HOLD) {
            self.write_first();
        }
    }

    /// Lets all go.
    pub fn release_all(&mut self) {
        while !self.held.is_empty() {
            self.write_first();
        }
    }

    /// The blocks that are ready, whole ones.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn write_first(&mut self) {
        let Some(held) = self.held.pop_front() else { return };
        if self.last.get(&held.key) == Some(&self.first) {
            self.last.remove(&held.key);
        }
        self.first += 1;
        self.packet.clear();
        let len = packet::put(&mut self.packet, &held.key, &held.segment, &held.payload);
        match &held.close {
            Some((comment, value)) => {
                let options: [Opt<'_>; 2] = [(COMMENT, comment.as_bytes()), (CUSTOM, value)];
                blocks::packet(&mut self.out, held.unix_ns, &self.packet, len, &options);
            }
            None => blocks::packet(&mut self.out, held.unix_ns, &self.packet, len, &[]),
        }
    }
}

/// The flow with its times in another clock: `shift` nanoseconds later.
#[must_use]
pub fn shifted(flow: &Flow, shift: i64) -> Flow {
    let mut flow = *flow;
    let move_time = |time: &mut u64| {
        // 0 is "never".
        if *time != 0 {
            *time = time.saturating_add_signed(shift);
        }
    };
    for time in [&mut flow.started_ns, &mut flow.last_ns, &mut flow.closed_ns, &mut flow.settled_ns]
    {
        move_time(time);
    }
    for end in &mut flow.ends {
        move_time(&mut end.fin_ns);
        move_time(&mut end.rst_ns);
    }
    flow
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable as _;

    #[test]
    fn a_clock_that_is_set_back_holds_nothing_up() {
        let mut recorder = Recorder::default();
        recorder.segment(&FlowKey::zeroed(), &Segment::zeroed(), &[], 3_600 * HOLD);
        recorder.release(3_600 * HOLD);
        assert!(recorder.take().is_empty(), "its close may come yet");
        recorder.release(HOLD);
        assert!(!recorder.take().is_empty());
    }
}
