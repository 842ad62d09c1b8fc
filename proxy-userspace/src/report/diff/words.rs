//! What a difference comes to, in sentences: who closes otherwise than before, and what restores
//! it.

use super::{Group, Tally};
use crate::report::kind::Kind;
use crate::report::story::{sign, time};
use proxy_common::verdict::{Role, Signal};

/// A sentence about a difference, and the policy's words that bring the old behaviour back.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// The sentence.
    pub text: String,
    /// The words, where there are any.
    pub rule: Option<&'static str>,
    /// How much changed, from 0 to 1.
    weight: f64,
}

/// The sentences for a group that changed, the most telling first.
#[must_use]
pub fn say(group: &Group) -> Vec<Said> {
    let (old, new) = (&group.old, &group.new);
    if old.connections == 0 || new.connections == 0 {
        let which = if old.connections == 0 { "new" } else { "old" };
        let text = format!("only the {which} capture has connections to it");
        return vec![Said { text, rule: None, weight: 1.0 }];
    }
    let mut said: Vec<Said> = Situation::ALL
        .into_iter()
        .filter_map(|situation| situation.compare(old, new))
        .chain(first_closer(old, new))
        .chain(fates(old, new))
        .collect();
    said.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    said.extend(time_wait(old, new));
    said.extend(half_closed(group));
    if said.is_empty() {
        let text = "the same closes, but not as often as before".into();
        said.push(Said { text, rule: None, weight: 0.0 });
    }
    said
}

/// Shares that differ by less than this are not spoken of.
const NOTABLE: f64 = 0.1;
/// The same for what is worse than another way to close.
const GRAVE: f64 = 0.05;

/// A choice that an end has when it closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Situation {
    /// The client closes first: with what.
    ClientFirst,
    /// The server closes first: with what.
    ServerFirst,
    /// The server's FIN came first: what the client answers.
    ClientAnswers,
    /// The client's FIN came first: what the server answers.
    ServerAnswers,
}

impl Situation {
    const ALL: [Self; 4] =
        [Self::ClientAnswers, Self::ClientFirst, Self::ServerAnswers, Self::ServerFirst];

    /// What was chosen in a close, where it was this situation: a signal, or none.
    fn choice(self, kind: Kind) -> Option<Option<Signal>> {
        let by_fin = kind.signal == Some(Signal::Fin);
        match (self, kind.first?) {
            (Self::ClientFirst, Role::Orig) | (Self::ServerFirst, Role::Resp) => Some(kind.signal),
            (Self::ClientAnswers, Role::Resp) | (Self::ServerAnswers, Role::Orig) if by_fin => {
                Some(kind.answer)
            }
            _ => None,
        }
    }

    /// How often each signal was chosen.
    fn choices(self, tally: &Tally) -> Choices {
        let mut choices = Choices::default();
        for kind in Kind::all() {
            let count = tally.closes(kind);
            if let Some(signal) = self.choice(kind).filter(|_| count > 0) {
                choices.add(signal, count);
            }
        }
        choices
    }

    /// The sentence, where the choice is another than it was.
    fn compare(self, old: &Tally, new: &Tally) -> Option<Said> {
        let (was, is) = (self.choices(old), self.choices(new));
        let ((usual_was, _), (usual_is, count)) = (was.usual()?, is.usual()?);
        let change = is.share(usual_is) - was.share(usual_is);
        if change < NOTABLE {
            return None;
        }
        let counts =
            format!("{count} of {} now, {} of {} before", is.all, was.count(usual_is), was.all);
        let instead = if usual_was == usual_is {
            String::from(" more often than before")
        } else if usual_is.is_none() {
            format!(", where it answered {}", self.noun(usual_was))
        } else {
            format!(" instead of {}", self.noun(usual_was))
        };
        let name = self.name(usual_was, usual_is);
        let text = format!("{}{instead}{name} ({counts})", self.words(usual_is));
        // What concerns few connections weighs little.
        let weight = change * is.all as f64 / new.connections as f64;
        Some(Said { text, rule: self.rule(usual_was, usual_is), weight })
    }

    /// The sentence's beginning.
    fn words(self, signal: Option<Signal>) -> String {
        let with = self.noun(signal);
        match (self, signal) {
            (Self::ClientFirst, _) => format!("the client, closing first, closes {with}"),
            (Self::ServerFirst, _) => format!("the server, closing first, closes {with}"),
            (Self::ClientAnswers, Some(_)) => {
                format!("when the server closes first, the client answers {with}")
            }
            (Self::ClientAnswers, None) => {
                "when the server closes first, the client does not close".into()
            }
            (Self::ServerAnswers, Some(_)) => {
                format!("when the client closes first with FIN, the server answers {with}")
            }
            (Self::ServerAnswers, None) => {
                "when the client closes first with FIN, the server does not close".into()
            }
        }
    }

    fn noun(self, signal: Option<Signal>) -> String {
        match signal {
            Some(signal) => format!("with {}", sign(signal)),
            None => "not at all".into(),
        }
    }

    /// What the field calls the change.
    fn name(self, was: Option<Signal>, is: Option<Signal>) -> &'static str {
        match (self, was, is) {
            (Self::ClientAnswers, Some(Signal::RstAck), Some(Signal::Fin)) => {
                ": the passive close changed as from HAProxy 1.4 to 1.5"
            }
            (Self::ClientAnswers, Some(Signal::Fin), Some(Signal::RstAck)) => {
                ": the passive close of HAProxy 1.4"
            }
            _ => "",
        }
    }

    /// The rule that brings the old way back, where there is one.
    fn rule(self, was: Option<Signal>, is: Option<Signal>) -> Option<&'static str> {
        let resets = |signal| matches!(signal, Some(Signal::Rst | Signal::RstAck));
        match (self, was, is) {
            (Self::ClientAnswers, was, Some(Signal::Fin)) if resets(was) => Some("passive rst"),
            (Self::ClientAnswers, Some(Signal::Fin), is) if resets(is) => Some("passive fin"),
            (Self::ClientFirst, was, Some(Signal::Fin)) if resets(was) => Some("active rst"),
            (Self::ClientFirst, Some(Signal::Fin), is) if resets(is) => Some("abort fin"),
            _ => None,
        }
    }
}

