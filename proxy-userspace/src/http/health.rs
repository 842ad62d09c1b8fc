//! Health checks: when they run, what they mean for a server, and what is told about them.
//!
//! A server counts up to `rise` good or down `fall` bad checks as HAProxy's does: it begins up, and
//! one bad check takes it down until it has proven itself.

mod attempt;
pub mod board;
pub mod follow;
pub mod outcome;
pub mod script;
pub mod told;

use super::closes::Closes;
use super::live::{Admin, Alarm, Backend, Health, Proxies, Server};
use board::{Board, Place};
use outcome::{Outcome, Status};
use script::Script;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use told::tell;

/// How one server is checked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The backend's and the server's place.
    pub server: (usize, usize),
    /// What is done; shared by the backend's servers.
    pub script: Arc<Script>,
    /// `inter`.
    pub interval: Duration,
    /// `fastinter`.
    pub fast: Option<Duration>,
    /// `downinter`.
    pub down: Option<Duration>,
    /// `rise`.
    pub rise: u32,
    /// `fall`.
    pub fall: u32,
    /// Where, at the start.
    pub place: Place,
    /// Whether its connections begin with a PROXY line (`check-send-proxy`, `send-proxy`).
    pub sends_proxy: bool,
    /// `timeout connect`.
    pub connect_timeout: Option<Duration>,
    /// `timeout check`.
    pub check_timeout: Option<Duration>,
    /// `spread-checks`, in percent.
    pub spread: u32,
    /// `option log-health-checks`.
    pub log_each: bool,
    /// `on-error`.
    pub on_error: OnError,
}

impl Plan {
    /// The time between two checks of a server of that health.
    fn pause(&self, health: u32) -> Duration {
        let other = match health {
            0 => self.down,
            health if health == self.rise + self.fall - 1 => None,
            _ => self.fast,
        };
        other.unwrap_or(self.interval)
    }
}

/// What becomes of a server whose requests fail (`on-error`); it is also checked after `fastinter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// `fastinter`: no more than that.
    FastInter,
    /// `fail-check`: that counts as a failed check.
    #[default]
    FailCheck,
    /// `sudden-death`: the next failed check takes it down.
    SuddenDeath,
    /// `mark-down`: it goes down.
    MarkDown,
}

/// Where a check connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// TCP.
    Inet(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Hears what becomes of servers; lines are HAProxy's.
pub trait Events: Send + Sync {
    /// A line at a syslog level (0 to 7) about `backend`.
    fn event(&self, backend: &Backend, level: u8, line: &str);
}

/// What a check needs besides its plan.
#[derive(Clone)]
pub struct Surroundings {
    /// The backend.
    pub backend: Arc<Backend>,
    /// The server.
    pub server: Arc<Server>,
    /// All of the configuration: others may track it.
    pub proxies: Arc<Proxies>,
    /// Where results stand.
    pub board: Arc<Board>,
    /// Who hears of them.
    pub events: Arc<dyn Events>,
    /// Who hears of the checks' closes.
    pub closes: Arc<dyn Closes>,
    /// Has sessions end at once that a server's turn shuts down: `Engine::look`.
    pub shut: Arc<dyn Fn() + Send + Sync>,
}

impl Surroundings {
    /// Whether the server is to be checked now: not in maintenance, until `set server ... state
    /// ready`; not between `disable health` and `enable health`; and never again where its `listen`
    /// was shut down.
    fn is_checked(&self) -> bool {
        self.server.checking.load(Relaxed)
            && self.server.admin() != Admin::Maintenance
            && !self.backend.shut.load(Relaxed)
    }
}

/// Checks a server for ever. `first_after` spreads the servers' first checks.
pub async fn run(plan: Plan, around: Surroundings, first_after: Duration) {
    let mut due = tokio::time::Instant::now() + first_after;
    let mut noise = u32::try_from(plan.server.0 * 31 + plan.server.1 * 7 + 1).unwrap_or(1);
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            alarm = around.server.alarm() => {
                if around.is_checked() {
                    react(&plan, &around, alarm);
                }
                if let Some(fast) = plan.fast {
                    due = due.min(tokio::time::Instant::now() + fast);
                }
                continue;
            }
        }
        if around.is_checked() {
            let started = Instant::now();
            let outcome = attempt::attempt(&plan, &around).await;
            // That may have changed meanwhile.
            if around.is_checked() {
                conclude(&plan, &around, outcome, started.elapsed());
            }
        }
        noise = noise.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let pause = plan.pause(around.board.health(plan.server));
        due = tokio::time::Instant::now() + spread(pause, plan.spread, noise >> 16 & 0xff);
    }
}

