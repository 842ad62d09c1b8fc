//! Times of the kernel's as numbers of packets.

use proxy_common::flow::Flow;

/// When each packet was run.
pub(crate) struct Clock(pub(crate) Vec<(u64, u64)>);

impl Clock {
    /// The flow with the numbers of packets in place of times.
    pub(crate) fn numbered(&self, flow: &Flow) -> Flow {
        let mut flow = *flow;
        let mut times = vec![
            &mut flow.started_ns,
            &mut flow.last_ns,
            &mut flow.closed_ns,
            &mut flow.settled_ns,
        ];
        for end in &mut flow.ends {
            times.extend([&mut end.fin_ns, &mut end.rst_ns]);
        }
        for time in times.into_iter().filter(|time| **time != 0) {
            let number = self.0.partition_point(|(before, _)| *before <= *time);
            let (before, after) = self.0[number - 1];
            assert!((before..=after).contains(time), "{time} is the time of no packet");
            *time = number as u64;
        }
        flow
    }
}