/// How often each signal was chosen.
#[derive(Default)]
struct Choices {
    counts: Vec<(Option<Signal>, u64)>,
    all: u64,
}

impl Choices {
    fn add(&mut self, signal: Option<Signal>, count: u64) {
        self.all += count;
        match self.counts.iter_mut().find(|(known, _)| *known == signal) {
            Some((_, sum)) => *sum += count,
            None => self.counts.push((signal, count)),
        }
    }

    fn usual(&self) -> Option<(Option<Signal>, u64)> {
        self.counts.iter().max_by_key(|(_, count)| *count).copied()
    }

    fn count(&self, signal: Option<Signal>) -> u64 {
        self.counts.iter().find(|(known, _)| *known == signal).map_or(0, |(_, count)| *count)
    }

    fn share(&self, signal: Option<Signal>) -> f64 {
        if self.all == 0 { 0.0 } else { self.count(signal) as f64 / self.all as f64 }
    }
}

/// The other end comes first more often than it did.
fn first_closer(old: &Tally, new: &Tally) -> Option<Said> {
    let of = |tally: &Tally| {
        let count = |role| {
            let kinds = Kind::all().filter(|kind| kind.first == Some(role));
            kinds.map(|kind| tally.closes(kind)).sum::<u64>()
        };
        (count(Role::Orig), count(Role::Resp))
    };
    let ((orig_was, resp_was), (orig_is, resp_is)) = (of(old), of(new));
    let (all_was, all_is) = (orig_was + resp_was, orig_is + resp_is);
    if all_was == 0 || all_is == 0 {
        return None;
    }
    let change = orig_is as f64 / all_is as f64 - orig_was as f64 / all_was as f64;
    if change.abs() < NOTABLE {
        return None;
    }
    let (who, is, was) = if change > 0.0 {
        ("the client", orig_is, orig_was)
    } else {
        ("the server", resp_is, resp_was)
    };
    let text = format!(
        "{who} is more often the first to close ({is} of {all_is} now, {was} of {all_was} before)"
    );
    Some(Said { text, rule: None, weight: change.abs() })
}

/// Connections that lose data, that do not come about, or that nobody closes.
fn fates(old: &Tally, new: &Tally) -> impl Iterator<Item = Said> {
    let things = [
        (old.lost, new.lost, "lose data"),
        (old.refused(), new.refused(), "are refused"),
        (old.unanswered, new.unanswered, "are not answered"),
        (old.open, new.open, "are open when the capture ends"),
        (old.one_sided, new.one_sided, "were captured in one direction alone"),
    ];
    let (all_was, all_is) = (old.connections, new.connections);
    things.into_iter().filter_map(move |(was, is, what)| {
        let change = is as f64 / all_is as f64 - was as f64 / all_was as f64;
        let which = if change > 0.0 { "more" } else { "fewer" };
        let text =
            format!("{which} connections {what} ({is} of {all_is} now, {was} of {all_was} before)");
        (change.abs() >= GRAVE).then_some(Said { text, rule: None, weight: change.abs() })
    })
}

/// TIME_WAIT went to another side.
fn time_wait(old: &Tally, new: &Tally) -> Option<Said> {
    const WHO: [&str; 4] = ["the client", "the server", "both", "nobody"];
    let share = |tally: &Tally, place: usize| tally.share_of(tally.time_wait[place]);
    let change = |place: usize| share(new, place) - share(old, place);
    let place = (0..4).max_by(|&a, &b| change(a).total_cmp(&change(b)))?;
    if change(place) < NOTABLE {
        return None;
    }
    let text = format!(
        "TIME_WAIT stays with {} more often ({} of {} now, {} of {} before)",
        WHO[place], new.time_wait[place], new.connections, old.time_wait[place], old.connections
    );
    Some(Said { text, rule: None, weight: 0.0 })
}

/// Connections stay half closed for longer, or for less long: all of them, or more of them.
fn half_closed(group: &Group) -> Option<Said> {
    let (old, new) = (&group.old, &group.new);
    let (text, longer) = if let Some([was, is]) = group.half_closed_ns() {
        let text = match [old, new].map(Tally::half_closed_ns) {
            [_, None] => format!("half closed no more, for {} before (median)", time(was)),
            [None, _] => format!("half closed for {} now (median), not at all before", time(is)),
            _ => format!("half closed for {} now, for {} before (median)", time(is), time(was)),
        };
        (text, is > was)
    } else {
        let [was, is] = [old, new].map(|tally| tally.share_of(tally.long()));
        if was == is {
            return None;
        }
        let which = if is > was { "more" } else { "fewer" };
        let text = format!(
            "{which} are half closed for a second or longer ({} of {} now, {} of {} before)",
            new.long(),
            new.connections,
            old.long(),
            old.connections
        );
        (text, is > was)
    };
    // The rule is for whoever leaves more of them so than before, or most of them.
    let more = |place: usize| new.share_of(new.long[place]) - old.share_of(old.long[place]);
    let by_client = more(1).total_cmp(&more(0)).then(new.long[1].cmp(&new.long[0])).is_gt();
    let rule = if by_client { "close-wait 5s" } else { "half-close 5s" };
    Some(Said { text, rule: longer.then_some(rule), weight: 0.0 })
}