/// A time that is longer or shorter by up to so many percent, by a noise of 0 to 255.
fn spread(time: Duration, percent: u32, noise: u32) -> Duration {
    time * (25_500 - 255 * percent + 2 * percent * noise) / 25_500
}

/// Does what is to be done where too many requests have failed.
fn react(plan: &Plan, around: &Surroundings, (errors, last): Alarm) {
    let health = around.board.health(plan.server);
    match plan.on_error {
        OnError::FastInter => return,
        OnError::FailCheck => {}
        OnError::SuddenDeath if health <= plan.rise => {}
        OnError::SuddenDeath => around.board.set_health(plan.server, plan.rise + 1),
        OnError::MarkDown if health < plan.rise => {}
        OnError::MarkDown => around.board.set_health(plan.server, plan.rise),
    }
    let last = last.as_str();
    let info = format!("Detected {errors} consecutive errors, last one was: {last}");
    conclude(plan, around, Outcome::new(Status::Analysis, info), Duration::ZERO);
}

/// Takes a result in, and says what follows from it.
fn conclude(plan: &Plan, around: &Surroundings, outcome: Outcome, took: Duration) {
    let good = outcome.status.is_good();
    let (backend, server) = (&around.backend, &around.server);
    if good {
        server.forget_errors();
    }
    let served = backend.serves();
    // At once: an operator may decide about its health at the same time.
    let decided = around.board.with(plan.server, |standing| {
        let (before, last) = (server.state(), standing.status);
        let changed = standing.take_in(plan, &outcome, took);
        // A good check takes nobody down, nor a bad one up, whatever an operator has made of the count.
        let now = match (good, standing.health >= plan.rise) {
            (true, true) if outcome.status == Status::L7OkConditional => Health::Stopping,
            (true, true) => Health::Up,
            (false, false) => Health::Down,
            _ => before.health,
        };
        server.set_health(now);
        (before, now, standing.health, changed || last != outcome.status)
    });
    let Some((before, now, health, is_news)) = decided else { return };
    let why = reason(&outcome, took);
    if plan.log_each && is_news {
        let word = match outcome.status {
            _ if !good => "failed",
            Status::L7OkConditional => "conditionally succeeded",
            _ => "succeeded",
        };
        let line = format!(
            "Health check for {}server {}/{} {word}, {why}, status: {}.",
            backup_word(server),
            backend.settings.name,
            server.settings.name,
            standing(plan, server, health),
        );
        around.events.event(backend, 5, &line);
    }
    if now == before.health {
        return;
    }
    let told = if plan.log_each { String::new() } else { format!(", {why}") };
    let requeued = backend.changed(server, before);
    // With its last server the backend goes down, too.
    around.board.went(plan.server, now != Health::Down, backend);
    tell(&*around.events, (backend, server), now.into(), requeued, served, &told);
    (around.shut)();
    follow::follow(&around.proxies, &around.board, &*around.events, plan.server);
}

fn backup_word(server: &Server) -> &'static str {
    if server.settings.backup { "backup " } else { "" }
}

/// `reason: Layer7 wrong status, code: 404, info: "Not Found", check duration: 1ms`.
fn reason(outcome: &Outcome, took: Duration) -> String {
    let mut text = format!("reason: {}", outcome.status.description());
    if outcome.status.has_code() {
        text.push_str(&format!(", code: {}", outcome.code));
    }
    if !outcome.info.is_empty() {
        text.push_str(&format!(", info: \"{}\"", outcome.info));
    }
    if outcome.status != Status::Analysis {
        text.push_str(&format!(", check duration: {}ms", took.as_millis()));
    }
    text
}

/// `3/3 UP`: good checks of those that it takes, or bad ones that it can still take.
fn standing(plan: &Plan, server: &Server, health: u32) -> String {
    if health < plan.rise {
        return format!("{health}/{} DOWN", plan.rise);
    }
    let word = if server.weight() > 0 { "UP" } else { "DRAIN" };
    format!("{}/{} {word}", health - plan.rise + 1, plan.fall)
}

/// Checks that come more often than that don't have all the others begin at once.
const OFTEN: Duration = Duration::from_secs(1);

/// How long each server waits before its first check, so that they don't all come at once.
#[must_use]
pub fn first_after(plans: &[Plan], index: usize) -> Duration {
    // Before its first check each is as well as one that has just come up.
    let pauses = || plans.iter().map(|plan| plan.pause(plan.rise));
    let shortest = pauses().filter(|&pause| pause >= OFTEN).min().unwrap_or_default();
    let own = pauses().nth(index).unwrap_or_default();
    let place = u32::try_from(index).unwrap_or(u32::MAX);
    let count = u32::try_from(plans.len().max(1)).unwrap_or(u32::MAX);
    shortest.max(own) * place / count
}
