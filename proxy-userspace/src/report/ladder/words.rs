//! What each row of a ladder means, in plain words.

use super::{Ladder, Row};
use crate::report::story::{Names, counted, is_unasked, time};
use proxy_common::flow::Flow;
use proxy_common::segment::{ACK, FIN, RST, SYN};

/// What has happened before a row.
#[derive(Default)]
struct Past {
    syn_ns: [Option<u64>; 2],
    /// Which ends have accepted.
    accepted: [bool; 2],
    /// What each end acknowledged where a SYN was to be accepted: an older connection's number.
    challenge: [Option<u32>; 2],
    data_ns: [Option<u64>; 2],
    fin_ns: [Option<u64>; 2],
    rst_ns: [Option<u64>; 2],
    fin_acked: [bool; 2],
}

/// The words for each row, in order.
#[must_use]
pub fn all(ladder: &Ladder, flow: &Flow, names: &Names<'_>) -> Vec<String> {
    let mut past = Past::default();
    ladder
        .rows
        .iter()
        .map(|row| {
            let words = past.words(row, flow, names);
            if !row.copy && !row.is_wrong {
                past.note(row, flow);
            }
            words
        })
        .collect()
}

/// How long after `earlier` a row was seen; clocks may go back.
fn after(row: &Row, earlier: u64) -> String {
    time(row.time_ns.saturating_sub(earlier))
}

impl Past {
    fn words(&self, row: &Row, flow: &Flow, names: &Names<'_>) -> String {
        if row.copy {
            return "the same packet, captured again".into();
        }
        if row.is_wrong {
            return "its checksum is wrong: it is dropped".into();
        }
        let who = names.of(row.sender, flow);
        let mut words = if row.flags & RST != 0 {
            self.rst(row, flow, names)
        } else if row.flags & SYN != 0 {
            self.syn(row, who)
        } else if row.flags & FIN != 0 {
            self.fin(row, flow, names)
        } else if row.bytes > 0 {
            self.data(row, who)
        } else {
            self.ack(row, flow, who)
        };
        if let Some(head) = &row.head {
            let again = if row.again { ", sent again" } else { "" };
            words =
                if row.is_data() { format!("{head}{again}") } else { format!("{head}; {words}") };
        }
        words
    }

    fn syn(&self, row: &Row, who: &str) -> String {
        let (ours, peer) = (row.sender.index(), row.sender.other().index());
        match (row.flags & ACK != 0, row.again) {
            (false, true) if self.challenge[peer].is_some() => format!("{who} asks again"),
            (false, true) if self.rst_ns[peer].is_some() => {
                format!("{who} asks again, after it was refused")
            }
            (false, true) => format!("{who} asks again: no answer yet"),
            (false, false) if self.syn_ns[peer].is_some() => {
                format!("{who} asks as well: a simultaneous open")
            }
            (false, false) => format!("{who} asks for a connection"),
            (true, _) if self.accepted[ours] => format!("{who} accepts again"),
            (true, _) => match self.syn_ns[peer] {
                Some(asked) => format!("{who} accepts after {}", after(row, asked)),
                None => format!("{who} accepts"),
            },
        }
    }

    fn fin(&self, row: &Row, flow: &Flow, names: &Names<'_>) -> String {
        let who = names.of(row.sender, flow);
        let (ours, peer) = (row.sender.index(), row.sender.other().index());
        let first = flow.end(row.sender).isn.wrapping_add(1);
        if row.again && self.fin_acked[ours] {
            return format!("{who} repeats its FIN: the acknowledgment did not reach it");
        }
        if row.again {
            return format!("{who} repeats its FIN: it was not acknowledged");
        }
        if self.rst_ns[ours].is_some() || self.rst_ns[peer].is_some() {
            return format!("{who} closes with FIN, but the connection is already reset");
        }
        match self.fin_ns[peer] {
            Some(closed) if acknowledges_fin(row, flow) => {
                format!("{who} closes too, {} later", after(row, closed))
            }
            Some(closed) => format!(
                "{who} closes too, {} later, before that FIN has reached it: a simultaneous close",
                after(row, closed)
            ),
            None if row.bytes > 0 => format!("{who} closes first, with FIN on its last data"),
            None => match self.data_ns[ours] {
                Some(_) if self.data_ns[peer] > self.data_ns[ours] => format!(
                    "{who} closes first, with FIN, {} after {}'s last data",
                    after(row, self.data_ns[peer].unwrap_or_default()),
                    names.of(row.sender.other(), flow)
                ),
                Some(last) => format!(
                    "{who} closes first, with FIN, {} after its last data",
                    after(row, last)
                ),
                None if self.syn_ns[ours].is_some() && row.seq == first => {
                    format!("{who} closes first, with FIN, having sent nothing")
                }
                None => format!("{who} closes first, with FIN"),
            },
        }
    }

