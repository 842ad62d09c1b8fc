//! How a connection closed, as a sentence.

mod signs;

pub use signs::{
    TimeWait, are_captured, is_half_open, is_one_sided, is_only_resets, is_refusal, is_unanswered,
    is_unasked, is_unheard, is_with_itself, missing, never_acknowledged, side_of, time_wait,
    was_open,
};

use proxy_common::flow::{End, Flow, closes_crossed};
use proxy_common::key::Side;
use proxy_common::verdict::{Close, ConnState, Role, Signal};
use std::net::{IpAddr, SocketAddr};

/// What the two ends are called.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The originator.
    pub orig: &'a str,
    /// The responder.
    pub resp: &'a str,
}

/// Where nothing more is known.
pub const CLIENT_AND_SERVER: Names<'static> = Names { orig: "the client", resp: "the server" };

impl Names<'_> {
    /// What the end at `side` of `flow` is called.
    #[must_use]
    pub fn of(&self, side: Side, flow: &Flow) -> &str {
        if side == flow.orig { self.orig } else { self.resp }
    }

    fn role(&self, role: Role) -> &str {
        match role {
            Role::Orig => self.orig,
            Role::Resp => self.resp,
        }
    }
}

/// What a close does not tell, and only a reader of every segment sees; by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// When each end last sent data that it had not sent before; 0 for never.
    pub last_data_ns: [u64; 2],
    /// When each end's FIN was acknowledged; 0 for never.
    pub fin_acked_ns: [u64; 2],
    /// The capture was filtered: acknowledgments that come alone are not in it.
    pub is_filtered: bool,
}

/// The sentence.
#[must_use]
pub fn tell(close: &Close, flow: &Flow, facts: &Facts, names: &Names<'_>) -> String {
    if is_with_itself(close) {
        let signal = close.first_signal.map(|signal| format!(", and closed with {}", sign(signal)));
        return format!("the socket is connected to itself{}", signal.unwrap_or_default());
    }
    let Some((first, signal)) = close.first_closer.zip(close.first_signal) else {
        return unclosed(close, flow, facts, names);
    };
    if is_unasked(flow) {
        return format!(
            "{} answered the SYN+ACK with RST: its host knew nothing of the connection{}",
            names.orig,
            loss(close, flow, facts, names)
        );
    }
    if is_only_resets(flow) {
        return format!("nothing but {} of {}'s was captured", sign(signal), names.role(first));
    }
    let story = Story { close, flow, facts, names, first, side: side_of(flow, first) };
    let answer = match close.answer {
        Some(answer) => story.answer(answer),
        None => story.silence(),
    };
    story.opening(signal) + &answer + &loss(close, flow, facts, names)
}

/// A close that one end has begun.
struct Story<'a> {
    close: &'a Close,
    flow: &'a Flow,
    facts: &'a Facts,
    names: &'a Names<'a>,
    /// Who closed first, and its side.
    first: Role,
    side: Side,
}

