//! Who is let in: rules on connections that were just accepted, and on sessions before they begin.

use std::{net::SocketAddr, os::fd::AsFd, time::Instant};

use super::{
    client::Client,
    closes::Doing,
    counters::Count,
    edit::{self, Edit},
    event::{self, Cause, Phase, Stillborn, Termination},
    live::Frontend,
    rules::{Parting, TcpRules, Verdict},
    sample::View,
    settings::Mode,
    variable::Scope,
    worker::Worker,
};

/// What is said of whom rules do not let in.
const REFUSED: Termination = Termination::new(Cause::Proxy, Phase::Request);

/// A connection that was let in.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    /// Whether a proxy is to say first whose connection it passes on.
    pub(super) greets: bool,
    /// What rules have kept of it.
    pub(super) variables: Vec<Edit>,
}

/// Follows the rules on a connection that was just accepted. One that is not let in is to be closed.
pub(super) fn connection(
    worker: &Worker,
    frontend: &Frontend,
    socket: impl AsFd,
    addresses: [Option<SocketAddr>; 2],
) -> Option<Admitted> {
    let Some(admission) = &frontend.settings.admission else { return Some(Admitted::default()) };
    let parting = match follow(&admission.connection, worker, frontend, addresses, Vec::new()) {
        Ok(admitted) => return Some(admitted),
        Err(parting) => parting,
    };
    let http = frontend.settings.mode == Mode::Http;
    let doing = Doing { termination: REFUSED, http, ..Doing::default() };
    if parting == Parting::Silent {
        worker.count(&frontend.counters, Count::DeniedRequests, 1);
        worker.drop_silently(socket.as_fd(), frontend, &doing);
    } else {
        worker.count(&frontend.counters, Count::DeniedConnections, 1);
        worker.reset(socket.as_fd(), frontend, &doing);
    }
    None
}

/// Follows the rules on a session that is about to begin; `bind` is the address where a proxy has said
/// whose it is. One that is not let in is closed.
pub(super) fn session(mut client: Client, bind: Option<&str>) -> Option<Client> {
    let frontend = client.frontend();
    let Some(admission) = &frontend.settings.admission else { return Some(client) };
    let addresses = [client.session.client, client.local];
    let known = client.variables.clone();
    match follow(&admission.session, &client.worker, frontend, addresses, known) {
        Ok(admitted) => client.variables = admitted.variables,
        Err(parting) => {
            if parting == Parting::Silent {
                client.refused(parting);
            } else {
                client.worker.count(&frontend.counters, Count::DeniedSessions, 1);
            }
            client.last.termination = REFUSED;
            if let Some(bind) = bind.filter(|_| !client.frontend().settings.dontlognull) {
                client.worker.outside.log.stillborn(&Stillborn {
                    frontend: client.frontend(),
                    bind,
                    client: client.session.client,
                    accepted: client.worker.wall(client.since),
                    // In HAProxy's words: of the PROXY line it is.
                    why: "Success",
                });
            }
            client.part();
            return None;
        }
    }
    Some(client)
}

fn follow(
    rules: &TcpRules,
    worker: &Worker,
    frontend: &Frontend,
    [client, local]: [Option<SocketAddr>; 2],
    mut edits: Vec<Edit>,
) -> Result<Admitted, Parting> {
    let began = event::Session::new(frontend, worker.wall(Instant::now()));
    let session = event::Session { client, local, ..began };
    let view = View { client, local, moment: Some(&session), ..View::default() };
    match rules.follow(view, &mut edits) {
        Verdict::Accepted { greets } => {
            Ok(Admitted { greets, variables: edit::left(&edits, &[Scope::Session]) })
        }
        Verdict::Refused(parting) => Err(parting),
        // Nothing is waited for, so that nothing is open, and there is no server yet.
        Verdict::Open | Verdict::Ended => Err(Parting::Closed),
    }
}