    fn rst(&self, row: &Row, flow: &Flow, names: &Names<'_>) -> String {
        let (ours, peer) = (row.sender.index(), row.sender.other().index());
        let who = names.of(row.sender, flow);
        let sign = if row.flags & ACK != 0 { "RST+ACK" } else { "RST" };
        if row.again {
            return format!("{who} repeats its {sign}");
        }
        if self.challenge[peer] == Some(row.seq) {
            return format!("{who} knows nothing of that one, and resets it");
        }
        if row.is_late {
            return format!("{who} sends {sign}: for it the connection is gone");
        }
        if !flow.end(row.sender).has_reset() {
            return format!("{who} sends {sign}, which the other end does not believe");
        }
        match (self.fin_ns[ours], self.fin_ns[peer]) {
            (Some(_), Some(_)) => {
                format!("{who} has already forgotten the connection, and answers {sign}")
            }
            (Some(closed), None) => {
                format!("{who} resets what it has closed, {} later", after(row, closed))
            }
            (None, Some(closed)) if row.flags & ACK != 0 && !acknowledges_fin(row, flow) => {
                let later = after(row, closed);
                format!("{who} resets, {later} later, before that FIN has reached it")
            }
            (None, Some(closed)) => {
                let like = if row.sender == flow.orig && row.flags & ACK != 0 {
                    ": HAProxy 1.4's passive close"
                } else {
                    ""
                };
                let later = after(row, closed);
                format!("{who} answers the FIN with {sign}, {later} later{like}")
            }
            (None, None) if self.rst_ns[peer].is_some() => format!("{who} resets as well"),
            (None, None) if self.syn_ns[peer].is_some() && self.syn_ns[ours].is_none() => {
                format!("{who} refuses the connection")
            }
            (None, None) if row.sender == flow.orig && is_unasked(flow) => {
                format!("{who}'s host knows nothing of the connection, and answers {sign}")
            }
            (None, None) => format!("{who} closes first, with {sign}: no FIN, no TIME_WAIT"),
        }
    }

    fn data(&self, row: &Row, who: &str) -> String {
        if row.is_probe {
            let span = time(row.last_ns.saturating_sub(row.time_ns));
            let times = match row.segments {
                1 => String::new(),
                many => format!(", {many} times over {span}"),
            };
            return format!("{who} asks whether the other end is there{times}: a keep-alive probe");
        }
        let mut amount = counted(row.bytes, "byte");
        if row.segments > 1 {
            let span = time(row.last_ns.saturating_sub(row.time_ns));
            let repeats = counted(row.repeated.into(), "time");
            amount.push_str(&match row.repeated {
                0 => format!(" in {} segments over {span}", row.segments),
                all if all + 1 == row.segments => format!(", repeated {repeats} over {span}"),
                some => format!(" in {} segments over {span}, {some} repeated", row.segments),
            });
        }
        if row.again {
            amount.push_str(" again");
        }
        if self.fin_ns[row.sender.other().index()].is_some() {
            format!("{who} sends {amount}, although the other end has closed")
        } else {
            format!("{who} sends {amount}")
        }
    }

    fn ack(&self, row: &Row, flow: &Flow, who: &str) -> String {
        let (ours, peer) = (row.sender.index(), row.sender.other().index());
        match self.fin_ns[peer] {
            Some(closed) if !self.fin_acked[peer] && acknowledges_fin(row, flow) => {
                // Whose own FIN was out before it had the other's waits (RFC 9293, 3.6).
                let is_reset = flow.ends.iter().any(|end| end.has_reset());
                let waits = self.fin_ns[ours].is_some() && !is_reset;
                let left = if waits { ", and stays in TIME_WAIT" } else { "" };
                format!("{who} has seen the FIN, {} later{left}", after(row, closed))
            }
            _ if self.is_challenge(row) => {
                format!("{who} holds an older connection on these ports: a challenge ACK")
            }
            _ if self.syn_ns[peer].is_some() => "connected".into(),
            _ => "the connection was open before the capture began".into(),
        }
    }

    /// Whether a bare acknowledgment stands where the other end's SYN was to be accepted.
    fn is_challenge(&self, row: &Row) -> bool {
        let (ours, peer) = (row.sender.index(), row.sender.other().index());
        let is_asked = self.syn_ns[peer].is_some() && !self.accepted[peer];
        row.flags & (SYN | ACK) == ACK && is_asked && self.syn_ns[ours].is_none()
    }

    fn note(&mut self, row: &Row, flow: &Flow) {
        let ours = row.sender.index();
        if row.flags & RST == 0 && self.is_challenge(row) {
            self.challenge[ours] = Some(row.ack);
        }
        if row.flags & SYN != 0 {
            self.syn_ns[ours].get_or_insert(row.time_ns);
            self.accepted[ours] |= row.flags & ACK != 0;
        }
        if row.bytes > 0 && !row.again && !row.is_probe {
            self.data_ns[ours] = Some(row.new_ns);
        }
        if row.flags & FIN != 0 {
            self.fin_ns[ours].get_or_insert(row.time_ns);
        }
        if row.flags & RST != 0 && flow.end(row.sender).has_reset() {
            self.rst_ns[ours].get_or_insert(row.time_ns);
        }
        self.fin_acked[row.sender.other().index()] |= acknowledges_fin(row, flow);
    }
}

/// Whether a row acknowledges the other end's FIN.
fn acknowledges_fin(row: &Row, flow: &Flow) -> bool {
    let peer = flow.end(row.sender.other());
    row.flags & ACK != 0 && peer.fins != 0 && row.ack == peer.fin_end()
}