impl Story<'_> {
    /// What the first to close is called, and the other.
    fn called(&self) -> [&str; 2] {
        [self.first, self.first.other()].map(|role| self.names.role(role))
    }

    /// What is known of the first to close, and of the other.
    fn ends(&self) -> [&End; 2] {
        [self.side, self.side.other()].map(|side| self.flow.end(side))
    }

    /// Who closed first, with what, and how long after the data.
    fn opening(&self, signal: Signal) -> String {
        let [who, peer] = self.called();
        if is_refusal(self.close) {
            return format!("{who} refused the connection, with {}", sign(signal));
        }
        if signal == Signal::Timeout {
            return format!("{who} gave up waiting: nothing was sent");
        }
        let closed_ns = self.ends()[0].closed_at();
        let [last, peer_last] =
            [self.side, self.side.other()].map(|side| self.facts.last_data_ns[side.index()]);
        let mut text = format!("{who} closed first, with {}", sign(signal));
        if last == closed_ns && last != 0 && signal == Signal::Fin {
            text.push_str(" on its last data");
        } else if last != 0 && last >= peer_last {
            text.push_str(&format!(", {} after its last data", after(closed_ns, last)));
        } else if peer_last != 0 && peer_last <= closed_ns {
            text.push_str(&format!(", {} after {peer}'s last data", after(closed_ns, peer_last)));
        } else if last != 0 {
            text.push_str(&format!(", {} after its last data", after(closed_ns, last)));
        }
        text
    }

    /// What the other end closed with.
    fn answer(&self, signal: Signal) -> String {
        let [_, other] = self.called();
        let [end, peer] = self.ends();
        if signal == Signal::Timeout {
            return format!("; {other} gave up waiting");
        }
        let later = after(peer.closed_at(), end.closed_at());
        let (by_fin, with) = (end.closed_by_fin(), sign(signal));
        let crossed = by_fin && closes_crossed(self.flow);
        let simultaneous = crossed && signal == Signal::Fin;
        let mut text = match signal {
            _ if simultaneous => format!(
                "; {other} closed too, with {with} {later} later, before that FIN had reached it \
                 (a simultaneous close)"
            ),
            _ if crossed => {
                format!(
                    "; {other} reset, with {with} {later} later, before that FIN had reached it"
                )
            }
            _ if by_fin => format!("; {other} answered with {with} {later} later"),
            // A RST is answered by nothing; RSTs of both may be somebody's between them.
            Signal::Fin => format!("; {other} had sent its FIN before it came, seen {later} later"),
            _ => format!("; {other} reset as well, with {with} {later} later"),
        };
        let acked = self.facts.fin_acked_ns[self.side.other().index()];
        if signal == Signal::Fin && acked >= peer.fin_ns && acked != 0 {
            let more = after(acked, peer.fin_ns);
            text.push_str(&format!(", acknowledged after {more} more"));
        }
        if simultaneous && !end.has_reset() && !peer.has_reset() {
            text.push_str("; TIME_WAIT stays with both");
        }
        text
    }

    /// Why the other end did not close, as far as can be told.
    fn silence(&self) -> String {
        let [who, other] = self.called();
        let [end, _] = self.ends();
        if is_refusal(self.close) {
            return String::new();
        }
        if !are_captured(self.flow) {
            return format!("; nothing of {other}'s was captured");
        }
        if !end.closed_by_fin() {
            return String::new();
        }
        if !was_open(self.flow, self.facts, self.side.other()) {
            return format!("; {other} may have closed before the capture began");
        }
        if end.has_reset() {
            let later = after(end.rst_ns, end.fin_ns);
            return format!(
                "; {other} did not close, and {who} reset the connection {later} later"
            );
        }
        if is_unheard(self.flow, self.facts, self.side) {
            let fins = end.fins;
            return format!("; {other} never acknowledged the FIN, which was sent {fins} times");
        }
        let open = time(self.close.half_closed_ns.unwrap_or(0));
        format!("; {other} never closed: half closed for {open}, as far as the capture goes")
    }
}

/// Whether it was clean, and what was lost.
fn loss(close: &Close, flow: &Flow, facts: &Facts, names: &Names<'_>) -> String {
    let clean = close.first_signal == Some(Signal::Fin) && close.answer == Some(Signal::Fin);
    let mut text = String::new();
    if clean && close.orig.rst_ns.is_none() && close.resp.rst_ns.is_none() {
        text.push_str("; clean");
    }
    if facts.is_filtered {
        return text;
    }
    let mut lost = false;
    for role in [Role::Orig, Role::Resp] {
        let side = side_of(flow, role);
        let missing = never_acknowledged(flow.end(side), flow.end(side.other()));
        if missing > 0 {
            lost = true;
            let whose = names.role(role);
            let (bytes, were) =
                (counted(missing.into(), "byte"), if missing == 1 { "was" } else { "were" });
            text.push_str(&format!("; {bytes} of {whose}'s {were} never acknowledged"));
        }
    }
    if !lost && are_captured(flow) {
        text.push_str("; nothing lost");
    }
    text
}

