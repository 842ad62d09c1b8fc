//! What is to be said of each backend: findings, with the connections that show them, and the
//! rule that would change them.

mod races;
mod topics;

pub use topics::Topic;

use super::kind::{KINDS, Kind};
use super::story::{
    Facts, TimeWait, is_half_open, is_one_sided, is_only_resets, is_refusal, is_unanswered,
    is_unasked, is_unheard, is_with_itself, missing, never_acknowledged, side_of, time, time_wait,
    was_open,
};
use proxy_common::flow::{Flow, closes_crossed};
use proxy_common::key::Endpoint;
use proxy_common::verdict::{Close, ConnState, Role, Signal};
use std::collections::HashMap;

/// Backends that are looked at; a scan of ports must not fill the memory.
const MOST_BACKENDS: usize = 1024;
/// Connections named with a finding.
const EVIDENCE: usize = 5;
/// A half-closed time that people notice.
const HALF_CLOSED: u64 = 1_000_000_000;
/// A SYN that has waited for this long is not answered: Linux repeats it.
const PATIENCE: u64 = 1_000_000_000;

/// One connection, as the findings look at it.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// Its number in the capture.
    pub number: u64,
    /// How it closed.
    pub close: &'a Close,
    /// The flow.
    pub flow: &'a Flow,
    /// Times of data.
    pub facts: &'a Facts,
    /// HTTP has said that the connection ends with the last exchange.
    pub promised_close: bool,
    /// It has said that it does not.
    pub keeps_alive: bool,
    /// The sequence number behind the last response, where its length was told.
    pub response_end: Option<u32>,
    /// How far the capture goes.
    pub until_ns: u64,
}

/// How often a thing was seen, and where.
#[derive(Clone, Debug, Default)]
struct Seen {
    count: u64,
    numbers: Vec<u64>,
    longest_ns: u64,
    shortest_ns: u64,
    bytes: u64,
}

impl Seen {
    fn add(&mut self, case: &Case<'_>, ns: u64, bytes: u64) {
        self.shortest_ns = if self.count == 0 { ns } else { self.shortest_ns.min(ns) };
        self.longest_ns = self.longest_ns.max(ns);
        self.count += 1;
        self.bytes += bytes;
        // They need not come in their order.
        let at = self.numbers.partition_point(|&number| number < case.number);
        if at < EVIDENCE {
            self.numbers.insert(at, case.number);
            self.numbers.truncate(EVIDENCE);
        }
    }

    /// `(#1, #4 and 12 more)`.
    fn evidence(&self) -> String {
        let list: Vec<String> = self.numbers.iter().map(|number| format!("#{number}")).collect();
        match self.count - self.numbers.len() as u64 {
            0 => format!("({})", list.join(", ")),
            more => format!("({} and {more} more)", list.join(", ")),
        }
    }

    /// `for 69.999 s`, or from the shortest to the longest.
    fn span(&self) -> String {
        if self.shortest_ns == self.longest_ns {
            time(self.longest_ns)
        } else {
            format!("{} to {}", time(self.shortest_ns), time(self.longest_ns))
        }
    }
}

/// What was seen of one backend.
#[derive(Clone, Debug)]
pub struct Backend {
    /// The responder.
    pub endpoint: Endpoint,
    /// Its connections.
    pub connections: u64,
    kinds: [u64; KINDS],
    closed: u64,
    topics: HashMap<Topic, Seen>,
    races: [u64; 2],
    race: Seen,
    resets: [Seen; 2],
    fins: [u64; 2],
}

/// One thing worth knowing of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub topic: Topic,
    /// It, in a sentence with its evidence.
    pub text: String,
    /// Connections that show it.
    pub count: u64,
    /// The first of their numbers.
    pub numbers: Vec<u64>,
    /// The words of a policy that would change it.
    pub rule: Option<String>,
}

/// All backends.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    backends: HashMap<Endpoint, Backend>,
    beyond: u64,
}

impl Verdicts {
    /// Looks at a connection.
    pub fn add(&mut self, case: &Case<'_>) {
        let endpoint = case.close.resp.endpoint;
        if self.backends.len() >= MOST_BACKENDS && !self.backends.contains_key(&endpoint) {
            self.beyond += 1;
            return;
        }
        self.backends.entry(endpoint).or_insert_with(|| Backend::new(endpoint)).add(case);
    }

