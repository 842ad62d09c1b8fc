//! Rules on connections, before or without any request: `tcp-request` and `tcp-response`.

use super::captured;
use crate::http::acl::Condition;
use crate::http::edit::Edit;
use crate::http::format::Format;
use crate::http::sample::{Expression, Message, View};
use crate::http::variable::{Name, Value};
use std::sync::Arc;
use std::time::Duration;

/// How a connection ends that rules do not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// It is closed (`reject`).
    Closed,
    /// It is given up so that its client hears as little of it as can be (`silent-drop`).
    Silent,
}

/// What rules say of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is let in.
    Accepted {
        /// A proxy connects, and says first whose connection it passes on.
        greets: bool,
    },
    /// It is not.
    Refused(Parting),
    /// Its server's side is ended, and what that has sent is passed on (`close`).
    Ended,
    /// What is still to come decides.
    Open,
}

/// What a rule may do.
#[derive(Clone, Debug)]
pub enum TcpAction {
    /// `accept`: no further rule of this list is looked at.
    Accept,
    /// `reject` and `silent-drop`.
    Refuse(Parting),
    /// `close`.
    End,
    /// `expect-proxy layer4`: a proxy connects, and says first whose connection it passes on.
    ExpectProxy,
    /// `capture`, into this slot of requests, where the expression has a sample.
    Capture(usize, Expression),
    /// `set-var`, where the expression has a sample.
    Variable(Arc<Name>, Expression),
    /// `set-var-fmt`.
    VariableFormat(Arc<Name>, Format),
    /// `unset-var`.
    Unset(Arc<Name>),
}

/// An action and when it is taken.
#[derive(Clone, Debug)]
pub struct TcpRule {
    /// What to do.
    pub action: TcpAction,
    /// When; always without one.
    pub condition: Option<Condition>,
}

impl TcpRule {
    /// What it looks at.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let kept = match &self.action {
            TcpAction::Variable(_, expression) | TcpAction::Capture(_, expression) => {
                Some(expression)
            }
            _ => None,
        };
        self.condition.iter().flat_map(Condition::expressions).chain(kept)
    }
}

/// Rules of one kind, in order.
#[derive(Clone, Debug, Default)]
pub struct TcpRules {
    /// The rules.
    pub rules: Vec<TcpRule>,
    /// How long a variable's text may be, as in [`RuleSet`](super::RuleSet).
    pub longest: usize,
}

impl TcpRules {
    /// Takes the actions whose conditions hold, up to the one that decides, or to the first whose
    /// condition nobody knows yet.
    pub fn follow(&self, base: View<'_>, edits: &mut Vec<Edit>) -> Verdict {
        let mut greets = false;
        for rule in &self.rules {
            let view = View { edits, ..base };
            match rule.condition.as_ref().map_or(Some(true), |it| it.outlook(&view)) {
                Some(true) => {}
                Some(false) => continue,
                None => return Verdict::Open,
            }
            let (name, value) = match &rule.action {
                TcpAction::Accept => break,
                TcpAction::Refuse(parting) => return Verdict::Refused(*parting),
                TcpAction::End => return Verdict::Ended,
                TcpAction::ExpectProxy => {
                    greets = true;
                    continue;
                }
                TcpAction::Capture(at, expression) => {
                    edits.extend(captured(Message::Request, *at, expression, &view));
                    continue;
                }
                TcpAction::Variable(name, expression) => match expression.value(&view) {
                    Some(value) => (name, Some(value)),
                    None => continue,
                },
                TcpAction::VariableFormat(name, format) => {
                    (name, Some(Value::Text(format.fill(&view))))
                }
                TcpAction::Unset(name) => (name, None),
            };
            let value = value.map(|value| Arc::new(value.up_to(self.longest)));
            edits.push(Edit::Variable(Arc::clone(name), value));
        }
        Verdict::Accepted { greets }
    }
}

/// Rules on connections that were just accepted, and on sessions before they begin.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// `tcp-request connection`.
    pub connection: TcpRules,
    /// `tcp-request session`.
    pub session: TcpRules,
}

/// Rules on what a side sends: `tcp-request content` on a client, `tcp-response content` on a server.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// The rules.
    pub rules: TcpRules,
    /// How long what is still to come is waited for (`inspect-delay`).
    pub delay: Option<Duration>,
}
