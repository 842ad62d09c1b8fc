//! Connections that one end has closed and the other not yet.

use super::clock::WallClock;
use super::joined::Joins;
use crate::report::record::Record;
use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use proxy_common::verdict::{self, Close, Signal};
use std::sync::Arc;
use std::time::Instant;

/// To read the table holds the loop up: it goes on at least this many times as long as that took.
const REST: u32 = 10;

/// Those that are half open, each with when its FIN was seen; the oldest first.
pub(super) type Found = Arc<[(Close, u64)]>;

/// What the last look at the table found.
#[derive(Debug, Default)]
pub(super) struct HalfOpen {
    found: Found,
    /// Until then it is not read anew, however often anybody asks.
    rests_until: Option<Instant>,
}

impl HalfOpen {
    /// What is found now.
    ///
    /// # Errors
    /// Where the table cannot be read.
    pub(super) fn read<E>(
        &mut self,
        flows: impl FnOnce() -> Result<Vec<(FlowKey, Flow)>, E>,
        now_ns: u64,
    ) -> Result<Found, E> {
        let begin = Instant::now();
        self.found = among(&flows()?, now_ns).into();
        let end = Instant::now();
        self.rests_until = Some(end + (end - begin) * REST);
        Ok(Arc::clone(&self.found))
    }

    /// Whether the table was read so lately that it had better not be read yet.
    pub(super) fn rests(&self) -> bool {
        self.rests_until.is_some_and(|until| Instant::now() < until)
    }

    /// What is found now, or was a moment ago where the table is large: for those who ask as often as
    /// they like.
    ///
    /// # Errors
    /// Where the table cannot be read.
    pub(super) fn look<E>(
        &mut self,
        flows: impl FnOnce() -> Result<Vec<(FlowKey, Flow)>, E>,
        now_ns: u64,
    ) -> Result<Found, E> {
        if self.rests() { Ok(Arc::clone(&self.found)) } else { self.read(flows, now_ns) }
    }
}

fn among(flows: &[(FlowKey, Flow)], now_ns: u64) -> Vec<(Close, u64)> {
    let mut open: Vec<_> =
        flows.iter().filter_map(|(key, flow)| since(key, flow, now_ns)).collect();
    open.sort_by_key(|&(_, since_ns)| since_ns);
    open
}

/// What is shown of a connection that is half open since `since_ns`, as it is now.
pub(super) fn still<'a>(
    record: Record<'a>,
    clock: &WallClock,
    joins: &'a Joins,
    now_ns: u64,
    since_ns: u64,
) -> Record<'a> {
    Record {
        unix_ns: clock.unix_ns(now_ns),
        half_open_ns: Some(now_ns.saturating_sub(since_ns)),
        said: joins.said(record.close),
        ..record
    }
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
    use std::time::Duration;

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

    #[test]
    fn whoever_asks_all_the_time_has_the_table_read_a_tenth_of_it() {
        let script = sample::half_open();
        let one = || Ok::<_, std::convert::Infallible>(vec![(script.key, script.flow)]);
        let none = || Ok::<_, std::convert::Infallible>(Vec::new());
        let mut half_open = HalfOpen::default();
        let count = |found: Result<Found, _>| found.map(|found| found.len());
        let (begin, slow) = (Instant::now(), Duration::from_millis(20));
        let slowly = || {
            std::thread::sleep(slow);
            one()
        };
        assert_eq!(count(half_open.look(slowly, sample::EPOCH)), Ok(1));
        assert!(half_open.rests_until >= Some(begin + slow * (1 + 10)));
        let hour = Duration::from_secs(3600);
        half_open.rests_until = Some(begin + hour);
        assert_eq!(count(half_open.look(none, sample::EPOCH)), Ok(1));
        // What must be of this moment is read in any case.
        assert_eq!(count(half_open.read(none, sample::EPOCH)), Ok(0));
        half_open.rests_until = Some(begin);
        assert_eq!(count(half_open.look(one, sample::EPOCH)), Ok(1));
    }
}
