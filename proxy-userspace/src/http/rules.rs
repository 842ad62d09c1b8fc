//! `http-request`, `http-response` and `http-after-response` rules, ready to be applied.

mod connection;
mod line;
mod names;
mod redirect;
mod replace;
mod routes;

pub use connection::{Admission, Inspection, Parting, TcpAction, TcpRule, TcpRules, Verdict};
pub(crate) use line::is_method;
use line::target_for;
pub use line::{LineEdit, Misfit, Part};
pub use names::Names;
pub use redirect::{Redirect, RedirectTo};
pub use replace::{Replace, Template};
pub use routes::{Routes, UseServer};

use super::acl::Condition;
use super::format::Format;
use super::hooks::{self, Answer, Decision, Edit, Moment, Request, Response};
use super::reply_template::{Reply, in_field};
use super::sample::{Expression, Message, View};
use super::variable::{Name, Value};
use std::sync::Arc;

/// The rules of one proxy.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    /// `http-request`, in order.
    pub request: Vec<Rule>,
    /// `http-response`, in order.
    pub response: Vec<Rule>,
    /// `http-after-response`, in order.
    pub last: Vec<Rule>,
    /// Whoever else answers requests: the statistics page.
    pub pages: Vec<Arc<dyn Page>>,
    /// `redirect`, in order.
    pub redirects: Vec<Rule>,
    /// `monitor-uri`: requests that are answered before any rule sees them.
    pub monitor: Option<Monitor>,
    /// How long a variable's text may be; the rest is cut off. Without it one that is put together of
    /// itself would double with each request.
    pub longest: usize,
}

/// `monitor-uri` and `monitor fail`.
#[derive(Clone, Debug)]
pub struct Monitor {
    /// Path and query, or an absolute URI.
    pub uri: String,
    /// The service is not ready where one of these holds.
    pub fails: Vec<Condition>,
}

impl Monitor {
    /// Whether a request with this target asks for it.
    fn is_asked_by(&self, target: &str) -> bool {
        let of_every_host = self.uri.starts_with('/');
        self.uri == if of_every_host { hooks::path_and_query(target) } else { target }
    }
}

/// A page that the proxy serves itself.
pub trait Page: Send + Sync + std::fmt::Debug {
    /// The answer, if the request is for this page.
    fn answer(&self, request: &Request<'_>) -> Option<Answer>;
}

/// An action and when it is taken.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What to do.
    pub action: Action,
    /// When; always without one.
    pub condition: Option<Condition>,
}

/// What a rule may do with a request or a response.
#[derive(Clone, Debug)]
pub enum Action {
    /// `allow`: no further rule of this list is looked at.
    Allow,
    /// `deny`, with the error page of this status.
    Deny(u16),
    /// `return default-errorfiles`, with the error page of this status.
    Page(u16),
    /// `deny` with a response of its own.
    Refuse(Reply),
    /// `return`.
    Return(Reply),
    /// `deny` and `return` with an `errorfile`.
    File {
        /// As the log has it.
        status: u16,
        /// A whole response.
        file: Arc<[u8]>,
        /// `deny`.
        refuses: bool,
    },
    /// `tarpit`: what `deny` would do, later.
    Tarpit(Box<Self>),
    /// `reject` and `silent-drop`.
    Reject(Parting),
    /// `redirect`.
    Redirect(Redirect),
    /// A change to the fields.
    Edit(HeadEdit),
    /// `del-header -m`.
    Remove(Names),
    /// A change to the request line.
    Line(LineEdit),
    /// `set-status`, and the reason for it.
    Status(u16, Arc<str>),
    /// `set-log-level`; none is `silent`.
    Level(Option<u8>),
    /// `capture`, into this slot of that message's, where the expression has a sample.
    Capture(Message, usize, Expression),
    /// `set-var`, where the expression has a sample.
    Variable(Arc<Name>, Expression),
    /// `set-var-fmt`.
    VariableFormat(Arc<Name>, Format),
    /// `unset-var`.
    Unset(Arc<Name>),
}

/// What comes of an action.
enum Taken {
    Nothing,
    Edit(Edit),
    Edits(Vec<Edit>),
    /// This is in the variable now.
    Value(Arc<Name>, Value),
    /// No further rule.
    Allowed,
    Decided(Decision),
}