    /// Connections that were not looked at: there were too many backends.
    #[must_use]
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Each backend with its findings, the busiest first.
    #[must_use]
    pub fn rows(&self) -> Vec<(&Backend, Vec<Finding>)> {
        let mut rows: Vec<_> =
            self.backends.values().map(|backend| (backend, backend.findings())).collect();
        rows.sort_by_key(|(backend, _)| (u64::MAX - backend.connections, backend.endpoint));
        rows
    }
}

impl Backend {
    fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            connections: 0,
            kinds: [0; KINDS],
            closed: 0,
            topics: HashMap::new(),
            races: [0; 2],
            race: Seen::default(),
            resets: <[Seen; 2]>::default(),
            fins: [0; 2],
        }
    }

    fn add(&mut self, case: &Case<'_>) {
        self.connections += 1;
        let close = case.close;
        self.kinds[Kind::of(close).index()] += 1;
        if is_only_resets(case.flow) {
            return;
        }
        self.closed += u64::from(close.first_closer.is_some());
        if is_with_itself(close) {
            return self.note(Topic::WithItself, case, 0, 0);
        }
        self.half_closed(case);
        self.unanswered(case);
        self.losses(case);
        self.signals(case);
        self.near(case);
        if let Some(ns) = promise_broken_ns(case) {
            self.note(Topic::IgnoresConnectionClose, case, ns, 0);
        }
        let missing = missing(case.flow, case.response_end);
        if let Some(first) = close.first_closer.filter(|_| missing > 0) {
            self.note(Topic::CutsResponse(first), case, 0, missing.into());
        }
        if is_one_sided(case.flow) {
            self.note(Topic::OneDirection, case, 0, 0);
        }
        match time_wait(close, case.flow) {
            Some(TimeWait::AtBoth) => self.note(Topic::TimeWaitAtBoth, case, 0, 0),
            Some(TimeWait::At(Role::Orig)) => self.note(Topic::TimeWaitAtClient, case, 0, 0),
            Some(TimeWait::At(Role::Resp)) => self.note(Topic::TimeWaitAtServer, case, 0, 0),
            None => {}
        }
        if is_refusal(close) {
            self.note(Topic::Refused, case, 0, 0);
        }
    }

    fn note(&mut self, topic: Topic, case: &Case<'_>, ns: u64, bytes: u64) {
        self.topics.entry(topic).or_default().add(case, ns, bytes);
    }

    /// Connections that one end closed and the other left open.
    fn half_closed(&mut self, case: &Case<'_>) {
        let close = case.close;
        let Some(ns) = close.half_closed_ns.filter(|&ns| ns >= HALF_CLOSED) else { return };
        let (topic, side) = match close.first_closer {
            Some(Role::Orig) => (Topic::ServerStaysHalfClosed, case.flow.orig.other()),
            Some(Role::Resp) => (Topic::ClientStaysHalfClosed, case.flow.orig),
            None => return,
        };
        if was_open(case.flow, case.facts, side) && !is_unheard(case.flow, case.facts, side.other())
        {
            self.note(topic, case, ns, 0);
        }
    }

    /// What an end was waited for in vain.
    fn unanswered(&mut self, case: &Case<'_>) {
        let (close, flow) = (case.close, case.flow);
        let waited = case.until_ns.saturating_sub(close.started_ns);
        if is_unanswered(close, flow) && waited >= PATIENCE {
            self.note(Topic::Unanswered(Role::Resp), case, waited, 0);
        }
        if is_half_open(flow) && close.first_closer.is_none() && close.resp.control[0] > 1 {
            self.note(Topic::Unanswered(Role::Orig), case, waited, 0);
        }
        for (role, side) in [(Role::Resp, flow.orig), (Role::Orig, flow.orig.other())] {
            if is_unheard(flow, case.facts, side) {
                self.note(Topic::Unheard(role), case, waited, 0);
            }
        }
    }

    /// Data that a RST threw away.
    fn losses(&mut self, case: &Case<'_>) {
        let (close, flow) = (case.close, case.flow);
        for role in [Role::Orig, Role::Resp] {
            if close.end(role).rst_ns.is_none() || case.facts.is_filtered {
                continue;
            }
            let side = side_of(flow, role);
            let own = never_acknowledged(flow.end(side), flow.end(side.other()));
            let peers = never_acknowledged(flow.end(side.other()), flow.end(side));
            if own > 0 {
                self.note(Topic::ResetLosesOwn(role), case, 0, u64::from(own));
            }
            if peers > 0 {
                self.note(Topic::ResetLosesPeers(role), case, 0, u64::from(peers));
            }
        }
    }

    /// What each end closes with.
    fn signals(&mut self, case: &Case<'_>) {
        let close = case.close;
        let (Some(first), Some(signal)) = (close.first_closer, close.first_signal) else { return };
        for (role, signal) in [(first, Some(signal)), (first.other(), close.answer)] {
            let place = usize::from(role == Role::Resp);
            match signal {
                Some(Signal::Fin) => self.fins[place] += 1,
                Some(Signal::Rst | Signal::RstAck) => self.resets[place].add(case, 0, 0),
                _ => {}
            }
        }
        let answered_by_reset = matches!(close.answer, Some(Signal::Rst | Signal::RstAck));
        let reset_first = matches!(signal, Signal::Rst | Signal::RstAck);
        match first {
            Role::Resp if signal == Signal::Fin && answered_by_reset => {
                let crossed = closes_crossed(case.flow);
                let topic = if crossed { Topic::ActiveReset } else { Topic::PassiveReset };
                self.note(topic, case, 0, 0);
            }
            Role::Orig if is_unasked(case.flow) => self.note(Topic::Unasked, case, 0, 0),
            Role::Orig if reset_first && close.conn_state != ConnState::Rstos0 => {
                self.note(Topic::ActiveReset, case, 0, 0);
            }
            Role::Resp if reset_first && close.conn_state == ConnState::Rstr => {
                self.note(Topic::ServerReset, case, 0, 0);
            }
            _ => {}
        }
    }

    /// What is to be said, the gravest first.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self
            .topics
            .iter()
            .filter(|(topic, seen)| topic.is_worth_saying(seen.count, self.connections))
            .map(|(topic, seen)| self.say(*topic, seen))
            .collect();
        findings.extend(self.unusual_resets());
        findings.extend(self.racing());
        findings.sort_by_key(|finding| (finding.topic.gravity(), u64::MAX - finding.count));
        if findings.is_empty() {
            findings.push(self.nothing());
        }
        findings
    }

    fn say(&self, topic: Topic, seen: &Seen) -> Finding {
        let share = format!("{} of {}", seen.count, self.connections);
        let what = topic.words(&seen.span(), seen.bytes);
        Finding {
            topic,
            text: format!("{what}: {share} {}", seen.evidence()),
            count: seen.count,
            numbers: seen.numbers.clone(),
            rule: topic.rule().map(Into::into),
        }
    }

    /// RST from an end that closes with FIN as a rule.
    fn unusual_resets(&self) -> Vec<Finding> {
        let ends = [("the client", 0), ("the server", 1)];
        let unusual = |place: usize| {
            let (resets, fins) = (self.resets[place].count, self.fins[place]);
            resets > 0 && fins >= 4 * resets
        };
        ends.into_iter()
            .filter(|&(_, place)| unusual(place))
            .map(|(who, place)| {
                let seen = &self.resets[place];
                Finding {
                    topic: Topic::UnusualReset,
                    text: format!(
                        "{who} closes with RST where FIN is usual: {} against {} {}",
                        seen.count,
                        self.fins[place],
                        seen.evidence()
                    ),
                    count: seen.count,
                    numbers: seen.numbers.clone(),
                    rule: None,
                }
            })
            .collect()
    }

    fn nothing(&self) -> Finding {
        let text = if self.closed == 0 {
            "no close was captured".into()
        } else {
            format!("nothing stands out: {} of {} closed", self.closed, self.connections)
        };
        Finding { topic: Topic::Nothing, text, count: 0, numbers: Vec::new(), rule: None }
    }
}

/// For how long the server left open what it was bound to close after its response; `None` where it
/// was not, or closed in time.
fn promise_broken_ns(case: &Case<'_>) -> Option<u64> {
    let (close, flow) = (case.close, case.flow);
    let server = flow.end(flow.orig.other());
    let end = case.response_end.filter(|_| case.promised_close)?;
    let sent = server.next.wrapping_sub(u32::from(server.fins != 0));
    let complete = !proxy_common::seq::before(sent, end);
    let last = case.facts.last_data_ns[flow.orig.other().index()];
    let until = match server.fin_ns {
        0 if close.is_over() => close.ended_ns,
        0 => case.until_ns,
        closed => closed,
    };
    let open = until.saturating_sub(last);
    // A second is time enough: who resets at once has not waited for the promise.
    (complete && last != 0 && open > HALF_CLOSED).then_some(open)
}
