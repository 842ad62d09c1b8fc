//! What is said of a server that gets another state, in HAProxy's words.

use super::Events;
use crate::http::live::{Admin, Backend, Health, Server};

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Checks or an operator see it up...
    Up,
    /// ...or down...
    Down,
    /// ...or stopping: it gets nothing new.
    Stopping,
    /// An operator put it into maintenance, where it was up...
    Maintenance {
        /// Whether it got nothing new any more.
        drained: bool,
    },
    /// ...or down already...
    DownMaintenance,
    /// ...took it out of that...
    Ready,
    /// ...drains it, at once...
    Drain,
    /// ...or where it comes out of maintenance...
    ReadyToDrain,
    /// ...or does so no more...
    Undrained,
    /// ...or takes out of maintenance or drain what another server, which it tracks, keeps there.
    Remains(Admin),
    /// The server that it tracks changed, and this one is kept in maintenance or drain by an operator.
    RemainsForced(Admin),
}

impl From<Health> for Turn {
    fn from(health: Health) -> Self {
        match health {
            Health::Up => Self::Up,
            Health::Stopping => Self::Stopping,
            Health::Down => Self::Down,
        }
    }
}

/// Says it. `why` is what checks, or the runtime socket, say beside up, down and stopping:
/// `, reason: ...`; or which server it follows, ` via BACKEND/SERVER`. `served` says whether the backend
/// had a server for requests before, `requeued` how many requests that waited went elsewhere, or came.
pub fn tell(
    events: &dyn Events,
    (backend, server): (&Backend, &Server),
    turn: Turn,
    requeued: usize,
    served: bool,
    why: &str,
) {
    let active = |backup| {
        backend.servers.iter().filter(|s| s.settings.backup == backup && s.usable()).count()
    };
    let (now, backups) = (active(false), active(true));
    let using = if now == 0 && backups > 0 { " Running on backup." } else { "" };
    let waiting = server.queue.len();
    let online = format!(
        ". {now} active and {backups} backup servers online.{using} {requeued} sessions requeued, \
         {waiting} total in queue."
    );
    let left = format!(
        ". {now} active and {backups} backup servers left.{using} {} sessions active, {requeued} requeued, \
         {waiting} remaining in queue.",
        server.sessions.now()
    );
    let forced = if why.is_empty() { "forced " } else { "" };
    let what = match turn {
        Turn::Up => format!("is UP{why}{online}"),
        Turn::Down => format!("is DOWN{why}{left}"),
        Turn::Stopping => format!("is stopping{why}{online}"),
        Turn::Maintenance { .. } => format!("is going DOWN for maintenance{why}{left}"),
        Turn::DownMaintenance => format!("was DOWN and now enters maintenance{why}."),
        Turn::Ready => format!("is {}/READY (leaving {forced}maintenance).", up_or_down(server)),
        Turn::Drain => format!("enters drain state{why}{online}"),
        Turn::ReadyToDrain => {
            format!("is {}/DRAIN (leaving {forced}maintenance).", up_or_down(server))
        }
        Turn::Undrained => format!("is {} (leaving forced drain).", up_or_down(server)),
        Turn::Remains(Admin::Maintenance) => {
            format!("is leaving forced maintenance but remains in maintenance{why}.")
        }
        Turn::Remains(_) => format!("is leaving forced drain but remains in drain mode{why}."),
        Turn::RemainsForced(Admin::Maintenance) => "remains in forced maintenance.".to_owned(),
        Turn::RemainsForced(_) => "remains in forced drain mode.".to_owned(),
    };
    let title = if server.settings.backup { "Backup " } else { "" };
    let who = format!("{title}Server {}/{}", backend.settings.name, server.settings.name);
    let line = format!("{who} {what}");
    // HAProxy: alert for who goes down, emerg for the last one, notice for all else.
    let goes_down = matches!(turn, Turn::Down | Turn::Maintenance { drained: false });
    events.event(backend, if goes_down { 1 } else { 5 }, &line);
    if turn == Turn::ReadyToDrain {
        let line = format!("{who} remains in forced drain mode.");
        events.event(backend, 5, &line);
    }
    if served && now + backups == 0 {
        let kind = if backend.settings.of_listen { "proxy" } else { "backend" };
        let line = format!("{kind} {} has no server available!", backend.settings.name);
        events.event(backend, 0, &line);
    }
}

fn up_or_down(server: &Server) -> &'static str {
    if server.is_up() { "UP" } else { "DOWN" }
}