impl Action {
    fn take(&self, view: &View<'_>) -> Taken {
        match self {
            Self::Allow => Taken::Allowed,
            Self::Tarpit(then) => match then.take(view) {
                Taken::Decided(decision) => Taken::Decided(Decision::Tarpit(Box::new(decision))),
                other => other,
            },
            Self::Deny(status) => Taken::Decided(Decision::Deny(*status)),
            Self::Page(status) => Taken::Decided(Decision::Page(*status)),
            Self::Refuse(reply) => Taken::Decided(Decision::Refuse(reply.answer(view))),
            Self::Return(reply) => Taken::Decided(Decision::Answer(reply.answer(view))),
            Self::File { status, file, refuses } => Taken::Decided(Decision::File {
                status: *status,
                file: Arc::clone(file),
                refuses: *refuses,
            }),
            Self::Reject(parting) => Taken::Decided(Decision::Reject(*parting)),
            Self::Redirect(redirect) => match redirect.answer(view) {
                Some(answer) => Taken::Decided(Decision::Answer(answer)),
                None => Taken::Nothing,
            },
            Self::Edit(edit) => match edit.fill(view) {
                None => Taken::Nothing,
                Some(edit) => match target_for(&edit, view) {
                    Ok(None) => Taken::Edit(edit),
                    Ok(Some(target)) => Taken::Edits(vec![target, edit]),
                    Err(Misfit) => Taken::Decided(Decision::Failed),
                },
            },
            Self::Remove(names) => Taken::Edits(names.removals(view)),
            Self::Line(line) => match line.changes(view) {
                Ok(changes) => Taken::Edits(changes),
                Err(Misfit) => Taken::Decided(Decision::Failed),
            },
            Self::Status(status, reason) => Taken::Edit(Edit::Status(*status, Arc::clone(reason))),
            Self::Level(level) => Taken::Edit(Edit::Level(*level)),
            Self::Capture(of, at, expression) => match captured(*of, *at, expression, view) {
                Some(edit) => Taken::Edit(edit),
                None => Taken::Nothing,
            },
            Self::Variable(name, expression) => match expression.value(view) {
                Some(value) => Taken::Value(Arc::clone(name), value),
                None => Taken::Nothing,
            },
            Self::VariableFormat(name, format) => {
                Taken::Value(Arc::clone(name), Value::Text(format.fill(view)))
            }
            Self::Unset(name) => Taken::Edit(Edit::Variable(Arc::clone(name), None)),
        }
    }
}

impl RuleSet {
    /// Takes the actions whose conditions hold, up to the one that decides.
    fn follow(&self, rules: &[Rule], base: View<'_>, edits: &mut Vec<Edit>) -> Decision {
        for rule in rules {
            let view = View { edits, ..base };
            if !rule.condition.as_ref().is_none_or(|condition| condition.holds(&view)) {
                continue;
            }
            match rule.action.take(&view) {
                Taken::Nothing => {}
                Taken::Edit(edit) => edits.push(edit),
                Taken::Edits(more) => edits.extend(more),
                Taken::Value(name, value) => {
                    let value = Arc::new(value.up_to(self.longest));
                    edits.push(Edit::Variable(name, Some(value)));
                }
                Taken::Allowed => break,
                Taken::Decided(decision) => return decision,
            }
        }
        Decision::Pass
    }
}

/// What is kept of a sample, if there is one.
fn captured(of: Message, at: usize, expression: &Expression, view: &View<'_>) -> Option<Edit> {
    let mut text = Vec::new();
    expression.value(view)?.sample().write(&mut text);
    Some(Edit::Capture(of, at, text))
}

/// A change to a head.
#[derive(Clone, Debug)]
pub enum HeadEdit {
    /// `set-header`.
    Set(Arc<str>, Format),
    /// `add-header`.
    Add(Arc<str>, Format),
    /// `del-header`.
    Del(Arc<str>),
    /// `replace-header`, and `replace-value` for each of a field's values.
    Replace {
        /// The field's name.
        name: Arc<str>,
        /// Whether its lines are looked at whole.
        whole: bool,
        /// What is looked for, and what takes its place.
        replace: Box<Replace>,
    },
}

impl hooks::Rules for RuleSet {
    fn request(
        &self,
        request: &Request<'_>,
        moment: &dyn Moment,
        edits: &mut Vec<Edit>,
    ) -> Decision {
        let view = View {
            request: Some(request),
            client: request.client,
            local: request.local,
            moment: Some(moment),
            ..View::default()
        };
        // HAProxy looks for its monitor before the http-request rules, serves its statistics behind
        // them, and looks at its redirects last, also where a rule has said `allow`.
        if let Some(monitor) = &self.monitor
            && monitor.is_asked_by(request.target)
        {
            let fails = monitor.fails.iter().any(|condition| condition.holds(&view));
            return Decision::Monitor(if fails { 503 } else { 200 });
        }
        let decision = self.follow(&self.request, view, edits);
        if decision != Decision::Pass {
            return decision;
        }
        let asked = request.rewritten(edits);
        if let Some(answer) = self.pages.iter().find_map(|page| page.answer(&asked)) {
            return Decision::Answer(Box::new(answer));
        }
        self.follow(&self.redirects, view, edits)
    }

    fn response(
        &self,
        response: &Response<'_>,
        moment: &dyn Moment,
        edits: &mut Vec<Edit>,
    ) -> Decision {
        self.follow(&self.response, of_response(response, moment), edits)
    }

    fn has_last(&self) -> bool {
        !self.last.is_empty()
    }

    fn last(&self, response: &Response<'_>, moment: &dyn Moment, edits: &mut Vec<Edit>) {
        // None of these decides anything.
        self.follow(&self.last, of_response(response, moment), edits);
    }
}

fn of_response<'a>(response: &'a Response<'a>, moment: &'a dyn Moment) -> View<'a> {
    View {
        response: Some(response),
        client: response.client,
        local: response.local,
        moment: Some(moment),
        ..View::default()
    }
}

impl HeadEdit {
    /// The change, if there is any.
    fn fill(&self, view: &View<'_>) -> Option<Edit> {
        Some(match self {
            Self::Set(name, value) => Edit::Set(Arc::clone(name), in_field(value.fill(view))),
            Self::Add(name, value) => Edit::Add(Arc::clone(name), in_field(value.fill(view))),
            Self::Del(name) => Edit::Del(Arc::clone(name)),
            Self::Replace { name, whole, replace } => return replace.fields(name, *whole, view),
        })
    }
}
