//! What the programs do, without a kernel.

use proxy_common::flow::{Flow, Input, Mode, Outcome, begins_anew, step};
use proxy_common::key::FlowKey;
use proxy_common::segment::CONTROL;
use proxy_common::wire::{Link, Refusal, parse_slice};
use std::collections::HashMap;
use teardown::kernel::Hook;

/// What the programs do, without a kernel.
pub(crate) struct Machine {
    mode: Mode,
    pub(crate) flows: HashMap<FlowKey, (bool, Flow)>,
    pub(crate) closes: Vec<(FlowKey, Flow)>,
    pub(crate) late: u64,
    /// Truncated, malformed, fragments.
    pub(crate) refused: [u64; 3],
}

impl Machine {
    pub(crate) fn new(mode: Mode) -> Self {
        Self { mode, flows: HashMap::new(), closes: Vec::new(), late: 0, refused: [0; 3] }
    }

    /// Takes a frame.
    pub(crate) fn see(&mut self, hook: Hook, link: Link, frame: &[u8], now: u64) {
        let packet = match parse_slice(frame, link, frame.len() as u32, hook.vantage()) {
            Ok(packet) => packet,
            Err(refusal) => {
                match refusal {
                    Refusal::Truncated => self.refused[0] += 1,
                    Refusal::Malformed => self.refused[1] += 1,
                    Refusal::Fragment => self.refused[2] += 1,
                    Refusal::NotIp | Refusal::NotTcp => {}
                }
                return;
            }
        };
        if !self.mode.is_full() && !packet.segment.has(CONTROL) {
            return;
        }
        let input = Input::Segment(&packet.segment);
        let (reported, flow) = self.flows.entry(packet.key).or_default();
        if begins_anew(flow, input) {
            if !*reported {
                self.closes.push((packet.key, *flow));
            }
            (*reported, *flow) = (false, Flow::new());
        }
        let outcome = step(flow, &packet.key, input, self.mode, now);
        self.late += u64::from(outcome.has(Outcome::LATE));
        if outcome.has(Outcome::CLOSED) {
            *reported = true;
            self.closes.push((packet.key, *flow));
        }
    }
}