/// A connection that nobody closed.
fn unclosed(close: &Close, flow: &Flow, facts: &Facts, names: &Names<'_>) -> String {
    let times = |attempts: u16| match attempts {
        0 | 1 => String::new(),
        attempts => format!(", sent {attempts} times,"),
    };
    match close.conn_state {
        ConnState::S0 if !is_unanswered(close, flow) => {
            format!("nobody has closed; nothing of {}'s was captured", names.resp)
        }
        ConnState::S0 => {
            format!("{}'s SYN{} was not answered", names.orig, times(close.orig.control[0]))
        }
        ConnState::S1 if is_half_open(flow) && !facts.is_filtered => format!(
            "{} never completed the handshake: {}'s SYN+ACK{} was not acknowledged",
            names.orig,
            names.resp,
            times(close.resp.control[0])
        ),
        ConnState::S1 if close.is_unfinished() => {
            let mut text = String::from("nobody has closed: open when the capture ends");
            for role in [Role::Orig, Role::Resp].into_iter().filter(|_| !facts.is_filtered) {
                let side = side_of(flow, role);
                let bytes = never_acknowledged(flow.end(side), flow.end(side.other()));
                if bytes > 0 {
                    let (bytes, whose) = (counted(bytes.into(), "byte"), names.role(role));
                    text.push_str(&format!("; {bytes} of {whose}'s not acknowledged yet"));
                }
            }
            text
        }
        ConnState::S1 if !close.is_expired() && !close.is_evicted() => {
            "nobody has closed, and another connection began on the same ports".into()
        }
        _ if close.is_expired() => {
            "nobody has closed before it was given up for its silence".into()
        }
        _ if close.is_midstream() => "neither its beginning nor its end was captured".into(),
        _ => "nobody has closed, as far as the capture goes".into(),
    }
}

/// The words that make a rule, as they are typed. Not everything that connections are grouped by is an
/// address that a rule could be for.
#[must_use]
pub fn command(whom: &str, rule: &str) -> String {
    let is_address = whom.parse::<SocketAddr>().is_ok() || whom.parse::<IpAddr>().is_ok();
    let whom = if is_address { whom } else { "ADDR[:PORT]" };
    format!("teardown watch --policy '{whom} {rule}'")
}

/// `FIN`, `RST` or `RST+ACK`.
#[must_use]
pub fn sign(signal: Signal) -> &'static str {
    match signal {
        Signal::Fin => "FIN",
        Signal::Rst => "RST",
        Signal::RstAck => "RST+ACK",
        Signal::Timeout => "a timeout",
    }
}

/// `1 byte`, `2 bytes`.
#[must_use]
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn after(later: u64, earlier: u64) -> String {
    time(later.saturating_sub(earlier))
}

/// A duration as the field writes it: milliseconds to the microsecond, then seconds, then minutes.
#[must_use]
pub fn time(ns: u64) -> String {
    let us = ns / 1_000;
    match us {
        0..10_000 => format!("{}.{:03} ms", us / 1_000, us % 1_000),
        10_000..1_000_000 => format!("{}.{} ms", us / 1_000, us / 100 % 10),
        1_000_000..600_000_000 => format!("{}.{:03} s", us / 1_000_000, us / 1_000 % 1_000),
        _ => format!("{} min {} s", us / 60_000_000, us / 1_000_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use proxy_common::flow::{Input, Mode, step};
    use proxy_common::key::{Endpoint, FlowKey};
    use proxy_common::segment::{ACK, FIN, Segment};

    #[test]
    fn an_end_that_is_not_looked_at_is_not_missing() {
        let [client, server] = [(1, 40000), (2, 80)].map(|(n, port)| Endpoint::v4([n; 4], port));
        let (key, sender) = FlowKey::new(client, server);
        let fin = Segment { sender, flags: FIN | ACK, seq: 7, ack: 9, ..Segment::zeroed() };
        for (mode, are) in [(Mode::SPARSE, true), (Mode::OFFLINE, false)] {
            let mut flow = Flow::new();
            step(&mut flow, &key, Input::Segment(&fin), mode, 1);
            assert_eq!(are_captured(&flow), are);
        }
    }

    #[test]
    fn times_are_short() {
        for (ns, text) in [
            (0, "0.000 ms"),
            (105_000, "0.105 ms"),
            (1_355_000, "1.355 ms"),
            (104_567_000, "104.5 ms"),
            (69_999_000_000, "69.999 s"),
            (3_725_000_000_000, "62 min 5 s"),
        ] {
            assert_eq!(time(ns), text);
        }
    }
}
