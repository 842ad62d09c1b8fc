//! Connections that one end has closed and the other not yet.

use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use proxy_common::verdict::{self, Close, Signal};

/// Those among `flows` that are half open, each with when its FIN was seen; the oldest first.
pub(super) fn among(flows: &[(FlowKey, Flow)], now_ns: u64) -> Vec<(Close, u64)> {
    let mut open: Vec<_> =
        flows.iter().filter_map(|(key, flow)| since(key, flow, now_ns)).collect();
    open.sort_by_key(|&(_, since_ns)| since_ns);
    open
}

fn since(key: &FlowKey, flow: &Flow, now_ns: u64) -> Option<(Close, u64)> {
    let close = verdict::close(key, flow);
    let is_half_open =
        !close.is_over() && close.first_signal == Some(Signal::Fin) && close.answer.is_none();
    let first = close.end(close.first_closer.filter(|_| is_half_open)?);
    // The table goes on while it is read: a FIN of this very moment may be ahead of our clock.
    Some((close, first.fin_ns?.min(now_ns)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn only_those_with_one_fin() {
        let flows: Vec<_> = [sample::clean(), sample::half_open(), sample::reset()]
            .map(|script| (script.key, script.flow))
            .into();
        let open = among(&flows, sample::EPOCH + 1_000_000);
        assert_eq!(open.len(), 1);
        let (close, since_ns) = open[0];
        assert_eq!(close.resp.endpoint, sample::SERVER);
        assert_eq!(since_ns, sample::EPOCH + 100_000);
    }
}
